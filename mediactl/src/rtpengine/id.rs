//! What Corelane calls itself, its sessions and its questions towards media nodes.
//!
//! ```text
//!   ng call-id   7-00000192f3a4b5c6-0123456789abcdef-00000001       cookie   7-00000192f3a4b5c6-2a
//!                │ │                │                │                       │ │                └ number of the question, hex
//!                │ │                │                └ pass                  │ └ boot
//!                │ │                └ keyed hash of the Call-ID              └ node id
//!                │ └ boot: another one at every start
//!                └ node id, decimal
//! ```
//!
//! A node remembers its reply by the cookie alone, for up to a minute, whoever asks: so no two questions of a fleet of Corelanes share
//! one, over nodes and restarts. There is one counter for all shards.
//!
//! Only the exact spelling is read back. A call-id that looks alike belongs to somebody else, and somebody else's sessions are never touched.

use core::fmt;

use corelane_core::bus::MediaCall;

/// This process among all that use the media nodes.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// Id of the Corelane node, unique among those that share media nodes.
    pub node: u32,
    /// Which of its starts: never twice the same.
    pub boot: u64,
}

/// The longest ng call-id: ten digits, sixteen, sixteen, eight, and their hyphens.
pub const SESSION_MAX: usize = 53;

/// A session on a media node: an ng call-id.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct SessionId {
    /// Whose.
    pub origin: Origin,
    /// Of which call.
    pub call: MediaCall,
}

impl SessionId {
    /// Reads an ng call-id; `None` for everybody else's.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<SessionId> {
        let text = str::from_utf8(text).ok()?;
        let mut fields = text.split('-');
        let node = fields.next()?.parse().ok()?;
        let mut hexadecimal = |digits: usize| {
            let field = fields.next().filter(|field| field.len() == digits)?;
            u64::from_str_radix(field, 16).ok()
        };
        let boot = hexadecimal(16)?;
        let call_hash = hexadecimal(16)?;
        let pass = u32::try_from(hexadecimal(8)?).ok()?;
        let id = SessionId { origin: Origin { node, boot }, call: MediaCall { call_hash, pass } };
        // Signs, upper case, leading zeros: not ours.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SessionId { origin: Origin { node, boot }, call: MediaCall { call_hash, pass } } = self;
        write!(out, "{node}-{boot:016x}-{call_hash:016x}-{pass:08x}")
    }
}

/// One question, and each of its retransmissions.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cookie {
    /// Whose.
    pub origin: Origin,
    /// Which.
    pub number: u64,
}

impl Cookie {
    /// Reads the cookie of a reply; `None` for everybody else's.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Cookie> {
        let text = str::from_utf8(text).ok()?;
        let mut fields = text.splitn(3, '-');
        let node = fields.next()?.parse().ok()?;
        let boot = u64::from_str_radix(fields.next()?, 16).ok()?;
        let number = u64::from_str_radix(fields.next()?, 16).ok()?;
        let cookie = Cookie { origin: Origin { node, boot }, number };
        (cookie.to_string() == text).then_some(cookie)
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cookie { origin: Origin { node, boot }, number } = self;
        write!(out, "{node}-{boot:016x}-{number:x}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(node: u32, boot: u64, call_hash: u64, pass: u32, number: u64) {
            let origin = Origin { node, boot };
            let id = SessionId { origin, call: MediaCall { call_hash, pass } };
            prop_assert_eq!(SessionId::parse(id.to_string().as_bytes()), Some(id));
            prop_assert!(id.to_string().len() <= SESSION_MAX);
            let cookie = Cookie { origin, number };
            prop_assert_eq!(Cookie::parse(cookie.to_string().as_bytes()), Some(cookie));
        }
    }

    #[test]
    fn what_only_looks_alike_is_somebody_elses() {
        let ours = "7-00000192f3a4b5c6-0123456789abcdef-00000001";
        assert_eq!(SessionId::parse(ours.as_bytes()).map(|id| id.origin.node), Some(7));
        let others = [
            "",
            "7",
            "07-00000192f3a4b5c6-0123456789abcdef-00000001",
            "+7-00000192f3a4b5c6-0123456789abcdef-00000001",
            "7-00000192F3a4b5c6-0123456789abcdef-00000001",
            "7-+0000192f3a4b5c6-0123456789abcdef-00000001",
            "7-192f3a4b5c6-0123456789abcdef-1",
            "7-00000192f3a4b5c6-0123456789abcdef-00000001-",
            "7-00000192f3a4b5c6-0123456789abcdef-000000010",
            "4294967296-00000192f3a4b5c6-0123456789abcdef-00000001",
            "a84b4c76e66710@pc33.atlanta.com",
            "\u{fc}-00000192f3a4b5c6-0123456789abcdef-00000001",
        ];
        for other in others {
            assert_eq!(SessionId::parse(other.as_bytes()), None, "{other}");
        }
        for other in ["", "7", "7-00000192f3a4b5c6", "7-00000192f3a4b5c6-0a", "7-00000192f3a4b5c6-A", "7-1-1", "7--1"] {
            assert_eq!(Cookie::parse(other.as_bytes()), None, "{other}");
        }
    }
}
