//! `routes stat`: what is in an image, as a table.

use std::fmt;

use corelane_core::routing::{Counts, Image};

use crate::routes::zones::shown_date;

/// What is in an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stat {
    /// One more at each compile.
    pub generation: u64,
    /// Microseconds since 1970 UTC.
    pub compiled_at: u64,
    /// Size of the file.
    pub bytes: usize,
    /// Live rows and slots of listeners, providers, gateways, carriers.
    pub slots: [(&'static str, usize, usize); 4],
    /// Everything else.
    pub counts: Counts,
    /// Time windows, and their rows.
    pub windows: (usize, usize),
    /// Time zones beside UTC.
    pub zones: usize,
    /// Until when the zones' clocks are known, seconds since 1970 UTC; `None` when none of them is ever set.
    pub zones_until: Option<i64>,
}

impl Stat {
    pub(super) fn of(image: &Image<'_>, bytes: usize) -> Stat {
        let tables = image.tables();
        macro_rules! live {
            ($name:literal, $table:ident) => {{
                let live = |place: &&corelane_core::routing::layout::ArchivedPlace<_>| {
                    matches!(place, corelane_core::routing::layout::ArchivedPlace::Taken(_))
                };
                ($name, tables.$table.iter().filter(live).count(), tables.$table.len())
            }};
        }
        Stat {
            generation: image.generation(),
            compiled_at: image.compiled_at(),
            bytes,
            slots: [
                live!("listeners", listeners),
                live!("providers", providers),
                live!("gateways", gateways),
                live!("carriers", carriers),
            ],
            counts: image.counts(),
            windows: (tables.windows.len(), tables.windows.iter().map(|window| window.rows.len()).sum()),
            zones: tables.zones.len(),
            zones_until: zones_until(image),
        }
    }
}

/// Until when the clocks of an image's zones are known, seconds since 1970 UTC; `None` when none of them is ever set.
pub(crate) fn zones_until(image: &Image<'_>) -> Option<i64> {
    let tables = image.tables();
    let set = tables.zones.iter().any(|zone| !zone.transitions.is_empty());
    set.then_some(tables.zones_until.to_native())
}

impl fmt::Display for Stat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<14} {:>12}", "generation", self.generation)?;
        writeln!(out, "{:<14} {:>12}", "bytes", self.bytes)?;
        for (name, live, slots) in self.slots {
            writeln!(out, "{name:<14} {live:>12}   in {slots} slots")?;
        }
        let counts = &self.counts;
        writeln!(out, "{:<14} {:>12}   in {} networks", "addresses", counts.source_rows, counts.networks)?;
        writeln!(out, "{:<14} {:>12}   in {} sets", "routes", counts.routes, counts.route_sets)?;
        writeln!(out, "{:<14} {:>12}   in {} groups", "prefixes", counts.prefixes, counts.groups)?;
        writeln!(out, "{:<14} {:>12}   of {} rows", "windows", self.windows.0, self.windows.1)?;
        write!(out, "{:<14} {:>12}", "zones", self.zones)?;
        match self.zones_until {
            Some(until) => writeln!(out, "   known until {}", shown_date(until))?,
            None => writeln!(out)?,
        }
        let trie = 16 * counts.trie_blocks + 64 * counts.trie_lines + 9 * counts.prefixes;
        write!(out, "{:<14} {:>12}   bytes", "trie", trie)?;
        if counts.prefixes > 0 {
            write!(out, ", {:.1} per prefix", trie as f64 / counts.prefixes as f64)?;
        }
        writeln!(out)
    }
}
