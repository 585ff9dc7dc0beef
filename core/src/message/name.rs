//! Header field names (RFC 3261 §7.3.1, §20): one table, long and compact forms.
//!
//! A name is compared as one 128-bit word: up to 16 bytes, bit 0x20 set in each (which lowers letters and leaves `-` and
//! digits alone), zeros behind. Since the table holds letters and `-` only and the caller has seen to it that there is no CR
//! among the bytes, equal words mean equal names. Three names are longer and are compared as bytes.

/// Bit 0x20 in each byte: lower case for letters.
const LOWER: u128 = u128::from_le_bytes([0x20; 16]);

/// All ones in the first bytes, as many as the index says.
static USED: [u128; 17] = {
    let mut used = [u128::MAX; 17];
    let mut length = 0;
    while length < 16 {
        used[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    used
};

/// The word of a name, or of its first 16 bytes.
const fn word(name: &str) -> u128 {
    let bytes = name.as_bytes();
    let mut word = 0;
    let mut at = 0;
    while at < bytes.len() && at < 16 {
        word |= ((bytes[at] | 0x20) as u128) << (8 * at);
        at += 1;
    }
    word
}

macro_rules! names {
    ($($name:ident, $long:literal $(, $compact:literal)?;)*) => {
        /// Header fields that Corelane reads. Everything else is `Other` and travels byte for byte.
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

            /// The name of `LENGTH` bytes and this word; what has another length is not even compiled.
            #[inline]
            fn of_length<const LENGTH: usize>(lower: u128) -> Name {
                $(
                    if (const { $long.len() == LENGTH } && lower == const { word($long) })
                        $(|| (const { $compact.len() == LENGTH } && lower == const { word($compact) }))?
                    {
                        return Name::$name;
                    }
                )*
                Name::Other
            }
        }
    };
}

names! {
    Via, "Via", "v";
    Route, "Route";
    RecordRoute, "Record-Route";
    MaxForwards, "Max-Forwards";
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
    MaxBreadth, "Max-Breadth";
    Reason, "Reason";
    RetryAfter, "Retry-After";
    Timestamp, "Timestamp";
    Allow, "Allow";
    Event, "Event", "o";
    Privacy, "Privacy";
    PAssertedIdentity, "P-Asserted-Identity";
    PPreferredIdentity, "P-Preferred-Identity";
    Diversion, "Diversion";
    Replaces, "Replaces";
    ReferTo, "Refer-To", "r";
    RAck, "RAck";
    RSeq, "RSeq";
    Identity, "Identity", "y";
}

impl Name {
    /// How many there are, `Other` included.
    pub(super) const COUNT: usize = Name::Other as usize + 1;

    /// The names of more than 16 bytes.
    const LONG: [Name; 3] = [Name::ProxyAuthorization, Name::PAssertedIdentity, Name::PPreferredIdentity];

    /// May be there once (RFC 3261 §7.3.1; here only those on which everything else rests).
    #[inline]
    pub(super) const fn single(self) -> bool {
        matches!(self, Name::From | Name::To | Name::CallId | Name::CSeq | Name::MaxForwards | Name::ContentLength)
    }

    /// The name of `length` bytes, 16 at most, and this word.
    #[inline]
    fn of_word(lower: u128, length: usize) -> Name {
        match length {
            1 => Name::of_length::<1>(lower),
            2 => Name::of_length::<2>(lower),
            3 => Name::of_length::<3>(lower),
            4 => Name::of_length::<4>(lower),
            5 => Name::of_length::<5>(lower),
            6 => Name::of_length::<6>(lower),
            7 => Name::of_length::<7>(lower),
            8 => Name::of_length::<8>(lower),
            9 => Name::of_length::<9>(lower),
            10 => Name::of_length::<10>(lower),
            11 => Name::of_length::<11>(lower),
            12 => Name::of_length::<12>(lower),
            13 => Name::of_length::<13>(lower),
            14 => Name::of_length::<14>(lower),
            15 => Name::of_length::<15>(lower),
            16 => Name::of_length::<16>(lower),
            _ => Name::Other,
        }
    }

    /// The name at the start of `block`, when it is one of the table in at most 15 bytes right before a colon, and how many bytes it has.
    /// Everything else goes through [`Name::parse`].
    #[inline]
    pub(super) fn at(block: &[u8; 16]) -> Option<(Name, usize)> {
        let word = u128::from_le_bytes(*block);
        let length = first_colon(word)?;
        let lower = (word | LOWER) & USED[length];
        match Name::of_word(lower, length) {
            Name::Other => None,
            name => Some((name, length)),
        }
    }

    /// The header of this name, long or compact, any case (RFC 3261 §7.3.1); `name` has no CR in it.
    #[must_use]
    pub fn parse(name: &[u8]) -> Name {
        if name.len() > 16 {
            let same = |known: &&Name| name.eq_ignore_ascii_case(known.text().as_bytes());
            return Name::LONG.iter().find(same).copied().unwrap_or(Name::Other);
        }
        let mut block = [0; 16];
        block[..name.len()].copy_from_slice(name);
        Name::of_word((u128::from_le_bytes(block) | LOWER) & USED[name.len()], name.len())
    }
}

/// Which of the 16 bytes is the first `:`.
#[inline]
fn first_colon(word: u128) -> Option<usize> {
    // The lowest byte that becomes zero is found exactly; a borrow can only mark bytes above it.
    let zero_at_colon = |half: u64| {
        let bytes = half ^ u64::from_le_bytes([b':'; 8]);
        bytes.wrapping_sub(0x0101_0101_0101_0101) & !bytes & 0x8080_8080_8080_8080
    };
    match zero_at_colon(word as u64) {
        0 => match zero_at_colon((word >> 64) as u64) {
            0 => None,
            mark => Some(8 + mark.trailing_zeros() as usize / 8),
        },
        mark => Some(mark.trailing_zeros() as usize / 8),
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
                let mut block = [b'x'; 16];
                if spelled.len() < 16 {
                    block[..spelled.len()].copy_from_slice(spelled.as_bytes());
                    block[spelled.len()] = b':';
                    assert_eq!(Name::at(&block), Some((name, spelled.len())), "{spelled}");
                }
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
