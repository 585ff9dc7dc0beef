//! The config file: TOML, one flat table, keys in snake_case, each named like its flag.
//!
//! ```toml
//! routes = "routes"                  # relative to this file
//! listen = ["core=192.0.2.10:5060"]
//! shards = 3
//! unknown_source = "drop"
//! ```
//!
//! The file is read entry by entry instead of into a struct, so that every mistake in it is reported at once, each with
//! its line. What is refused: unknown keys, wrong types, values out of range, syntax errors. Relative paths are relative to the
//! file, so that `corelane` means the same from every working directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::choice::{parse_io, parse_steering, parse_unknown_source};
use super::{Given, bounds};
use crate::problem::{Place, Problem, Sourced};

/// One key: its name and what it does with a value.
struct Key {
    name: &'static str,
    read: fn(&mut Given, &Entry<'_>) -> Result<(), String>,
}

/// Every key, in the order of the flags in `corelane run --help`.
const KEYS: &[Key] = &[
    Key { name: "routes", read: |given, entry| entry.path().map(|value| given.routes = Some(value)) },
    Key { name: "state_dir", read: |given, entry| entry.path().map(|value| given.state_dir = Some(value)) },
    Key { name: "journal_dir", read: |given, entry| entry.path().map(|value| given.journal_dir = Some(value)) },
    Key {
        name: "node_id",
        read: |given, entry| entry.number(bounds::NODE_ID).map(|value| given.node_id = Some(value)),
    },
    Key { name: "listen", read: |given, entry| entry.list().map(|value| given.listen = value) },
    Key { name: "advertise", read: |given, entry| entry.list().map(|value| given.advertise = value) },
    Key { name: "shards", read: |given, entry| entry.number(bounds::SHARDS).map(|value| given.shards = Some(value)) },
    Key { name: "cpus", read: |given, entry| entry.text(str::parse).map(|value| given.cpus = Some(value)) },
    Key {
        name: "control_cpu",
        read: |given, entry| entry.number(bounds::CPU).map(|value| given.control_cpu = Some(value)),
    },
    Key {
        name: "calls_max",
        read: |given, entry| entry.number(bounds::CALLS).map(|value| given.calls_max = Some(value)),
    },
    Key { name: "cps_max", read: |given, entry| entry.number(bounds::CPS).map(|value| given.cps_max = Some(value)) },
    Key { name: "steering", read: |given, entry| entry.text(parse_steering).map(|value| given.steering = Some(value)) },
    Key { name: "io", read: |given, entry| entry.text(parse_io).map(|value| given.io = Some(value)) },
    Key {
        name: "unknown_source",
        read: |given, entry| entry.text(parse_unknown_source).map(|value| given.unknown_source = Some(value)),
    },
    Key { name: "t1_ms", read: |given, entry| entry.number(bounds::T1_MS).map(|value| given.t1_ms = Some(value)) },
    Key { name: "t2_ms", read: |given, entry| entry.number(bounds::T2_MS).map(|value| given.t2_ms = Some(value)) },
    Key { name: "t4_ms", read: |given, entry| entry.number(bounds::T4_MS).map(|value| given.t4_ms = Some(value)) },
    Key {
        name: "fr_timer_ms",
        read: |given, entry| entry.number(bounds::TIMEOUT_MS).map(|value| given.fr_timer_ms = Some(value)),
    },
    Key {
        name: "progress_timeout_ms",
        read: |given, entry| entry.number(bounds::TIMEOUT_MS).map(|value| given.progress_timeout_ms = Some(value)),
    },
    Key {
        name: "invite_timeout_ms",
        read: |given, entry| entry.number(bounds::TIMEOUT_MS).map(|value| given.invite_timeout_ms = Some(value)),
    },
    Key {
        name: "ring_timeout_ms",
        read: |given, entry| entry.number(bounds::TIMEOUT_MS).map(|value| given.ring_timeout_ms = Some(value)),
    },
    Key {
        name: "early_timeout_ms",
        read: |given, entry| entry.number(bounds::TIMEOUT_MS).map(|value| given.early_timeout_ms = Some(value)),
    },
    Key {
        name: "noack_timeout_ms",
        read: |given, entry| entry.number(bounds::TIMEOUT_MS).map(|value| given.noack_timeout_ms = Some(value)),
    },
    Key {
        name: "default_timeout_s",
        read: |given, entry| entry.number(bounds::TIMEOUT_S).map(|value| given.default_timeout_s = Some(value)),
    },
    Key {
        name: "session_expires_s",
        read: |given, entry| entry.number(bounds::SESSION_S).map(|value| given.session_expires_s = Some(value)),
    },
    Key {
        name: "min_se_s",
        read: |given, entry| entry.number(bounds::SESSION_S).map(|value| given.min_se_s = Some(value)),
    },
    Key {
        name: "hunt_after_ringing",
        read: |given, entry| entry.switch().map(|value| given.hunt_after_ringing = Some(value)),
    },
    Key { name: "shed_in_kernel", read: |given, entry| entry.switch().map(|value| given.shed_in_kernel = Some(value)) },
    Key { name: "remap_503", read: |given, entry| entry.switch().map(|value| given.remap_503 = Some(value)) },
    Key {
        name: "media_deadline_ms",
        read: |given, entry| entry.number(bounds::MEDIA_DEADLINE_MS).map(|value| given.media_deadline_ms = Some(value)),
    },
    Key {
        name: "media_sockets",
        read: |given, entry| entry.number(bounds::MEDIA_SOCKETS).map(|value| given.media_sockets = Some(value)),
    },
    Key {
        name: "media_reconcile_interval_s",
        read: |given, entry| {
            entry.number(bounds::MEDIA_RECONCILE_S).map(|value| given.media_reconcile_interval_s = Some(value))
        },
    },
    Key {
        name: "media_orphan_age_s",
        read: |given, entry| entry.number(bounds::MEDIA_ORPHAN_S).map(|value| given.media_orphan_age_s = Some(value)),
    },
    Key {
        name: "media_debt_age_s",
        read: |given, entry| entry.number(bounds::MEDIA_DEBT_S).map(|value| given.media_debt_age_s = Some(value)),
    },
    Key { name: "bye_on_expiry", read: |given, entry| entry.switch().map(|value| given.bye_on_expiry = Some(value)) },
];

/// Reads a config file. What can be read is returned also when there are problems, so that later checks see it.
#[must_use]
pub fn read(path: &Path) -> (Given, Vec<Problem>) {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) => {
            let problem = Problem::error(
                Place::file(path),
                format!("the config file cannot be read: {error}"),
                "name a readable file with `--config`, or leave the flag out: every setting has a default",
            );
            (Given::default(), vec![problem])
        }
    }
}

