//! What a node tells about itself in plain lines: its memory bill and its counters.
//!
//! ```text
//! memory: 41.2 MB a shard, 82.4 MB in all
//!   calls                     30000 x   1096 B   32.9 MB
//! counter control media_requests=24
//! counter shard=0 calls_started=12
//! counter node calls_started=12
//! ledger node calls acquired=12 released=10 live=2 balances
//! ledger control media_sessions acquired=12 released=9 live=3 balances
//! ```
//!
//! Counter lines are an interface: tests and scripts read them. The form stays; names come from [`TABLE`] and only grow.

use std::fmt;
use std::io::{self, Write};

use corelane_core::Counters;
use corelane_core::admission::CapsSize;
use corelane_core::counter::{LEDGER, TABLE};
use corelane_core::engine::{BillLine, Budget};

use corelane_shard::{BUS_BYTES, journal};

use crate::config::Config;
use crate::control::ClientSpec;
use crate::control::counter::{Shared, TABLE as CONTROL};
use crate::problem::{Place, Problem};
use crate::rtpengine::client::SESSION_BYTES;
use crate::rtpengine::counter::{Counter as Media, TABLE as MEDIA};
use crate::rtpengine::sessions::{MEMORY, RECORD};

/// What the engines of a node will take, known before any of it is taken (SPEC I8).
#[derive(Clone, Debug)]
pub struct Bill {
    /// The records of one shard.
    pub budget: Budget,
    /// Number of shards.
    pub shards: u8,
    /// The table of caps, which all shards share; known with the image.
    pub caps: Option<CapsSize>,
    /// Records of the table of media sessions, where there are media nodes or something is owed to some.
    pub media_sessions: Option<u32>,
}

impl Bill {
    /// The bill of a configuration, with what its tables add to it, where they are known: rows of caps, and whether there are media nodes. `check` and
    /// `run` have it from here alike.
    #[must_use]
    pub fn of(config: &Config, tables: Option<(CapsSize, bool)>) -> Bill {
        let shards = config.shards();
        let calls = config.calls_max.value;
        let budget = Budget::for_shard(calls, config.cps_max.value, shards, &config.timers);
        let relays = tables.is_some_and(|(_, relays)| relays) || ClientSpec::left(config.journal_dir());
        let media_sessions = relays.then(|| ClientSpec::records(calls));
        Bill { budget, shards, caps: tables.map(|(caps, _)| caps), media_sessions }
    }

    /// Bytes of one shard: its engine, its way to the control core, its journal.
    #[must_use]
    pub fn shard_bytes(&self) -> u64 {
        self.lines().map(|line| line.bytes as u64).sum()
    }

    /// The items of one shard.
    fn lines(&self) -> impl Iterator<Item = BillLine> {
        let records = journal::capacity(self.budget.calls);
        let ring = BillLine { name: "rings to the control core", count: 1, bytes: BUS_BYTES };
        let journal = BillLine { name: "journal (a file)", count: records, bytes: journal::bytes(records) };
        self.budget.bill().into_iter().chain([ring, journal])
    }

    /// What all shards share.
    fn once(&self) -> impl Iterator<Item = BillLine> {
        let caps = self.caps.map(|caps| {
            let rows = caps.providers + caps.carriers + caps.gateways + caps.addresses;
            BillLine { name: "caps", count: u32::try_from(rows).unwrap_or(u32::MAX), bytes: caps.bytes() }
        });
        let media = self.media_sessions.into_iter().flat_map(|count| {
            let of = |name, each| BillLine { name, count, bytes: each * count as usize };
            [of("media sessions (a file)", RECORD), of("their index", MEMORY), of("their SDP, at most", SESSION_BYTES)]
        });
        caps.into_iter().chain(media)
    }

    /// Bytes of all engines and of what they share.
    #[must_use]
    pub fn node_bytes(&self) -> u64 {
        let once: u64 = self.once().map(|line| line.bytes as u64).sum();
        self.shard_bytes() * u64::from(self.shards) + once
    }

