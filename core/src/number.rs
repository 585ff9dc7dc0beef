//! A dialled number on its way through Corelane: what a caller sent, what routing looks up, what a gateway gets.
//!
//! ```text
//!   sip:99%23+49-30-1234;npdi@sbc;user=phone        tel:+49-30-1234;npdi
//!        │ unescaped; visual separators and a leading + taken out (RFC 3966 §3, §5.1.1)
//!        ▼
//!   Dialled  99#+49301234        its start is compared with the tech prefixes of the source
//!        │ tech prefix off, the provider's strip, the provider's prepend
//!        ▼
//!   Number   49301234, plus      the digits are looked up; kept with the call, since each attempt starts from it
//!        │ the gateway's strip, its prepend, its number_format
//!        ▼
//!   sip:+49301234;npdi@198.51.100.20:5060;user=phone
//! ```
//!
//! **Symbols** are the sixteen keys of a telephone, as in a routed prefix: `0`–`9`, `*`, `#`, `A`–`D` in either case. Anything else in
//! what is left behind the tech prefix makes it no number (`alice`): it leads nowhere, 404.
//!
//! **`+`** is a mark and no symbol. It counts where it stands in front of what is left: taking symbols off or putting some in front
//! loses it, unless the gateway's prepend brings one.
//!
//! **Parameters** of the number (in the user part of sip:, behind the number in tel:) that travel on: `npdi` and a global `rn`
//! (RFC 4694: the number was ported, and this is where it lives now), which save the next network a look-up or a wrong turn. A local `rn`
//! means nothing without its context and goes, with `npdi`; so do both when strip leaves nothing of the number that they are about. All
//! others end here: `phone-context` named a dial plan of the caller's, which strip and prepend have put right; `ext` and `isub`
//! are for the called line's own equipment (RFC 3966 §5.2, §5.3), which a carrier's number does not reach; what we do not know
//! might change what the number means.
//!
//! **`user=phone`** travels on when it came or when the URI was a tel:, and is added where `number_format` makes the number a
//! global one.

#[cfg(test)]
mod tests;

use core::fmt;

use crate::limits::DIGITS_MAX;
use crate::message::{Message, Scheme, Uri, Writer};
use crate::routing::layout::TECH_PREFIX_MAX;
use crate::routing::{Gateway, NumberFormat, Provider, Recognised, are_digits};

/// A tech prefix, the `+` behind it, and the longest number.
const DIALLED_MAX: usize = TECH_PREFIX_MAX + 1 + DIGITS_MAX;

/// Digits of a number of E.164, and so of a global routing number.
const E164_MAX: usize = 15;
const _: () = assert!(10u64.pow(E164_MAX as u32) < Ported::LOOKED_UP);

/// Why a dialled user part, or what a rule made of it, is no number.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum NumberFault {
    /// There is no user part, or symbols in it that no number has.
    NotANumber,
    /// A tech prefix or a strip took all that there was.
    Incomplete,
    /// More than [`DIGITS_MAX`] symbols, as dialled or with what was put in front.
    TooLong,
}

impl NumberFault {
    /// The status that tells the caller: 484 where more digits could have led somewhere (RFC 3261 §21.4.22), else 404 (§21.4.5). Too
    /// long is 404 too: to a switch that dials digit by digit 484 says "send more".
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            NumberFault::NotANumber | NumberFault::TooLong => 404,
            NumberFault::Incomplete => 484,
        }
    }
}

impl fmt::Display for NumberFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NumberFault::NotANumber => out.write_str("not a number"),
            NumberFault::Incomplete => out.write_str("nothing left of the number"),
            NumberFault::TooLong => write!(out, "longer than {DIGITS_MAX} symbols"),
        }
    }
}

/// What stands in a Request-URI for the number, before it is known whose call it is.
#[derive(Copy, Clone)]
pub struct Dialled {
    text: [u8; DIALLED_MAX],
    len: u8,
    plus: bool,
    phone: bool,
    /// There was more than `text` has room for.
    longer: bool,
    ported: Ported,
}

