//! Header field names (RFC 3261 §7.3.1, §20): one table, long and compact forms.
//!
//! A name of up to 15 bytes has one place in a table that its length, its first and its third byte lead to, so that it is compared with
//! one name only: as a block of 16 bytes, bit 0x20 set in each (which lowers letters and leaves `-` and digits alone), those
//! behind its colon masked out. Since the table holds letters and `-` only and the caller has seen to it that there is no CR among
//! the bytes, equal blocks mean equal names. Three names are longer and are compared as bytes.

use super::block::Block;

/// What the table has at its places: names in either form, as blocks, which lie where the processor compares them in place.
struct Known {
    /// Bit 0x20 set in each byte of the name; a colon, zeros behind.
    lower: [Block; PLACES],
    /// All ones in the name and the colon, zeros behind.
    mask: [Block; PLACES],
    names: [Name; PLACES],
}

const PLACES: usize = 128;

/// The table. That no two names fall on one place is made sure of while compiling.
static KNOWN: Known = {
    let mut known =
        // A byte under no mask that is not zero: what is masked never equals it.
        Known { lower: [Block::new(&[1; 16]); PLACES], mask: [Block::new(&[0; 16]); PLACES], names: [Name::Other; PLACES] };
    let mut at = 0;
    while at < Name::FORMS.len() {
        let (text, name) = Name::FORMS[at];
        let bytes = text.as_bytes();
        at += 1;
        if bytes.is_empty() || bytes.len() > 15 {
            continue;
        }
        let (mut lower, mut mask) = ([0; 16], [0; 16]);
        let mut byte = 0;
        while byte < bytes.len() {
            lower[byte] = bytes[byte] | 0x20;
            mask[byte] = 0xFF;
            byte += 1;
        }
        lower[byte] = b':';
        mask[byte] = 0xFF;
        let third = if bytes.len() > 2 { bytes[2] } else { BEHIND[bytes.len() - 1] };
        let place = place([bytes[0], 0, third, 0], bytes.len());
        assert!(matches!(known.names[place], Name::Other), "two names on one place: choose another factor");
        known.names[place] = name;
        known.lower[place] = Block::new(&lower);
        known.mask[place] = Block::new(&mask);
    }
    known
};

/// Found by trying.
const FACTOR: u32 = 0x7AF9_C643;

/// The third byte from the start of a name of one byte and of two: the blank behind the colon, and the colon.
const BEHIND: [u8; 2] = *b" :";

/// Where the table has a name of this length that begins with these bytes, in either case. What the second and the fourth are makes
/// no difference.
#[inline(always)]
const fn place(start: [u8; 4], length: usize) -> usize {
    let bytes = u32::from_le_bytes(start) & 0x001F_001F;
    (bytes.wrapping_mul(FACTOR).wrapping_add((length as u32) << 25) >> 25) as usize
}

macro_rules! names {
    ($($name:ident, $long:literal $(, $compact:literal)?;)*) => {
        /// Header fields that Corelane reads, and two that nearly every message has, since a name in the table is found sooner than
        /// one that is not. Everything else is `Other` and travels byte for byte.
        #[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = $long] $name,)*
            /// Any other.
            Other,
        }

        impl Name {
            /// Every name, `Other` last.
            pub const ALL: [Name; Name::COUNT] = [$(Name::$name,)* Name::Other];

            /// How it is written out in full; empty for `Other`.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Name::$name => $long,)*
                    Name::Other => "",
                }
            }

            /// Every form of every name.
            const FORMS: &[(&str, Name)] = &[$(($long, Name::$name), $(($compact, Name::$name),)?)*];
        }
    };
}

// Those that a forwarded request may differ in come first: one comparison tells them from the rest.
names! {
    Via, "Via", "v";
    Route, "Route";
    RecordRoute, "Record-Route";
    MaxForwards, "Max-Forwards";
    MaxBreadth, "Max-Breadth";
    From, "From", "f";
    To, "To", "t";
    CallId, "Call-ID", "i";
    CSeq, "CSeq";
    Contact, "Contact", "m";
    ContentLength, "Content-Length", "l";
    ContentType, "Content-Type", "c";
    ProxyRequire, "Proxy-Require";
    ProxyAuthorization, "Proxy-Authorization";
    Require, "Require";
    Supported, "Supported", "k";
    SessionExpires, "Session-Expires", "x";
    MinSe, "Min-SE";
    Reason, "Reason";
    RetryAfter, "Retry-After";
    Timestamp, "Timestamp";
    Allow, "Allow";
    Event, "Event", "o";
    Privacy, "Privacy";
    PAssertedIdentity, "P-Asserted-Identity";
    PPreferredIdentity, "P-Preferred-Identity";
    RemotePartyId, "Remote-Party-ID";
    Diversion, "Diversion";
    Replaces, "Replaces";
    ReferTo, "Refer-To", "r";
    RAck, "RAck";
    RSeq, "RSeq";
    Identity, "Identity", "y";
    UserAgent, "User-Agent";
    Server, "Server";
}

