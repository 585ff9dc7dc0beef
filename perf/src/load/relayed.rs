//! Whether an SDP that arrived is a relay's: its `c=` line names one (invariant I2 as an endpoint sees it).

use std::net::IpAddr;

/// The relays of a plan.
pub struct Relays(Vec<Vec<u8>>);

impl Relays {
    /// Relays at these addresses; none, and everything passes.
    #[must_use]
    pub fn new(relays: &[IpAddr]) -> Relays {
        let line = |relay: &IpAddr| {
            let family = if relay.is_ipv6() { "IP6" } else { "IP4" };
            format!("\r\nc=IN {family} {relay}\r\n").into_bytes()
        };
        Relays(relays.iter().map(line).collect())
    }

    /// Whether this message has an SDP with one of them.
    #[must_use]
    pub fn names(&self, message: &[u8]) -> bool {
        self.0.is_empty() || self.which(message).is_some()
    }

    /// The place, in the plan, of the one that this message's SDP names.
    #[must_use]
    pub fn which(&self, message: &[u8]) -> Option<usize> {
        self.0.iter().position(|line| memchr::memmem::find(message, line).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::Relays;

    #[test]
    fn only_a_relays_address_passes() {
        let relays = Relays::new(&["127.0.0.9".parse().expect("address"), "::9".parse().expect("address")]);
        for (sdp, which) in [
            ("s=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n", Some(0)),
            ("s=-\r\nc=IN IP6 ::9\r\nt=0 0\r\n", Some(1)),
            ("s=-\r\nc=IN IP4 127.0.0.91\r\nt=0 0\r\n", None),
            ("", None),
        ] {
            assert_eq!((relays.which(sdp.as_bytes()), relays.names(sdp.as_bytes())), (which, which.is_some()), "{sdp}");
            assert!(Relays::new(&[]).names(sdp.as_bytes()));
        }
    }
}
