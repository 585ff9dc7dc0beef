//! The session timer of a call (RFC 4028), as a proxy keeps it. Pure rules: messages in, decisions out.
//!
//! The INVITE that opens a call (§8.1). *least* is our `min_se` or the request's Min-SE, whichever is larger; *wanted* is our
//! `session_expires`, not longer than `default_timeout` and not below *least*.
//!
//! | `timer` supported | Session-Expires | what becomes of it |
//! | --- | --- | --- |
//! | no | none, unreadable | as it came: no session timer is asked for in the name of who could not keep it |
//! | no | below `min_se` | Min-SE and Session-Expires raised to *least*: a 422 would only fail the call |
//! | no | else | lowered to *wanted*, raised to *least* |
//! | yes | none, unreadable | *wanted* |
//! | yes | below `min_se` | refused with 422 and our Min-SE |
//! | yes | else | lowered to *wanted*, raised to *least*; Min-SE is not touched (§8.1, §11) |
//!
//! `refresher` is never written or changed in a request. Inside a dialog a request is never changed or refused: it is tracked by its 2xx.
//!
//! The 2xx to an INVITE or UPDATE (§8.2; §9 and its table 2; §7.2). "Asked" means that the request, as it left, had a Session-Expires.
//!
//! | Session-Expires | `refresher` | who asked | in force from now on |
//! | --- | --- | --- | --- |
//! | there | `uas` | whoever | that interval; who answered refreshes |
//! | there | `uac`, none | supports `timer` | that interval; who asked refreshes |
//! | there | `uac`, none | does not | none: nobody would refresh (table 2 forbids this answer) |
//! | none, unreadable | | supports `timer`, asked | what was asked, written into the 2xx with `refresher=uac` and `Require: timer` |
//! | none, unreadable | | else | none (§7.2, §10): `default_timeout` alone bounds the call |
//!
//! The session is over one interval after the 2xx that refreshed it last; those that refresh send BYE min(32 s, a third) earlier
//! (§10), so that Corelane, who waits for all of it, comes after them; nor does a shorter `default_timeout` end the call before, which is for
//! calls that nobody refreshes. No answer makes it shorter than `min_se`: a peer that says
//! `Session-Expires: 1` is taken by its word by the other side, not by us.

use core::time::Duration;

use arrayvec::ArrayVec;

use super::Side;
use crate::limits::SESSION_INTERVAL_MAX_S;
use crate::message::{Message, Name, Names, StartLine, Writer};
use crate::time::Instant;

/// The option tag (RFC 4028 §3).
const TIMER: &[u8] = b"timer";

/// What the operator wants, in seconds (RFC 4028 §4 and §5).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// No interval is shorter.
    pub min_se_s: u32,
    /// What is asked for where nothing is, and the longest that is let through unless a peer's Min-SE is longer.
    pub session_expires_s: u32,
}

/// What a request asked for as it left; kept with its branch for the 2xx (RFC 4028 §8.1, last paragraphs).
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Asked {
    /// Its sender supports `timer`.
    pub supported: bool,
    /// Its Session-Expires in seconds, 0 for none.
    pub interval_s: u32,
}

/// How an INVITE that opens a call leaves.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Terms {
    /// What it asks for then.
    pub asked: Asked,
    /// That is not what it came with. Without this nothing is to be written.
    pub rewritten: bool,
    /// The Min-SE to write, 0 to leave it as it came.
    pub min_se_s: u32,
}

/// What becomes of an INVITE that opens a call.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It goes on like this.
    Take(Terms),
    /// 422 with this Min-SE (RFC 4028 §6).
    Refuse {
        /// Value of Min-SE, in seconds.
        min_se_s: u32,
    },
}

/// What a 2xx made of the session timer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// Seconds from one refresh to the end of the session.
    pub interval_s: u32,
    /// Who refreshes.
    pub refresher: Side,
    /// The 2xx does not say so itself: it goes on with Session-Expires and Require.
    pub inserted: bool,
}

/// The session timer of a call.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// When the session is over unless it is refreshed; never without a session timer.
    pub expires_at: Instant,
    /// The interval in force, in seconds; 0 without a session timer.
    pub interval_s: u32,
    /// Who refreshes.
    pub refresher: Side,
}

const _: () = assert!(size_of::<Session>() <= 16, "each call keeps one");

