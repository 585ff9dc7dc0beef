//! Request methods.

/// Request methods (RFC 3261 and its extensions that a proxy treats differently). SIP methods are case-sensitive (§7.1).
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Prack,
    Update,
    Info,
    Subscribe,
    Notify,
    Refer,
    Message,
    Publish,
    Other,
}

impl Method {
    /// The method of this name.
    #[inline]
    #[must_use]
    pub fn parse(name: &[u8]) -> Method {
        match name {
            b"SUBSCRIBE" => Method::Subscribe,
            _ if name.len() > 8 => Method::Other,
            _ => {
                let mut word = [0; 8];
                word[..name.len()].copy_from_slice(name);
                Method::of_start(word, name.len())
            }
        }
    }

    /// The method whose name of `length` bytes, 8 at most, `text` begins with.
    #[inline(always)]
    pub(super) fn of_start(text: [u8; 8], length: usize) -> Method {
        if length.wrapping_sub(1) > 7 {
            return Method::Other;
        }
        let spare = 64 - 8 * length as u32;
        let end = u64::from_le_bytes(text) << spare;
        // No name ends with NUL: that would be one with fewer bytes and zeros behind it.
        if end >> 56 == 0 { Method::Other } else { Method::of_word(end >> spare) }
    }

    /// The method of this name, zeros behind it.
    #[inline(always)]
    fn of_word(word: u64) -> Method {
        const fn word_of(name: &[u8]) -> u64 {
            let (mut word, mut at) = ([0; 8], 0);
            while at < name.len() {
                word[at] = name[at];
                at += 1;
            }
            u64::from_le_bytes(word)
        }
        macro_rules! method {
            ($($method:ident $name:literal),*) => {
                match word {
                    $(word if word == const { word_of($name) } => Method::$method,)*
                    _ => Method::Other,
                }
            };
        }
        // The most frequent first.
        method! {
            Invite b"INVITE", Ack b"ACK", Bye b"BYE", Options b"OPTIONS", Cancel b"CANCEL", Update b"UPDATE", Prack b"PRACK",
            Info b"INFO", Register b"REGISTER", Notify b"NOTIFY", Refer b"REFER", Message b"MESSAGE", Publish b"PUBLISH"
        }
    }
}
