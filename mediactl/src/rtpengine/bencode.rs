//! Bencode, as far as the ng protocol speaks it: a writer that appends, a reader that borrows.
//!
//! ```text
//!   string  3:sdp        integer  i-7e        list  l … e        dictionary  d key value key value … e
//! ```
//!
//! [`Value::parse`] walks the bytes once, without recursion and without memory of its own: one bit per open level says whether it is a
//! dictionary, another whether its next item is a key. What it lets pass is well-formed to the last byte, so that the views made
//! from it ([`Dictionary`], [`List`]) only find their way again and cannot fail.
//!
//! Refused: anything deeper than [`DEPTH_MAX`], numbers beyond 64 bits or with needless zeros, a key that is no string, a string longer than
//! what is there, anything behind the value. Allowed, because nodes do it: keys in any order; of two equal keys the first counts.
//!
//! No crate: those that bound the depth and borrow their strings (bendy) insist on sorted keys, which ng replies do not have; those that take
//! any order (`serde_bencode`) recurse as deep as the sender likes.

/// The deepest nesting that is read. A `query` of a call with several streams has eight levels.
pub const DEPTH_MAX: u32 = 16;

const _: () = assert!(DEPTH_MAX < u32::BITS, "a level is a bit");

/// Why bytes are no bencode that is read here.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BencodeError {
    /// The bytes end inside a value.
    Truncated,
    /// A byte that starts or continues no value.
    Unexpected,
    /// A number above what 64 bits hold, or not in its shortest form.
    Number,
    /// A dictionary's key is no string, or a key has no value.
    Key,
    /// More levels than [`DEPTH_MAX`].
    Depth,
    /// Bytes behind the value.
    Trailing,
}

/// A value that borrows from the bytes it was read from.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Value<'b> {
    /// `i…e`
    Integer(i64),
    /// `length:bytes`
    Text(&'b [u8]),
    /// `l…e`
    List(List<'b>),
    /// `d…e`
    Dictionary(Dictionary<'b>),
}

impl<'b> Value<'b> {
    /// Reads exactly one value.
    ///
    /// # Errors
    /// See [`BencodeError`].
    pub fn parse(bytes: &'b [u8]) -> Result<Value<'b>, BencodeError> {
        let mut rest = Cursor(bytes);
        rest.skip_value()?;
        if !rest.0.is_empty() {
            return Err(BencodeError::Trailing);
        }
        Cursor(bytes).value().ok_or(BencodeError::Unexpected)
    }

    /// The bytes of a string.
    #[must_use]
    pub fn text(self) -> Option<&'b [u8]> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// An integer.
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        if let Value::Integer(integer) = self { Some(integer) } else { None }
    }

    /// A list.
    #[must_use]
    pub fn list(self) -> Option<List<'b>> {
        if let Value::List(list) = self { Some(list) } else { None }
    }

    /// A dictionary.
    #[must_use]
    pub fn dictionary(self) -> Option<Dictionary<'b>> {
        if let Value::Dictionary(dictionary) = self { Some(dictionary) } else { None }
    }
}

/// A list: what lies between its `l` and its `e`, known to be well-formed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct List<'b>(&'b [u8]);

impl<'b> List<'b> {
    /// Its values in their order.
    pub fn iter(self) -> impl Iterator<Item = Value<'b>> {
        let mut cursor = Cursor(self.0);
        std::iter::from_fn(move || cursor.value())
    }
}

/// A dictionary: what lies between its `d` and its `e`, known to be well-formed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Dictionary<'b>(&'b [u8]);

impl<'b> Dictionary<'b> {
    /// Its pairs in the order in which they were sent.
    pub fn iter(self) -> impl Iterator<Item = (&'b [u8], Value<'b>)> {
        let mut cursor = Cursor(self.0);
        std::iter::from_fn(move || Some((cursor.value()?.text()?, cursor.value()?)))
    }

    /// The value of the first such key.
    #[must_use]
    pub fn find(self, key: &str) -> Option<Value<'b>> {
        self.iter().find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
    }

    /// The string under a key.
    #[must_use]
    pub fn text(self, key: &str) -> Option<&'b [u8]> {
        self.find(key)?.text()
    }
}

