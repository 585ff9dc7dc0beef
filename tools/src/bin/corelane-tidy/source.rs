//! Rules for Rust files.

use crate::lexer::{code_only, words};
use crate::tree::{Finding, SourceFile, Tree};

/// Lines above which a file is an error.
const LINES_MAX: usize = 700;
/// Lines above which a file gets a warning.
const LINES_AIM: usize = 400;

/// Directories that may hold `unsafe`: the one place where each crate meets the kernel.
const UNSAFE_DIRECTORIES: &[&str] = &["shard/src/sys/", "perf/src/sys/"];
/// Counting allocators of tests and benches, the named exception.
const UNSAFE_ALLOCATORS: &[&str] = &["shard/tests/no_allocation.rs"];

/// Words that say nothing in a name.
const EMPTY_WORDS: &[&str] = &["util", "utils", "helper", "helpers", "manager", "common", "info", "misc"];

/// Where the kernel's own words are used as the kernel defines them: a program calls *helpers*, an object has an *info*.
const KERNEL_DIRECTORIES: &[&str] = &["shard/src/sys/", "shard/src/assembler.rs", "shard/src/steer/", "perf/src/sys/"];
const KERNEL_WORDS: &[&str] = &["helper", "helpers", "info"];

/// Every file says in its first line what it is.
pub(crate) fn starts_with_its_purpose(tree: &Tree) -> Vec<Finding> {
    let silent = |file: &&SourceFile| file.text.lines().next().is_none_or(|line| line.strip_prefix("//! ").is_none());
    tree.rust()
        .filter(silent)
        .map(|file| Finding::error(&file.path, 1, "a file starts with `//! ` and what it is"))
        .collect()
}

/// A file can be read in one sitting.
pub(crate) fn is_not_too_long(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter_map(|file| match file.text.lines().count() {
            lines if lines > LINES_MAX => {
                Some(Finding::error(&file.path, lines, format!("{lines} lines: past {LINES_MAX} a file wants a cut")))
            }
            lines if lines > LINES_AIM => {
                Some(Finding::warning(&file.path, lines, format!("{lines} lines: the aim is {LINES_AIM}")))
            }
            _ => None,
        })
        .collect()
}

/// Nothing is left to do later, and no test is switched off.
pub(crate) fn is_finished(tree: &Tree) -> Vec<Finding> {
    let unfinished = |line: &str| {
        let packed: String = line.split_whitespace().collect();
        let macros = ["todo!", "unimplemented!", "dbg!"];
        let called = macros.into_iter().find(|name| {
            // `my_todo!` is another macro.
            packed.match_indices(name).any(|(at, _)| at == 0 || !crate::lexer::is_word(packed.as_bytes()[at - 1]))
        });
        called.or_else(|| packed.contains("#[ignore").then_some("#[ignore]"))
    };
    each_line_of_code(tree, |_, line| unfinished(line).map(|found| format!("`{found}` does not stay in the tree")))
}

/// `unsafe` lives where each crate meets the kernel, and nowhere else.
pub(crate) fn keeps_unsafe_where_it_belongs(tree: &Tree) -> Vec<Finding> {
    each_line_of_code(tree, |file, line| {
        let allowed = UNSAFE_DIRECTORIES.iter().any(|directory| file.path.starts_with(directory))
            || UNSAFE_ALLOCATORS.contains(&file.path.as_str());
        let found = !allowed && words(line).any(|word| word == "unsafe");
        found.then(|| format!("`unsafe` outside {}", UNSAFE_DIRECTORIES.join(", ")))
    })
}

/// Names of files, types and functions say what the thing is or does.
pub(crate) fn names_say_something(tree: &Tree) -> Vec<Finding> {
    let kernel = |file: &SourceFile, word: &str| {
        KERNEL_WORDS.contains(&word) && KERNEL_DIRECTORIES.iter().any(|directory| file.path.starts_with(directory))
    };
    let mut findings = each_line_of_code(tree, |file, line| {
        let names: Vec<&str> = words(line).collect();
        names.windows(2).find_map(|pair| match pair {
            ["fn", name] if name.starts_with("get_") => Some(format!("`{name}`: a reader is named for what it reads")),
            ["fn" | "struct" | "enum" | "trait" | "mod" | "type" | "const" | "static" | "union", name] => {
                empty_word(name)
                    .filter(|word| !kernel(file, word))
                    .map(|word| format!("`{name}`: `{word}` says nothing"))
            }
            _ => None,
        })
    });
    for file in tree.rust() {
        let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        let directory = file.path.rsplit('/').nth(1).unwrap_or_default();
        if let Some(word) = empty_word(stem).or_else(|| empty_word(directory)) {
            findings.push(Finding::error(&file.path, 1, format!("a path with `{word}` says nothing")));
        }
    }
    findings
}

