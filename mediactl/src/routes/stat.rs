//! `routes stat`: what is in an image, as a table.

use std::fmt;

use corelane_core::routing::{Counts, Image};

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
        }
    }
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
        let trie = 16 * counts.trie_blocks + 64 * counts.trie_lines + 9 * counts.prefixes;
        write!(out, "{:<14} {:>12}   bytes", "trie", trie)?;
        if counts.prefixes > 0 {
            write!(out, ", {:.1} per prefix", trie as f64 / counts.prefixes as f64)?;
        }
        writeln!(out)
    }
}
