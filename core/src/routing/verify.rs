//! The slow check of a whole image: checksum, that every number in it leads somewhere, and that what it would have us write into a message
//! can stand there.

use core::net::Ipv6Addr;

use rkyv::Archived;
use rkyv::option::ArchivedOption;
use rkyv::string::ArchivedString;

use crate::limits::{HOST_MAX, MEDIA_FLAGS_COLUMN_MAX};
use crate::routing::digits::Digits;
use crate::routing::image::{Image, ImageError};
use crate::routing::layout::{
    ALWAYS, ArchivedGroup, ArchivedLine, ArchivedPlace, BODY_START, NO_LINE, NO_SLOT, PREFIX_MAX, Place,
    ROWS_PER_WINDOW_MAX, Trie, ZONE_OFFSET_MAX_S, ZONE_TRANSITIONS_MAX,
};
use crate::routing::trie::{CELLS, KEYS, NO_KEY, NUMBER, NUMBER_BITS, Node, kind};

impl Image<'_> {
    /// Checks the checksum of the body, every number in it and the texts that go into messages: linear in the size of the image.
    ///
    /// # Errors
    /// [`ImageError::Checksum`] for a changed byte, [`ImageError::Malformed`] for a number that leads outside or a text that would
    /// break a message.
    pub fn verify(&self) -> Result<(), ImageError> {
        if crc32fast::hash(&self.bytes[BODY_START..]) != self.header().body_checksum() {
            return Err(ImageError::Checksum);
        }
        let sound = self.records_are_sound()
            && self.sources_are_sound()
            && self.times_are_sound()
            && self.routes_are_sound()
            && trie_is_sound(self.trie);
        if sound { Ok(()) } else { Err(ImageError::Malformed) }
    }

    /// What records give to be written: numbers of number symbols, hosts of host symbols, statuses that refuse, flags that fit.
    fn records_are_sound(&self) -> bool {
        let tables = self.tables;
        tables.listeners.iter().filter_map(taken).all(|record| record.advertise_host.as_ref().is_none_or(is_host))
            && tables.providers.iter().filter_map(taken).all(|record| {
                Digits::parse(record.prepend.as_bytes()).is_ok()
                    && (400..700).contains(&record.refuse_code.to_native())
                    && record.media_flags.len() <= MEDIA_FLAGS_COLUMN_MAX
            })
            && tables.gateways.iter().filter_map(taken).all(|record| {
                let prepend = record.prepend.strip_prefix('+').unwrap_or(&record.prepend);
                Digits::parse(prepend.as_bytes()).is_ok()
                    && record.port.to_native() != 0
                    && record.from_host.as_ref().is_none_or(is_uri_host)
                    && record.media_flags.len() <= MEDIA_FLAGS_COLUMN_MAX
            })
    }

    fn sources_are_sound(&self) -> bool {
        let rows = self.sources.rows.len() as u64;
        let providers = self.tables.providers.len();
        let listeners = self.tables.listeners.len();
        let caps = self.tables.address_caps.len();
        [&self.sources.networks_v4, &self.sources.networks_v6].into_iter().all(|networks| {
            networks.iter().zip(0u32..).all(|(network, place)| {
                let end = u64::from(network.first_row.to_native()) + u64::from(network.rows.to_native());
                end <= rows && network.parent.to_native() <= place && network.start <= network.end
            }) && networks.windows(2).all(|pair| pair[0].start <= pair[1].start)
        }) && self.sources.rows.iter().all(|row| {
            let listener = row.listener.to_native();
            usize::from(row.provider.to_native()) < providers
                && usize::from(row.tech_prefix_len) <= row.tech_prefix.len()
                && (listener == NO_SLOT || usize::from(listener) < listeners)
                && (row.cap == NO_SLOT || usize::from(row.cap.to_native()) < caps)
        }) && self
            .sources
            .gateways
            .iter()
            .all(|entry| usize::from(entry.gateway.to_native()) < self.tables.gateways.len())
    }

    fn times_are_sound(&self) -> bool {
        let zones = self.tables.zones.len();
        let known = |zone: &ArchivedOption<Archived<u16>>| {
            zone.as_ref().is_none_or(|zone| usize::from(zone.to_native()) < zones)
        };
        let possible = |offset_s: Archived<i32>| offset_s.to_native().abs_diff(0) <= ZONE_OFFSET_MAX_S.unsigned_abs();
        self.tables.zones.iter().all(|zone| {
            let transitions = zone.transitions.as_slice();
            transitions.len() <= ZONE_TRANSITIONS_MAX
                && transitions.is_sorted_by(|left, right| left.at < right.at)
                && transitions.iter().map(|set| set.offset_s).chain([zone.offset_s]).all(possible)
        }) && self
            .tables
            .windows
            .iter()
            .all(|window| window.rows.len() <= ROWS_PER_WINDOW_MAX && window.rows.iter().all(|row| known(&row.zone)))
            && self.tables.providers.iter().all(|place| match place {
                ArchivedPlace::Taken(provider) => known(&provider.zone),
                ArchivedPlace::Vacant(_) => true,
            })
    }

    fn routes_are_sound(&self) -> bool {
        let sets = self.routes.first.len();
        let entries = self.routes.entries.len();
        let carriers = self.tables.carriers.len();
        let windows = self.tables.windows.len();
        let schedules = self.routes.schedules.len();
        let ascending = |first: &[Archived<u32>], end: usize| {
            first.windows(2).all(|pair| pair[0] <= pair[1])
                && first.first().is_some_and(|first| first.to_native() == 0)
                && first.last().is_some_and(|last| last.to_native() as usize == end)
        };
        ascending(self.routes.first.as_slice(), entries)
            && ascending(self.origins.first.as_slice(), self.origins.ids.len())
            && self.origins.costs.len() == self.origins.ids.len()
            && self.origins.first.len() == self.trie.sets.len() + 1
            && self.routes.entries.iter().all(|entry| {
                let schedule = entry.schedule.to_native();
                usize::from(entry.carrier.to_native()) < carriers
                    && (schedule == ALWAYS || (schedule as usize) < schedules)
            })
            && self.routes.schedules.iter().all(|schedule| {
                let window = schedule.window.to_native();
                window == NO_SLOT || usize::from(window) < windows
            })
            && self.trie.parents.len() == self.trie.sets.len()
            && self.trie.lengths.len() == self.trie.sets.len()
            && self.trie.sets.iter().all(|set| (set.to_native() as usize) < sets.saturating_sub(1))
            && self.trie.parents.iter().zip(1u32..).all(|(parent, number)| parent.to_native() < number)
            && self.trie.lengths.iter().all(|len| usize::from(*len) <= PREFIX_MAX)
    }
}

