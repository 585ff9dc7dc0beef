//! Just enough Rust to tell code from comments and literals.
//!
//! The rules look for words such as `unsafe`; a comment or a message that speaks of them is innocent. So comments and the
//! insides of literals are blanked, byte for byte, and line numbers stay true. Refused: nothing; text that is no Rust comes out
//! as some text of the same length.

/// `text` with comments and literals blanked out. Newlines stay.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = blank_length(bytes, at);
        if length == 0 {
            out.push(bytes[at]);
            at += 1;
        } else {
            let end = (at + length).min(bytes.len());
            out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    // Blanking replaces whole comments and literals, so no character is cut in half.
    String::from_utf8_lossy(&out).into_owned()
}

/// Bytes of the comment or literal that starts at `at`; 0 when code does.
fn blank_length(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let after_word = at > 0 && is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest, b'"'),
        [b'\'', ..] => character(rest),
        [b'r', ..] if !after_word => raw_string(rest),
        // `br"…"`: the prefix alone would otherwise make the `r` part of a word.
        [b'b', b'r', ..] if !after_word && raw_string(&rest[1..]) > 0 => 1 + raw_string(&rest[1..]),
        _ => 0,
    }
}

/// Block comments nest.
fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal, and not a lifetime: a quote closes it after one character or an escape.
fn character(rest: &[u8]) -> usize {
    match rest {
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        [b'\'', first, ..] => {
            let width = match first {
                0x00..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        _ => 0,
    }
}

/// `r"…"`, `r#"…"#` and so on.
fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let body = 2 + hashes;
    rest[body..].windows(end.len()).position(|window| window == end).map_or(rest.len(), |at| body + at + end.len())
}

/// Whether a byte belongs to an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The identifiers, keywords and numbers of a line.
pub(crate) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character: char| !character.is_alphanumeric() && character != '_').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_comments_and_literals_only() {
        for (text, expected) in [
            ("a // x\nb", "a     \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            (r#"f("x\"y", 'c', '\'', b'"') g"#, "f(      ,    ,     , b   ) g"),
            ("r\"x\" s r#\"a\"b\"# t", "     s          t"),
            ("br#\"x\"# u", "        u"),
            ("fn f<'a>(x: &'a str) -> &'static str", "fn f<'a>(x: &'a str) -> &'static str"),
            ("'é' x", "     x"),
            ("for r in x", "for r in x"),
            ("\"never closed\nb", "             \n "),
            ("/* never closed", "               "),
        ] {
            assert_eq!(code_only(text), expected, "{text}");
        }
    }

    #[test]
    fn splits_words() {
        assert_eq!(words("unsafe { a_b(c1) }").collect::<Vec<_>>(), ["unsafe", "a_b", "c1"]);
    }
}
