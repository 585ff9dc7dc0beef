//! What the tables say of media: nodes where a provider names their set, and flags that a node understands.
//!
//! An empty `media_set`, and 0, is any node. A set that has no node at all is a mistake as soon as there are media nodes: each call of that
//! provider would get 503. A set whose nodes are all drained may be meant, and is warned about.

use std::collections::HashSet;
use std::path::Path;

use corelane_core::limits::MEDIA_FLAGS_COLUMN_MAX;
use corelane_core::routing::layout::MediaNodeRecord;

use crate::routes::problem::Problem;
use crate::routes::references::unique;
use crate::routes::sheet::TEXT_MAX;
use crate::routes::tables::{Row, Tables, read_media_nodes};
use crate::rtpengine::flags;

/// The table's file.
pub(super) const FILE: &str = "media_node.csv";

const _: () = assert!(TEXT_MAX <= MEDIA_FLAGS_COLUMN_MAX, "what a table may say, an image may have");

/// Reads table `media_node` alone, as a running node does.
///
/// # Errors
/// Every problem of the file.
pub fn media_nodes(dir: &Path) -> Result<Vec<Row<MediaNodeRecord>>, Vec<Problem>> {
    let mut problems = Vec::new();
    let rows = read_media_nodes(dir, &mut problems);
    keys(&rows, &mut problems);
    if problems.is_empty() { Ok(rows) } else { Err(problems) }
}

/// Checks that the table can take the place of the one with which a node started: it has nodes, and some of each set that the providers of the
/// running image name.
///
/// # Errors
/// What calls would get 503 for.
pub fn serves(rows: &[Row<MediaNodeRecord>], providers: impl Iterator<Item = (u32, u32)>) -> Result<(), Vec<Problem>> {
    if rows.is_empty() {
        let reason = "has no rows, and every call would get 503; drain nodes with enabled 0, or start again to go on without media nodes";
        return Err(vec![Problem::file(FILE, reason)]);
    }
    let sets: HashSet<u32> = rows.iter().map(|row| row.row.set).collect();
    let lost = providers.filter(|(_, set)| *set != 0 && !sets.contains(set)).map(|(provider, set)| {
        let reason = format!(
            "has no node of set {set}, which provider {provider} of the running image names; add one, or drain that set's nodes with enabled 0"
        );
        Problem::file(FILE, reason)
    });
    let lost: Vec<Problem> = lost.collect();
    if lost.is_empty() { Ok(()) } else { Err(lost) }
}

/// What is legal in the table and looks wrong.
pub fn idle(rows: &[Row<MediaNodeRecord>], providers: impl Iterator<Item = (u32, u32)>) -> Vec<Problem> {
    let sets: HashSet<u32> = rows.iter().filter(|row| row.row.enabled).map(|row| row.row.set).collect();
    if sets.is_empty() && !rows.is_empty() {
        return vec![Problem::file(FILE, "has no enabled node, so every call gets 503; enable one")];
    }
    let idle = providers.filter(|(_, set)| *set != 0 && !sets.contains(set)).map(|(provider, set)| {
        Problem::file(
            FILE,
            format!("has no enabled node of set {set}, so calls of provider {provider} get 503; enable one"),
        )
    });
    idle.collect()
}

/// Complains about rows with the same key.
pub(super) fn keys(rows: &[Row<MediaNodeRecord>], problems: &mut Vec<Problem>) {
    unique(FILE, "id", rows, |row| row.id, |row| row.id.to_string(), problems);
}

/// Checks sets and flags of providers and gateways.
pub(super) fn check(tables: &Tables, problems: &mut Vec<Problem>) {
    let sets: HashSet<u32> = tables.media_nodes.iter().map(|row| row.row.set).collect();
    let mut known: Vec<u32> = sets.iter().copied().collect();
    known.sort_unstable();
    let known = known.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    for Row { line, row } in &tables.providers {
        let record = &row.record;
        if let Some(set) = record.media_set.filter(|set| *set != 0 && !sets.is_empty() && !sets.contains(set)) {
            let reason = format!(
                "no media node is of this set, and every call of the provider would get 503; add one to {FILE}, or name one of the sets that \
                 there are ({known}), or none for any node"
            );
            problems.push(Problem::value("provider.csv", *line, "media_set", set, reason));
        }
        understood("provider.csv", *line, &record.media_flags, problems);
    }
    for Row { line, row } in &tables.gateways {
        understood("gateway.csv", *line, &row.record.media_flags, problems);
    }
}

/// Complains about each flag that would be left out.
fn understood(file: &str, line: u64, text: &str, problems: &mut Vec<Problem>) {
    for error in flags::check(text).err().unwrap_or_default() {
        let reason = format!("{error}; write it as docs/data-model.md says, or take it out");
        problems.push(Problem::value(file, line, "media_flags", text, reason));
    }
}

/// What is legal and looks wrong.
pub(super) fn warnings(tables: &Tables, warnings: &mut Vec<Problem>) {
    let providers = tables.providers.iter().filter(|row| row.row.record.enabled);
    let named = providers.filter_map(|row| row.row.record.media_set.map(|set| (row.line, row.row.record.id, set)));
    if tables.media_nodes.is_empty() {
        warnings.extend(named.map(|(line, _, set)| {
            let reason = format!("there is no media node at all, so calls of the provider get 503; add nodes to {FILE}, or leave it empty");
            Problem::value("provider.csv", line, "media_set", set, reason)
        }));
    } else {
        warnings.extend(idle(&tables.media_nodes, named.map(|(_, id, set)| (id, set))));
    }
}