/// Parses the text of a config file that lies at `path`.
#[must_use]
pub fn parse(path: &Path, text: &str) -> (Given, Vec<Problem>) {
    let mut given = Given::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| {
            let place = line_of(path, text, error.span().map_or(0, |span| span.start));
            Problem::error(place, error.message(), "write TOML: `key = value`, text in double quotes, lists in `[ ]`")
        })
        .collect();
    for (name, value) in table.get_ref() {
        let place = line_of(path, text, name.span().start);
        let name = name.get_ref().as_ref();
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            problems.push(Problem::error(place, format!("unknown key `{name}`"), cure_unknown(name)));
            continue;
        };
        let entry = Entry { directory: path.parent().unwrap_or(Path::new("")), path, text, place, value };
        if let Err(what) = (key.read)(&mut given, &entry) {
            problems.push(Problem::error(
                entry.place,
                format!("`{name}`: {what}"),
                format!("`corelane run --help` describes --{}", name.replace('_', "-")),
            ));
        }
    }
    problems.sort_by_key(|problem| match problem.place {
        Place::Line(_, line) => line,
        _ => 0,
    });
    (given, problems)
}

/// One `key = value` of the file.
struct Entry<'a> {
    directory: &'a Path,
    path: &'a Path,
    text: &'a str,
    place: Place,
    value: &'a Spanned<DeValue<'a>>,
}

impl Entry<'_> {
    fn string(&self) -> Result<&str, String> {
        self.value.get_ref().as_str().ok_or_else(|| wrong_type("text in double quotes", self.value.get_ref()))
    }

    fn path(&self) -> Result<Sourced<PathBuf>, String> {
        let text = self.string()?;
        if text.is_empty() {
            return Err("the path is empty".to_owned());
        }
        Ok(Sourced::new(self.directory.join(text), self.place.clone()))
    }

    fn text<T>(&self, parse: fn(&str) -> Result<T, String>) -> Result<Sourced<T>, String> {
        Ok(Sourced::new(parse(self.string()?)?, self.place.clone()))
    }

    fn number<T: TryFrom<u64>>(&self, bounds: bounds::Bounds) -> Result<Sourced<T>, String> {
        let value = self.value.get_ref();
        let integer = value.as_integer().ok_or_else(|| wrong_type("a whole number", value))?;
        // Digits with their underscores taken out, in the base of the literal; a sign makes it no u64.
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| bounds.holds(*number)).and_then(|number| T::try_from(number).ok());
        number.map(|number| Sourced::new(number, self.place.clone())).ok_or_else(|| bounds.refusal(integer.as_str()))
    }

    fn switch(&self) -> Result<Sourced<bool>, String> {
        let value = self.value.get_ref();
        let value = value.as_bool().ok_or_else(|| wrong_type("true or false", value))?;
        Ok(Sourced::new(value, self.place.clone()))
    }

    /// A list of texts, or one text; each item keeps its own line.
    fn list<T: FromStr<Err = String>>(&self) -> Result<Vec<Sourced<T>>, String> {
        let Some(items) = self.value.get_ref().as_array() else {
            return self.text(T::from_str).map(|item| vec![item]);
        };
        items
            .iter()
            .map(|item| {
                let text = item.get_ref().as_str().ok_or_else(|| wrong_type("a list of texts", item.get_ref()))?;
                Ok(Sourced::new(text.parse()?, line_of(self.path, self.text, item.span().start)))
            })
            .collect()
    }
}

