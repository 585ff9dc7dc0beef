//! Who is calling, and who may know (RFC 3323, RFC 3325; the columns `privacy` and `from_host`).
//!
//! ```text
//!   from \ to    trusted                          untrusted
//!   trusted      all passes                       privacy asked for: asserted identities and Identity go, From is anonymous
//!                                                 else: all passes
//!   untrusted    asserted identities go           both
//! ```
//!
//! *Asserted identities*: P-Asserted-Identity, P-Preferred-Identity and the older Remote-Party-ID. From whom we do not trust they are no
//! more than a claim, which nobody behind us should take for ours (RFC 3325 §5, §6): Corelane authenticates no user, so it has
//! nothing to put in their place. *Identity* (RFC 8224) is signed over the caller's number and holds it.
//!
//! *Privacy asked for*: `id`, `user` or `header` in a Privacy header, or a Remote-Party-ID with `privacy` other than `off`. `none` asks for
//! nothing; nor does a message without a Privacy header, unless its sender is a caller whom his INVITE hid: his wish holds for the call, and
//! a refresh that does not repeat it would name him after all. The Privacy header itself always travels on as it came: who is behind us hides with it
//! what he knows from elsewhere (a line's number, a record), and hiding twice harms nobody.
//!
//! *Anonymous* is what RFC 3323 §4.1.1.3 calls so, parameters kept. `from_host` replaces host and port of a sip: or sips: From that
//! is not anonymous; a tel: From has no host and stays.
//!
//! Both change From and never its tag, so that the dialog stays one (RFC 3261 §12.2.2). The other direction gets back what it
//! sent (`engine/identity.rs`, by [`Rewrite::identities`]).
//!
//! What a proxy cannot hide stays: Contact, Via, Call-ID and the body. `docs/rfc-exceptions.md` says so.

use crate::message::{Message, Name, NameAddr, Names, Patch, Rewrite, Span};
use crate::routing::{Gateway, Privacy};

/// What says who somebody is, on somebody's word.
const ASSERTED: [Name; 3] = [Name::PAssertedIdentity, Name::PPreferredIdentity, Name::RemotePartyId];

/// All of them.
pub(crate) const IDENTITY: Names = Names::of(&ASSERTED);

/// From of a caller who is not to be named (RFC 3323 §4.1.1.3).
pub const ANONYMOUS: &[u8] = b"\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// The host of such a From.
const ANONYMOUS_HOST: &[u8] = b"anonymous.invalid";

/// Under what From a peer of a call knows the caller.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Shown {
    /// As he sent it.
    AsSent,
    /// With another host in it.
    OtherHost,
    /// As nobody.
    Anonymous,
}

impl Shown {
    /// What an INVITE shows of the caller that leaves with these changes.
    pub(crate) fn by(rewrite: &Rewrite<'_>) -> Shown {
        match rewrite.from {
            None => Shown::AsSent,
            Some(patch) if patch.text == ANONYMOUS => Shown::Anonymous,
            Some(_) => Shown::OtherHost,
        }
    }
}

/// The headers of a message, request or response, that do not go on from one peer to another. Only such as are there. `hidden` is its sender
/// already, by an earlier message of the call.
#[must_use]
pub fn withheld(message: &Message<'_>, from: Privacy, to: Privacy, hidden: bool) -> Names {
    if (from, to) == (Privacy::Trusted, Privacy::Trusted) {
        return Names::NONE;
    }
    let there = |name: Name| if message.first(name).is_some() { Names::of(&[name]) } else { Names::NONE };
    let asserted = ASSERTED.into_iter().fold(Names::NONE, |names, name| names.and(there(name)));
    let asks = || asks_privacy(message) || hidden && !speaks_openly(message);
    let hidden = to == Privacy::Untrusted && asks();
    match (from, hidden) {
        (_, true) => asserted.and(there(Name::Identity)),
        (Privacy::Untrusted, false) => asserted,
        (Privacy::Trusted, false) => Names::NONE,
    }
}

/// What of a caller's request leaves another way towards a gateway. The caller is in From: for the requests that he sends.
#[must_use]
pub fn towards_gateway<'e>(message: &Message<'_>, provider: Privacy, gateway: &Gateway<'e>) -> Rewrite<'e> {
    let hidden = gateway.privacy == Privacy::Untrusted && asks_privacy(message);
    let from = match gateway.from_host {
        _ if hidden => conceal(message, message.from(), None),
        Some(host) => conceal(message, message.from(), Some(host)),
        None => None,
    };
    Rewrite { from, drop: withheld(message, provider, gateway.privacy, false), ..Rewrite::NOTHING }
}

