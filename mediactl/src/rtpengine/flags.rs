//! Column `media_flags`: what an operator wants of the media node, in the words of rtpengine.
//!
//! ```text
//!   ICE=remove DTLS=off direction=internal,external transport-protocol=RTP/AVP trust-address symmetric
//!   ╰────────╯ ╰──────╯ ╰─────────────────────────╯ ╰────────────────────────╯ ╰─────────────────────╯
//!   key=value of the table below, each once; lists have commas                   plain words: the list `flags`
//! ```
//!
//! Provider's and gateway's columns come one behind the other, and of a key that stands in both the later counts: the gateway's. Keys are spelled as in
//! rtpengine's documentation and case counts, as it does there. Plain words are passed on as they are, because every version of rtpengine knows more of them
//! and ignores those that it does not know.
//!
//! Refused (by `check`, long before a call): keys that are not in the table, above all those that Corelane writes itself (`call-id`, `sdp`, …);
//! values that are not of the key's kind; characters that no flag has. A call with such a text would go without the bad words.

use super::bencode::Writer;

/// What a key's value looks like.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any word.
    Text,
    /// A number up to this.
    Number(u32),
    /// Words with commas between them.
    List,
    /// Exactly two words with a comma between them.
    Pair,
}

/// A key of the table.
struct Key {
    name: &'static str,
    kind: Kind,
    /// It describes the two sides as the first offer sees them: the caller's first. In an answer, or an offer from the other side, it would turn them
    /// round; and a node remembers it.
    first_offer: bool,
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, first_offer: false }
}

const fn first(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, first_offer: true }
}

/// Every key, in the spelling of rtpengine's documentation.
const KEYS: &[Key] = &[
    key("ICE", Kind::Word(&["remove", "force", "force-relay", "default", "optional"])),
    key("ICE-lite", Kind::Word(&["off", "no", "forward", "backward", "both"])),
    key("DTLS", Kind::Word(&["off", "no", "disable", "passive", "active"])),
    key("DTLS-reverse", Kind::Word(&["passive", "active"])),
    key("DTLS-fingerprint", Kind::Text),
    key("SDES", Kind::List),
    key("OSRTP", Kind::List),
    key("T.38", Kind::List),
    key("rtcp-mux", Kind::List),
    key("replace", Kind::List),
    key("TOS", Kind::Number(255)),
    key("ptime", Kind::Number(1000)),
    key("ptime-reverse", Kind::Number(1000)),
    key("label", Kind::Text),
    key("record-call", Kind::Word(&["yes", "no", "on", "off"])),
    key("media-address", Kind::Text),
    first("direction", Kind::Pair),
    first("transport-protocol", Kind::Text),
    first("address-family", Kind::Word(&["IP4", "IP6"])),
];

/// What is replaced in an SDP when nothing else is asked for: no address of one side is shown to the other.
const REPLACE: &[&str] = &["origin", "session-connection"];

/// Why a word of the column is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FlagError {
    /// The key is not in the table.
    #[error("unknown key `{0}`")]
    UnknownKey(String),
    /// The value is not of the key's kind.
    #[error("`{0}` cannot be `{1}`: {2}")]
    BadValue(&'static str, String, &'static str),
    /// A character that no flag has.
    #[error("`{0}` is no flag: letters, digits and .-_/:* only")]
    BadWord(String),
    /// Twice in one column.
    #[error("`{0}` stands there twice")]
    Twice(&'static str),
}

