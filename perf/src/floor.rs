//! The floor: the least that any proxy on this kernel can cost.
//!
//! ```text
//!   caller ──INVITE──►  floor ──INVITE──► callee        in per call:  INVITE 100 180 200 ACK BYE 200
//!          ◄──100─────        ◄──100────                out per call: 100 INVITE 180 200 ACK BYE 200
//!          ◄──180, 200─        ◄──180, 200               (the callee's 100 ends here, as at a proxy)
//! ```
//!
//! One thread, one socket, `recvmmsg` in and `sendmmsg` out of the same memory. What comes from the callee goes to the
//! caller, what comes from anyone else goes to the callee, unread but for the first bytes: an `INVITE ` also gets a datagram
//! of a 100's size back, and a 100 is dropped. So the kernel carries exactly the datagrams of a stateful proxy and nothing
//! else happens. The socket is never connected: a proxy may not connect its listeners, so its floor may not either.
//!
//! Answers go to whoever sent the last INVITE: with several caller sockets that is any one of them, which is why the
//! generator takes an answer on each of its sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::udp::{self, Address, BATCH, Inbox, Outbox, Part, Wait};

/// The largest datagram relayed whole, in bytes.
const DATAGRAM_MAX: usize = 2048;

/// Bytes of the request behind its first line that come back in the 100: Via, From, To, Call-ID and CSeq of our generator.
const TRYING_BODY: usize = 320;

const TRYING: &[u8] = b"SIP/2.0 100 Trying\r\n";

/// Room for bursts, in bytes, in each direction of the socket.
pub const SOCKET_BUFFER: i32 = 8 * 1024 * 1024;

/// What a floor did.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Relayed {
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams that the kernel refused to send.
    pub refused: u64,
}

/// A bound relay.
pub struct Floor {
    socket: UdpSocket,
    callee: Address,
}

impl Floor {
    /// Binds the listener.
    ///
    /// # Errors
    /// The kernel's refusal to bind or to set the buffers.
    pub fn bind(listen: SocketAddr, callee: SocketAddr) -> io::Result<Floor> {
        let socket = UdpSocket::bind(listen)?;
        udp::set_buffers(&socket, SOCKET_BUFFER)?;
        Ok(Floor { socket, callee: callee.into() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Relays until `stop` is set; an empty datagram wakes it to see that. Empty ones are neither relayed nor counted, for
    /// whether the one that wakes it is still read depends on who is faster.
    ///
    /// # Errors
    /// The kernel's refusal to receive. A refused send is counted and no error.
    pub fn run(&self, stop: &AtomicBool) -> io::Result<Relayed> {
        let mut inbox = Inbox::new(DATAGRAM_MAX);
        let mut outbox = Outbox::default();
        let mut caller = None;
        let mut relayed = Relayed::default();
        while !stop.load(Ordering::Relaxed) {
            let count = inbox.receive(&self.socket, Wait::ForOne)?;
            for place in (0..count).filter(|&place| !inbox.range(place).is_empty()) {
                self.plan(&inbox, place, &mut caller, &mut outbox);
                relayed.datagrams_in += 1;
            }
            relayed.datagrams_out += outbox.len() as u64;
            let refused = outbox.flush(&self.socket, inbox.arena()) as u64;
            relayed.datagrams_out -= refused;
            relayed.refused += refused;
        }
        Ok(relayed)
    }

    fn plan(&self, inbox: &Inbox, place: usize, caller: &mut Option<Address>, outbox: &mut Outbox) {
        let source = inbox.source(place);
        let body = inbox.range(place);
        let bytes = inbox.datagram(place);
        if source == self.callee {
            if let Some(to) = *caller
                && !bytes.starts_with(b"SIP/2.0 100")
            {
                outbox.push(Part { head: b"", body, to });
            }
            return;
        }
        if bytes.starts_with(b"INVITE ")
            && let Some(line_end) = memchr::memchr(b'\n', bytes)
        {
            *caller = Some(source);
            let start = body.start + line_end + 1;
            let end = body.end.min(start + TRYING_BODY);
            outbox.push(Part { head: TRYING, body: start..end, to: source });
        }
        outbox.push(Part { head: b"", body, to: self.callee });
    }
}

const _: () = assert!(BATCH * DATAGRAM_MAX <= 256 * 1024, "the relay's memory stays in a core's L2");
