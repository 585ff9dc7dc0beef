//! stand-in
use std::process::ExitCode;
#[derive(clap::Subcommand)]
pub(crate) enum RoutesCommand {
    /// x
    Compile,
}
pub(crate) fn routes(_: RoutesCommand) -> ExitCode {
    ExitCode::FAILURE
}
