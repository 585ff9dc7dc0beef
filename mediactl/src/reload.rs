//! What a running node takes from its tables again: `media_node`, at SIGHUP.
//!
//! ```text
//!   media_node.csv ─► read and checked whole ─► compared with what is in force ─► the control core ─► one line of what changed
//!                      │ anything wrong: all of it is refused, and what was in force stays
//! ```
//!
//! Shards are not told: what they know of media is whether there are nodes at all, and which sets their providers name. So a table that would
//! contradict that is refused: nodes where the node started without, none where it started with some, a set that has lost its last row. Nothing here
//! runs on the control core's runtime: a file may be on a disk that hangs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::control::{MediaHandle, MediaNode};
use crate::image::row_problem;
use crate::problem::{Place, Problem};
use crate::routes;

/// The media nodes in force, and what a new table is held against.
#[derive(Debug)]
pub struct MediaTable {
    /// Directory of the tables.
    directory: PathBuf,
    nodes: Vec<MediaNode>,
    /// Providers of the running image that name a set, each with its set.
    sets: Vec<(u32, u32)>,
}

/// What a reload did.
#[derive(Debug)]
pub struct Reloaded {
    /// One line.
    pub summary: String,
    /// What is legal and looks wrong.
    pub warnings: Vec<Problem>,
}

impl MediaTable {
    /// The table that a node started with.
    #[must_use]
    pub fn new(directory: &Path, nodes: Vec<MediaNode>, sets: Vec<(u32, u32)>) -> MediaTable {
        MediaTable { directory: directory.to_path_buf(), nodes, sets }
    }

    /// Reads the table again and hands it to media control.
    ///
    /// # Errors
    /// Everything that is wrong with it; nothing has changed then.
    pub fn reload(&mut self, media: &MediaHandle) -> Result<Reloaded, Vec<Problem>> {
        self.reload_to(|nodes| media.take_nodes(nodes))
    }

    fn reload_to(&mut self, take: impl FnOnce(Vec<MediaNode>) -> bool) -> Result<Reloaded, Vec<Problem>> {
        let told =
            |rows: Vec<routes::Problem>| rows.iter().map(|row| row_problem(&self.directory, row)).collect::<Vec<_>>();
        let rows = routes::media_nodes(&self.directory).map_err(told)?;
        if self.nodes.is_empty() && !rows.is_empty() {
            return Err(vec![Problem::error(
                Place::File(self.directory.join("media_node.csv")),
                "this node started without media nodes, and its calls are under way without",
                "start it again",
            )]);
        }
        if !self.nodes.is_empty() {
            routes::serves(&rows, self.sets.iter().copied()).map_err(told)?;
        }
        let warnings = routes::idle(&rows, self.sets.iter().copied());
        let warnings = warnings.iter().map(|row| row_problem(&self.directory, row).as_warning()).collect();
        let nodes: Vec<MediaNode> = rows.into_iter().map(|row| MediaNode::from(row.row)).collect();
        if !take(nodes.clone()) {
            return Err(vec![Problem::error(
                Place::Machine,
                "media control has not yet taken the tables of before",
                "try again",
            )]);
        }
        let summary = changes(&self.nodes, &nodes);
        self.nodes = nodes;
        Ok(Reloaded { summary, warnings })
    }
}

