//! stand-in until routes are merged
use crate::config::Config;
use crate::listeners::Declared;
use crate::problem::Problem;
use std::path::{Path, PathBuf};
/// x
#[derive(Debug)]
pub struct Loaded {
    /// x
    pub path: PathBuf,
    /// x
    pub summary: String,
    /// x
    pub listeners: Vec<Declared>,
}
/// x
pub fn compile_or_last_good(_: &Config, _: &mut Vec<Problem>) -> Option<Loaded> {
    None
}
/// x
pub fn check_tables(_: &Path, _: &mut Vec<Problem>) -> Option<Vec<Declared>> {
    None
}
