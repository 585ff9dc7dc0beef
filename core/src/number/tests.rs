//! Tables: what is dialled and what becomes of it; and that nothing of it gets into a message unescaped.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use proptest::prelude::*;

use super::{Dialled, GATEWAY_URI_MAX, Number, NumberFault, gateway_uri, unescape};
use crate::limits::DIGITS_MAX;
use crate::message::{Message, Scheme};
use crate::routing::build::{Builder, ImageBytes};
use crate::routing::layout::ProviderRecord;
use crate::routing::{GatewaySlot, Image, ListenerSlot, NumberFormat, ProviderSlot, Recognised};

/// An image of one provider and one gateway, with these columns.
#[derive(Clone, Debug)]
struct Rules {
    tech_prefix: String,
    strip: u8,
    prepend: String,
    gateway: &'static str,
    gateway_strip: u8,
    gateway_prepend: String,
    format: NumberFormat,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            tech_prefix: String::new(),
            strip: 0,
            prepend: String::new(),
            gateway: "198.51.100.20:5060",
            gateway_strip: 0,
            gateway_prepend: String::new(),
            format: NumberFormat::Plain,
        }
    }
}

impl Rules {
    fn image(&self) -> ImageBytes {
        let mut builder = Builder::new();
        builder.listener("192.0.2.1:5060");
        let provider = builder.provider_with(ProviderRecord {
            enabled: true,
            strip: self.strip,
            prepend: self.prepend.clone(),
            ..ProviderRecord::default()
        });
        builder.address_with(provider, "192.0.2.9", None, None, &self.tech_prefix);
        let gateway = builder.gateway("gw", self.gateway);
        builder.edit_gateway(gateway, |gateway| {
            gateway.strip = self.gateway_strip;
            gateway.prepend.clone_from(&self.gateway_prepend);
            gateway.number_format = self.format;
        });
        builder.finish()
    }

    /// What routing looks up and what the gateway gets.
    fn apply(&self, uri: &str) -> Result<(String, String), NumberFault> {
        let bytes = self.image();
        let image = Image::open(&bytes).expect("just built");
        let message = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
        );
        let message = Message::parse(message.as_bytes()).expect("well-formed");
        let dialled = Dialled::read(&message, &message.request_uri().expect("a request"));
        let peer = "192.0.2.9:5060".parse::<std::net::SocketAddr>().expect("an address").into();
        let recognised = image.recognise(ListenerSlot(0), peer, dialled.text()).expect("the tech prefix is dialled");
        let provider = image.provider(recognised.provider).expect("recognised");
        let number = dialled.for_provider(&recognised, &provider)?;
        let mut room = [0; GATEWAY_URI_MAX];
        let uri = gateway_uri(&number, &image.gateway(GatewaySlot(0)).expect("built"), &mut room)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
        Ok((text(number.digits()), text(uri)))
    }
}

/// Rows of (Request-URI, what is looked up, user part and parameters towards the gateway).
fn check(rules: &Rules, rows: &[(&str, &str, &str)]) {
    for (uri, looked_up, written) in rows {
        let (user, params) = written.split_once(' ').unwrap_or((written, ""));
        let expected = (looked_up.to_string(), format!("sip:{user}@{}{params}", rules.gateway));
        assert_eq!(rules.apply(uri), Ok(expected), "{uri} by {rules:?}");
    }
}

/// RFC 3966 §3 and §5.1.1, RFC 3261 §19.1.1 and §19.1.6: the forms of a number.
#[test]
fn what_is_read() {
    check(
        &Rules::default(),
        &[
            ("sip:4930123456@sbc", "4930123456", "4930123456"),
            ("sip:+4930123456@sbc", "4930123456", "+4930123456"),
            ("sip:%2B4930123456@sbc", "4930123456", "+4930123456"),
            ("sip:%2b4930123456@sbc", "4930123456", "+4930123456"),
            ("sip:004930123456@sbc", "004930123456", "004930123456"),
            ("sip:+49-30.12(34)56@sbc", "4930123456", "+4930123456"),
            ("sip:(+49)30-123456@sbc", "4930123456", "+4930123456"),
            ("sip:%2849%29%2D30@sbc", "4930", "4930"),
            ("sip:%34%39@sbc", "49", "49"),
            ("sip:*31*4930@sbc", "*31*4930", "*31*4930"),
            ("sip:%2A31%2349@sbc", "*31#49", "*31%2349"),
            ("sip:D4930a@sbc", "D4930A", "D4930A"),
            ("sip:4930:secret@sbc", "4930", "4930"),
            ("sip:4930@sbc:5070;transport=udp", "4930", "4930"),
            ("sip:4930@[2001:db8::1]:5070", "4930", "4930"),
            ("sip:4930@sbc;user=phone", "4930", "4930 ;user=phone"),
            ("sip:4930@sbc;lr;USER=Phone", "4930", "4930 ;user=phone"),
            ("sip:4930@sbc;user=ip", "4930", "4930"),
            ("sip:4930@sbc;user", "4930", "4930"),
            ("sip:4930@sbc;x-user=phone", "4930", "4930"),
            ("SIP:4930@sbc", "4930", "4930"),
            ("sips:+4930@sbc", "4930", "+4930"),
            ("tel:+49-30-123456", "4930123456", "+4930123456 ;user=phone"),
            ("TEL:+4930", "4930", "+4930 ;user=phone"),
            ("tel:30-1234;phone-context=+49", "301234", "301234 ;user=phone"),
            ("tel:1234;phone-context=example.com", "1234", "1234 ;user=phone"),
            ("tel:911*#;phone-context=x", "911*#", "911*%23 ;user=phone"),
            // As long as a number may be.
            (
                "sip:+12345678901234567890123456789012@sbc",
                "12345678901234567890123456789012",
                "+12345678901234567890123456789012",
            ),
        ],
    );
}

