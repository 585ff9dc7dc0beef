//! Session descriptions of the simulated world. Each says whose it is, so that one that went astray is known wherever it turns up.
//!
//! ```text
//!   o=- <call><leg><number> …    32, 16 and 16 bits as one decimal number: who wrote it, and which of his it is
//!   c=IN IP4 <address>           an endpoint's own address, or the one of a relay that rewrote it
//! ```
//!
//! The relay of the world ([`media`](super::media)) changes the addresses and nothing else. What these texts describe is of no
//! interest to anybody here.

use std::net::Ipv4Addr;

use super::leg::Leg;
use super::network::{LegIndex, Party};
use super::world::World;
use crate::wire::{decimal, put};

/// The first number that is given out; those below are of the forks of a gateway, which say the same again and again.
const NUMBERS_FROM: u16 = 256;

/// What the addresses of relays begin with: two octets.
const RELAYS: [u8; 2] = [100, 64];

/// A session description of an endpoint.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Sdp {
    pub(super) party: Party,
    pub(super) of: Origin,
}

/// Who wrote a session description first, and which of his it is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    pub(super) call: u32,
    pub(super) leg: u16,
    pub(super) number: u16,
}

/// What a session description says.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) of: Origin,
    /// A relay's address is in it.
    pub(super) relayed: bool,
}

impl Sdp {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let address = self.party.endpoint().ip.to_string();
        write(out, self.of, address.as_bytes());
    }
}

fn write(out: &mut Vec<u8>, of: Origin, address: &[u8]) {
    out.extend_from_slice(b"v=0\r\no=- ");
    decimal(out, u64::from(of.call) << 32 | u64::from(of.leg) << 16 | u64::from(of.number));
    put(out, &[b" 1 IN IP4 ", address, b"\r\ns=-\r\nc=IN IP4 ", address, b"\r\nt=0 0\r\n"]);
    out.extend_from_slice(
        b"m=audio 30000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n",
    );
}

/// What a node of the relay makes of a description.
pub(super) fn relay(out: &mut Vec<u8>, of: Origin, node: u8) {
    let [high, low] = RELAYS;
    write(out, of, Ipv4Addr::new(high, low, 0, node).to_string().as_bytes());
}

/// The description in a message, or in what a message carried; none where there is none of this world.
pub(super) fn find(bytes: &[u8]) -> Option<Seen> {
    let at = memchr::memmem::find(bytes, b"v=0\r\no=- ")?;
    let body = &bytes[at..];
    let digits = body[9..].iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0u64, |number, byte| number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')));
    let line = memchr::memmem::find(body, b"\r\nc=IN IP4 ")?;
    let mut octets = body[line + 11..].split(|byte| *byte == b'.').map(super::wire::leading_number);
    let relayed = RELAYS.into_iter().all(|octet| octets.next() == Some(octet.into()));
    let of = Origin { call: (number >> 32) as u32, leg: (number >> 16) as u16, number: number as u16 };
    Some(Seen { of, relayed })
}

impl Leg {
    fn next_number(&mut self) -> u16 {
        self.descriptions = self.descriptions.wrapping_add(1);
        NUMBERS_FROM.wrapping_add(self.descriptions)
    }
}

impl World<'_> {
    /// A description that a leg has not used before.
    pub(super) fn describe(&mut self, at: LegIndex) -> Sdp {
        let leg = self.leg(at);
        let (party, number) = (leg.party, leg.next_number());
        Sdp { party, of: Origin { call: at.call, leg: at.leg, number } }
    }

    /// The description of a fork of a gateway: most say in a 200 what they said in the 183, some do not.
    pub(super) fn describe_fork(&mut self, at: LegIndex, fork: u8) -> Sdp {
        if self.random.chance(self.plan.offers.fresh_permille) {
            return self.describe(at);
        }
        Sdp { party: self.leg(at).party, of: Origin { call: at.call, leg: at.leg, number: fork.into() } }
    }

    /// Whether the INVITE that a gateway answered had an offer.
    pub(super) fn was_invited_with_offer(&mut self, at: LegIndex) -> bool {
        self.leg(at).servers.first().is_some_and(|server| find(&server.request).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_leads_back_to_who_wrote_it() {
        let of = Origin { call: 0x1234_5678, leg: 3, number: 700 };
        let mut text = b"INVITE sip:a@b SIP/2.0\r\n\r\n".to_vec();
        Sdp { party: Party::Gateway(2), of }.write(&mut text);
        assert_eq!(find(&text), Some(Seen { of, relayed: false }));
        text.clear();
        relay(&mut text, of, 7);
        assert_eq!(find(&text), Some(Seen { of, relayed: true }));
        assert_eq!(find(b"v=0\r\no=x"), None);
    }
}