fn taken<T: rkyv::Archive>(place: &ArchivedPlace<T>) -> Option<&Archived<T>> {
    match place {
        Archived::<Place<T>>::Taken(record) => Some(record),
        Archived::<Place<T>>::Vacant(_) => None,
    }
}

/// A host name or an address without brackets, in the symbols that either has.
fn is_host(host: &ArchivedString) -> bool {
    let symbol = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    (1..=HOST_MAX).contains(&host.len()) && host.bytes().all(symbol)
}

/// A host as a URI has it (RFC 3261 §25.1): an IPv6 address stands in brackets.
fn is_uri_host(host: &ArchivedString) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_host(host) && !host.contains(':'),
    }
}

fn trie_is_sound(trie: &Archived<Trie>) -> bool {
    trie.groups.windows(2).all(|pair| pair[0].routing_group < pair[1].routing_group)
        && trie.groups.iter().all(|group| root_is_sound(trie, group))
        && trie.lines.iter().enumerate().all(|(place, line)| line_is_sound(trie, place, line))
}

/// Whether each cell of a root leads to a line.
fn root_is_sound(trie: &Archived<Trie>, group: &ArchivedGroup) -> bool {
    let digits @ 2..=6 = group.digits.to_native() else { return false };
    let (first, others) = (group.blocks.to_native() as usize, group.others.to_native());
    let Some(blocks) = trie.blocks.get(first..first + 10usize.pow(digits - 2)) else { return false };
    let mut count = 0;
    let counted = blocks.iter().all(|block| {
        let block = u128::from(block.starts[1].to_native()) << 64 | u128::from(block.starts[0].to_native());
        let before = count;
        count += (block << (128 - CELLS)).count_ones() as usize;
        block >> CELLS == before as u128
    });
    counted
        && blocks[0].starts[0].to_native() & 1 == 1
        && group.lines.to_native() as usize + count <= trie.lines.len()
        && (others == NO_LINE || (others as usize) < trie.lines.len())
}

/// Whether a line names prefixes that exist and lines that lie behind it.
fn line_is_sound(trie: &Archived<Trie>, place: usize, line: &ArchivedLine) -> bool {
    let prefixes = trie.sets.len();
    let words = line.words.each_ref().map(|word| word.to_native());
    let first = (words[0] & NUMBER) as usize;
    let numbered = |count: usize| count == 0 || (first > 0 && first + count <= prefixes + 1);
    let keys = words[KEYS..].iter().filter(|key| **key != NO_KEY).count();
    (words[1] & NUMBER) as usize <= prefixes
        && match words[0] >> NUMBER_BITS {
            kind::NARROW => numbered(keys),
            kind::WIDE => numbered(keys.div_ceil(2)),
            kind::LONG => words[2] as u8 <= 3 && numbered(usize::from(words[2] as u8)),
            kind::NODE => {
                let node = Node(line);
                let below = node.lines()
                    ..node.lines() + (0..4).map(|word| node.starts(word).count_ones() as usize).sum::<usize>();
                below.start > place
                    && below.end <= trie.lines.len()
                    && (0..=255).all(|cell| below.contains(&node.line(cell)))
            }
            _ => false,
        }
}
