//! `corelane run`: a node from its first check to its last counter.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use corelane_mediactl::control::{self, ControlCore, Request};
use corelane_mediactl::problem::any_error;
use corelane_mediactl::{Place, Problem, boot, report};

use crate::output;
use crate::settings::SettingsArgs;

/// Exit 0 after SIGTERM or SIGINT; 1 when it could not start or the control core was lost.
pub(crate) fn run(settings: SettingsArgs) -> ExitCode {
    control::abort_on_panic();
    let (config, problems) = settings.resolve();
    if any_error(&problems) {
        // The configuration is wrong already; what else would be, is worth knowing in the same round.
        let (more, _) = boot::check(&config);
        output::problems(&[problems, more].concat());
        return ExitCode::FAILURE;
    }
    output::problems(&problems);
    match serve(config) {
        Ok(code) => code,
        Err(problems) => {
            output::problems(&problems);
            ExitCode::FAILURE
        }
    }
}

const DRAINING: &str = "drain: new calls get 503; SIGUSR2 takes them again, SIGTERM hangs up what is left and stops";

/// A line of the control core's.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "corelane: {line}");
}

/// Ends all calls, and waits until their peers have heard of it. A second signal to stop is heeded at once.
fn hang_up(running: &boot::Running, control: &ControlCore) {
    /// Shards publish once a second what `hangs_up` reads.
    const PUBLISHED: Duration = Duration::from_millis(1_500);
    if let Err(problem) = running.hang_up_all() {
        return output::problems(&[problem]);
    }
    let end = Instant::now() + running.hang_up_time();
    loop {
        match control.next_within(PUBLISHED) {
            Ok(Request::Tell(line)) => tell(&line),
            Ok(Request::Stop(_)) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Request::Report | Request::Reload | Request::Drain) => {}
            Err(RecvTimeoutError::Timeout) if !running.hangs_up() => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= end {
            return;
        }
    }
}

fn serve(config: corelane_mediactl::config::Config) -> Result<ExitCode, Vec<Problem>> {
    let control_cpu = config.placement.control;
    let (prepared, warnings) = boot::prepare(config)?;
    output::problems(&warnings);
    // Nobody may be reading: a node whose output is closed still takes calls.
    let mut out = io::stdout();
    let _ = writeln!(out, "corelane {}", env!("CARGO_PKG_VERSION"));
    let _ = prepared.write_summary(&mut out);
    let control = ControlCore::start(control_cpu).map_err(|problem| vec![problem])?;
    let (mut running, warnings) = prepared.start(&control).map_err(|problem| vec![problem])?;
    output::problems(&warnings);
    output::problems(running.steering_warning().as_slice());
    if let Some(note) = running.shedding_note() {
        let _ = writeln!(out, "{note}");
    }
    let _ = running.write_ready(&mut out);
    let mut draining = false;
    let signal = loop {
        match control.next() {
            Some(Request::Report) => {
                let _ = report::write_control(&mut out, control.counters(), &running.media().counters());
                let _ = report::write_counters(&mut out, &running.counters());
            }
            Some(Request::Reload) => match running.reload() {
                Ok(reloaded) => {
                    output::problems(&reloaded.warnings);
                    let _ = writeln!(out, "reload: {}", reloaded.summary);
                }
                Err(problems) => {
                    output::problems(&problems);
                    let _ = writeln!(out, "reload: refused, media nodes stay as they were");
                }
            },
            Some(Request::Drain) => match running.drain(!draining) {
                Ok(()) => {
                    draining = !draining;
                    let _ = writeln!(out, "{}", if draining { DRAINING } else { "drain: new calls are taken again" });
                }
                Err(problem) => output::problems(&[problem]),
            },
            Some(Request::Tell(line)) => tell(&line),
            Some(Request::Stop(signal)) => break Some(signal),
            None => break None,
        }
    };
    if draining && signal.is_some() {
        let _ = writeln!(out, "drain: hanging up what is left");
        hang_up(&running, &control);
    }
    let _ = writeln!(out, "stopping: {}", signal.unwrap_or("the control core was lost"));
    let stopped = running.stop(control);
    let _ = report::write_control(&mut out, &stopped.control, &stopped.media);
    match &stopped.shards {
        Ok(counters) => drop(report::write_counters(&mut out, counters)),
        Err(failed) => output::problems(&[Problem::error(Place::Machine, failed.to_string(), "")]),
    }
    let _ = writeln!(out, "stopped");
    let good = signal.is_some() && stopped.shards.is_ok();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
