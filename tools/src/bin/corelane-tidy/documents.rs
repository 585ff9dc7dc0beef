//! Rules for what is written about the code.

use std::collections::BTreeMap;

use crate::tree::{Finding, Tree};

/// Directories of somebody's machine. Put together here so that this file keeps its own rule.
const MACHINE_PATHS: &[&str] = &[concat!("/", "root/"), concat!("/", "home/"), concat!("/", "work/")];

const COUNTERS: &str = "core/src/counter.rs";
/// Tables of the same form in the control core.
const MORE_COUNTERS: [&str; 2] = ["mediactl/src/control/counter.rs", "mediactl/src/rtpengine/counter.rs"];
const OPERATING: &str = "docs/operating.md";

/// Nothing points into somebody's machine.
pub(crate) fn name_no_machine_path(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        for (index, line) in file.text.lines().enumerate() {
            // The same letters inside a longer path or a URL are nobody's machine.
            let absolute = |path: &&&str| {
                line.match_indices(**path).any(|(at, _)| {
                    let before = line[..at].bytes().next_back();
                    before.is_none_or(|byte| !crate::lexer::is_word(byte) && !matches!(byte, b'.' | b'}' | b')' | b'-'))
                })
            };
            if let Some(path) = MACHINE_PATHS.iter().find(absolute) {
                findings.push(Finding::error(&file.path, index + 1, format!("`{path}` is a path of one machine")));
            }
        }
    }
    findings
}

/// `docs/adr/NNNN-title.md`, each number once, each with a title.
pub(crate) fn decisions_are_numbered(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    for file in tree.files() {
        let Some(name) = file.path.strip_prefix("docs/adr/").filter(|name| *name != "README.md") else { continue };
        let parts = name.strip_suffix(".md").and_then(|stem| stem.split_once('-'));
        let Some((number, _)) = parts.filter(|(number, title)| {
            number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()) && !title.is_empty()
        }) else {
            findings.push(Finding::error(&file.path, 1, "a decision is named NNNN-title.md"));
            continue;
        };
        if let Some(earlier) = numbers.insert(number, &file.path) {
            findings.push(Finding::error(&file.path, 1, format!("number {number} is taken by {earlier}")));
        }
        let titled = file.text.lines().next().and_then(|line| line.strip_prefix("# "));
        if titled.is_none_or(|title| title.trim_matches(|c: char| !c.is_alphabetic()).is_empty()) {
            findings.push(Finding::error(&file.path, 1, "a decision starts with `# ` and its title"));
        }
    }
    findings
}

/// Every counter is explained to the operator.
pub(crate) fn counters_are_described(tree: &Tree) -> Vec<Finding> {
    let text = tree.text(COUNTERS).unwrap_or_default();
    let operating = tree.text(OPERATING).unwrap_or_default();
    let named: Vec<(usize, &str)> =
        text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, counter_of(line)?))).collect();
    if named.is_empty() {
        return vec![Finding::error(COUNTERS, 1, "no counter was found: has the table another form?")];
    }
    let more = MORE_COUNTERS.iter().flat_map(|path| {
        let lines = tree.text(path).unwrap_or_default().lines().enumerate();
        lines.filter_map(|(index, line)| Some((*path, index + 1, counter_of(line)?)))
    });
    let named = named.into_iter().map(|(line, name)| (COUNTERS, line, name)).chain(more);
    named
        .filter(|(_, _, name)| !operating.contains(&format!("`{name}`")))
        .map(|(path, line, name)| Finding::error(path, line, format!("`{name}` is not explained in {OPERATING}")))
        .collect()
}

/// The name in a line `Variant, "name", "unit", "help";` of the table.
fn counter_of(line: &str) -> Option<&str> {
    let (variant, rest) = line.trim().split_once(", \"")?;
    let (name, _) = rest.split_once("\", \"")?;
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(crate::lexer::is_word);
    (is_name(variant) && is_name(name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
        rule(&Tree::of(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn finds_machine_paths() {
        let text = format!(
            "see {}x\nhttps://a.example{}x\n\"{}y\"\n/homework/\n",
            MACHINE_PATHS[0], MACHINE_PATHS[2], MACHINE_PATHS[1]
        );
        let found = check(name_no_machine_path, &[("a.md", &text)]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a.md:1: ") && found[1].starts_with("a.md:3: "), "{found:?}");
    }

    #[test]
    fn numbers_decisions() {
        let files = [
            ("docs/adr/0001-one.md", "# 0001: One\n"),
            ("docs/adr/0001-two.md", "# 0001: Two\n"),
            ("docs/adr/3-x.md", "# X\n"),
            ("docs/adr/0004-x.md", "X\n"),
            ("docs/adr/0005-x.md", "# 5\n"),
            ("docs/adr/README.md", "x"),
        ];
        let found = check(decisions_are_numbered, &files);
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0], "docs/adr/0001-two.md:1: number 0001 is taken by docs/adr/0001-one.md");
        assert_eq!(found[1], "docs/adr/3-x.md:1: a decision is named NNNN-title.md");
    }

    #[test]
    fn wants_counters_described() {
        let table = "counters! {\n    CallsLive, \"calls_live\", \"now\", \"Call records in use.\";\n    Full, \"full\", \"total\", \"x\";\n}\n";
        let found = check(counters_are_described, &[(COUNTERS, table), (OPERATING, "| `full` | x |")]);
        assert_eq!(found, ["core/src/counter.rs:2: `calls_live` is not explained in docs/operating.md"]);
        let more =
            [(COUNTERS, "A, \"a\", \"total\", \"x\";"), (MORE_COUNTERS[0], table), (OPERATING, "`a` and `full`")];
        let found = check(counters_are_described, &more);
        assert_eq!(found, [format!("{}:2: `calls_live` is not explained in docs/operating.md", MORE_COUNTERS[0])]);
        assert_eq!(check(counters_are_described, &[(COUNTERS, "x")]).len(), 1, "an unreadable table is a finding");
    }
}