impl Name {
    /// How many there are, `Other` included.
    pub(super) const COUNT: usize = Name::Other as usize + 1;

    /// The names of more than 15 bytes.
    const LONG: [Name; 3] = [Name::ProxyAuthorization, Name::PAssertedIdentity, Name::PPreferredIdentity];

    /// May be there once (RFC 3261 §7.3.1; here only those on which everything else rests).
    #[inline]
    pub(super) const fn single(self) -> bool {
        matches!(self, Name::From | Name::To | Name::CallId | Name::CSeq | Name::MaxForwards | Name::ContentLength)
    }

    /// The known name at the start of `block`, whose first colon is at `length`; behind the colon of a name of one byte there is a blank.
    #[inline(always)]
    pub(super) fn of_block(block: &[u8; 16], length: usize) -> Option<Name> {
        let place = place(*block.first_chunk()?, length);
        // The colon too is compared, so that no shorter name can be the same: behind its colon are zeros, which bit 0x20 is not.
        let same = Block::new(block).lower().masked(KNOWN.mask[place]).same(KNOWN.lower[place]);
        (same.run() == 16).then_some(KNOWN.names[place])
    }

    /// The header of this name, long or compact, any case (RFC 3261 §7.3.1); `name` has no CR in it.
    #[must_use]
    pub fn parse(name: &[u8]) -> Name {
        match name {
            [] => Name::Other,
            _ if name.len() < 16 => {
                let mut block = [b' '; 16];
                block[..name.len()].copy_from_slice(name);
                block[name.len()] = b':';
                Name::of_block(&block, name.len()).unwrap_or(Name::Other)
            }
            _ => {
                let same = |known: &&Name| name.eq_ignore_ascii_case(known.text().as_bytes());
                Name::LONG.iter().find(same).copied().unwrap_or(Name::Other)
            }
        }
    }
}

/// Some of the names.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Names(u64);

const _: () = assert!(Name::COUNT <= u64::BITS as usize, "a bit for each name");

impl Names {
    /// None of them.
    pub const NONE: Names = Names(0);

    /// These. `Other` stands for every header that Corelane does not read, so it cannot be among them.
    #[must_use]
    pub const fn of(names: &[Name]) -> Names {
        let (mut bits, mut at) = (0, 0);
        while at < names.len() {
            assert!(!matches!(names[at], Name::Other), "no name");
            bits |= 1u64 << names[at] as u8;
            at += 1;
        }
        Names(bits)
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, others: Names) -> Names {
        Names(self.0 | others.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is among them.
    #[inline]
    #[must_use]
    pub const fn contains(self, name: Name) -> bool {
        self.0 >> (name as u8 % 64) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::Name;
    use std::vec::Vec;

    /// RFC 3261 §7.3.3 and §20: the compact forms; §7.3.1: any case.
    #[test]
    fn every_name_is_found_in_every_form() {
        for name in Name::ALL.into_iter().filter(|name| *name != Name::Other) {
            let long = name.text();
            for spelled in [long.into(), long.to_ascii_uppercase(), long.to_ascii_lowercase()] {
                assert_eq!(Name::parse(spelled.as_bytes()), name, "{spelled}");
            }
            assert_eq!(Name::parse(&[b"x", long.as_bytes()].concat()), Name::Other);
            assert_eq!(Name::parse(&[long.as_bytes(), b"x"].concat()), Name::Other);
        }
        for (compact, name) in [
            (b'v', Name::Via),
            (b'f', Name::From),
            (b't', Name::To),
            (b'i', Name::CallId),
            (b'm', Name::Contact),
            (b'l', Name::ContentLength),
            (b'c', Name::ContentType),
            (b'k', Name::Supported),
            (b'x', Name::SessionExpires),
            (b'o', Name::Event),
            (b'r', Name::ReferTo),
            (b'y', Name::Identity),
        ] {
            assert_eq!(Name::parse(&[compact]), name);
            assert_eq!(Name::parse(&[compact.to_ascii_uppercase()]), name);
        }
        let unknown: [&[u8]; 8] =
            [b"", b"s", b"e", b"u", b"Vi", b"Call_ID", b"Content-Encoding", b"X-A-Name-Longer-Than-Words"];
        let found: Vec<Name> = unknown.iter().map(|name| Name::parse(name)).collect();
        assert_eq!(found, [Name::Other; 8]);
    }

    /// No byte takes the place of another when bit 0x20 is set: exactly the two cases of a letter, and `-` alone.
    #[test]
    fn no_other_byte_passes_for_a_byte_of_a_name() {
        for byte in (0..=u8::MAX).filter(|byte| *byte != b'\r') {
            assert_eq!(Name::parse(&[b"Call", &[byte][..], b"ID"].concat()) == Name::CallId, byte == b'-', "{byte}");
            assert_eq!(Name::parse(&[byte]) == Name::Via, byte.eq_ignore_ascii_case(&b'v'), "{byte}");
        }
    }
}