/// RFC 3966 §5, RFC 4694: of the number's own parameters the ported number travels on.
#[test]
fn parameters_of_the_number() {
    check(
        &Rules::default(),
        &[
            ("sip:+4930;phone-context=x@sbc", "4930", "+4930"),
            ("sip:30;phone-context=+49@sbc;user=phone", "30", "30 ;user=phone"),
            ("sip:+4930;isub=12;ext=34@sbc", "4930", "+4930"),
            ("sip:+4930;npdi@sbc", "4930", "+4930;npdi"),
            ("sip:+4930;npdi=yes@sbc", "4930", "+4930;npdi"),
            ("sip:+12025551234;rn=+1-202-555-0000;npdi@sbc", "12025551234", "+12025551234;npdi;rn=+12025550000"),
            ("tel:+12025551234;NPDI;RN=+12025550000", "12025551234", "+12025551234;npdi;rn=+12025550000 ;user=phone"),
            ("sip:+1;rn=+123456789012345@sbc", "1", "+1;rn=+123456789012345"),
            // A routing number that means nothing without its context, or is none.
            ("sip:+12025551234;npdi;rn=5550000;rn-context=+1202@sbc", "12025551234", "+12025551234"),
            ("sip:+12025551234;npdi;rn=+0202@sbc", "12025551234", "+12025551234"),
            ("sip:+12025551234;npdi;rn=+1234567890123456@sbc", "12025551234", "+12025551234"),
            ("sip:+12025551234;npdi;rn=+@sbc", "12025551234", "+12025551234"),
            ("sip:+12025551234;npdi;rn@sbc", "12025551234", "+12025551234"),
            ("sip:+12025551234;x=y;;=;npdi@sbc", "12025551234", "+12025551234;npdi"),
        ],
    );
    // In a sip: URI they stand in the user part; behind the host they are somebody else's.
    check(&Rules::default(), &[("sip:+4930@sbc;npdi;rn=+49", "4930", "+4930")]);
    // What strip leaves nothing of was ported nowhere.
    let replaced = Rules { strip: 32, prepend: "4989".into(), ..Rules::default() };
    check(&replaced, &[("sip:+4930;npdi;rn=+4940@sbc", "4989", "4989")]);
}

#[test]
fn the_providers_rules() {
    let international = Rules { strip: 2, ..Rules::default() };
    check(&international, &[("sip:004930@sbc", "4930", "4930"), ("sip:+004930@sbc", "4930", "4930")]);
    let national = Rules { strip: 1, prepend: "49".into(), ..Rules::default() };
    check(&national, &[("sip:0-30@sbc", "4930", "4930"), ("tel:030", "4930", "4930 ;user=phone")]);
    let marked = Rules { prepend: "*d".into(), ..Rules::default() };
    check(&marked, &[("sip:+49@sbc", "*D49", "*D49")]);
}

/// A tech prefix is compared with what is dialled, escapes undone, separators and the leading `+` gone.
#[test]
fn tech_prefixes() {
    let hash = Rules { tech_prefix: "99#".into(), ..Rules::default() };
    check(
        &hash,
        &[
            ("sip:99%234930@sbc", "4930", "4930"),
            ("sip:99%23+4930@sbc", "4930", "+4930"),
            ("sip:+99%234930@sbc", "4930", "4930"),
            ("sip:9-9-%23-49.30@sbc", "4930", "4930"),
        ],
    );
    let word = Rules { tech_prefix: "ACME_7".into(), strip: 2, ..Rules::default() };
    check(&word, &[("sip:ACME_7004930;npdi@sbc", "4930", "4930;npdi")]);
    let longest = Rules { tech_prefix: "1234567890abcdef".into(), ..Rules::default() };
    check(
        &longest,
        &[(
            "sip:1234567890abcdef+99999999999999999999999999999999@sbc",
            "99999999999999999999999999999999",
            "+99999999999999999999999999999999",
        )],
    );
}

