//! Requests of Corelane's own inside a dialog: the ACK and the BYE by which it ends a call (RFC 3261 §12.2.1.1).

use super::Writer;
use crate::message::is_request_uri;

/// A request inside a dialog.
#[derive(Copy, Clone, Debug)]
pub struct OwnRequest<'e> {
    /// Its name: ACK or BYE.
    pub method: &'e [u8],
    /// The remote target.
    pub target: &'e [u8],
    /// The route set as a Route value, may be empty.
    pub routes: &'e [u8],
    /// Complete Via value.
    pub via: &'e [u8],
    /// Value of From.
    pub from: &'e [u8],
    /// Value of To.
    pub to: &'e [u8],
    /// Value of Call-ID.
    pub call_id: &'e [u8],
    /// Number of CSeq.
    pub cseq: u32,
    /// Further complete header lines, each with its CR LF.
    pub lines: &'e [u8],
}

/// Writes the request, without a body.
///
/// A route set whose first element is a strict router (no `lr`) is obeyed as RFC 3261 §12.2.1.1 says: that element becomes the
/// Request-URI, and the target the last Route.
pub fn write_own_request(request: &OwnRequest<'_>, out: &mut Writer<'_>) {
    let method = request.method;
    let strict = strict_router(request.routes);
    out.put(method);
    out.put(b" ");
    out.put(strict.map_or(request.target, |(first, _)| first));
    out.put(b" SIP/2.0\r\nVia: ");
    out.put(request.via);
    out.put(b"\r\nMax-Forwards: 70\r\n");
    match strict {
        Some((_, rest)) => {
            out.put(b"Route: ");
            out.put(rest);
            if !rest.is_empty() {
                out.put(b", ");
            }
            out.put(b"<");
            out.put(request.target);
            out.put(b">\r\n");
        }
        None if !request.routes.is_empty() => {
            out.put(b"Route: ");
            out.put(request.routes);
            out.put(b"\r\n");
        }
        None => {}
    }
    for (name, value) in [(&b"From: "[..], request.from), (b"To: ", request.to), (b"Call-ID: ", request.call_id)] {
        out.put(name);
        out.put(value);
        out.put(b"\r\n");
    }
    out.put(b"CSeq: ");
    out.put_number(request.cseq);
    out.put(b" ");
    out.put(method);
    out.put(b"\r\n");
    out.put(request.lines);
    out.put(b"Content-Length: 0\r\n\r\n");
}

/// The URI of the first route and the values behind it, where the first route is a strict router. What is no Request-URI (a peer wrote it)
/// stays a route: the next hop is the learned peer in any case.
fn strict_router(routes: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = routes.iter().position(|byte| *byte == b'<')? + 1;
    let end = start + routes[start..].iter().position(|byte| *byte == b'>')?;
    let uri = &routes[start..end];
    let loose = uri.split(|byte| *byte == b';').skip(1).any(|param| {
        let name = param.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"lr")
    });
    if loose || !is_request_uri(uri) {
        return None;
    }
    let behind = routes[end..].iter().position(|byte| *byte == b',').map_or(routes.len(), |comma| end + comma + 1);
    Some((uri, routes[behind..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn written(routes: &[u8]) -> String {
        let mut bytes = [0; 1024];
        let mut writer = Writer::new(&mut bytes);
        let request = OwnRequest {
            method: b"BYE",
            target: b"sip:bob@192.0.2.2",
            routes,
            via: b"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1",
            from: b"<sip:alice@a>;tag=1",
            to: b"<sip:bob@b>;tag=2",
            call_id: b"c@a",
            cseq: 7,
            lines: b"Reason: SIP;cause=408\r\n",
        };
        write_own_request(&request, &mut writer);
        String::from_utf8(writer.finish().expect("it fits").to_vec()).expect("text")
    }

    #[test]
    fn a_bye() {
        assert_eq!(
            written(b""),
            "BYE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@a>;tag=1\r\nTo: <sip:bob@b>;tag=2\r\nCall-ID: c@a\r\nCSeq: 7 BYE\r\n\
             Reason: SIP;cause=408\r\nContent-Length: 0\r\n\r\n"
        );
    }

    /// RFC 3261 §12.2.1.1.
    #[test]
    fn loose_and_strict_routers() {
        let loose = written(b"<sip:p1;lr>, <sip:p2>");
        assert!(loose.starts_with("BYE sip:bob@192.0.2.2 "));
        assert!(loose.contains("Route: <sip:p1;lr>, <sip:p2>\r\n"));
        let strict = written(b"<sip:p1;user=x>, <sip:p2;lr>");
        assert!(strict.starts_with("BYE sip:p1;user=x "));
        assert!(strict.contains("Route: <sip:p2;lr>, <sip:bob@192.0.2.2>\r\n"));
        let alone = written(b"<sip:p1>");
        assert!(alone.contains("Route: <sip:bob@192.0.2.2>\r\n"));
        let broken = written(b"<sip:p1:5060Ilr;x=1>");
        assert!(broken.starts_with("BYE sip:bob@192.0.2.2 "), "what is no URI does not become the Request-URI");
        assert!(written(b"<sip:p;lr=on>").starts_with("BYE sip:bob"), "lr with a value is loose");
    }
}
