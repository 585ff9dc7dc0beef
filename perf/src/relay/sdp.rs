//! A session description with the stand-in's address in it: `c=` lines, the ports of `m=` lines, `a=rtcp`.
//!
//! The origin stays, as rtpengine leaves it without `replace`. A stream that is off (port 0) stays off. What is refused: a body that
//! does not start with `v=0`, that has no `m=` line, or an `m=` line that is none.

use std::net::IpAddr;

use crate::wire::{decimal, put};

/// Appends `sdp` as a relay at `host` would pass it on, its first stream on `port`, each further one two ports later. `None`, with some of
/// it written, when it is no session description.
pub fn rewrite(out: &mut Vec<u8>, sdp: &[u8], host: IpAddr, port: u16) -> Option<()> {
    let connection = format!("c=IN {} {host}\r\n", if host.is_ipv6() { "IP6" } else { "IP4" });
    let mut port = port;
    let mut streams = 0;
    if !sdp.starts_with(b"v=0") {
        return None;
    }
    for line in sdp.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"c=") {
            out.extend_from_slice(connection.as_bytes());
        } else if let Some(media) = line.strip_prefix(b"m=") {
            let mut words = media.splitn(3, |byte| *byte == b' ');
            let (kind, from, rest) = (words.next()?, words.next()?, words.next()?);
            if from.is_empty() || !from.iter().all(|byte| byte.is_ascii_digit() || *byte == b'/') {
                return None;
            }
            put(out, &[b"m=", kind, b" "]);
            let off = from.iter().all(|digit| *digit == b'0');
            decimal(out, if off { 0 } else { port.into() });
            put(out, &[b" ", rest, b"\r\n"]);
            port = port.saturating_add(2);
            streams += 1;
        } else if !line.is_empty() && !line.starts_with(b"a=rtcp:") {
            put(out, &[line, b"\r\n"]);
        }
    }
    (streams > 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::rewrite;

    fn rewritten(sdp: &str) -> Option<String> {
        let mut out = Vec::new();
        rewrite(&mut out, sdp.as_bytes(), "127.0.0.9".parse().expect("an address"), 20_000)?;
        Some(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn addresses_and_ports_are_the_relays() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0\r\n\
                   a=rtcp:4001\r\na=sendrecv\r\nm=video 0 RTP/AVP 96\r\nm=text 4004/2 RTP/AVP 98\r\nc=IN IP6 2001:db8::1\r\n";
        let wanted = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8 0\r\n\
                      a=sendrecv\r\nm=video 0 RTP/AVP 96\r\nm=text 20004 RTP/AVP 98\r\nc=IN IP4 127.0.0.9\r\n";
        assert_eq!(rewritten(sdp).as_deref(), Some(wanted));
    }

    #[test]
    fn what_is_no_session_is_refused() {
        for bad in [
            "",
            "v=1\r\n",
            "v=0\r\ns=-\r\n",
            "v=0\r\nm=audio\r\n",
            "v=0\r\nm=audio x RTP/AVP 0\r\n",
            "hello m=audio 1 a b",
        ] {
            assert_eq!(rewritten(bad), None, "{bad:?}");
        }
    }
}