impl Dialled {
    /// The number of a Request-URI. What is no telephone number is found out later: the source is recognised first.
    #[must_use]
    pub fn read(message: &Message<'_>, uri: &Uri) -> Dialled {
        let mut dialled = Dialled::parse(uri.user.map(|user| message.text(user)).unwrap_or_default());
        let phone = |kind: &[u8]| kind.eq_ignore_ascii_case(b"phone");
        if uri.scheme == Scheme::Tel {
            dialled.phone = true;
            dialled.ported = Ported::read(message.text(uri.params));
        } else if !uri.params.is_empty() {
            dialled.phone = uri.param(message.bytes(), b"user").flatten().is_some_and(phone);
        }
        dialled
    }

    /// The number of a user part as it stands in a sip: URI, still escaped and with its parameters.
    #[must_use]
    pub fn parse(user: &[u8]) -> Dialled {
        let mut dialled =
            Dialled { text: [0; DIALLED_MAX], len: 0, plus: false, phone: false, longer: false, ported: Ported::NOT };
        let mut rest = user;
        // Digits behind a plus or none, as nearly always; then, or instead, whatever comes.
        if let [b'+', digits @ ..] = rest {
            (dialled.plus, rest) = (true, digits);
        }
        let digits = copy_digits(rest, &mut dialled.text);
        // DIALLED_MAX at most.
        dialled.len = digits as u8;
        rest = &rest[digits..];
        while let Some((first, tail)) = rest.split_first() {
            rest = tail;
            match (first, tail) {
                (b'%', [high, low, tail @ ..]) => {
                    dialled.push(unescape(*high, *low));
                    rest = tail;
                }
                (b';', _) => {
                    dialled.ported = Ported::read(tail);
                    break;
                }
                _ => dialled.push(*first),
            }
        }
        dialled
    }

    fn push(&mut self, byte: u8) {
        match byte {
            b'-' | b'.' | b'(' | b')' => {}
            b'+' if self.len == 0 && !self.plus => self.plus = true,
            _ => match self.text.get_mut(usize::from(self.len)) {
                Some(place) => {
                    *place = byte;
                    self.len += 1;
                }
                None => self.longer = true,
            },
        }
    }

    /// What tech prefixes are compared with: unescaped, without visual separators, without the leading `+`. May be any bytes.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }

    /// The number that routing looks up: the tech prefix taken off, then the provider's strip and prepend.
    ///
    /// # Errors
    /// [`NumberFault`]: what is left is no number.
    pub fn for_provider(&self, recognised: &Recognised, provider: &Provider<'_>) -> Result<Number, NumberFault> {
        let tech_prefix = usize::from(recognised.tech_prefix);
        let rest = self.text().get(tech_prefix..).unwrap_or_default();
        let (plus, rest) = match rest.split_first() {
            Some((b'+', rest)) if tech_prefix > 0 => (true, rest),
            _ => (self.plus && tech_prefix == 0, rest),
        };
        let mut number = Number { plus, phone: self.phone, ported: self.ported, ..Number::EMPTY };
        let digits = copy_digits(rest, &mut number.symbols);
        // DIGITS_MAX at most.
        number.len = digits as u8;
        rest[digits..].iter().try_for_each(|byte| number.push(symbol(*byte).ok_or(NumberFault::NotANumber)?))?;
        if self.longer {
            return Err(NumberFault::TooLong);
        }
        if number.digits().is_empty() {
            return Err(if self.text().is_empty() { NumberFault::NotANumber } else { NumberFault::Incomplete });
        }
        number.rewritten(provider.strip, provider.prepend)
    }
}

/// The number as it is looked up. Never empty.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Number {
    ported: Ported,
    symbols: [u8; DIGITS_MAX],
    len: u8,
    /// In the global form.
    plus: bool,
    /// It came with `user=phone`, or as tel:, or was made global here.
    phone: bool,
}

const _: () = assert!(size_of::<Number>() <= 48, "each call keeps one");
const _: () = assert!(DIALLED_MAX <= u8::MAX as usize);