    /// Compares the bill with what the machine has. `total` bounds what can ever be had, `available` is free now.
    #[must_use]
    pub fn against(&self, config: &Config, total: Option<u64>, available: Option<u64>) -> Option<Problem> {
        let bytes = self.node_bytes();
        let place = [&config.calls_max.place, &config.cps_max.place]
            .into_iter()
            .find(|place| !matches!(place, Place::Default(_)))
            .unwrap_or(&config.calls_max.place);
        let cure = "lower `calls_max` or `cps_max`, or take a larger machine";
        if let Some(total) = total.filter(|total| bytes > *total) {
            let what = format!("the bill of {} is more than the {} of this machine", size(bytes), size(total));
            return Some(Problem::error(place.clone(), what, cure));
        }
        let available = available.filter(|available| bytes > *available)?;
        let what = format!("the bill of {} is more than the {} that are free now", size(bytes), size(available));
        Some(Problem::warning(place.clone(), what, cure))
    }
}

/// As an operator reads it, one line for each kind of record.
impl fmt::Display for Bill {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "memory: {} a shard, {} in all", size(self.shard_bytes()), size(self.node_bytes()))?;
        let once = self.once().map(|line| (line, "  (once for all)"));
        for (BillLine { name, count, bytes }, note) in self.lines().map(|line| (line, "")).chain(once) {
            let each = bytes as u64 / u64::from(count.max(1));
            writeln!(out, "  {name:<26} {count:>9} x {each:>7} B {:>10}{note}", size(bytes as u64))?;
        }
        Ok(())
    }
}

