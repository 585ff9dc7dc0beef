//! `corelane-tidy`: holds the tree to the rules of the house that no compiler knows.
//!
//! ```text
//! corelane-tidy [ROOT]     errors and warnings, one per line, `path:line: what`; exit 1 when there is an error
//! ```
//!
//! Each rule is a function from a [`tree::Tree`] to findings, so that its test feeds it a few lines that break it:
//! a rule that cannot fail is no rule. Without ROOT the workspace above the working directory is taken.

mod documents;
mod lexer;
mod manifests;
mod source;
mod tree;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tree::{Finding, Tree};

/// Every rule.
const RULES: &[fn(&Tree) -> Vec<Finding>] = &[
    source::starts_with_its_purpose,
    source::is_not_too_long,
    source::is_finished,
    source::keeps_unsafe_where_it_belongs,
    source::names_say_something,
    source::core_stays_pure,
    documents::name_no_machine_path,
    documents::decisions_are_numbered,
    documents::counters_are_described,
    manifests::dependencies_point_one_way,
    manifests::versions_are_given_once,
    manifests::dependencies_have_a_reason,
];

fn main() -> io::Result<ExitCode> {
    let root = match std::env::args_os().nth(1) {
        Some(root) => PathBuf::from(root),
        None => workspace_root()?,
    };
    let tree = Tree::read(&root)?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort();
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let mut out = io::stdout().lock();
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    writeln!(out, "tidy: {} files, {errors} errors, {} warnings", tree.files().len(), findings.len() - errors)?;
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The nearest directory upwards whose manifest declares a workspace.
fn workspace_root() -> io::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let is_root = |directory: &&std::path::Path| {
        std::fs::read_to_string(directory.join("Cargo.toml")).is_ok_and(|text| text.contains("[workspace]"))
    };
    here.ancestors().find(is_root).map(PathBuf::from).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "no workspace above this directory: run it in the tree, or name the root",
        )
    })
}