impl Number {
    const EMPTY: Number = Number { ported: Ported::NOT, symbols: [0; DIGITS_MAX], len: 0, plus: false, phone: false };

    /// Its symbols, which routing looks up: `0`–`9`, `*`, `#`, `A`–`D`.
    #[must_use]
    pub fn digits(&self) -> &[u8] {
        &self.symbols[..usize::from(self.len)]
    }

    /// Whether it is in the global form, with a `+`.
    #[must_use]
    pub const fn is_global(&self) -> bool {
        self.plus
    }

    fn push(&mut self, symbol: u8) -> Result<(), NumberFault> {
        let place = self.symbols.get_mut(usize::from(self.len)).ok_or(NumberFault::TooLong)?;
        *place = symbol;
        self.len += 1;
        Ok(())
    }

    /// Takes `strip` symbols off the front and puts `prepend` there.
    fn rewritten(&self, strip: u8, prepend: &[u8]) -> Result<Number, NumberFault> {
        if strip == 0 && prepend.is_empty() {
            return Ok(*self);
        }
        let kept = self.digits().get(usize::from(strip)..).unwrap_or_default();
        let (plus, prepend) = prepend.strip_prefix(b"+").map_or((false, prepend), |digits| (true, digits));
        let ported = if kept.is_empty() { Ported::NOT } else { self.ported };
        let mut number = Number { plus, phone: self.phone, ported, ..Number::EMPTY };
        // The tables are checked before they become an image; of an image that lies nothing gets into a message.
        let prepend = prepend.iter().filter_map(|byte| symbol(*byte));
        prepend.chain(kept.iter().copied()).try_for_each(|symbol| number.push(symbol))?;
        if number.len == 0 { Err(NumberFault::Incomplete) } else { Ok(number) }
    }

    /// The number as this gateway wants it: its strip, its prepend, its `number_format`.
    ///
    /// # Errors
    /// [`NumberFault`]: the gateway's rules leave nothing, or too much.
    pub fn for_gateway(&self, gateway: &Gateway<'_>) -> Result<Number, NumberFault> {
        let mut number = self.rewritten(gateway.strip, gateway.prepend)?;
        match gateway.number_format {
            NumberFormat::Plain => {}
            NumberFormat::NoPlus => number.plus = false,
            // RFC 3966 §3: a global number is of digits only. What is not stays what it is.
            NumberFormat::E164 => {
                if number.digits().iter().all(u8::is_ascii_digit) {
                    (number.plus, number.phone) = (true, true);
                }
            }
        }
        Ok(number)
    }

    fn write(&self, out: &mut Writer<'_>) {
        if self.plus {
            out.put(b"+");
        }
        // All symbols at once, those behind the last included: nearly no number has a `#`.
        if !self.symbols.iter().fold(false, |seen, symbol| seen | (*symbol == b'#')) {
            out.put_short(self.digits());
            return self.ported.write(out);
        }
        for run in self.digits().split_inclusive(|symbol| *symbol == b'#') {
            match run {
                // RFC 3261 §25.1: `#` is not among the bytes that a user part may have unescaped.
                [run @ .., b'#'] => {
                    out.put(run);
                    out.put(b"%23");
                }
                run => out.put(run),
            }
        }
        self.ported.write(out);
    }
}

/// How long it is, and no more: numbers of people stay out of logs.
impl fmt::Debug for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Number({} symbols)", self.len)
    }
}

/// Where a number was ported to (RFC 4694): the global routing number, 0 for none (no country code begins with 0), and in the
/// highest bit whether somebody has looked already (`npdi`). One word, so that a [`Number`] stays small.
#[derive(Copy, Clone, PartialEq, Eq)]
struct Ported(u64);

impl Ported {
    const NOT: Ported = Ported(0);
    const LOOKED_UP: u64 = 1 << 63;