/// Looks at a column, for the operator.
///
/// # Errors
/// Every word that would be left out.
pub fn check(text: &str) -> Result<(), Vec<FlagError>> {
    let mut errors = Vec::new();
    let mut seen = [false; KEYS.len()];
    for word in text.split_ascii_whitespace() {
        match Word::parse(word) {
            Ok(Word::Pair(place, _)) if seen[place] => errors.push(FlagError::Twice(KEYS[place].name)),
            Ok(Word::Pair(place, _)) => seen[place] = true,
            Ok(Word::Plain(_)) => {}
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// One word of the column.
enum Word<'t> {
    /// Place of the key, value.
    Pair(usize, &'t str),
    Plain(&'t str),
}

impl<'t> Word<'t> {
    fn parse(word: &'t str) -> Result<Word<'t>, FlagError> {
        let Some((name, value)) = word.split_once('=') else {
            return if is_word(word) { Ok(Word::Plain(word)) } else { Err(FlagError::BadWord(word.to_owned())) };
        };
        let place =
            KEYS.iter().position(|key| key.name == name).ok_or_else(|| FlagError::UnknownKey(name.to_owned()))?;
        let key = &KEYS[place];
        let (good, wanted) = match key.kind {
            Kind::Word(words) => (words.contains(&value), "rtpengine knows no such value"),
            Kind::Text => (is_word(value), "one word is wanted"),
            Kind::Number(most) => (number(value).is_some_and(|number| number <= most), "a number is wanted"),
            Kind::List => (value.split(',').all(is_word), "words with commas between them are wanted"),
            Kind::Pair => {
                (value.split(',').count() == 2 && value.split(',').all(is_word), "two names with a comma are wanted")
            }
        };
        if good { Ok(Word::Pair(place, value)) } else { Err(FlagError::BadValue(key.name, value.to_owned(), wanted)) }
    }
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/:*".contains(&byte))
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Writes the pairs and the list `flags` into the open dictionary of an offer or answer.
pub(super) fn write(text: &[u8], first_offer: bool, out: &mut Writer<'_>) {
    // The column was text when it was compiled.
    let text = str::from_utf8(text).unwrap_or_default();
    let mut values: [Option<&str>; KEYS.len()] = [None; KEYS.len()];
    let mut plain: Vec<&str> = Vec::new();
    for word in text.split_ascii_whitespace() {
        match Word::parse(word) {
            Ok(Word::Pair(place, value)) => values[place] = Some(value),
            Ok(Word::Plain(word)) if !plain.contains(&word) => plain.push(word),
            // Told at `check`.
            Ok(Word::Plain(_)) | Err(_) => {}
        }
    }
    for (key, value) in KEYS.iter().zip(values) {
        match (value, key.kind) {
            (None, _) if key.name == "replace" => list(key.name, REPLACE.iter().copied(), out),
            (None, _) => {}
            (Some(_), _) if key.first_offer && !first_offer => {}
            (Some(value), Kind::Word(_) | Kind::Text) => {
                out.pair(key.name, value.as_bytes());
            }
            (Some(value), Kind::Number(_)) => {
                out.text(key.name.as_bytes()).integer(number(value).unwrap_or(0).into());
            }
            (Some(value), Kind::List | Kind::Pair) => list(key.name, value.split(','), out),
        }
    }
    if !plain.is_empty() {
        list("flags", plain.into_iter(), out);
    }
}

fn list<'t>(key: &str, words: impl Iterator<Item = &'t str>, out: &mut Writer<'_>) {
    out.text(key.as_bytes()).list();
    for word in words {
        out.text(word.as_bytes());
    }
    out.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, first_offer: bool) -> String {
        let mut bytes = Vec::new();
        write(text.as_bytes(), first_offer, &mut Writer::new(&mut bytes));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn keys_become_entries_and_words_become_flags() {
        let text = "ICE=remove DTLS=off direction=internal,external transport-protocol=RTP/AVP trust-address TOS=184 symmetric \
                    rtcp-mux=demux,accept";
        assert_eq!(check(text), Ok(()));
        assert_eq!(
            written(text, true),
            "3:ICE6:remove4:DTLS3:off8:rtcp-muxl5:demux6:accepte7:replacel6:origin18:session-connectione3:TOSi184e\
             9:directionl8:internal8:externale18:transport-protocol7:RTP/AVP5:flagsl13:trust-address9:symmetrice"
        );
    }

    #[test]
    fn the_two_sides_are_named_in_the_first_offer_only() {
        let text = "direction=in,out address-family=IP6 transport-protocol=RTP/SAVP ICE=force";
        assert_eq!(written(text, false), "3:ICE5:force7:replacel6:origin18:session-connectione");
    }

    #[test]
    fn the_later_column_counts_and_a_word_is_said_once() {
        assert_eq!(
            written("ICE=remove replace=origin symmetric ICE=force symmetric asymmetric", true),
            "3:ICE5:force7:replacel6:origine5:flagsl9:symmetric10:asymmetrice"
        );
        assert_eq!(check("ICE=remove ICE=force"), Err(vec![FlagError::Twice("ICE")]));
    }

    #[test]
    fn each_bad_word_is_told_and_left_out() {
        let text = "ice=remove call-id=x sdp= ICE=maybe direction=a direction=a,b,c TOS=256 TOS=+1 ptime= SDES=a,,b tr\u{fc}st a,b replace=";
        let errors = check(text).unwrap_err();
        assert_eq!(errors.len(), text.split(' ').count(), "{errors:?}");
        assert_eq!(errors[0].to_string(), "unknown key `ice`");
        assert_eq!(errors[3].to_string(), "`ICE` cannot be `maybe`: rtpengine knows no such value");
        assert_eq!(errors[4].to_string(), "`direction` cannot be `a`: two names with a comma are wanted");
        assert_eq!(errors[10].to_string(), "`tr\u{fc}st` is no flag: letters, digits and .-_/:* only");
        assert_eq!(written(text, true), written("", true));
        assert_eq!(check(""), Ok(()));
    }

    /// What Corelane writes itself cannot be said by a column.
    #[test]
    fn no_key_is_one_of_corelanes_own() {
        for own in ["command", "call-id", "from-tag", "to-tag", "via-branch", "sdp", "supports", "flags", "limit"] {
            assert!(KEYS.iter().all(|key| key.name != own), "{own}");
        }
    }
}