/// The caller in From or To of a message, with another host; without one anonymous. `None` where there is nothing to change.
pub(crate) fn conceal<'e>(message: &Message<'_>, caller: NameAddr, host: Option<&'e str>) -> Option<Patch<'e>> {
    Some(match host {
        Some(host) => Patch { span: host_port(message, caller)?, text: host.as_bytes() },
        None => Patch { span: address(message, caller), text: ANONYMOUS },
    })
}

/// Whether the sender of a message asks not to be named to strangers.
#[must_use]
pub fn asks_privacy(message: &Message<'_>) -> bool {
    let mut privacy =
        lines(message, Name::RemotePartyId).flat_map(|line| line.split(|byte| *byte == b';')).filter_map(|param| {
            let (name, value) = param.split_at(memchr::memchr(b'=', param)?);
            is(name.trim_ascii(), &[b"privacy"]).then(|| value[1..].trim_ascii())
        });
    wishes(message, &[b"id", b"user", b"header"]) || privacy.any(|value| !is(value, &[b"off"]))
}

/// Whether he says that he wants none of it (RFC 3323 §4.2).
fn speaks_openly(message: &Message<'_>) -> bool {
    wishes(message, &[b"none"])
}

/// Whether one of these is among the values of Privacy. RFC 3323 §4.2: they stand between semicolons. Commas and blanks are met as well.
fn wishes(message: &Message<'_>, known: &[&[u8]]) -> bool {
    let mut values = lines(message, Name::Privacy).flat_map(|line| line.split(|byte| b";, \t\r\n".contains(byte)));
    values.any(|value| is(value, known))
}

/// The lines of a header. Most messages have none, and this is asked of each that an untrusted peer gets.
fn lines<'m>(message: &'m Message<'_>, name: Name) -> impl Iterator<Item = &'m [u8]> {
    let fields = if message.first(name).is_some() { message.fields() } else { &[] };
    fields.iter().filter(move |field| field.name == name).map(|field| message.text(field.value))
}