fn wrong_type(expected: &str, found: &DeValue<'_>) -> String {
    format!("expected {expected}, found {}", found.type_str())
}

fn line_of(path: &Path, text: &str, offset: usize) -> Place {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    Place::Line(path.to_path_buf(), u32::try_from(line).unwrap_or(u32::MAX))
}

fn cure_unknown(name: &str) -> String {
    let snake = name.replace('-', "_");
    match KEYS.iter().map(|key| (edit_distance(&snake, key.name), key.name)).min() {
        Some((0, key)) => format!("keys are written with underscores: `{key}`"),
        Some((1..=2, key)) => format!("the key may be `{key}`"),
        _ => format!("the keys are {}", KEYS.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")),
    }
}

/// Insertions, deletions and replacements between two names (Levenshtein).
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        parse(Path::new("etc/a.toml"), text).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_every_key() {
        let text = "routes = 'r'\nstate_dir = '/s'\njournal_dir = '/j'\nnode_id = 7\nlisten = ['1=127.0.0.1:5060',\n '2=[::1]:5060']\n\
                    advertise = 'a.example'\nshards = 2\ncpus = '0,1'\ncontrol_cpu = 0\ncalls_max = 1_000\ncps_max = 10\n\
                    steering = 'forward'\nio = 'ring'\nunknown_source = 'forbid'\nt1_ms = 50\nt2_ms = 400\nt4_ms = 500\n\
                    ring_timeout_ms = 3000\nnoack_timeout_ms = 1000\ndefault_timeout_s = 60\nfr_timer_ms = 1000\n\
                    progress_timeout_ms = 2000\ninvite_timeout_ms = 3000\nearly_timeout_ms = 4000\nhunt_after_ringing = false\n\
                    remap_503 = false\nshed_in_kernel = false\nbye_on_expiry = false\nsession_expires_s = 600\nmin_se_s = 120\nmedia_deadline_ms = 500\nmedia_sockets = 2\n\
                    media_reconcile_interval_s = 5\nmedia_orphan_age_s = 10\nmedia_debt_age_s = 600\n";
        assert_eq!(problems_of(text), [""; 0]);
        let (given, _) = parse(Path::new("etc/a.toml"), text);
        assert_eq!(given.routes.unwrap().value, Path::new("etc/r"), "relative to the file");
        assert_eq!(given.state_dir.unwrap().value, Path::new("/s"));
        assert_eq!(given.listen[1].place, Place::Line("etc/a.toml".into(), 6), "each item has its line");
        assert_eq!(given.advertise[0].value.host, "a.example");
        assert_eq!(given.calls_max.unwrap().value, 1000);
        assert_eq!(given.default_timeout_s.unwrap().place, Place::Line("etc/a.toml".into(), 21));
        for key in KEYS {
            assert!(text.contains(&format!("{} =", key.name)), "{} is not in this test", key.name);
        }
    }

    #[test]
    fn reports_everything_at_once_with_lines() {
        let problems =
            problems_of("shard = 2\ncalls-max = 5\nshards = 'two'\n\nio = 'uring'\nt1_ms = -1\ncps_max = 1.5\n");
        let expected = [
            "error: etc/a.toml:1: unknown key `shard`\n  cure: the key may be `shards`",
            "error: etc/a.toml:2: unknown key `calls-max`\n  cure: keys are written with underscores: `calls_max`",
            "error: etc/a.toml:3: `shards`: expected a whole number, found string",
            "error: etc/a.toml:5: `io`: `uring` is not one of mmsg, ring",
            "error: etc/a.toml:6: `t1_ms`: -1 is not between 5 and 10000",
            "error: etc/a.toml:7: `cps_max`: expected a whole number, found float",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}\n{expected}");
        }
    }

    #[test]
    fn goes_on_after_a_syntax_error() {
        let problems = problems_of("shards = \nfoo = 1\n");
        assert!(problems[0].starts_with("error: etc/a.toml:1: "), "{problems:#?}");
        assert!(problems.iter().any(|problem| problem.contains(":2: unknown key `foo`")), "{problems:#?}");
    }

    #[test]
    fn names_all_keys_when_nothing_is_near() {
        assert!(problems_of("databaseurl = 'x'\n")[0].contains("the keys are routes, state_dir, journal_dir"));
    }

    #[test]
    fn measures_distance() {
        for (left, right, distance) in
            [("", "abc", 3), ("shard", "shards", 1), ("kitten", "sitting", 3), ("io", "io", 0)]
        {
            assert_eq!(edit_distance(left, right), distance, "{left} {right}");
        }
    }
}