#[test]
fn the_gateways_rules() {
    let rules = |strip, prepend: &str, format| Rules {
        gateway_strip: strip,
        gateway_prepend: prepend.into(),
        format,
        ..Rules::default()
    };
    check(&rules(2, "0", NumberFormat::Plain), &[("sip:+4930@sbc", "4930", "030")]);
    check(&rules(0, "+", NumberFormat::Plain), &[("sip:4930@sbc", "4930", "+4930")]);
    check(&rules(2, "+", NumberFormat::Plain), &[("sip:004930@sbc", "004930", "+4930")]);
    check(&rules(0, "7#", NumberFormat::Plain), &[("sip:+4930@sbc", "4930", "7%234930")]);
    check(
        &rules(0, "", NumberFormat::E164),
        &[
            ("sip:4930@sbc", "4930", "+4930 ;user=phone"),
            ("sip:+4930@sbc", "4930", "+4930 ;user=phone"),
            ("sip:*31@sbc", "*31", "*31"),
            ("sip:A31@sbc;user=phone", "A31", "A31 ;user=phone"),
        ],
    );
    check(&rules(2, "", NumberFormat::E164), &[("sip:004930@sbc", "004930", "+4930 ;user=phone")]);
    check(
        &rules(0, "", NumberFormat::NoPlus),
        &[("sip:+4930@sbc", "4930", "4930"), ("tel:+4930", "4930", "4930 ;user=phone")],
    );
    check(&rules(0, "+0", NumberFormat::NoPlus), &[("sip:+4930@sbc", "4930", "04930")]);
    for gateway in ["[2001:db8::5]:5060", "[2001:db8:1111:2222:3333:4444:5555:6666]:65535", "192.0.2.255:1"] {
        check(&Rules { gateway, ..Rules::default() }, &[("sip:4930@sbc;user=phone", "4930", "4930 ;user=phone")]);
    }
}

#[test]
fn what_is_no_number() {
    use NumberFault::{Incomplete, NotANumber, TooLong};
    let plain = Rules::default();
    let long = "1".repeat(DIGITS_MAX + 1);
    let longer = "1".repeat(80);
    for (uri, fault) in [
        ("sip:alice@sbc", NotANumber),
        ("sip:sbc", NotANumber),
        ("sip:49x@sbc", NotANumber),
        ("sip:49e@sbc", NotANumber),
        ("sip:++49@sbc", NotANumber),
        ("sip:49+30@sbc", NotANumber),
        ("sip:%2B%2B49@sbc", NotANumber),
        ("sip:4930%0D%0AVia@sbc", NotANumber),
        ("sip:49%2030@sbc", NotANumber),
        ("sip:49%3B30@sbc", NotANumber),
        ("sip:49%00@sbc", NotANumber),
        ("sip:49&30@sbc", NotANumber),
        ("sip:-.()@sbc", NotANumber),
        ("sip:+@sbc", NotANumber),
        ("sip:;npdi@sbc", NotANumber),
        ("mailto:49@sbc", NotANumber),
        (&*format!("sip:{long}@sbc"), TooLong),
        (&*format!("sip:{longer}@sbc"), TooLong),
    ] {
        assert_eq!(plain.apply(uri), Err(fault), "{uri}");
    }
    let strip = Rules { strip: 4, ..Rules::default() };
    let tech_prefix = Rules { tech_prefix: "99#".into(), ..Rules::default() };
    let prepend = Rules { prepend: "1".into(), ..Rules::default() };
    let gateway_strip = Rules { gateway_strip: 4, ..Rules::default() };
    let gateway_prepend = Rules { gateway_prepend: "+1".into(), ..Rules::default() };
    let longest = "1".repeat(DIGITS_MAX);
    for (rules, uri, fault) in [
        (&strip, "sip:4930@sbc", Incomplete),
        (&strip, "sip:+49@sbc", Incomplete),
        (&tech_prefix, "sip:99%23@sbc", Incomplete),
        (&tech_prefix, "sip:99%23+@sbc", Incomplete),
        (&tech_prefix, "sip:99%23++49@sbc", NotANumber),
        (&tech_prefix, "sip:99%23x@sbc", NotANumber),
        (&prepend, &*format!("sip:{longest}@sbc"), TooLong),
        (&gateway_strip, "sip:4930@sbc", Incomplete),
        (&gateway_prepend, &*format!("sip:{longest}@sbc"), TooLong),
    ] {
        assert_eq!(rules.apply(uri), Err(fault), "{uri} by {rules:?}");
    }
    assert_eq!([NotANumber, Incomplete, TooLong].map(NumberFault::status), [404, 484, 404]);
}