/// What is still to be read.
struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    /// Passes over one value of any depth.
    fn skip_value(&mut self) -> Result<(), BencodeError> {
        use BencodeError::{Depth, Key, Truncated, Unexpected};
        // Bit n belongs to level n; level 0 is outside the value, and no dictionary.
        let (mut depth, mut dictionaries, mut keys) = (0u32, 0u32, 0u32);
        loop {
            let level = 1 << depth;
            let first = *self.0.first().ok_or(Truncated)?;
            let key_due = keys & level != 0;
            match first {
                b'0'..=b'9' => {
                    self.string()?;
                }
                b'e' if depth > 0 => {
                    if dictionaries & level != 0 && !key_due {
                        return Err(Key);
                    }
                    self.0 = &self.0[1..];
                    dictionaries &= !level;
                    keys &= !level;
                    depth -= 1;
                }
                b'i' | b'l' | b'd' if key_due => return Err(Key),
                b'i' => {
                    self.integer()?;
                }
                b'l' | b'd' => {
                    if depth == DEPTH_MAX {
                        return Err(Depth);
                    }
                    self.0 = &self.0[1..];
                    depth += 1;
                    if first == b'd' {
                        dictionaries |= 1 << depth;
                        keys |= 1 << depth;
                    }
                    continue;
                }
                _ => return Err(Unexpected),
            }
            // An item of this level is complete.
            keys ^= dictionaries & 1 << depth;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// The next value of bytes that [`Cursor::skip_value`] has passed over before; `None` at their end.
    fn value(&mut self) -> Option<Value<'b>> {
        let start = self.0;
        match *start.first()? {
            b'i' => self.integer().ok().map(Value::Integer),
            b'0'..=b'9' => self.string().ok().map(Value::Text),
            kind => {
                self.skip_value().ok()?;
                let inside = &start[1..start.len() - self.0.len() - 1];
                Some(if kind == b'd' { Value::Dictionary(Dictionary(inside)) } else { Value::List(List(inside)) })
            }
        }
    }

    fn string(&mut self) -> Result<&'b [u8], BencodeError> {
        let length = self.number(b':')?;
        let length = usize::try_from(length).map_err(|_| BencodeError::Number)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(BencodeError::Truncated)?;
        self.0 = rest;
        Ok(text)
    }

    fn integer(&mut self) -> Result<i64, BencodeError> {
        self.0 = &self.0[1..];
        self.number(b'e')
    }

    /// A decimal number in its shortest form, and the byte that ends it.
    fn number(&mut self, end: u8) -> Result<i64, BencodeError> {
        use BencodeError::{Number, Truncated, Unexpected};
        // 20 characters hold every number of 64 bits with its sign.
        let window = &self.0[..self.0.len().min(21)];
        let length = window.iter().position(|byte| *byte == end);
        let length = length.ok_or(if window.len() == 21 { Number } else { Truncated })?;
        let digits = std::str::from_utf8(&window[..length]).map_err(|_| Unexpected)?;
        let plain = digits.strip_prefix('-').unwrap_or(digits);
        if plain.is_empty() || !plain.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Unexpected);
        }
        if plain.starts_with('0') && digits != "0" {
            return Err(Number);
        }
        self.0 = &self.0[length + 1..];
        digits.parse().map_err(|_| Number)
    }
}

/// Appends bencode to a buffer of the caller's.
#[derive(Debug)]
pub struct Writer<'o>(&'o mut Vec<u8>);

