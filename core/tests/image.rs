//! An image whose texts would break the messages that are made with them is found by `verify`, which a node asks before it starts.

use corelane_core::routing::build::{Builder, ImageBytes};
use corelane_core::routing::layout::{GatewayRecord, ProviderRecord};
use corelane_core::routing::{Image, ImageError};

/// A small image with one provider and one gateway, changed.
fn verdict(
    edit_provider: impl FnOnce(&mut ProviderRecord),
    edit_gateway: impl FnOnce(&mut GatewayRecord),
) -> Result<(), ImageError> {
    let mut builder = Builder::new();
    builder.listener("192.0.2.1:5060");
    let provider = builder.provider("acme", 1);
    builder.address(provider, "198.51.100.0/24");
    let gateway = builder.gateway("gateway", "203.0.113.7:5060");
    let carrier = builder.carrier("carrier", &[gateway]);
    builder.route(1, "44", carrier);
    builder.edit_provider(provider, edit_provider).edit_gateway(gateway, edit_gateway);
    let bytes: ImageBytes = builder.finish();
    Image::open(&bytes).expect("its structure is right").verify()
}

#[test]
fn what_the_tables_may_hold_passes() {
    assert_eq!(verdict(|_| {}, |_| {}), Ok(()));
    let provider = |record: &mut ProviderRecord| record.prepend = "0049*#ABCD".into();
    let gateway = |record: &mut GatewayRecord| {
        record.prepend = "+44".into();
        record.from_host = Some("sbc-1.carrier_2.example".into());
    };
    assert_eq!(verdict(provider, gateway), Ok(()));
    assert_eq!(
        verdict(|record| record.refuse_code = 699, |record| record.from_host = Some("[2001:db8::1]".into())),
        Ok(())
    );
}

/// Found by fuzzing: a control byte in `prepend` went into the Request-URI of every call to the gateway.
#[test]
fn a_prepend_that_is_no_number_is_refused() {
    for prepend in ["\u{1b}", "1\r\nX: y", "49@elsewhere", "+44", "4 4", "++4", "123456789012345678901234567890123"] {
        assert_eq!(
            verdict(|record| record.prepend = prepend.into(), |_| {}),
            Err(ImageError::Malformed),
            "{prepend:?}"
        );
        if prepend != "+44" {
            let gateway = |record: &mut GatewayRecord| record.prepend = prepend.into();
            assert_eq!(verdict(|_| {}, gateway), Err(ImageError::Malformed), "{prepend:?}");
        }
    }
}

#[test]
fn a_host_that_is_none_is_refused() {
    for host in ["", "a b", "a\r\nX: y", "a>", "a;lr", "::1", "[::1", "[a]", "[192.0.2.1]", &"a".repeat(65)] {
        let gateway = |record: &mut GatewayRecord| record.from_host = Some(host.into());
        assert_eq!(verdict(|_| {}, gateway), Err(ImageError::Malformed), "{host:?}");
    }
}

/// A refusal that is provisional would leave its transaction open for ever; port 0 is nobody's.
#[test]
fn numbers_that_mean_nothing_are_refused() {
    for status in [0, 100, 200, 399, 700, u16::MAX] {
        assert_eq!(verdict(|record| record.refuse_code = status, |_| {}), Err(ImageError::Malformed), "{status}");
    }
    assert_eq!(verdict(|_| {}, |record| record.port = 0), Err(ImageError::Malformed));
    for (bytes, expected) in [(255, Ok(())), (256, Err(ImageError::Malformed))] {
        assert_eq!(verdict(|record| record.media_flags = "f".repeat(bytes), |_| {}), expected);
        assert_eq!(verdict(|_| {}, |record| record.media_flags = "f".repeat(bytes)), expected);
    }
}