impl Session {
    /// No session timer.
    pub const NONE: Session = Session { expires_at: Instant::NEVER, interval_s: 0, refresher: Side::Caller };

    /// For how long the session timer alone keeps a call: the interval in force, [`SESSION_INTERVAL_MAX_S`] at most, zero without one.
    /// `default_timeout` does not end the call within it: the refresh is due when half of it is over (RFC 4028 §7.2), which may be later.
    #[inline]
    #[must_use]
    pub fn keeps_for(&self) -> Duration {
        Duration::from_secs(self.interval_s.min(SESSION_INTERVAL_MAX_S).into())
    }
}

/// Whether an INVITE says anything that [`on_request`] would look at.
#[inline]
#[must_use]
pub fn concerns(message: &Message<'_>) -> bool {
    let there = |name| message.first(name).is_some();
    there(Name::Supported) || there(Name::SessionExpires) || there(Name::Require)
}

/// The first table: an INVITE that opens a call.
#[must_use]
pub fn on_request(limits: Limits, message: &Message<'_>) -> Decision {
    let supported = supports_timer(message);
    let given = said(message, Name::SessionExpires).map(|(interval, _)| interval);
    if !supported && given.is_none() {
        return Decision::Take(Terms::default());
    }
    let least = limits.min_se_s.max(said(message, Name::MinSe).map_or(0, |(min_se, _)| min_se));
    let wanted = limits.session_expires_s.max(least);
    let (interval_s, min_se_s) = match (supported, given) {
        (true, Some(given)) if given < limits.min_se_s => return Decision::Refuse { min_se_s: limits.min_se_s },
        (_, None) => (wanted, 0),
        (false, Some(given)) if given < limits.min_se_s => (least, least),
        (_, Some(given)) => (given.clamp(least, wanted), 0),
    };
    Decision::Take(Terms { asked: Asked { supported, interval_s }, rewritten: given != Some(interval_s), min_se_s })
}

/// What a request inside a dialog asks for: as it is, whatever it is.
#[must_use]
pub fn asked_in_dialog(message: &Message<'_>) -> Asked {
    if !concerns(message) {
        return Asked::default();
    }
    let interval_s = said(message, Name::SessionExpires).map_or(0, |(interval, _)| interval);
    Asked { supported: supports_timer(message), interval_s }
}

/// The second table: a 2xx to a request of `sender` that asked for this. `None`: no session timer from now on.
#[inline]
#[must_use]
pub fn on_answer(asked: Asked, sender: Side, answer: &Message<'_>) -> Option<Agreed> {
    // Neither side speaks of it: that is soon said.
    if !asked.supported && answer.first(Name::SessionExpires).is_none() {
        return None;
    }
    agreed(asked, sender, answer)
}

fn agreed(asked: Asked, sender: Side, answer: &Message<'_>) -> Option<Agreed> {
    match said(answer, Name::SessionExpires) {
        Some((interval_s, params)) if refreshed_by_uas(params) => {
            Some(Agreed { interval_s, refresher: sender.other(), inserted: false })
        }
        Some((interval_s, _)) => asked.supported.then_some(Agreed { interval_s, refresher: sender, inserted: false }),
        None => {
            let inserted = asked.supported && asked.interval_s > 0;
            inserted.then_some(Agreed { interval_s: asked.interval_s, refresher: sender, inserted })
        }
    }
}

/// Pieces of the lines that go into a message.
pub type Lines<'l> = ArrayVec<&'l [u8], 7>;

/// The numbers that go into a message, as text.
#[derive(Clone, Default, Debug)]
pub struct Wording {
    interval: ArrayVec<u8, 10>,
    min_se: ArrayVec<u8, 10>,
}

impl Wording {
    /// For an INVITE that opens a call; without anything in it where that leaves as it came.
    #[must_use]
    pub fn of_request(terms: &Terms) -> Wording {
        let mut wording = Wording::default();
        if terms.rewritten {
            digits(terms.asked.interval_s, &mut wording.interval);
        }
        if terms.min_se_s > 0 {
            digits(terms.min_se_s, &mut wording.min_se);
        }
        wording
    }

    /// For a 2xx that gets its Session-Expires here, else `None` (RFC 4028 §8.2).
    #[inline]
    #[must_use]
    pub fn of_answer(asked: Asked, answer: &Message<'_>) -> Option<Wording> {
        if !asked.supported || !matches!(answer.start(), StartLine::Response { status: 200..=299, .. }) {
            return None;
        }
        let agreed = on_answer(asked, Side::Caller, answer).filter(|agreed| agreed.inserted)?;
        let mut wording = Wording::default();
        digits(agreed.interval_s, &mut wording.interval);
        Some(wording)
    }

