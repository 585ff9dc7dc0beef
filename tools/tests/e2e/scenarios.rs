//! The scenarios against each other, without Corelane: when one of these fails, the others say nothing about Corelane.

use crate::serial;
use crate::sipp::Sipp;
use crate::site::Site;

/// Caller and gateway scenarios that fit together.
const PAIRS: [(&str, &str); 11] = [
    ("uac_basic", "uas_basic"),
    ("uac_reinvite", "uas_reinvite"),
    ("uac_hungup", "uas_hangs_up"),
    ("uac_refused", "uas_refuses"),
    ("uac_cancel", "uas_cancelled"),
    ("uac_cancel_crossed", "uas_cancel_crossed"),
    ("uac_requests", "uas_requests"),
    ("uac_pracked", "uas_pracked"),
    ("uac_reoffered", "uas_reoffers"),
    ("uac_both_hang_up", "uas_both_hang_up"),
    ("uac_admitted_or_not", "uas_basic"),
];

#[test]
fn callers_and_gateways_fit_together() {
    let _serial = serial();
    for (caller, gateway) in PAIRS {
        let site = Site::new();
        let address = site.address(21);
        let gateway = Sipp::uas(&site, gateway, address).word("CODE", 486).start();
        let caller = Sipp::uac(&site, caller, site.caller(), address).word("CODE", 486).dial(&["49301"]).calls(20, 200);
        assert_eq!(caller.many_sockets().run().successful, 20);
        assert_eq!(gateway.stop().successful, 20);
    }
}