#[test]
fn escapes_are_undone() {
    assert_eq!(unescape(b'2', b'B'), b'+');
    assert_eq!(unescape(b'2', b'3'), b'#');
    assert_eq!(unescape(b'z', b'3'), b'%');
}

/// Numbers of people stay out of logs.
#[test]
fn a_number_does_not_print_itself() {
    let bytes = Rules::default().image();
    let image = Image::open(&bytes).expect("just built");
    let recognised = Recognised { provider: ProviderSlot(0), tech_prefix: 0, cap: None };
    let provider = image.provider(ProviderSlot(0)).expect("built");
    let number = Dialled::parse(b"+4930").for_provider(&recognised, &provider).expect("a number");
    assert!(number.is_global());
    assert_eq!(format!("{number:?}"), "Number(4 symbols)");
    assert!(size_of::<Number>() <= 48);
}

/// Whatever is dialled and whatever the rules are.
fn rules() -> impl Strategy<Value = Rules> {
    let digits = "[0-9*#A-Da-d]{0,32}";
    let formats = prop::sample::select(std::vec![NumberFormat::Plain, NumberFormat::E164, NumberFormat::NoPlus]);
    let gateways = prop::sample::select(std::vec![
        "[2001:db8::5]:5060",
        "192.0.2.255:65535",
        "[1111:2222:3333:4444:5555:6666:7777:8888]:65535"
    ]);
    ("[0-9]{0,3}", 0..=32u8, digits, gateways, 0..=32u8, "\\+?[0-9*#A-D]{0,32}", formats).prop_map(
        |(tech_prefix, strip, prepend, gateway, gateway_strip, gateway_prepend, format)| Rules {
            tech_prefix,
            strip: strip.saturating_sub(24),
            prepend,
            gateway,
            gateway_strip: gateway_strip.saturating_sub(24),
            gateway_prepend,
            format,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What comes out is a sip: URI that our own parser reads, with nothing in its user part that would have to be escaped.
    #[test]
    fn nothing_dialled_gets_into_a_message_unescaped(
        mut user in prop::collection::vec(prop_oneof![
            6 => prop::sample::select(b"0123456789*#+-.();=npdirABCD%".to_vec()), 1 => any::<u8>()], 0..80),
        rules in rules(),
        phone in any::<bool>(),
    ) {
        user.splice(0..0, rules.tech_prefix.bytes());
        let bytes = rules.image();
        let image = Image::open(&bytes).expect("just built");
        let mut dialled = Dialled::parse(&user);
        dialled.phone = phone;
        let recognised =
            Recognised { provider: ProviderSlot(0), tech_prefix: rules.tech_prefix.len() as u8, cap: None };
        let provider = image.provider(ProviderSlot(0)).expect("built");
        let Ok(number) = dialled.for_provider(&recognised, &provider) else { return Ok(()) };
        prop_assert!(!number.digits().is_empty());
        prop_assert!(number.digits().iter().all(|symbol| b"0123456789*#ABCD".contains(symbol)));
        let mut room = [0; GATEWAY_URI_MAX];
        let gateway = image.gateway(GatewaySlot(0)).expect("built");
        let Ok(uri) = gateway_uri(&number, &gateway, &mut room) else { return Ok(()) };
        prop_assert!(uri.len() <= GATEWAY_URI_MAX);
        prop_assert!(uri.iter().all(u8::is_ascii_graphic));
        let request = [b"ACK ", uri, b" SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: 1 ACK\r\n\r\n"].concat();
        let message = Message::parse(&request).expect("a URI of ours is well-formed");
        let read = message.request_uri().expect("a request");
        prop_assert_eq!(read.scheme, Scheme::Sip);
        prop_assert_eq!(message.text(read.host).escape_ascii().to_string(), rules.gateway.rsplit_once(':').expect("a port").0);
        let written: Vec<u8> = message.text(read.user.expect("a number")).to_vec();
        let (digits, ported) = written.split_at(written.iter().position(|byte| *byte == b';').unwrap_or(written.len()));
        let bare = String::from_utf8(digits.to_vec()).expect("ASCII").replace("%23", "#");
        prop_assert!(bare.trim_start_matches('+').bytes().all(|symbol| b"0123456789*#ABCD".contains(&symbol)), "{}", bare);
        prop_assert!(digits.iter().all(|byte| *byte != b'#'));
        prop_assert!(ported.iter().all(|byte| b";npdirn=+0123456789".contains(byte)));
        // It reads as what it was written from.
        let again = Dialled::read(&message, &read);
        prop_assert_eq!(again.text(), bare.trim_start_matches('+').as_bytes());
        prop_assert!(!phone || again.phone);
    }
}