    /// The headers that the lines stand for, so that those that are there go.
    #[must_use]
    pub fn replaced(&self) -> Names {
        let names = |text: &ArrayVec<u8, 10>, name| if text.is_empty() { Names::NONE } else { Names::of(&[name]) };
        names(&self.interval, Name::SessionExpires).and(names(&self.min_se, Name::MinSe))
    }

    /// The lines of a request; the parameters of its own Session-Expires stay.
    #[must_use]
    pub fn request_lines<'l>(&'l self, message: &Message<'l>) -> Lines<'l> {
        let mut lines = Lines::new();
        if !self.interval.is_empty() {
            let params = said(message, Name::SessionExpires).map_or(&b""[..], |(_, params)| params);
            lines.extend([b"Session-Expires: ", self.interval.as_slice(), params, b"\r\n"]);
        }
        if !self.min_se.is_empty() {
            lines.extend([b"Min-SE: ", self.min_se.as_slice(), b"\r\n"]);
        }
        lines
    }

    /// The lines of a 2xx.
    #[must_use]
    pub fn answer_lines(&self) -> Lines<'_> {
        let pieces: [&[u8]; 3] = [b"Session-Expires: ", &self.interval, b";refresher=uac\r\nRequire: timer\r\n"];
        pieces.into_iter().collect()
    }
}

/// Whether the sender of a request supports session timers (RFC 4028 §4; what he requires he supports).
fn supports_timer(message: &Message<'_>) -> bool {
    lists_timer(message, Name::Supported) || lists_timer(message, Name::Require)
}

/// Whether `timer` is among the option tags of a header.
#[inline]
fn lists_timer(message: &Message<'_>, name: Name) -> bool {
    let Some(field) = message.first(name) else { return false };
    if message.is_repeated(name) {
        return message.values(name).any(|tag| message.text(tag).eq_ignore_ascii_case(TIMER));
    }
    has_timer(message.text(field.value))
}

/// The same within one field. Option tags are tokens (RFC 3261 §25.1), so that what stands around one is no part of it: it is enough to
/// look where a `t` is, which few tags begin with.
fn has_timer(tags: &[u8]) -> bool {
    let ends = |byte: Option<&u8>| byte.is_none_or(|byte| matches!(byte, b',' | b' ' | b'\t' | b'\r' | b'\n'));
    memchr::memchr2_iter(b't', b'T', tags).any(|start| {
        let (before, from) = tags.split_at(start);
        from.split_at_checked(TIMER.len())
            .is_some_and(|(tag, after)| tag.eq_ignore_ascii_case(TIMER) && ends(before.last()) && ends(after.first()))
    })
}

/// The seconds of a Session-Expires or Min-SE, and the parameters behind them; `None` where there is none or it is unreadable. What is
/// beyond 32 bits is the largest number (RFC 3261 §25.1 has no limit for delta-seconds).
fn said<'a>(message: &Message<'a>, name: Name) -> Option<(u32, &'a [u8])> {
    let text = message.text(message.first(name)?.value);
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, params) = text.split_at(digits);
    let readable = !digits.is_empty() && matches!(params.trim_ascii_start(), [] | [b';', ..]);
    let number = |sum: u32, digit: &u8| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    readable.then(|| (digits.iter().fold(0, number), params))
}

/// Whether `refresher=uas` is among the parameters of a Session-Expires (RFC 4028 §4).
fn refreshed_by_uas(params: &[u8]) -> bool {
    params.split(|byte| *byte == b';').any(|param| {
        let mut sides = param.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
        sides.next().is_some_and(|name| name.eq_ignore_ascii_case(b"refresher"))
            && sides.next().is_some_and(|who| who.eq_ignore_ascii_case(b"uas"))
    })
}

/// Appends a number in decimal.
pub(crate) fn digits<const N: usize>(number: u32, to: &mut ArrayVec<u8, N>) {
    let mut text = [0; 16];
    let mut writer = Writer::new(&mut text);
    writer.put_number(number);
    to.extend(writer.finish().unwrap_or_default().iter().copied());
}

#[cfg(test)]
mod tests;