    /// Reads the parameters of a number.
    fn read(params: &[u8]) -> Ported {
        let (mut looked_up, mut routing_number) = (0, 0);
        for param in params.split(|byte| *byte == b';') {
            let (name, value) = match memchr::memchr(b'=', param) {
                Some(equal) => (&param[..equal], &param[equal + 1..]),
                None => (param, &[][..]),
            };
            if name.eq_ignore_ascii_case(b"npdi") {
                looked_up = Ported::LOOKED_UP;
            } else if name.eq_ignore_ascii_case(b"rn") {
                match global_number(value) {
                    Some(number) => routing_number = number,
                    // `npdi` alone would say that the number was not ported.
                    None => return Ported::NOT,
                }
            }
        }
        Ported(looked_up | routing_number)
    }

    fn write(&self, out: &mut Writer<'_>) {
        // RFC 3966 §3: other parameters than isub, ext and phone-context in the order of their names.
        if self.0 & Ported::LOOKED_UP != 0 {
            out.put(b";npdi");
        }
        let mut rest = self.0 & !Ported::LOOKED_UP;
        if rest != 0 {
            let mut digits = [0; E164_MAX];
            let mut at = E164_MAX;
            while rest > 0 {
                at -= 1;
                digits[at] = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            out.put(b";rn=+");
            out.put(&digits[at..]);
        }
    }
}

/// `+` and up to fifteen digits, the first not 0, with visual separators.
fn global_number(text: &[u8]) -> Option<u64> {
    let (mut number, mut count) = (0u64, 0);
    for byte in text.strip_prefix(b"+")? {
        match byte {
            b'0' if count == 0 => return None,
            b'0'..=b'9' if count < E164_MAX => (number, count) = (number * 10 + u64::from(byte - b'0'), count + 1),
            b'-' | b'.' | b'(' | b')' => {}
            _ => return None,
        }
    }
    (count > 0).then_some(number)
}

/// Copies the digits that `from` begins with, as far as there is room, and says how many.
fn copy_digits(from: &[u8], to: &mut [u8]) -> usize {
    let mut count = 0;
    // Eight at a step, then what is left.
    let eights = from.as_chunks::<8>().0.iter().zip(to.as_chunks_mut::<8>().0);
    for (eight, places) in eights.take_while(|(eight, _)| are_digits(u64::from_le_bytes(**eight))) {
        *places = *eight;
        count += 8;
    }
    let left = from[count..].iter().zip(&mut to[count..]);
    for (digit, place) in left.take_while(|(byte, _)| byte.is_ascii_digit()) {
        *place = *digit;
        count += 1;
    }
    count
}

/// The key of a telephone that a byte is.
const fn symbol(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D' => Some(byte),
        b'a'..=b'd' => Some(byte.to_ascii_uppercase()),
        _ => None,
    }
}

/// The byte of `%HL`, or one that no number has.
fn unescape(high: u8, low: u8) -> u8 {
    let digit = |symbol: u8| char::from(symbol).to_digit(16);
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => (high * 16 + low) as u8,
        _ => b'%',
    }
}

/// Room for a Request-URI towards a gateway: every symbol a `#`, and all else as long as it gets.
pub const GATEWAY_URI_MAX: usize = 3 * DIGITS_MAX + GATEWAY_URI_FRAME;

/// The same without the symbols.
const GATEWAY_URI_FRAME: usize =
    b"sip:+;npdi;rn=+123456789012345@[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535;user=phone".len();

/// The Request-URI for a number at a gateway, written into `room`: `sip:number@host:port`, `;user=phone` where that is true.
///
/// # Errors
/// [`NumberFault`], as [`Number::for_gateway`]: this gateway cannot be given this number, another one may.
pub fn gateway_uri<'r>(
    number: &Number,
    gateway: &Gateway<'_>,
    room: &'r mut [u8; GATEWAY_URI_MAX],
) -> Result<&'r [u8], NumberFault> {
    let number = number.for_gateway(gateway)?;
    let mut out = Writer::new(room);
    out.put(b"sip:");
    number.write(&mut out);
    out.put(b"@");
    out.put_ip(gateway.endpoint.ip, true);
    out.put(b":");
    out.put_number(gateway.endpoint.port.into());
    if number.phone {
        out.put(b";user=phone");
    }
    Ok(out.finish().expect("GATEWAY_URI_MAX has room for the longest"))
}
