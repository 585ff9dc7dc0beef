//! The text files of a source tree, and what is found in them.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// One text file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl SourceFile {
    /// Whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// All text files of a tree, sorted by path.
#[derive(Debug, Default)]
pub(crate) struct Tree(Vec<SourceFile>);

impl Tree {
    /// Reads a directory; build outputs, what is hidden (but `.ci`) and files that are no UTF-8 text are left out.
    pub(crate) fn read(root: &Path) -> io::Result<Tree> {
        let mut files = Vec::new();
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(root.join(&directory))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
                let kind = entry.file_type()?;
                if name == "target" || (name.starts_with('.') && name != ".ci") {
                    continue;
                }
                if kind.is_dir() {
                    directories.push(path);
                } else if kind.is_file()
                    && name != "Cargo.lock"
                    && let Ok(text) = fs::read_to_string(entry.path())
                {
                    files.push(SourceFile { path, text });
                }
            }
        }
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Tree(files))
    }

    /// A tree from paths and texts, for tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        Tree(files.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() }).collect())
    }

    /// All files.
    pub(crate) fn files(&self) -> &[SourceFile] {
        &self.0
    }

    /// All Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.0.iter().filter(|file| file.is_rust())
    }

    /// One file's text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }
}

/// Something that breaks a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    warning: bool,
    what: String,
}

impl Finding {
    /// A broken rule. Lines count from 1.
    pub(crate) fn error(path: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: path.into(), line, warning: false, what: what.into() }
    }

    /// Something to look at.
    pub(crate) fn warning(path: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: path.into(), line, warning: true, what: what.into() }
    }

    /// Whether it fails the run.
    pub(crate) fn is_error(&self) -> bool {
        !self.warning
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { path, line, what, .. } = self;
        let warning = if self.warning { "warning: " } else { "" };
        write!(out, "{path}:{line}: {warning}{what}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_text_and_leaves_outputs_out() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/b.rs", "target/x.rs", ".git/y.rs", ".ci/run", "z.md"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::write(root.path().join("binary"), [0xff, 0xfe]).unwrap();
        let tree = Tree::read(root.path()).unwrap();
        let paths: Vec<&str> = tree.files().iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".ci/run", "a/b.rs", "z.md"]);
    }

    #[test]
    fn findings_read_like_a_compiler() {
        assert_eq!(Finding::error("a.rs", 3, "bad").to_string(), "a.rs:3: bad");
        assert_eq!(Finding::warning("a.rs", 1, "long").to_string(), "a.rs:1: warning: long");
    }
}
