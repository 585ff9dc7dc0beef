//! What an operator is told of his tables: the line that is meant, and what is written and does nothing.

use super::tests::Set;
use crate::routes::verify;

/// The address goes into From in brackets; what is compiled is read back before it replaces the image that was there.
#[test]
fn an_ipv6_from_host_compiles() {
    for host in ["2001:db8::9", "[2001:db8::9]"] {
        let set = Set::with(
            "gateway.csv",
            &format!("id,host,from_host\n1,203.0.113.1,{host}\n2,203.0.113.2,\n3,203.0.113.3,\n"),
        );
        set.compiled();
        verify(&set.image()).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
}

/// Spreadsheets end lines in CR LF; empty lines and quoted line ends count, too.
#[test]
fn a_row_is_told_by_its_line_however_lines_end() {
    for end in ["\n", "\r\n"] {
        let lines = ["provider_id,cidr", "1,10.0.0.0/24", "", "2,\"10.0.1.0/24\"", "1,10.0.0.1/24", "2,10.0.1.0/24"];
        let set = Set::with("provider_address.csv", &lines.join(end));
        let complaints = set.complaints();
        assert!(complaints[0].starts_with("provider_address.csv:5: cidr 10.0.0.1/24"), "{complaints:?}");
        assert!(
            complaints[1].starts_with("provider_address.csv:6:") && complaints[1].contains("already in line 4"),
            "{complaints:?}"
        );
    }
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let set = Set::with("listener.csv", "id,name,address,port\n1,public,192.0.2.1,5060\n2,more,192.0.2.2,5060\n");
    set.write("gateway.csv", "id,host,burst,max_cps\n1,203.0.113.1,5,\n2,2001:db8::7,5,9\n3,203.0.113.3,,\n");
    let warnings: Vec<_> = set.compiled().warnings.iter().map(ToString::to_string).collect();
    for expected in [
        "provider_address.csv:4: cidr 2001:db8:1::/48: no listener that it is for is of IPv6",
        "gateway.csv:3: host 2001:db8::7: there is no listener of IPv6",
        "gateway.csv:2: burst 5: has no effect without max_cps",
    ] {
        assert!(warnings.iter().any(|warning| warning.starts_with(expected)), "{expected} in {warnings:#?}");
    }
    assert_eq!(warnings.iter().filter(|warning| warning.contains("no effect")).count(), 1);
}