/// The engine keeps the two promises that the compiler can hold for it.
pub(crate) fn core_stays_pure(tree: &Tree) -> Vec<Finding> {
    let path = "core/src/lib.rs";
    let Some(text) = tree.text(path) else { return vec![Finding::error(path, 1, "the engine's root is missing")] };
    ["#![no_std]", "#![forbid(unsafe_code)]"]
        .into_iter()
        .filter(|attribute| !text.lines().any(|line| line == *attribute))
        .map(|attribute| Finding::error(path, 1, format!("`{attribute}` is missing")))
        .collect()
}

/// The first word of a snake_case or CamelCase name that says nothing.
fn empty_word(name: &str) -> Option<&'static str> {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut after_lowercase = false;
    for character in name.chars() {
        if after_lowercase && character.is_uppercase() {
            snake.push('_');
        }
        after_lowercase = character.is_lowercase();
        snake.extend(character.to_lowercase());
    }
    snake.split('_').find_map(|part| EMPTY_WORDS.iter().find(|word| **word == part).copied())
}

fn each_line_of_code(tree: &Tree, rule: impl Fn(&SourceFile, &str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (index, line) in code_only(&file.text).lines().enumerate() {
            findings.extend(rule(file, line).map(|what| Finding::error(&file.path, index + 1, what)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
        rule(&Tree::of(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn wants_a_purpose() {
        let files = [("a.rs", "//! What.\n"), ("b.rs", "fn f() {}\n"), ("c.rs", ""), ("d.rs", "//!\n"), ("e.md", "x")];
        let found = check(starts_with_its_purpose, &files);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("b.rs:1: a file starts with"));
    }

    #[test]
    fn measures_length() {
        let (fine, long, too_long) = ("\n".repeat(400), "\n".repeat(401), "\n".repeat(701));
        let found =
            check(is_not_too_long, &[("a.rs", &fine), ("b.rs", &long), ("c.rs", &too_long), ("c.md", &too_long)]);
        assert_eq!(
            found,
            ["b.rs:401: warning: 401 lines: the aim is 400", "c.rs:701: 701 lines: past 700 a file wants a cut"]
        );
    }

    #[test]
    fn finds_unfinished_code() {
        let text = "fn f() { todo!() }\n// todo!()\nlet x = \"dbg!\";\nmy_dbg!();\n  unimplemented ! ()\n#[ignore = \"slow\"]\nx(dbg!(y))\n";
        let found = check(is_finished, &[("a.rs", text)]);
        let lines: Vec<&str> = found.iter().map(|finding| finding.split(": ").next().unwrap()).collect();
        assert_eq!(lines, ["a.rs:1", "a.rs:5", "a.rs:6", "a.rs:7"], "{found:?}");
    }

    #[test]
    fn finds_unsafe_outside_sys() {
        let text = "// unsafe\n#![forbid(unsafe_code)]\nunsafe { f() }\n";
        let files = [("shard/src/sys/a.rs", text), ("shard/src/a.rs", text), ("shard/tests/no_allocation.rs", text)];
        let found = check(keeps_unsafe_where_it_belongs, &files);
        assert_eq!(found, ["shard/src/a.rs:3: `unsafe` outside shard/src/sys/, perf/src/sys/"]);
    }

    #[test]
    fn finds_empty_names() {
        let text = "fn get_x() {}\nstruct CallManager;\nmod util;\nfn budget_x() {}\nconst COMMON_PORT: u16 = 1;\nlet info = 1;\nuse util::x;\n";
        let found = check(
            names_say_something,
            &[("a.rs", text), ("core/helpers.rs", ""), ("shard/src/sys/b.rs", "struct MapInfo;"), ("utils/mod.rs", "")],
        );
        let places: Vec<&str> = found.iter().map(|finding| finding.split(": ").next().unwrap()).collect();
        assert_eq!(
            places,
            ["a.rs:1", "a.rs:2", "a.rs:3", "a.rs:5", "core/helpers.rs:1", "utils/mod.rs:1"],
            "{found:?}"
        );
    }

    #[test]
    fn wants_a_pure_core() {
        assert_eq!(check(core_stays_pure, &[("core/src/lib.rs", "#![no_std]\n#![forbid(unsafe_code)]\n")]), [""; 0]);
        assert_eq!(check(core_stays_pure, &[("core/src/lib.rs", "// #![no_std]\n")]).len(), 2);
        assert_eq!(check(core_stays_pure, &[]).len(), 1);
    }
}