impl<'o> Writer<'o> {
    /// Writes behind what `out` holds.
    pub fn new(out: &'o mut Vec<u8>) -> Writer<'o> {
        Writer(out)
    }

    /// A string.
    pub fn text(&mut self, text: &[u8]) -> &mut Self {
        self.digits(text.len());
        self.0.push(b':');
        self.0.extend_from_slice(text);
        self
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        self.0.push(b'i');
        if value < 0 {
            self.0.push(b'-');
        }
        self.digits(usize::try_from(value.unsigned_abs()).unwrap_or(usize::MAX));
        self.0.push(b'e');
        self
    }

    /// A pair of a dictionary whose value is a string.
    pub fn pair(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.text(key.as_bytes()).text(value)
    }

    /// Opens a dictionary.
    pub fn dictionary(&mut self) -> &mut Self {
        self.0.push(b'd');
        self
    }

    /// Opens a list.
    pub fn list(&mut self) -> &mut Self {
        self.0.push(b'l');
        self
    }

    /// Closes what was opened last.
    pub fn close(&mut self) -> &mut Self {
        self.0.push(b'e');
        self
    }

    fn digits(&mut self, mut value: usize) {
        let (mut digits, mut at) = ([0; 20], 20);
        loop {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break self.0.extend_from_slice(&digits[at..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A value that owns what it holds.
    #[derive(Clone, PartialEq, Debug)]
    enum Tree {
        Integer(i64),
        Text(Vec<u8>),
        List(Vec<Tree>),
        Dictionary(Vec<(Vec<u8>, Tree)>),
    }

    impl Tree {
        fn write(&self, out: &mut Writer<'_>) {
            match self {
                Tree::Integer(value) => {
                    out.integer(*value);
                }
                Tree::Text(text) => {
                    out.text(text);
                }
                Tree::List(items) => {
                    out.list();
                    items.iter().for_each(|item| item.write(out));
                    out.close();
                }
                Tree::Dictionary(pairs) => {
                    out.dictionary();
                    for (key, value) in pairs {
                        out.text(key);
                        value.write(out);
                    }
                    out.close();
                }
            }
        }

        fn of(value: Value<'_>) -> Tree {
            match value {
                Value::Integer(value) => Tree::Integer(value),
                Value::Text(text) => Tree::Text(text.to_vec()),
                Value::List(list) => Tree::List(list.iter().map(Tree::of).collect()),
                Value::Dictionary(pairs) => {
                    Tree::Dictionary(pairs.iter().map(|(key, value)| (key.to_vec(), Tree::of(value))).collect())
                }
            }
        }
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let text = || prop::collection::vec(any::<u8>(), 0..12);
        let leaf = prop_oneof![any::<i64>().prop_map(Tree::Integer), text().prop_map(Tree::Text)];
        leaf.prop_recursive(6, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
                prop::collection::vec((text(), inner), 0..6).prop_map(Tree::Dictionary),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_each_cut_is_noticed(tree in trees()) {
            let mut bytes = Vec::new();
            tree.write(&mut Writer::new(&mut bytes));
            prop_assert_eq!(Value::parse(&bytes).map(Tree::of), Ok(tree));
            for end in 0..bytes.len() {
                prop_assert!(Value::parse(&bytes[..end]).is_err(), "cut at {}", end);
            }
            bytes.push(b'e');
            prop_assert_eq!(Value::parse(&bytes), Err(BencodeError::Trailing));
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(prop_oneof![Just(b'd'), Just(b'l'), Just(b'e'), Just(b'i'), Just(b':'),
            b'0'..=b'9', any::<u8>()], 0..64)) {
            if let Ok(value) = Value::parse(&bytes) {
                let mut again = Vec::new();
                Tree::of(value).write(&mut Writer::new(&mut again));
                prop_assert_eq!(again, bytes, "there is one spelling of a value");
            }
        }
    }

    #[test]
    fn refusals_say_why() {
        use BencodeError::{Depth, Key, Number, Trailing, Truncated, Unexpected};
        let cases: [(&[u8], BencodeError); 19] = [
            (b"", Truncated),
            (b"e", Unexpected),
            (b"d", Truncated),
            (b"d1:ae", Key),
            (b"di1ei2ee", Key),
            (b"dle1:ae", Key),
            (b"d1:a1:b1:c", Truncated),
            (b"4:abc", Truncated),
            (b"04:abcd", Number),
            (b"-1:a", Unexpected),
            (b"99999999999999999999999:a", Number),
            (b"9223372036854775808:a", Number),
            (b"i9223372036854775808e", Number),
            (b"i-0e", Number),
            (b"i00e", Number),
            (b"ie", Unexpected),
            (b"i1", Truncated),
            (b"i1ei1e", Trailing),
            (b"\xff\xff", Unexpected),
        ];
        for (bytes, why) in cases {
            assert_eq!(Value::parse(bytes), Err(why), "{}", bytes.escape_ascii());
        }
        let nested = |depth: usize| [b"l".repeat(depth), b"e".repeat(depth)].concat();
        assert!(Value::parse(&nested(DEPTH_MAX as usize)).is_ok());
        assert_eq!(Value::parse(&nested(DEPTH_MAX as usize + 1)), Err(Depth));
        assert_eq!(Value::parse(&b"l".repeat(60_000)), Err(Depth));
    }

    #[test]
    fn keys_are_found_in_any_order_and_the_first_of_equals_counts() {
        let value = Value::parse(b"d1:zi1e1:al1:xi2ed1:k1:vee1:zi9ee").unwrap().dictionary().unwrap();
        assert_eq!(value.find("z"), Some(Value::Integer(1)));
        assert_eq!(value.find("k"), None, "what lies deeper is not found");
        let list: Vec<Value<'_>> = value.find("a").unwrap().list().unwrap().iter().collect();
        assert_eq!(list[..2], [Value::Text(b"x"), Value::Integer(2)]);
        assert_eq!(list[2].dictionary().unwrap().text("k"), Some(&b"v"[..]));
        assert_eq!(value.text("z"), None);
    }
}
