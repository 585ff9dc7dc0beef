//! Pairs and curves as text.

use std::fmt::Write;
use std::time::Duration;

use super::Settings;
use super::curve::{Curve, SLICE_MS};
use super::held::Held;
use super::pairs::{Pair, Run};
use super::saturate::Step;
use crate::bench::table::{median, number};
use crate::load::report::micros;
use crate::load::series::p99;

/// One line about a pair, and one per fault.
pub(super) fn pair(pair: &Pair) -> String {
    let Pair { cps, round, direct, media } = pair;
    let run =
        |run: &Run| format!("shard {} control {} other {}", micros(run.shard), micros(run.control), micros(run.other));
    let mut line = format!(
        "{cps:>6}/s pair {round}: µs per call direct: {}; media: {}; shard ratio {}; ok {}/{} and {}/{}",
        run(direct),
        run(media),
        number(pair.ratio(), 2),
        direct.report.tally.ok,
        direct.report.tally.started,
        media.report.tally.ok,
        media.report.tally.started,
    );
    for (name, run) in [("direct", direct), ("media", media)] {
        for fault in run.faults() {
            let _ = write!(line, "\n         NOT MET {name}: {fault}");
        }
    }
    line
}

/// The table of all pairs.
pub(super) fn pairs(settings: &Settings, pairs: &[Pair]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let mut text = "CPU in µs per call by thread, median over the pairs.\n\n\
        | calls/s | shard: direct | media | ratio | each pair | control: direct | media | INVITE-INVITE p99 µs: direct | media | met |\n\
        | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |\n"
        .to_owned();
    for cps in &settings.cps {
        let rows: Vec<&Pair> = pairs.iter().filter(|pair| pair.cps == *cps).collect();
        let middle = |figure: &dyn Fn(&Pair) -> f64| median(rows.iter().map(|pair| figure(pair)).collect());
        let us = |span: Duration| span.as_secs_f64() * 1e6;
        let through = |run: &Run| run.report.latencies.through.summary_us()[1] as f64;
        let each: Vec<String> = rows.iter().map(|pair| number(pair.ratio(), 2)).collect();
        let met = rows.iter().filter(|pair| pair.holds()).count();
        let _ = writeln!(
            text,
            "| {cps} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            number(middle(&|pair| us(pair.direct.shard)), 1),
            number(middle(&|pair| us(pair.media.shard)), 1),
            number(middle(&Pair::ratio), 2),
            each.join(", "),
            number(middle(&|pair| us(pair.direct.control)), 1),
            number(middle(&|pair| us(pair.media.control)), 1),
            number(middle(&|pair| through(&pair.direct)), 0),
            number(middle(&|pair| through(&pair.media)), 0),
            if met == rows.len() { "yes".to_owned() } else { format!("not met: {met} of {}", rows.len()) },
        );
    }
    text.push('\n');
    text
}

/// A curve: its parts, its seconds, its recovery, and the slices around each event.
pub(super) fn curve(settings: &Settings, curve: &Curve) -> String {
    let mut text = format!("{} of one node, then of both, at {} calls/s.\n\n", curve.fault, settings.curve_cps);
    text.push_str(
        "| part | calls | p99 µs to the 100 | median 100 ms | worst 100 ms | p99 µs to the callee | 503 | failed otherwise |\n",
    );
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for part in curve.parts() {
        let [whole, middle, worst] = part.trying_us;
        let _ = writeln!(
            text,
            "| {} | {} | {whole} | {middle} | {worst} | {} | {} | {} |",
            part.name, part.started, part.through_us, part.unavailable, part.failed
        );
    }
    let recovery = curve.recovery().map_or("never".to_owned(), |span| format!("{} ms", span.as_millis()));
    let peaks: Vec<String> = curve
        .left
        .iter()
        .map(|node| format!("{} (offers {}, repeated {})", node.peak, node.offers, node.repeated))
        .collect();
    let _ = writeln!(text, "\nRecovery after the return: {recovery}. Most sessions at once: {}.\n", peaks.join(", "));
    text.push_str("```text\nby second: started/503/failed\n");
    for (second, [started, unavailable, failed]) in curve.seconds().iter().enumerate() {
        let _ = write!(text, "{second:>3}: {started}/{unavailable}/{failed}");
        text.push(if second % 6 == 5 { '\n' } else { ' ' });
    }
    let _ = writeln!(text, "\nby {SLICE_MS} ms: p99 µs to the 100");
    for (place, slice) in curve.report.series.slices.iter().enumerate() {
        let _ = write!(text, "{}{}", p99(&slice.trying_us), if place % 20 == 19 { "\n" } else { " " });
    }
    text.push_str("\n```\n\n");
    for (failure, count) in &curve.report.tally.failures {
        let _ = writeln!(text, "- {count} calls: {failure}");
    }
    let half = curve.report.tally.half_agreed.iter().filter(|call| curve.excuses(call)).count();
    let _ = writeln!(text, "- {half} of them had a callee that had been told a faulty node");
    for fault in curve.faults() {
        let _ = writeln!(text, "- not met: {fault}");
    }
    text.push('\n');
    text
}

/// What became of many calls at once.
pub(super) fn held(held: &Held) -> String {
    let [before, together] = &held.sessions;
    let list = |sessions: &[u64]| sessions.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let tally = &held.report.tally;
    let mut text = format!(
        "{} calls at once over four nodes of {} sessions{}.\n\n\
         - ended well {} of {}\n- 500 because their callee had been told a node that was killed: {}\n- sessions by node when four fifths had started: {}\n- of those that were left with all calls there: {}\n",
        held.calls,
        held.node_sessions,
        if held.lost_at.is_some() { ", the first killed meanwhile" } else { "" },
        tally.ok,
        tally.started,
        tally.half_agreed.iter().filter(|call| held.excuses(call)).count(),
        list(before),
        list(together),
    );
    for fault in held.faults() {
        let _ = writeln!(text, "- not met: {fault}");
    }
    text.push('\n');
    text
}

/// One line about one rate, and one per fault.
pub(super) fn step(step: &Step) -> String {
    let [_, through99, ..] = step.report.latencies.through.summary_us();
    let left = step.left.map_or("?".to_owned(), |left| left.to_string());
    let mut line = format!(
        "{:>6}/s rtpengine: ok {}/{}, 503 {}, 500 by a late answer {}, failed otherwise {}, sessions left {left}, INVITE-INVITE p99 {through99} µs",
        step.cps,
        step.report.tally.ok,
        step.report.tally.started,
        step.unavailable(),
        step.late(),
        step.failed(),
    );
    for fault in step.faults() {
        let _ = write!(line, "\n         NOT MET {fault}");
    }
    if step.report.saturated() {
        line.push_str("\n         the generator was late: the rate of this step was not offered");
    }
    line
}

/// All rates.
pub(super) fn steps(steps: &[Step]) -> String {
    let lines: Vec<String> = steps.iter().map(step).collect();
    format!("Two real rtpengine nodes, the rate doubled until a call failed.\n\n```text\n{}\n```\n\n", lines.join("\n"))
}