/// Writes the counters of the control core and of its media control, as `counter control NAME=VALUE`; then the ledger of the sessions on
/// media nodes, where there is media control.
///
/// # Errors
/// Those of the writer.
pub fn write_control(out: &mut dyn Write, control: &Shared, media: &[(&'static str, u64)]) -> io::Result<()> {
    let own = CONTROL.iter().map(|row| (row.name, control.value(row.counter)));
    for (name, value) in own.chain(media.iter().copied()) {
        writeln!(out, "counter control {name}={value}")?;
    }
    if media.is_empty() {
        return Ok(());
    }
    let value = |counter| {
        let name = MEDIA[counter as usize].name;
        media.iter().find(|(told, _)| *told == name).map_or(0, |(_, value)| *value)
    };
    let [acquired, released, held, due] =
        [Media::SessionsAcquired, Media::SessionsReleased, Media::SessionsHeld, Media::SessionsDue].map(value);
    write_account(out, "control media_sessions", [acquired, released, held + due], acquired == released + held + due)
}

fn write_account(out: &mut dyn Write, name: &str, account: [u64; 3], balances: bool) -> io::Result<()> {
    let [acquired, released, live] = account;
    let verdict = if balances { "balances" } else { "LOST" };
    writeln!(out, "ledger {name} acquired={acquired} released={released} live={live} {verdict}")
}

/// Writes the counters of every shard and of the node: each line `counter shard=N NAME=VALUE` or `counter node NAME=VALUE`; then the
/// ledger of the node, a line for each resource: what was taken, what came back, what is in use, and whether that adds up.
///
/// # Errors
/// Those of the writer.
pub fn write_counters(out: &mut dyn Write, shards: &[Counters]) -> io::Result<()> {
    for (shard, counters) in shards.iter().enumerate() {
        for row in TABLE {
            writeln!(out, "counter shard={shard} {}={}", row.name, counters.value(row.counter))?;
        }
    }
    for row in TABLE {
        // Gauges add up as well: each counts records, and every record belongs to one shard.
        let sum = shards.iter().fold(0_u64, |sum, counters| sum.wrapping_add(counters.value(row.counter)));
        writeln!(out, "counter node {}={sum}", row.name)?;
    }
    for account in LEDGER {
        let sum = |counter| shards.iter().fold(0_u64, |sum, counters| sum.wrapping_add(counters.value(counter)));
        let balances = shards.iter().all(|counters| counters.balances(account));
        let sums = [account.acquired, account.released, account.live].map(sum);
        write_account(out, &format!("node {}", account.name), sums, balances)?;
    }
    out.flush()
}

/// Bytes as an operator reads them, in units of 1000.
#[must_use]
pub fn size(bytes: u64) -> String {
    let scaled = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", scaled(1_000)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", scaled(1_000_000)),
        _ => format!("{:.1} GB", scaled(1_000_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use corelane_core::Counter;

    use super::*;

    #[test]
    fn every_counter_has_a_line_for_each_shard_and_the_node() {
        let mut shards = [Counters::default(), Counters::default()];
        shards[0].add(Counter::CallsStarted, 12);
        shards[1].add(Counter::CallsStarted, 30);
        let mut out = Vec::new();
        write_counters(&mut out, &shards).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 3 * TABLE.len() + LEDGER.len());
        assert!(
            text.contains("\nledger node calls acquired=42 released=0 live=0 LOST\n"),
            "none of them is anywhere\n{text}"
        );
        assert!(text.contains("\nledger node buffers acquired=0 released=0 live=0 balances\n"), "{text}");
        for line in
            ["counter shard=0 calls_started=12", "counter shard=1 calls_started=30", "counter node calls_started=42"]
        {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_control_core_has_its_lines() {
        let control = Shared::default();
        control.add(crate::control::counter::Counter::RecordsRead, 3);
        let mut out = Vec::new();
        write_control(&mut out, &control, &[]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), CONTROL.len(), "no ledger of what there is not");
        assert!(text.contains("counter control journal_read=3\n"), "{text}");
        for (acquired, ledger) in [
            (7, "ledger control media_sessions acquired=7 released=4 live=3 balances\n"),
            (8, "ledger control media_sessions acquired=8 released=4 live=3 LOST\n"),
        ] {
            let media = [
                ("media_sessions_acquired", acquired),
                ("media_sessions_held", 2),
                ("media_sessions_due", 1),
                ("media_sessions_released", 4),
            ];
            let mut out = Vec::new();
            write_control(&mut out, &control, &media).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.lines().count(), CONTROL.len() + media.len() + 1);
            assert!(text.contains("\ncounter control media_sessions_held=2\n") && text.ends_with(ledger), "{text}");
        }
    }

    #[test]
    fn a_bill_adds_up_and_is_held_against_the_machine() {
        let (config, _) = crate::config::Given::default().resolve(&[0, 1, 2]);
        let bill = Bill::of(&config, None);
        assert_eq!(bill.node_bytes(), 2 * bill.shard_bytes());
        let text = bill.to_string();
        assert!(text.starts_with(&format!(
            "memory: {} a shard, {} in all\n  ",
            size(bill.shard_bytes()),
            size(bill.node_bytes())
        )));
        assert_eq!(text.lines().count(), 1 + bill.lines().count());

        let caps = CapsSize { providers: 1, carriers: 2, gateways: 3, addresses: 4 };
        let whole = Bill::of(&config, Some((caps, true)));
        let media = u64::from(ClientSpec::records(60_000)) * (RECORD + MEMORY + SESSION_BYTES) as u64;
        assert_eq!(whole.node_bytes(), bill.node_bytes() + caps.bytes() as u64 + media);
        assert_eq!(whole.to_string().lines().count(), text.lines().count() + 4);
        let direct = Bill::of(&config, Some((caps, false)));
        assert_eq!(direct.node_bytes(), bill.node_bytes() + caps.bytes() as u64);

        let bytes = bill.node_bytes();
        assert_eq!(bill.against(&config, Some(bytes), Some(bytes)), None);
        let too_much = bill.against(&config, Some(bytes - 1), Some(0)).map(|problem| problem.to_string());
        assert!(too_much.is_some_and(|text| text.starts_with("error: default of `calls_max`: the bill of ")));
        let tight = bill.against(&config, Some(bytes), Some(bytes - 1)).map(|problem| problem.to_string());
        assert!(tight.is_some_and(|text| text.starts_with("warning: ") && text.contains("that are free now")));
        assert_eq!(bill.against(&config, None, None), None, "nothing is known of the machine");
    }

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (72_000_000, "72.0 MB"), (2_500_000_000, "2.5 GB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