fn is(word: &[u8], known: &[&[u8]]) -> bool {
    known.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Display name and URI of From or To, its brackets included; the parameters are left.
fn address(message: &Message<'_>, named: NameAddr) -> Span {
    let bracket = message.bytes().get(usize::from(named.uri.end)) == Some(&b'>');
    Span { start: named.value.start, end: named.uri.end + u16::from(bracket) }
}

/// Host and port of a sip: or sips: From or To, unless it is anonymous.
fn host_port(message: &Message<'_>, named: NameAddr) -> Option<Span> {
    let uri = message.parse_uri(named.uri).ok()?;
    let host = message.text(uri.host);
    // The parameters begin where the port ends, also where there are none.
    (!host.is_empty() && !host.eq_ignore_ascii_case(ANONYMOUS_HOST))
        .then_some(Span { start: uri.host.start, end: uri.params.start })
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use super::*;
    use crate::message::{Writer, write_response_with};
    use crate::routing::Image;
    use crate::routing::build::Builder;

    fn message(lines: &str) -> Vec<u8> {
        format!(
            "INVITE sip:1@b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\r\n\r\n"
        )
        .into_bytes()
    }

    /// What asks for privacy.
    #[test]
    fn privacy_is_asked_for() {
        for (lines, expected) in [
            ("Subject: x", false),
            ("Privacy: none", false),
            ("Privacy: critical", false),
            ("Privacy: session;critical", false),
            ("Privacy: history", false),
            ("Privacy: id", true),
            ("privacy : ID", true),
            ("Privacy: user;critical", true),
            ("Privacy: header", true),
            ("Privacy: session ; id", true),
            ("Privacy: session,\r\n id", true),
            ("Privacy: session\r\nPrivacy: id", true),
            ("Privacy: identity", false),
            ("Remote-Party-ID: <sip:1@a>;privacy=off", false),
            ("Remote-Party-ID: <sip:1@a>;party=calling;screen=yes", false),
            ("Remote-Party-ID: <sip:1@a>;screen=yes; Privacy = full", true),
            ("Remote-Party-ID: <sip:1@a>;privacy=uri", true),
        ] {
            let bytes = message(&format!("From: <sip:a@a>;tag=1\r\n{lines}"));
            let message = Message::parse(&bytes).expect("well-formed");
            assert_eq!(asks_privacy(&message), expected, "{lines}");
        }
    }

    /// The whole table of the head, and the From that comes out.
    #[test]
    fn who_learns_what() {
        use Privacy::{Trusted, Untrusted};
        let all = "P-Asserted-Identity: <sip:1@a>\r\nP-Asserted-Identity: <tel:+1>\r\nRemote-Party-ID: <sip:1@a>\r\n\
                   P-Preferred-Identity: <sip:1@a>\r\nIdentity: x";
        let asserted = Names::of(&ASSERTED);
        let everything = asserted.and(Names::of(&[Name::Identity]));
        for (from, to, wish, expected, anonymous) in [
            (Trusted, Trusted, "Privacy: id", Names::NONE, false),
            (Trusted, Trusted, "Privacy: none", Names::NONE, false),
            (Trusted, Untrusted, "Privacy: id", everything, true),
            (Trusted, Untrusted, "Privacy: user", everything, true),
            (Trusted, Untrusted, "Privacy: none", Names::NONE, false),
            (Trusted, Untrusted, "X: y", Names::NONE, false),
            (Untrusted, Trusted, "Privacy: id", asserted, false),
            (Untrusted, Trusted, "X: y", asserted, false),
            (Untrusted, Untrusted, "Privacy: header", everything, true),
            (Untrusted, Untrusted, "X: y", asserted, false),
        ] {
            let bytes = message(&format!("From: \"Al\" <sip:al@a:5070>;tag=1\r\n{all}\r\n{wish}"));
            let message = Message::parse(&bytes).expect("well-formed");
            assert_eq!(withheld(&message, from, to, false), expected, "{from:?} to {to:?}, {wish}");
            assert_eq!(from_towards(&message, to, None).contains("anonymous"), anonymous, "{from:?} to {to:?}, {wish}");
        }
        let bytes = message("From: <sip:al@a>;tag=1\r\nPrivacy: id\r\nP-Asserted-Identity: <sip:1@a>");
        let message = Message::parse(&bytes).expect("well-formed");
        let only = withheld(&message, Untrusted, Untrusted, false);
        assert!(only == Names::of(&[Name::PAssertedIdentity]), "what is not there is not withheld: {only:?}");
    }

    /// The From towards a gateway of this trust and `from_host`.
    fn from_towards(message: &Message<'_>, privacy: Privacy, from_host: Option<&str>) -> String {
        let mut builder = Builder::new();
        let slot = builder.gateway("gw", "192.0.2.1:5060");
        builder.edit_gateway(slot, |gateway| {
            gateway.privacy = privacy;
            gateway.from_host = from_host.map(Into::into);
        });
        let bytes = builder.finish();
        let image = Image::open(&bytes).expect("just built");
        let rewrite = towards_gateway(message, Privacy::Trusted, &image.gateway(slot).expect("built"));
        let mut out = [0; 1024];
        let mut writer = Writer::new(&mut out);
        write_response_with(message, &rewrite, &mut writer);
        let text = String::from_utf8(writer.finish().expect("fits").to_vec()).expect("text");
        let from = text.split("\r\nFrom: ").nth(1).expect("a From");
        from.split("\r\n").next().expect("a line").into()
    }

    #[test]
    fn from_in_every_form() {
        use Privacy::{Trusted, Untrusted};
        for (from, wish, privacy, host, expected) in [
            ("<sip:al@a>;tag=1", "x", Untrusted, None, "<sip:al@a>;tag=1"),
            ("<sip:al@a>;tag=1", "x", Trusted, Some("h"), "<sip:al@h>;tag=1"),
            (
                "\"Al @ <x>\" <sip:al:pw@a:5070;user=phone>;tag=1;x=y",
                "x",
                Trusted,
                Some("h.example"),
                "\"Al @ <x>\" <sip:al:pw@h.example;user=phone>;tag=1;x=y",
            ),
            (
                "Al B <sips:[2001:db8::1]:5061> ; tag=1",
                "x",
                Trusted,
                Some("[2001:db8::2]"),
                "Al B <sips:[2001:db8::2]> ; tag=1",
            ),
            ("sip:al@a;tag=1", "x", Trusted, Some("h"), "sip:al@h;tag=1"),
            ("sip:al@a:5070", "x", Trusted, Some("h"), "sip:al@h"),
            ("<tel:+49;phone-context=a>;tag=1", "x", Trusted, Some("h"), "<tel:+49;phone-context=a>;tag=1"),
            (
                "<sip:anonymous@Anonymous.Invalid>;tag=1",
                "x",
                Trusted,
                Some("h"),
                "<sip:anonymous@Anonymous.Invalid>;tag=1",
            ),
            ("\"Al\" <sip:al@a:5070;x>;tag=1;y", "id", Trusted, Some("h"), "\"Al\" <sip:al@h;x>;tag=1;y"),
            (
                "\"Al\" <sip:al@a:5070;x>;tag=1;y",
                "id",
                Untrusted,
                Some("h"),
                "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1;y",
            ),
            ("sip:al@a;tag=1", "id", Untrusted, None, "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1"),
            ("<tel:+49>;tag=1", "id", Untrusted, None, "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1"),
            ("<tel:+49>", "user", Untrusted, None, "\"Anonymous\" <sip:anonymous@anonymous.invalid>"),
        ] {
            let bytes = message(&format!("From: {from}\r\nPrivacy: {wish}"));
            let message = Message::parse(&bytes).expect("well-formed");
            assert_eq!(from_towards(&message, privacy, host), expected, "{from}, {wish}, {privacy:?}, {host:?}");
        }
    }
}
