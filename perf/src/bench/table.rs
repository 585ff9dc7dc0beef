//! The comparison as text: a line per run while it goes on, a Markdown table, JSON.

use std::fmt::Write;
use std::time::Duration;

use super::target::Kind;
use super::{Run, Settings, Stand};
use crate::kernel::Machine;
use crate::load::report::micros;

/// Where, what and how, before the first run.
pub(crate) fn heading(machine: &Machine, stand: &Stand) -> String {
    let Machine { cpu, cores, kernel, commit } = machine;
    let Stand { rounds, seconds, ring_ms, hold_ms, drain_ms, target_cpu, generator_cpu, sources, .. } = stand;
    format!(
        "machine  {cpu}, {cores} CPUs, Linux {kernel}\ncommit   {commit}\n\
         plan     INVITE 100 180 200 ACK BYE 200, ring {ring_ms} ms, hold {hold_ms} ms, {sources} source(s); \
         {rounds} pair(s) of {seconds} s per rate, drain {drain_ms} ms charged; target on CPU {target_cpu}, \
         generator on CPU {generator_cpu}"
    )
}

/// One line about one run, and one per fault.
pub(super) fn progress(run: &Run) -> String {
    let report = &run.report;
    let target = report.target.map_or(Duration::ZERO, |target| target.per_call);
    let [through50, through99, ..] = report.latencies.through.summary_us();
    let mut line = format!(
        "{:>6}/s pair {} {:8} {:>6} µs/call, INVITE-INVITE p50 {through50} p99 {through99} µs, generator {} µs/call, ok {}/{}",
        report.cps,
        run.round,
        run.kind.name(),
        micros(target),
        micros(report.generator_per_call),
        report.tally.ok,
        report.tally.started,
    );
    for fault in report.faults() {
        let _ = write!(line, "\n         FAULT {fault}");
    }
    line
}

fn of(runs: &[Run], cps: u32, kind: Kind) -> Vec<&Run> {
    runs.iter().filter(|run| run.report.cps == cps && run.kind == kind).collect()
}

fn per_call(run: &Run) -> f64 {
    run.report.target.map_or(f64::NAN, |target| target.per_call.as_secs_f64() * 1e6)
}

fn steady(run: &Run) -> f64 {
    let steady = run.report.target.and_then(|target| target.steady_per_call);
    steady.map_or(f64::NAN, |span| span.as_secs_f64() * 1e6)
}

/// The median; with an even count the mean of the middle two; not a number when there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    match count {
        0 => f64::NAN,
        _ if count % 2 == 1 => values[count / 2],
        _ => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

fn median_of(runs: &[&Run], figure: impl Fn(&Run) -> f64) -> f64 {
    median(runs.iter().map(|run| figure(run)).collect())
}

/// The table, with machine, commit and plan above it and the faults below.
pub(super) fn markdown(machine: &Machine, settings: &Settings, runs: &[Run]) -> String {
    let mut text = format!("```text\n{}\n```\n\n", heading(machine, &settings.stand));
    text.push_str("CPU of the system under test in µs per call, median over the pairs; `steady` is the middle half of the run alone.\n\n");
    text.push_str("| calls/s | floor | Corelane | ratio | each pair | steady: floor | Corelane | ratio | INVITE-INVITE p99 µs: floor | Corelane | generator |\n");
    text.push_str("| ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for cps in &settings.cps {
        let (floor, corelane) = (of(runs, *cps, Kind::Floor), of(runs, *cps, Kind::Corelane));
        let both: Vec<&Run> = floor.iter().chain(&corelane).copied().collect();
        let figures = |figure: fn(&Run) -> f64| {
            let (a, b) = (median_of(&floor, figure), median_of(&corelane, figure));
            (number(a, 1), number(b, 1), number(b / a, 2))
        };
        let pairs: Vec<String> =
            floor.iter().zip(&corelane).map(|(a, b)| number(per_call(b) / per_call(a), 2)).collect();
        let (floor_all, corelane_all, ratio) = figures(per_call);
        let (floor_steady, corelane_steady, ratio_steady) = figures(steady);
        let p99 = |run: &Run| run.report.latencies.through.summary_us()[1] as f64;
        let _ = writeln!(
            text,
            "| {cps} | {floor_all} | {corelane_all} | {ratio} | {} | {floor_steady} | {corelane_steady} | {ratio_steady} | {} | {} | {} |",
            pairs.join(", "),
            number(median_of(&floor, p99), 0),
            number(median_of(&corelane, p99), 0),
            number(median_of(&both, |run| run.report.generator_per_call.as_secs_f64() * 1e6), 1),
        );
    }
    for run in runs {
        for fault in run.report.faults() {
            let _ = writeln!(
                text,
                "\nNot a figure: {} at {}/s, pair {}: {fault}.",
                run.kind.name(),
                run.report.cps,
                run.round
            );
        }
    }
    text
}

/// A figure, or a dash where there is none.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "–".to_owned() }
}

/// Every run with its counts, for whoever draws or compares.
pub(super) fn json(machine: &Machine, settings: &Settings, runs: &[Run]) -> String {
    let list = |items: Vec<String>| items.join(",\n    ");
    let run = |run: &Run| {
        let report = &run.report;
        let [p50, p99, p999, max] = report.latencies.through.summary_us();
        let counters: Vec<String> =
            run.counters.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
        let faults: Vec<String> = report.faults().iter().map(|fault| quoted(fault)).collect();
        format!(
            "{{\"target\": {}, \"cps\": {}, \"round\": {}, \"cpu_us_per_call\": {}, \"steady_cpu_us_per_call\": {}, \
             \"generator_us_per_call\": {:.2}, \"started\": {}, \"ok\": {}, \"retransmitted_out\": {}, \"late_max_us\": {}, \
             \"invite_invite_us\": {{\"p50\": {p50}, \"p99\": {p99}, \"p999\": {p999}, \"max\": {max}}}, \
             \"faults\": [{}], \"counters\": {{{}}}}}",
            quoted(run.kind.name()),
            report.cps,
            run.round,
            value(per_call(run)),
            value(steady(run)),
            report.generator_per_call.as_secs_f64() * 1e6,
            report.tally.started,
            report.tally.ok,
            report.tally.retransmitted_out,
            report.late_max.as_micros(),
            faults.join(", "),
            counters.join(", "),
        )
    };
    format!(
        "{{\n  \"cpu\": {}, \"cpus\": {}, \"kernel\": {}, \"commit\": {},\n  \"rounds\": {}, \"seconds\": {}, \"drain_ms\": {},\n  \
         \"runs\": [\n    {}\n  ]\n}}\n",
        quoted(&machine.cpu),
        machine.cores,
        quoted(&machine.kernel),
        quoted(&machine.commit),
        settings.stand.rounds,
        settings.stand.seconds,
        settings.stand.drain_ms,
        list(runs.iter().map(run).collect()),
    )
}

/// A JSON number; `null` where there is none.
fn value(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { "null".to_owned() }
}

/// A JSON string (RFC 8259 §7).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::{median, number, quoted, value};

    #[test]
    fn medians_of_any_count() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn what_is_missing_is_said_so() {
        assert_eq!((number(f64::NAN, 1), value(f64::NAN)), ("–".to_owned(), "null".to_owned()));
        assert_eq!((number(1.25, 1), value(1.0)), ("1.2".to_owned(), "1.00".to_owned()));
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("a\"b\\\n"), r#""a\"b\\\u000a""#);
    }
}
