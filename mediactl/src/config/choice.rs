//! Settings that are one word out of a few. The words are what the file, the flags and the start-up output say.

use corelane_core::engine::UnknownSource;
use corelane_shard::{IoKind, SteeringMode};

/// `auto`, `bpf` or `forward`.
pub fn parse_steering(text: &str) -> Result<SteeringMode, String> {
    choose(text, &[("auto", SteeringMode::Auto), ("bpf", SteeringMode::Bpf), ("forward", SteeringMode::Forward)])
}

/// `mmsg` or `ring`.
pub fn parse_io(text: &str) -> Result<IoKind, String> {
    choose(text, &[("mmsg", IoKind::Mmsg), ("ring", IoKind::Ring)])
}

/// `drop` or `forbid`.
pub fn parse_unknown_source(text: &str) -> Result<UnknownSource, String> {
    choose(text, &[("drop", UnknownSource::Drop), ("forbid", UnknownSource::Forbid)])
}

/// The word for a kind of I/O.
#[must_use]
pub const fn io_word(io: IoKind) -> &'static str {
    match io {
        IoKind::Mmsg => "mmsg",
        IoKind::Ring => "ring",
    }
}

fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        format!("`{text}` is not one of {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        assert_eq!(parse_steering("auto"), Ok(SteeringMode::Auto));
        assert_eq!(parse_steering("bpf"), Ok(SteeringMode::Bpf));
        assert_eq!(parse_steering("forward"), Ok(SteeringMode::Forward));
        for word in ["mmsg", "ring"] {
            assert_eq!(parse_io(word).map(io_word), Ok(word));
        }
        assert_eq!(parse_unknown_source("forbid"), Ok(UnknownSource::Forbid));
        assert_eq!(parse_unknown_source("deny"), Err("`deny` is not one of drop, forbid".to_owned()));
    }
}