/// One line of what is different, node by node in the order of their ids.
fn changes(before: &[MediaNode], after: &[MediaNode]) -> String {
    let mut ids: Vec<u32> = before.iter().chain(after).map(|node| node.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let of = |nodes: &[MediaNode], id| nodes.iter().find(|node| node.id == id).cloned();
    let mut line = String::new();
    for id in ids {
        let change = match (of(before, id), of(after, id)) {
            (Some(before), Some(after)) => change(&before, &after),
            (None, Some(MediaNode { enabled: true, .. })) => Some("added".to_owned()),
            (None, Some(_)) => Some("added, drained".to_owned()),
            (Some(_), None) => Some("removed, drains".to_owned()),
            (None, None) => None,
        };
        if let Some(change) = change {
            let comma = if line.is_empty() { "" } else { "; " };
            // A string takes all that is written.
            let _ = write!(line, "{comma}{id} {change}");
        }
    }
    if line.is_empty() { "media nodes: nothing changed".to_owned() } else { format!("media nodes: {line}") }
}

/// What is different of one node.
fn change(before: &MediaNode, after: &MediaNode) -> Option<String> {
    let mut parts = Vec::new();
    match (before.enabled, after.enabled) {
        (true, false) => parts.push("drains".to_owned()),
        (false, true) => parts.push("takes calls again".to_owned()),
        _ => {}
    }
    let place = |node: &MediaNode| format!("{}:{}", node.host, node.port);
    let columns = [
        ("set", before.set.to_string(), after.set.to_string()),
        ("at", place(before), place(after)),
        ("weight", before.weight.to_string(), after.weight.to_string()),
        ("max_sessions", before.max_sessions.to_string(), after.max_sessions.to_string()),
    ];
    let changed = columns.into_iter().filter(|(_, old, new)| old != new);
    parts.extend(changed.map(|(column, old, new)| format!("{column} {new} (was {old})")));
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEAD: &str = "id,set,host,port,weight,max_sessions,enabled\n";

    fn table(directory: &Path, rows: &str) -> MediaTable {
        fs::write(directory.join("media_node.csv"), format!("{HEAD}{rows}")).expect("a directory of this test");
        let rows = routes::media_nodes(directory).expect("these rows are right");
        let nodes = rows.into_iter().map(|row| MediaNode::from(row.row)).collect();
        MediaTable::new(directory, nodes, vec![(70, 1), (71, 0), (72, 2)])
    }

    fn reload(table: &mut MediaTable, rows: &str) -> Result<(Reloaded, Vec<MediaNode>), Vec<String>> {
        fs::write(table.directory.join("media_node.csv"), format!("{HEAD}{rows}")).expect("a directory of this test");
        let mut taken = Vec::new();
        let reloaded = table.reload_to(|nodes| {
            taken = nodes;
            true
        });
        reloaded.map(|reloaded| (reloaded, taken)).map_err(|told| told.iter().map(ToString::to_string).collect())
    }

    const ROWS: &str = "1,1,192.0.2.1,2223,1,100,1\n2,2,192.0.2.2,2223,1,100,0\n3,1,media.example,2223,1,100,1\n";

    #[test]
    fn one_line_says_what_changed() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut table = table(directory.path(), ROWS);
        let (same, taken) = reload(&mut table, ROWS).expect("it is right");
        assert_eq!((same.summary.as_str(), taken.len()), ("media nodes: nothing changed", 3));
        assert!(same.warnings[0].to_string().contains("has no enabled node of set 2, so calls of provider 72 get 503"));
        let rows = "5,1,192.0.2.5,2223,1,100,0\n2,2,192.0.2.2,2224,4,50,1\n1,1,192.0.2.1,2223,1,100,0\n4,1,192.0.2.4,2223,1,100,1\n";
        let (changed, taken) = reload(&mut table, rows).expect("it is right");
        assert_eq!(
            changed.summary,
            "media nodes: 1 drains; 2 takes calls again, at 192.0.2.2:2224 (was 192.0.2.2:2223), weight 4 (was 1), max_sessions 50 (was 100); \
             3 removed, drains; 4 added; 5 added, drained"
        );
        assert_eq!((taken.len(), changed.warnings.len()), (4, 0));
        assert_eq!(reload(&mut table, rows).expect("it is right").0.summary, "media nodes: nothing changed");
    }

    #[test]
    fn a_bad_table_is_refused_whole_and_the_last_good_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut table = table(directory.path(), ROWS);
        let bad = [
            (
                "1,1,192.0.2.1,99999,1,100,1\n2,2,192.0.2.2,2223,x,100,0\n",
                "media_node.csv:2: port `99999`: must be a whole number",
            ),
            (
                "1,1,192.0.2.1,2223,1,100,1\n1,2,192.0.2.2,2223,1,100,0\n",
                "media_node.csv:3: id `1`: is already in line 2",
            ),
            (
                "0,1,192.0.2.1,2223,1,100,1\n9,2,192.0.2.2,2223,1,1,1\n",
                "media_node.csv:2: id `0`: must be a whole number from 1",
            ),
            (
                "1,1,192.0.2.1,2223,1,100,1\n",
                "media_node.csv: has no node of set 2, which provider 72 of the running image names",
            ),
            ("", "media_node.csv: has no rows, and every call would get 503"),
        ];
        for (rows, expected) in bad {
            let told = reload(&mut table, rows).expect_err("it is wrong");
            assert!(told[0].starts_with("error: ") && told[0].contains(expected), "{expected}\n  got {told:#?}");
        }
        assert_eq!(reload(&mut table, bad[0].0).expect_err("it is wrong").len(), 2, "all at once");
        assert_eq!(reload(&mut table, ROWS).expect("it is right").0.summary, "media nodes: nothing changed");
        assert!(table.reload_to(|_| false).is_err(), "nobody takes it");
    }

    #[test]
    fn a_node_that_started_without_has_none_until_it_starts_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut table = table(directory.path(), "");
        assert_eq!(reload(&mut table, "").expect("nothing is new").0.summary, "media nodes: nothing changed");
        let told = reload(&mut table, ROWS).expect_err("calls go without");
        assert!(
            told[0].contains("this node started without media nodes") && told[0].contains("cure: start it again"),
            "{told:?}"
        );
    }
}
