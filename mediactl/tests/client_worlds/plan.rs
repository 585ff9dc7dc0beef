//! What a world has of each fault, drawn from its seed.

use super::draw::Draw;

/// What happens from time to time.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    Freeze,
    Crash,
    Mood,
    Drain,
    Move,
    Remove,
    Add,
    Kill,
    Panic,
    Cut,
    Icmp,
}

const TROUBLES: [Trouble; 11] = [
    Trouble::Freeze,
    Trouble::Crash,
    Trouble::Mood,
    Trouble::Drain,
    Trouble::Move,
    Trouble::Remove,
    Trouble::Add,
    Trouble::Kill,
    Trouble::Panic,
    Trouble::Cut,
    Trouble::Icmp,
];

/// The plan. Shares are in a thousand, times in microseconds.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) shards: u64,
    /// From one call to the next, on average.
    pub(crate) pause: u64,
    /// How long calls begin.
    pub(crate) load: u64,
    /// Datagrams lost, doubled, cut short; forged ones beside them.
    pub(crate) loss: u64,
    pub(crate) doubled: u64,
    pub(crate) cut_short: u64,
    pub(crate) forged: u64,
    /// The longest way of a datagram.
    pub(crate) way: u64,
    /// How late a timer may be.
    pub(crate) late: u64,
    pub(crate) listed: bool,
    /// Records in the table.
    pub(crate) records: usize,
    /// From one trouble to the next.
    pub(crate) trouble_pause: u64,
    pub(crate) troubles: Vec<Trouble>,
}

impl Plan {
    pub(crate) fn new(draw: &mut Draw) -> Plan {
        let mut some = |most: u64| if draw.chance(500) { draw.below(most) } else { 0 };
        let (loss, doubled, cut_short, forged, late) = (some(200), some(100), some(50), some(50), some(20_000));
        Plan {
            nodes: draw.between(2, 4) as usize,
            shards: draw.between(1, 4),
            pause: draw.between(20_000, 300_000),
            load: draw.between(30_000_000, 150_000_000),
            loss,
            doubled,
            cut_short,
            forged,
            way: draw.pick(&[1_000, 10_000, 100_000, 300_000]),
            late,
            listed: draw.chance(500),
            records: if draw.chance(100) { draw.between(4, 40) as usize } else { 4_000 },
            trouble_pause: draw.between(1_000_000, 10_000_000),
            troubles: TROUBLES.into_iter().filter(|_| draw.chance(400)).collect(),
        }
    }
}
