//! Rules for the manifests: which crate may know which, and why each dependency is there.

use toml::{Table, Value};

use crate::tree::{Finding, Tree};

/// What each crate may use of the others, shipped and in tests.
///
/// ```text
/// core  ◄──  shard  ◄──  mediactl  ◄──  tools
///   ▲          ▲
///   └──────────┴── perf
/// ```
const ALLOWED: &[(&str, &[&str], &[&str])] = &[
    ("core", &[], &[]),
    ("shard", &["corelane-core"], &["corelane-core"]),
    ("mediactl", &["corelane-core", "corelane-shard"], &["corelane-core", "corelane-shard"]),
    (
        "tools",
        &["corelane-core", "corelane-shard", "corelane-mediactl"],
        &["corelane-core", "corelane-shard", "corelane-mediactl"],
    ),
    ("perf", &["corelane-core", "corelane-shard"], &["corelane-core", "corelane-shard", "corelane-mediactl"]),
];

/// Our crates know each other in one direction only.
pub(crate) fn dependencies_point_one_way(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (member, shipped, tested) in ALLOWED {
        if let Some((path, manifest)) = read(tree, &format!("{member}/Cargo.toml"), &mut findings) {
            for (section, allowed) in
                [("dependencies", shipped), ("build-dependencies", shipped), ("dev-dependencies", tested)]
            {
                let names = table(&manifest, section).into_iter().flat_map(Table::keys);
                for name in names.filter(|name| name.starts_with("corelane-") && !allowed.contains(&name.as_str())) {
                    findings.push(Finding::error(&path, 1, format!("{member} may not use {name} in [{section}]")));
                }
            }
        }
    }
    findings
}

/// Versions stand in the root manifest, once.
pub(crate) fn versions_are_given_once(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (member, ..) in ALLOWED {
        if let Some((path, manifest)) = read(tree, &format!("{member}/Cargo.toml"), &mut findings) {
            for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
                for (name, value) in table(&manifest, section).into_iter().flatten() {
                    if value.get("workspace") != Some(&Value::Boolean(true)) {
                        let what =
                            format!("{name}: the version belongs into the root manifest, here `workspace = true`");
                        findings.push(Finding::error(&path, 1, what));
                    }
                }
            }
        }
    }
    findings
}

/// Every foreign crate says in a comment what it is for.
pub(crate) fn dependencies_have_a_reason(tree: &Tree) -> Vec<Finding> {
    let path = "Cargo.toml";
    let text = tree.text(path).unwrap_or_default();
    let mut inside = false;
    let mut found_any = false;
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            inside = line.trim() == "[workspace.dependencies]";
        } else if inside && let Some((name, value)) = line.split_once('=') {
            found_any = true;
            let reason = value.rsplit_once('#').map(|(_, reason)| reason.trim());
            if !value.contains("path =") && reason.is_none_or(str::is_empty) {
                findings.push(Finding::error(
                    path,
                    index + 1,
                    format!("{}: say behind `#` what it is for", name.trim()),
                ));
            }
        }
    }
    if !found_any {
        findings.push(Finding::error(path, 1, "no [workspace.dependencies] was found"));
    }
    findings
}

/// A manifest by path; one that is missing or no TOML is a finding.
fn read(tree: &Tree, path: &str, findings: &mut Vec<Finding>) -> Option<(String, Table)> {
    let parsed = match tree.text(path) {
        Some(text) => text.parse().map_err(|error: toml::de::Error| error.message().to_owned()),
        None => Err("the manifest is missing".to_owned()),
    };
    match parsed {
        Ok(manifest) => Some((path.to_owned(), manifest)),
        Err(what) => {
            findings.push(Finding::error(path, 1, what));
            None
        }
    }
}

fn table<'a>(manifest: &'a Table, section: &str) -> Option<&'a Table> {
    manifest.get(section)?.as_table()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five manifests, of which `member` has `text`.
    fn check(rule: fn(&Tree) -> Vec<Finding>, member: &str, text: &str) -> Vec<String> {
        let manifests: Vec<(String, &str)> = ALLOWED
            .iter()
            .map(|(name, ..)| (format!("{name}/Cargo.toml"), if *name == member { text } else { "" }))
            .collect();
        let files: Vec<(&str, &str)> = manifests.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        rule(&Tree::of(&files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn finds_dependencies_against_the_grain() {
        let rule = dependencies_point_one_way;
        assert_eq!(check(rule, "shard", "[dependencies]\ncorelane-core.workspace = true\n"), [""; 0]);
        let found = check(rule, "core", "[dev-dependencies]\ncorelane-shard.workspace = true\n");
        assert_eq!(found, ["core/Cargo.toml:1: core may not use corelane-shard in [dev-dependencies]"]);
        assert_eq!(check(rule, "perf", "[dependencies]\ncorelane-mediactl.workspace = true\n").len(), 1);
        assert_eq!(check(rule, "perf", "[dev-dependencies]\ncorelane-mediactl.workspace = true\n"), [""; 0]);
        assert_eq!(rule(&Tree::default()).len(), ALLOWED.len(), "missing manifests are findings");
        assert_eq!(check(rule, "tools", "[dependencies\n").len(), 1, "and so are broken ones");
    }

    #[test]
    fn finds_versions_outside_the_root() {
        let found = check(
            versions_are_given_once,
            "core",
            "[dependencies]\na = \"1\"\nb.workspace = true\nc = { version = \"2\" }\n",
        );
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn wants_a_reason() {
        let text = "[workspace]\nmembers = []\n[workspace.dependencies]\nours = { path = \"x\" }\na = \"1\" # parses a\nb = \"1\"\nc = \"1\" #\n[profile]\nx = 1\n";
        let found = dependencies_have_a_reason(&Tree::of(&[("Cargo.toml", text)]));
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["Cargo.toml:6: b: say behind `#` what it is for", "Cargo.toml:7: c: say behind `#` what it is for"]
        );
        assert_eq!(dependencies_have_a_reason(&Tree::default()).len(), 1);
    }
}
