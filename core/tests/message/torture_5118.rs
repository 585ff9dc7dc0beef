//! RFC 5118: IPv6 torture messages. All parse but that of §4.2.

use corelane_core::message::{Message, Name, ParseError, parse_ip};

/// A message of the RFC: its first line, and the fields that its section is about.
fn message(first: &str, method: &str, fields: &str) -> Vec<u8> {
    crate::wire(&format!(
        "{first}\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=81x2\nCall-ID: SSG9559905523997077@hlau_4100\n\
         Max-Forwards: 70\nCSeq: 98176 {method}\n{fields}Content-Length: 0\n\n"
    ))
}

const VIA: &str = "Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\n";

#[test]
fn request_uris() {
    for (section, first, host, port) in [
        ("4.1", "REGISTER sip:[2001:db8::10] SIP/2.0", "[2001:db8::10]", None),
        ("4.3", "REGISTER sip:[2001:db8::10:5070] SIP/2.0", "[2001:db8::10:5070]", None),
        ("4.4", "REGISTER sip:[2001:db8::10]:5070 SIP/2.0", "[2001:db8::10]", Some(5070)),
        ("4.6", "REGISTER sip:user@[2001:db8::10] SIP/2.0", "[2001:db8::10]", None),
        ("4.10", "REGISTER sip:user@[2001:db8:::192.0.2.1] SIP/2.0", "[2001:db8:::192.0.2.1]", None),
        ("4.10", "REGISTER sip:user@[2001:db8::192.0.2.1] SIP/2.0", "[2001:db8::192.0.2.1]", None),
    ] {
        let bytes = message(first, "REGISTER", VIA);
        let parsed = Message::parse(&bytes).unwrap_or_else(|fault| panic!("§{section}: {:?}", fault.error));
        let uri = parsed.request_uri().expect("a request");
        assert_eq!((parsed.text(uri.host), uri.port), (host.as_bytes(), port), "§{section}");
        assert!(parse_ip(parsed.text(uri.host)).is_some_and(|ip| ip.is_ipv6()), "§{section}");
    }
    // §4.2: without brackets the address is a host, a port and nonsense.
    let bytes = message("REGISTER sip:2001:db8::10 SIP/2.0", "REGISTER", VIA);
    let fault = Message::parse(&bytes).expect_err("§4.2 is invalid");
    assert_eq!((fault.error, fault.partial.is_some()), (ParseError::Uri, true));
}

/// §4.5: `received` with and without brackets; §4.7: both families in one chain; §4.9: mapped addresses.
#[test]
fn vias() {
    for (section, fields, expected) in [
        ("4.5", "Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111\n", &[("2001:db8::9:1", None, Some("2001:db8::9:255"))][..]),
        ("4.5", "Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3\n", &[("2001:db8::9:1", None, Some("2001:db8::9:255"))]),
        (
            "4.7",
            "Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144\n\
             Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200\n",
            &[("2001:db8::9:1", Some(6050), None), ("192.0.2.1", None, None), ("2001:db8::9:255", None, Some("192.0.2.200"))],
        ),
        (
            "4.9",
            "Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19\nVia: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111\n",
            &[("::ffff:192.0.2.10", Some(19823), None), ("::ffff:192.0.2.2", None, None)],
        ),
    ] {
        let bytes = message("BYE sip:[2001:db8::10] SIP/2.0", "BYE", fields);
        let parsed = Message::parse(&bytes).unwrap_or_else(|fault| panic!("§{section}: {:?}", fault.error));
        let vias: Vec<_> = parsed.values(Name::Via).map(|value| parsed.parse_via(value).expect("well-formed")).collect();
        assert_eq!(vias.len(), expected.len(), "§{section}");
        for (via, (host, port, received)) in vias.iter().zip(expected) {
            assert_eq!(parse_ip(parsed.text(via.host)), host.parse().ok(), "§{section}");
            assert_eq!(via.port, *port, "§{section}");
            assert_eq!(via.received.and_then(|ip| parse_ip(parsed.text(ip))), received.and_then(|ip| ip.parse().ok()), "§{section}");
        }
    }
}
