//! `corelane check`: every problem of a configuration at once.

use std::io::{self, Write};
use std::process::ExitCode;

use corelane_mediactl::boot;
use corelane_mediactl::problem::any_error;

use crate::output;
use crate::settings::SettingsArgs;

/// Exit 0 when a node with these settings would start.
pub(crate) fn check(settings: SettingsArgs) -> ExitCode {
    let (config, mut problems) = settings.resolve();
    let (found, summary) = boot::check(&config);
    problems.extend(found);
    output::problems(&problems);
    let good = !any_error(&problems);
    let mut out = io::stdout().lock();
    let written = match summary.filter(|_| good) {
        Some(summary) => writeln!(out, "{summary}ok: {}", output::tally(&problems)),
        None => writeln!(out, "not ok: {}", output::tally(&problems)),
    };
    output::status(written, good)
}
