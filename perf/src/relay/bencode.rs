//! Bencode as the stand-in needs it: a dictionary read in place, and one written in order.
//!
//! ```text
//!   d 7:command 5:offer 8:supports l 10:load limit e … e        strings by length, i…e integers, l…e lists, d…e dictionaries
//! ```
//!
//! Nothing is copied and no tree is built: [`Dictionary::entries`] walks one level and gives each value as its raw bytes. What is
//! refused: a length with leading zeros, a value that is cut, nesting beyond `DEPTH_MAX`, bytes behind the dictionary.

use crate::wire::{decimal, put};

/// Lists and dictionaries inside each other.
const DEPTH_MAX: usize = 16;

/// A dictionary whose form was checked.
#[derive(Copy, Clone, Debug)]
pub struct Dictionary<'a>(&'a [u8]);

impl<'a> Dictionary<'a> {
    /// Takes a dictionary that fills `bytes` to the last one.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Dictionary<'a>> {
        (bytes.first() == Some(&b'd') && value_end(bytes, 0)? == bytes.len()).then_some(Dictionary(bytes))
    }

    /// The string of a key; `None` when it is absent or no string.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<&'a [u8]> {
        string(self.raw(key)?).map(|(text, _)| text)
    }

    /// The number of a key.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<i64> {
        let digits = self.raw(key)?.strip_prefix(b"i")?.strip_suffix(b"e")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The dictionary of a key.
    #[must_use]
    pub fn dictionary(&self, key: &str) -> Option<Dictionary<'a>> {
        Dictionary::parse(self.raw(key)?)
    }

    /// Whether the list of a key has this string.
    #[must_use]
    pub fn lists(&self, key: &str, wanted: &str) -> bool {
        let Some(mut rest) = self.raw(key).and_then(|list| list.strip_prefix(b"l")) else { return false };
        while let Some(end) = value_end(rest, 0) {
            if string(rest).is_some_and(|(text, _)| text == wanted.as_bytes()) {
                return true;
            }
            rest = &rest[end..];
        }
        false
    }

    /// The strings of this level by key, in the order in which they were written.
    pub fn entries(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = &self.0[1..];
        std::iter::from_fn(move || {
            let (key, after) = string(rest)?;
            let end = value_end(after, 0)?;
            rest = &after[end..];
            Some((key, &after[..end]))
        })
    }

    fn raw(&self, key: &str) -> Option<&'a [u8]> {
        self.entries().find(|(known, _)| *known == key.as_bytes()).map(|(_, value)| value)
    }
}

/// Where the dictionary ends that `bytes` start with: `None` while it is cut, or when it is none. For streams.
#[must_use]
pub fn dictionary_end(bytes: &[u8]) -> Option<usize> {
    (bytes.first() == Some(&b'd')).then(|| value_end(bytes, 0)).flatten()
}

/// A string and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = bytes.iter().take(7).position(|byte| *byte == b':')?;
    let digits = &bytes[..colon];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let length = digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    bytes[colon + 1..].split_at_checked(length)
}

/// Where the value ends that `bytes` start with.
fn value_end(bytes: &[u8], depth: usize) -> Option<usize> {
    match bytes.first()? {
        b'i' => {
            let end = bytes.iter().position(|byte| *byte == b'e')?;
            let digits = bytes[1..end].strip_prefix(b"-").unwrap_or(&bytes[1..end]);
            (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(end + 1)
        }
        kind @ (b'l' | b'd') if depth < DEPTH_MAX => {
            let mut at = 1;
            while *bytes.get(at)? != b'e' {
                if *kind == b'd' {
                    at = bytes.len() - string(&bytes[at..])?.1.len();
                }
                at += value_end(&bytes[at..], depth + 1)?;
            }
            Some(at + 1)
        }
        _ => string(bytes).map(|(_, rest)| bytes.len() - rest.len()),
    }
}

/// Appends a string.
pub fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    decimal(out, text.len() as u64);
    put(out, &[b":", text]);
}

/// Appends a key and its string.
pub fn put_entry(out: &mut Vec<u8>, key: &str, text: &[u8]) {
    put_string(out, key.as_bytes());
    put_string(out, text);
}

/// Appends a key and its number.
pub fn put_number(out: &mut Vec<u8>, key: &str, value: u64) {
    put_string(out, key.as_bytes());
    out.push(b'i');
    decimal(out, value);
    out.push(b'e');
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, Dictionary, dictionary_end, put_entry, put_number};

    #[test]
    fn one_level_is_read_in_place() {
        let bytes = b"d7:call-id3:abc7:command5:offer5:limiti-12e6:nestedd1:al1:bee8:supportsl1:x10:load limitee";
        let dictionary = Dictionary::parse(bytes).expect("a good dictionary");
        assert_eq!(dictionary.string("command"), Some(&b"offer"[..]));
        assert_eq!((dictionary.string("limit"), dictionary.number("limit")), (None, Some(-12)));
        assert_eq!(dictionary.string("a"), None, "that is another level");
        assert!(dictionary.lists("supports", "load limit") && !dictionary.lists("supports", "load"));
        assert_eq!(dictionary.entries().count(), 5);
        assert!(dictionary.dictionary("nested").is_some_and(|nested| nested.lists("a", "b")));
    }

    #[test]
    fn what_is_cut_or_malformed_is_refused() {
        let bytes = b"d7:call-id3:abc5:limiti12e8:supportsl10:load limitee";
        assert!(Dictionary::parse(bytes).is_some());
        for end in 0..bytes.len() {
            assert!(Dictionary::parse(&bytes[..end]).is_none(), "cut at {end}");
            assert_eq!(dictionary_end(&bytes[..end]), None);
        }
        let deep = [b"d1:a".repeat(DEPTH_MAX + 1), b"1:b".to_vec(), b"e".repeat(DEPTH_MAX + 1)].concat();
        for bad in [&b"d1:ai1exe"[..], b"d1:aixee", b"d01:ai1ee", b"di1ei2ee", b"le", b"d9999999:ae", &deep] {
            assert!(Dictionary::parse(bad).is_none(), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(dictionary_end(b"d1:a1:be and more"), Some(8));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = b"d".to_vec();
        put_entry(&mut out, "result", b"ok");
        put_number(&mut out, "since", 1_795_392_000);
        out.push(b'e');
        let read = Dictionary::parse(&out).expect("our own");
        assert_eq!((read.string("result"), read.number("since")), (Some(&b"ok"[..]), Some(1_795_392_000)));
    }
}
