//! The media ends of two peers: sockets that send RTP to the address which their peer was told, and count what comes.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::peer::Message;
use crate::process::wait_until;

/// Packets of one direction that must arrive before audio is said to flow.
const PACKETS: usize = 5;

/// Audio starts well within this on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// Samples of one packet: 20 ms of G.711.
const SAMPLES: usize = 160;

/// What an end speaks (RFC 3551 §6).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Codec {
    Pcmu = 0,
    Pcma = 8,
}

impl Codec {
    fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
        }
    }
}

/// One end.
pub(crate) struct RtpEnd {
    socket: UdpSocket,
    /// What its samples are, so that it is known whose they are.
    sample: u8,
    codec: Codec,
}

impl RtpEnd {
    /// An end on a free port of `ip`.
    pub(crate) fn new(codec: Codec, ip: IpAddr, sample: u8) -> RtpEnd {
        let socket = UdpSocket::bind((ip, 0)).expect("a free port");
        socket.set_nonblocking(true).expect("a socket can be asked without waiting");
        RtpEnd { socket, sample, codec }
    }

    /// Its session description, with this direction (`sendrecv`, `sendonly` …).
    pub(crate) fn sdp(&self, direction: &str) -> String {
        let address = self.address();
        let (ip, port, payload, name) = (address.ip(), address.port(), self.codec as u8, self.codec.name());
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {payload}\r\n\
             a=rtpmap:{payload} {name}/8000\r\na={direction}\r\n"
        )
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    fn send(&self, number: u16, to: SocketAddr) {
        let mut packet = vec![0x80, self.codec as u8];
        packet.extend_from_slice(&number.to_be_bytes());
        packet.extend_from_slice(&(u32::from(number) * SAMPLES as u32).to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, self.sample]);
        packet.resize(12 + SAMPLES, self.sample);
        // A relay that is gone says so by ICMP; then nothing arrives, which is what is looked at.
        drop(self.socket.send_to(&packet, to));
    }

    /// How many packets of `other`'s audio have come from the address that this end was told.
    fn heard(&self, other: &RtpEnd, told: SocketAddr) -> usize {
        let mut bytes = [0; 2048];
        let mut heard = 0;
        while let Ok((length, from)) = self.socket.recv_from(&mut bytes) {
            assert_ne!(from, other.address(), "the audio did not go through the relay");
            let audio = length == 12 + SAMPLES && bytes[12..length].iter().all(|sample| *sample == other.sample);
            heard += usize::from(audio && from == told);
        }
        heard
    }
}

/// Waits until audio has flowed both ways: each end sends to what it was told, and hears the other from there.
pub(crate) fn flows(one: &RtpEnd, one_told: SocketAddr, two: &RtpEnd, two_told: SocketAddr) {
    let (mut number, mut heard) = (0u16, [0; 2]);
    wait_until(&format!("audio flows both ways by {one_told} and {two_told}"), SOON, || {
        number = number.wrapping_add(1);
        one.send(number, one_told);
        two.send(number, two_told);
        heard[0] += one.heard(two, one_told);
        heard[1] += two.heard(one, two_told);
        heard.iter().all(|packets| *packets >= PACKETS).then_some(())
    });
}

/// Where the SDP of a message wants its audio.
pub(crate) fn media_address(message: &Message) -> SocketAddr {
    audio_in(message.text())
}

/// Same, of any text with an SDP in it.
pub(crate) fn audio_in(text: &str) -> SocketAddr {
    let after = |start: &str| text.split("\r\n").find_map(|line| line.strip_prefix(start));
    let ip = after("c=IN IP4 ").and_then(|ip| ip.trim().parse::<IpAddr>().ok());
    let port = after("m=audio ").and_then(|rest| rest.split(' ').next()?.parse::<u16>().ok());
    match (ip, port) {
        (Some(ip), Some(port)) => SocketAddr::new(ip, port),
        _ => panic!("no audio in {text}"),
    }
}
