//! Directories of tables in, images or complaints out.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use corelane_core::routing::layout::LAYOUT;
use corelane_core::routing::{GatewaySlot, Image, ImageError, ListenerSlot, ProviderSlot};
use corelane_core::{Endpoint, WallTime};
use tempfile::TempDir;

use crate::routes::{CompileError, FileError, Outcome, Source, compile, compile_to, load, lookup, stat, verify};

/// A small set that is right.
const GOOD: [(&str, &str); 9] = [
    ("listener.csv", "id,name,address,port\n1,public,192.0.2.1,5060\n2,six,2001:db8::1,5060\n"),
    ("provider.csv", "id,name,routing_group,listener_id,strip,prepend\n1,acme,1,1,,\n2,beta,2,,1,99\n"),
    ("provider_address.csv", "provider_id,cidr\n1,198.51.100.0/24\n2,198.51.100.9\n2,2001:db8:1::/48\n"),
    ("gateway.csv", "id,name,host,port\n1,one,203.0.113.1,5060\n2,two,203.0.113.2,5080\n3,off,203.0.113.3,\n"),
    ("carrier.csv", "id,name,failover_codes\n1,first,503 q850:34\n2,second,\n"),
    ("carrier_gateway.csv", "carrier_id,gateway_id,priority\n1,1,1\n1,2,2\n2,2,\n2,3,\n"),
    (
        "route.csv",
        "prefix,id,routing_group,carrier_id,priority,time_window_id,cost\n44,1,1,1,1,,0.5\n44,2,1,2,2,7,\n,3,2,2,,,\n",
    ),
    ("time_window.csv", "id,days,from,to,zone\n7,mon-fri,20:00,06:00,Europe/Madrid\n7,sat sun,,,\n"),
    ("media_node.csv", "id,host,port,max_sessions\n1,192.0.2.20,2223,\n"),
];

pub(super) struct Set {
    dir: TempDir,
}

impl Set {
    pub(super) fn good() -> Set {
        let dir = tempfile::tempdir().expect("temporary directory");
        let set = Set { dir };
        GOOD.iter().for_each(|(file, text)| set.write(file, text));
        set
    }

    pub(super) fn with(file: &str, text: &str) -> Set {
        let set = Set::good();
        set.write(file, text);
        set
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.path().join(file), text).expect("temporary directory");
    }

    pub(super) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(super) fn image(&self) -> PathBuf {
        self.dir.path().join("routes.image")
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        match compile_to(self.dir.path(), &self.image()) {
            Err(CompileError::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
            Err(error) => panic!("{error}"),
            Ok(_) => Vec::new(),
        }
    }

    pub(super) fn compiled(&self) -> super::Compiled {
        compile_to(self.dir.path(), &self.image()).expect("these tables are right")
    }
}

/// 2026-11-23, a Monday, 20:00 in Madrid: inside window 7.
const NIGHT: WallTime = WallTime(1_795_460_400_000_000);

fn peer(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().expect("address:port").into()
}

#[test]
fn a_small_set_compiles_and_answers() {
    let set = Set::good();
    let compiled = set.compiled();
    assert_eq!((compiled.generation, compiled.previous_unusable), (1, None));
    assert_eq!(compiled.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(verify(&set.image()).expect("sound"), stat(&set.image()).expect("readable"));
    let bytes = super::file::read(&set.image()).expect("readable");
    let image = Image::open(&bytes).expect("opens");

    let provider = image.recognise(ListenerSlot(0), peer("198.51.100.9:5060"), b"144").expect("beta's").provider;
    let beta = image.provider(provider).expect("known");
    assert_eq!((beta.id, beta.name, beta.strip, beta.prepend), (2, "beta", 1, &b"99"[..]));
    assert_eq!((beta.refuse_code, beta.zone, beta.listener), (503, "UTC", None));
    assert_eq!(image.provider(ProviderSlot(0)).expect("acme").listener, Some(ListenerSlot(0)));

    let candidates = image.select(1, b"4420", NIGHT, 3).expect("routed");
    let gateways: Vec<_> =
        candidates.iter().map(|candidate| image.gateway(candidate.gateway).expect("known").name).collect();
    assert_eq!(gateways, ["one", "two", "off"]);
    let carrier = image.carrier(candidates[0].carrier).expect("known");
    assert!(carrier.fails_over(503) && !carrier.fails_over(408) && carrier.fails_over_on_cause(34));
    assert!(image.carrier(candidates[2].carrier).expect("known").fails_over(408), "the default codes");
    assert_eq!(image.tables().windows[0].rows.len(), 2, "rows of an id are one window");
}

/// Every class of bad row: the file that is replaced, what is in it, and the beginning of the only complaint.
#[test]
fn each_bad_row_is_named_with_its_cure() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id\n1,1,44,7\n",
            "route.csv:2: carrier_id 7: no such carrier; add it to carrier.csv",
        ),
        ("route.csv", "id,routing_group,prefix,carrier_id\n1,1,+44,1\n", "route.csv:2: prefix +44: starts with '+'"),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id\n1,1,4x4,1\n",
            "route.csv:2: prefix 4x4: has 'x', but a prefix is of 0-9 * # A-D only",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id\n1,1,123456789012345678901234567890123,1\n",
            "route.csv:2: prefix 123456789012345678901234567890123: is longer than 32",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id\n1,1,44,1\n1,1,45,1\n",
            "route.csv:3: id 1: is already in line 2",
        ),
        ("route.csv", "id,routing_group,prefix,carrier_id\n1,,44,1\n", "route.csv:2: routing_group: is empty"),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id\nx,1,44,1\n",
            "route.csv:2: id x: must be a whole number from 0 to 4294967295",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id,weight\n1,1,44,1,70000\n",
            "route.csv:2: weight 70000: must be a whole number from 0 to 65535",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id,priority\n1,1,44,1,-1\n",
            "route.csv:2: priority -1: must be a whole number",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id,time_window_id\n1,1,44,1,8\n",
            "route.csv:2: time_window_id 8: no such time window; add it to time_window.csv",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id,valid_from,valid_to\n1,1,44,1,2026-02-01,2026-01-01\n",
            "route.csv:2: valid_to 2026-01-01: is not after valid_from",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id,valid_from\n1,1,44,1,soon\n",
            "route.csv:2: valid_from soon: must be a date such as",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id,cost\n1,1,44,1,cheap\n",
            "route.csv:2: cost cheap: must be an amount",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id,enabled\n1,1,44,1,maybe\n",
            "route.csv:2: enabled maybe: must be 1 or 0",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id\n1,1,44\n",
            "route.csv:2: has 3 fields where the header names 4",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id,comment\n1,1,44,1,x\n",
            "route.csv:1: column 'comment': no such column; there are id,",
        ),
        (
            "route.csv",
            "id,routing_group,prefix,carrier_id,id\n1,1,44,1,1\n",
            "route.csv:1: column 'id': is there twice",
        ),
        ("route.csv", "id,routing_group,carrier_id\n1,1,1\n", "route.csv:1: column 'prefix' is missing"),
        ("route.csv", "", "route.csv: is empty; its first line names the columns"),
        (
            "gateway.csv",
            "id,host\n1,gw.example.net\n2,203.0.113.2\n3,203.0.113.3\n",
            "gateway.csv:2: host gw.example.net: must be an IP address: names cannot be resolved yet",
        ),
        ("gateway.csv", "id,host\n1,\n2,203.0.113.2\n3,203.0.113.3\n", "gateway.csv:2: host: is empty"),
        (
            "gateway.csv",
            "id,host,port\n1,203.0.113.1,0\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: port 0: must be a whole number from 1 to 65535",
        ),
        (
            "gateway.csv",
            "id,host,transport\n1,203.0.113.1,tcp\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: transport tcp: must be one of udp",
        ),
        (
            "gateway.csv",
            "id,host,listener_id\n1,203.0.113.1,9\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: listener_id 9: no such listener",
        ),
        (
            "gateway.csv",
            "id,host,listener_id\n1,203.0.113.1,2\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: listener_id 2: is of the other IP version",
        ),
        (
            "gateway.csv",
            "id,host,max_calls\n1,203.0.113.1,0\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: max_calls 0: is 0; leave it empty for no cap",
        ),
        (
            "gateway.csv",
            "id,host,prepend\n1,203.0.113.1,00 44\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: prepend 00 44: must be an optional +",
        ),
        (
            "gateway.csv",
            "id,host\n1,203.0.113.1\n2,203.0.113.2\n3,203.0.113.3\n2,203.0.113.4\n",
            "gateway.csv:5: id 2: is already in line 3",
        ),
        (
            "carrier.csv",
            "id,failover_codes\n1,486\n2,\n",
            "carrier.csv:2: failover_codes 486: has 486, on which no call ever goes on",
        ),
        (
            "carrier_gateway.csv",
            "carrier_id,gateway_id\n1,1\n1,1\n2,2\n2,3\n",
            "carrier_gateway.csv:3: gateway_id 1 of carrier 1: is already in line 2",
        ),
        ("carrier_gateway.csv", "carrier_id,gateway_id\n1,8\n", "carrier_gateway.csv:2: gateway_id 8: no such gateway"),
        ("carrier_gateway.csv", "carrier_id,gateway_id\n8,1\n", "carrier_gateway.csv:2: carrier_id 8: no such carrier"),
        (
            "provider.csv",
            "id,routing_group,listener_id\n1,1,9\n2,2,\n",
            "provider.csv:2: listener_id 9: no such listener",
        ),
        (
            "provider.csv",
            "id,routing_group,refuse_code\n1,1,200\n2,2,\n",
            "provider.csv:2: refuse_code 200: must be a whole number from 400 to 699",
        ),
        (
            "provider.csv",
            "id,routing_group,redirect\n1,1,follow\n2,2,\n",
            "provider.csv:2: redirect follow: must be one of hunt, pass, recurse",
        ),
        (
            "provider.csv",
            "id,routing_group,zone\n1,1,somewhere else\n2,2,\n",
            "provider.csv:2: zone somewhere else: must be a time zone name",
        ),
        (
            "provider.csv",
            "id,routing_group,session_expires,min_se\n1,1,120,180\n2,2,,\n",
            "provider.csv:2: session_expires 120: 120 is below min_se 180",
        ),
        (
            "provider.csv",
            "id,routing_group,prepend\n1,1,+44\n2,2,\n",
            "provider.csv:2: prepend +44: must be at most 32",
        ),
        (
            "provider_address.csv",
            "provider_id,cidr\n1,10.0.0.1/24\n",
            "provider_address.csv:2: cidr 10.0.0.1/24: has bits set behind /24; write 10.0.0.0/24",
        ),
        (
            "provider_address.csv",
            "provider_id,cidr\n1,10.0.0.0/24\n2,10.0.0.0/24\n",
            "provider_address.csv:3: cidr 10.0.0.0/24 with this listener, port and tech_prefix: is already in line 2",
        ),
        (
            "provider_address.csv",
            "provider_id,cidr\n7,10.0.0.0/24\n",
            "provider_address.csv:2: provider_id 7: no such provider; add it to provider.csv",
        ),
        (
            "provider_address.csv",
            "provider_id,cidr,listener_id\n1,10.0.0.0/24,9\n",
            "provider_address.csv:2: listener_id 9: no such listener",
        ),
        (
            "provider_address.csv",
            "provider_id,cidr,tech_prefix\n1,10.0.0.0/24,7@7\n",
            "provider_address.csv:2: tech_prefix 7@7: must be at most 16",
        ),
        (
            "gateway.csv",
            "id,host,number_format\n1,203.0.113.1,as_is\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: number_format as_is: must be one of plain, e164, no_plus",
        ),
        (
            "gateway.csv",
            "id,host,strip\n1,203.0.113.1,33\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: strip 33: must be a whole number from 0 to 32",
        ),
        (
            "gateway.csv",
            "id,host,prepend\n1,203.0.113.1,00+\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: prepend 00+: must be an optional + and at most 32",
        ),
        (
            "gateway.csv",
            "id,host,from_host\n1,203.0.113.1,sbc example\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: from_host sbc example: must be a host name of at most 64 bytes",
        ),
        (
            "gateway.csv",
            "id,host,from_host\n1,203.0.113.1,[sbc]\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: from_host [sbc]: must have an IPv6 address between its brackets",
        ),
        (
            "gateway.csv",
            "id,host,privacy\n1,203.0.113.1,private\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: privacy private: must be one of trusted, untrusted",
        ),
        (
            "provider.csv",
            "id,routing_group,strip\n1,1,33\n2,2,\n",
            "provider.csv:2: strip 33: must be a whole number from 0 to 32",
        ),
        (
            "provider.csv",
            "id,routing_group,prepend\n1,1,+49\n2,2,\n",
            "provider.csv:2: prepend +49: must be at most 32 of 0-9",
        ),
        (
            "provider.csv",
            "id,routing_group,privacy\n1,1,no\n2,2,\n",
            "provider.csv:2: privacy no: must be one of trusted, untrusted",
        ),
        (
            "provider_address.csv",
            "provider_id,cidr,tech_prefix\n1,10.0.0.0/24,+99\n",
            "provider_address.csv:2: tech_prefix +99: has '+', which is taken off every dialled number first; write it without",
        ),
        (
            "provider_address.csv",
            "provider_id,cidr,tech_prefix\n1,10.0.0.0/24,9-9\n",
            "provider_address.csv:2: tech_prefix 9-9: has '-', which",
        ),
        (
            "provider_address.csv",
            "provider_id,cidr,tech_prefix\n1,10.0.0.0/24,12345678901234567\n",
            "provider_address.csv:2: tech_prefix 12345678901234567: must be at most 16 letters",
        ),
        (
            "gateway.csv",
            "id,host,prepend,number_format\n1,203.0.113.1,+0,no_plus\n2,203.0.113.2,,\n3,203.0.113.3,,\n",
            "gateway.csv:2: prepend +0: has a '+' that number_format no_plus takes off",
        ),
        (
            "gateway.csv",
            "id,host,prepend,number_format\n1,203.0.113.1,7#,e164\n2,203.0.113.2,,\n3,203.0.113.3,,\n",
            "gateway.csv:2: prepend 7#: has a symbol that no number of number_format e164 has",
        ),
        (
            "listener.csv",
            "id,address\n1,everywhere\n2,2001:db8::1\n",
            "listener.csv:2: address everywhere: must be an IP address of this host",
        ),
        (
            "listener.csv",
            "id,address\n1,192.0.2.1\n2,192.0.2.1\n",
            "listener.csv:3: address 192.0.2.1 port 5060: is already in line 2",
        ),
        ("time_window.csv", "id,days\n7,;\n", "time_window.csv:2: days ;: names no day; leave it empty for every day"),
        ("time_window.csv", "id,days\n7,someday\n", "time_window.csv:2: days someday: has 'someday'"),
        (
            "time_window.csv",
            "id,zone\n7,Europe/Atlantis\n",
            "time_window.csv:2: zone Europe/Atlantis: must be a time zone name of the IANA database; write it in full",
        ),
        ("time_window.csv", "id,from\n7,25:00\n", "time_window.csv:2: from 25:00: must be a time of day"),
        (
            "time_window.csv",
            "id,date_from,date_to\n7,2026-12-31,2026-01-01\n",
            "time_window.csv:2: date_to 2026-01-01: is before date_from",
        ),
        ("media_node.csv", "id,host,port\n1,,2223\n", "media_node.csv:2: host: is empty"),
        ("media_node.csv", "id,host,port\n,192.0.2.20,2223\n", "media_node.csv:2: id: is empty"),
        (
            "media_node.csv",
            "id,host,port\n0,192.0.2.20,2223\n",
            "media_node.csv:2: id 0: must be a whole number from 1",
        ),
        (
            "provider.csv",
            "id,routing_group,media_set\n1,1,\n2,2,4\n",
            "provider.csv:3: media_set 4: no media node is of this set, and every call of the provider would get 503; add one to \
             media_node.csv, or name one of the sets that there are (1)",
        ),
        (
            "provider.csv",
            "id,routing_group,media_flags\n1,1,ICE=remove symmetric\n2,2,ICE=perhaps\n",
            "provider.csv:3: media_flags ICE=perhaps: `ICE` cannot be `perhaps`",
        ),
        (
            "gateway.csv",
            "id,host,media_flags\n1,203.0.113.1,call-id=x\n2,203.0.113.2,\n3,203.0.113.3,\n",
            "gateway.csv:2: media_flags call-id=x: unknown key `call-id`",
        ),
    ];
    for (file, text, expected) in cases {
        let complaints = Set::with(file, text).complaints();
        assert!(complaints.len() == 1 && complaints[0].starts_with(expected), "{expected}\n  got {complaints:#?}");
    }
}

#[test]
fn all_problems_are_told_at_once_and_the_last_good_image_stays() {
    let set = Set::good();
    set.compiled();
    let before = fs::read(set.image()).expect("readable");
    set.write("gateway.csv", "id,host,port\n1,nowhere,5060\n2,203.0.113.2,99999\n3,203.0.113.3,\n");
    set.write("route.csv", "id,routing_group,prefix,carrier_id\n1,1,x,1\n2,1,44,9\n3,,44,1\n");
    fs::remove_file(set.dir.path().join("carrier_gateway.csv")).expect("was there");
    let complaints = set.complaints();
    for expected in [
        "gateway.csv:2: host nowhere:",
        "gateway.csv:3: port 99999:",
        "route.csv:2: prefix x:",
        "route.csv:3: carrier_id 9:",
        "route.csv:4: routing_group:",
        "carrier_gateway.csv: cannot be read",
    ] {
        assert!(complaints.iter().any(|complaint| complaint.starts_with(expected)), "{expected} in {complaints:#?}");
    }
    assert_eq!(complaints.len(), 6);
    assert_eq!(fs::read(set.image()).expect("readable"), before);
}

#[test]
fn too_many_routes_of_a_prefix_and_gateways_of_a_carrier_are_refused() {
    let header = "id,routing_group,prefix,carrier_id\n".to_string();
    let routes = (1..=65).fold(header, |text, id| text + &format!("{id},1,44,1\n"));
    let complaints = Set::with("route.csv", &routes).complaints();
    assert!(
        complaints.len() == 1 && complaints[0].starts_with("route.csv:66: prefix 44: is the route number 65"),
        "{complaints:?}"
    );

    let set = Set::good();
    let gateways = (1..=65).fold("id,host\n".to_string(), |text, id| text + &format!("{id},203.0.113.{id}\n"));
    let members = (1..=65).fold("carrier_id,gateway_id\n".to_string(), |text, id| text + &format!("1,{id}\n"));
    set.write("gateway.csv", &gateways);
    set.write("carrier_gateway.csv", &members);
    let complaints = set.complaints();
    assert!(
        complaints[0].starts_with("carrier_gateway.csv:66: carrier_id 1: has more than 64 gateways"),
        "{complaints:?}"
    );
}

#[test]
fn slots_stay_with_their_ids_over_generations() {
    let set = Set::good();
    set.compiled();
    // Gateway 1 goes, gateway 9 comes, the order of rows changes.
    set.write("gateway.csv", "id,name,host\n9,new,203.0.113.9\n3,off,203.0.113.3\n2,two,203.0.113.2\n");
    set.write("carrier_gateway.csv", "carrier_id,gateway_id\n1,2\n2,9\n");
    let compiled = set.compiled();
    assert_eq!(compiled.generation, 2);
    assert_eq!(compiled.stat.slots[2], ("gateways", 3, 4));
    let bytes = super::file::read(&set.image()).expect("readable");
    let image = Image::open(&bytes).expect("opens");
    let id = |slot| image.gateway(GatewaySlot(slot)).map(|gateway| gateway.id);
    assert_eq!([id(0), id(1), id(2), id(3)], [None, Some(2), Some(3), Some(9)]);
    let warnings: Vec<_> = compiled.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["gateway.csv:3: id 3: is in no carrier, so no call reaches it; add it to carrier_gateway.csv"]
    );
}

/// A row of `provider_address` with a cap has no id: it is known by its network, listener, port and tech prefix.
#[test]
fn caps_of_addresses_keep_their_slots_over_generations() {
    let set = Set::with(
        "provider_address.csv",
        "provider_id,cidr,port,max_cps\n1,198.51.100.0/24,,7\n2,198.51.100.9,,\n2,2001:db8:1::/48,,9\n2,2001:db8:1::/48,5070,3\n",
    );
    let caps = |set: &Set| {
        set.compiled();
        let bytes = super::file::read(&set.image()).expect("readable");
        let image = Image::open(&bytes).expect("opens");
        let cap = |peer: &str| {
            let peer: SocketAddr = peer.parse().expect("an address");
            let found = image.recognise(ListenerSlot(0), Endpoint::from(peer), b"44").expect("a provider's");
            found.cap.map(|cap| (cap.slot, cap.max_cps))
        };
        ["198.51.100.1:9", "198.51.100.9:9", "[2001:db8:1::1]:9", "[2001:db8:1::1]:5070"].map(cap)
    };
    assert_eq!(caps(&set), [Some((0, 7)), None, Some((1, 9)), Some((2, 3))]);
    // Another order, another owner, another rate; one cap goes, one comes.
    set.write(
        "provider_address.csv",
        "provider_id,cidr,port,max_cps\n2,2001:db8:1::/48,5070,4\n1,2001:db8:1::/48,,\n2,198.51.100.9,,5\n2,198.51.100.0/24,,7\n",
    );
    assert_eq!(caps(&set), [Some((0, 7)), Some((3, 5)), None, Some((2, 4))]);
}

#[test]
fn an_unusable_image_is_replaced_and_said_so() {
    let set = Set::good();
    set.compiled();
    let mut bytes = fs::read(set.image()).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    fs::write(set.image(), &bytes).expect("writable");
    let Err(FileError::Image { error, .. }) = verify(&set.image()) else { panic!("a changed byte is noticed") };
    assert!(matches!(error, ImageError::Checksum | ImageError::Malformed));
    let compiled = set.compiled();
    assert_eq!((compiled.generation, compiled.previous_unusable), (1, Some(error)));

    bytes[8..12].copy_from_slice(&0u32.to_le_bytes());
    fs::write(set.image(), &bytes).expect("writable");
    let message = verify(&set.image()).expect_err("another layout").to_string();
    let expected =
        format!("routes.image: image layout 0, this version reads layout {LAYOUT}; compile the routes again");
    assert!(message.contains(&expected), "{message}");
    fs::write(set.image(), &bytes[..64]).expect("writable");
    assert!(verify(&set.image()).expect_err("cut").to_string().contains("cut short"));
    fs::write(set.image(), "id,name\n").expect("writable");
    assert!(stat(&set.image()).expect_err("a table").to_string().contains("not a routing image"));
    let message = stat(&set.dir.path().join("none")).expect_err("no file").to_string();
    assert!(message.contains("name the image that `routes compile` wrote"), "{message}");
}

#[test]
fn what_looks_wrong_is_warned_about() {
    let set = Set::good();
    set.write("provider.csv", "id,routing_group,max_calls,media_set\n1,1,100,4\n2,5,200,0\n3,1,50,1\n");
    set.write("media_node.csv", "id,set,host,port,enabled\n1,1,192.0.2.20,2223,1\n2,4,192.0.2.21,2223,0\n");
    set.write(
        "gateway.csv",
        "id,host,max_calls,enabled\n1,203.0.113.1,60,1\n2,203.0.113.2,30,1\n3,203.0.113.3,500,0\n",
    );
    set.write("carrier_gateway.csv", "carrier_id,gateway_id\n1,1\n2,3\n");
    let warnings: Vec<_> = set.compiled().warnings.iter().map(ToString::to_string).collect();
    for expected in [
        "gateway.csv:3: id 2: is in no carrier",
        "carrier.csv:3: id 2: has no enabled gateway",
        "media_node.csv: has no enabled node of set 4, so calls of provider 1 get 503; enable one",
        "provider.csv:3: routing_group 5: has no enabled route",
        "provider.csv:4: id 3: has no address",
        "provider.csv: providers' max_calls of routing_group 1 add up to 150, the gateways take 60",
    ] {
        assert!(warnings.iter().any(|warning| warning.starts_with(expected)), "{expected} in {warnings:#?}");
    }
    assert_eq!(warnings.len(), 6);
}

#[test]
fn caps_that_the_gateways_cannot_take_are_warned_about() {
    // Group 1 reaches gateways 1 and 2, group 2 gateway 2: each fits, in calls and in rate, until a row says otherwise.
    let caps = |provider: &str, gateway: &str| {
        let set = Set::good();
        let routes = "id,routing_group,prefix,carrier_id,enabled\n1,1,44,1,1\n2,2,44,2,1\n3,2,45,1,0\n";
        set.write("route.csv", routes);
        set.write("provider.csv", &format!("id,routing_group,max_calls,max_cps\n1,1,100,10\n{provider}\n"));
        set.write(
            "gateway.csv",
            &format!("id,host,max_calls,max_cps,enabled\n1,203.0.113.1,60,6,1\n{gateway}\n3,203.0.113.3,,,0\n"),
        );
        let warnings = set.compiled().warnings;
        warnings.iter().map(ToString::to_string).filter(|warning| warning.contains("add up")).collect::<Vec<_>>()
    };
    let large = "2,203.0.113.2,100,10,1";
    assert_eq!(caps("2,2,60,6", large), [] as [String; 0]);
    assert_eq!(caps("2,2,,", large), [] as [String; 0], "no cap, no sum");
    assert_eq!(caps("2,2,900,90", "2,203.0.113.2,,,1"), [] as [String; 0]);
    let said = |whose: &str, column: &str, sold: u32, taken: u32| {
        format!(
            "provider.csv: providers' {column} {whose}add up to {sold}, the gateways take {taken}; calls above that get 503"
        )
    };
    assert_eq!(caps("2,2,60,11", large), [said("of routing_group 2 ", "max_cps", 11, 10)]);
    assert_eq!(caps("2,2,101,6", large), [said("of routing_group 2 ", "max_calls", 101, 100)]);
    // They share gateway 2: each fits, and both together do not.
    assert_eq!(caps("2,2,80,6", large), [said("", "max_calls", 180, 160)]);
}

#[test]
fn disabled_rows_leave_the_hunt() {
    let set = Set::good();
    set.write("gateway.csv", "id,name,host,enabled\n1,one,203.0.113.1,0\n2,two,203.0.113.2,1\n3,off,203.0.113.3,0\n");
    set.write("carrier.csv", "id,enabled\n1,1\n2,0\n");
    set.write("route.csv", "id,routing_group,prefix,carrier_id,enabled\n1,1,44,1,1\n2,1,442,2,1\n3,1,443,2,0\n");
    let tables = load(set.dir.path()).expect("right");
    let bytes = compile(&tables, None).expect("compiles");
    let image = Image::open(&bytes).expect("opens");
    let names = |number: &[u8]| {
        let found = image.select(1, number, NIGHT, 1);
        found.map(|all| {
            all.iter().map(|one| image.gateway(one.gateway).expect("known").name.to_string()).collect::<Vec<_>>()
        })
    };
    assert_eq!(names(b"441"), Ok(vec!["two".to_string()]));
    assert_eq!(
        names(b"442"),
        Err(corelane_core::routing::NoCandidate::NoneUsable),
        "a disabled carrier does not shorten"
    );
    assert_eq!(names(b"443"), Ok(vec!["two".to_string()]), "a disabled route is not there");
}

#[test]
fn a_lookup_explains_itself() {
    let set = Set::good();
    set.compiled();
    let told = |source, number: &str| {
        super::with_image(&set.image(), |image, _| Ok(lookup(image, source, number, NIGHT, 1))).expect("opens")
    };
    let text = told(Source::Peer(peer("198.51.100.1:5060"), Some(1)), "+44207").to_string();
    for expected in [
        "provider 1 (acme): '+44207' becomes '44207'",
        "prefix '44'",
        "route 1: carrier first, priority 1, weight 1, cost 0.500000",
        "route 2: carrier second, priority 2, weight 1; inside time window 7",
        "1. gateway one at 203.0.113.1:5060, through first",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    assert!(told(Source::Provider(2), "144").to_string().contains("'144' becomes '9944'"));
    assert!(told(Source::Provider(2), "+1(44)-5").to_string().contains("'+1(44)-5' becomes '99445'"));
    let alice = told(Source::Provider(2), "alice");
    assert!(alice.outcome == Outcome::Unknown && alice.to_string().contains("'alice': not a number: 404"), "{alice}");
    assert!(told(Source::Group(1), "33").to_string().contains("no prefix of '33' is routed: 404"));
    assert_eq!(told(Source::Peer(peer("203.0.113.1:5060"), None), "44").outcome, Outcome::Unknown);
}

#[test]
fn media_that_nobody_serves_is_warned_about() {
    let warned = |provider: &str, nodes: &str| {
        let set = Set::good();
        set.write("provider.csv", &format!("id,routing_group,media_set\n1,1,{provider}\n2,2,\n"));
        set.write("media_node.csv", &format!("id,set,host,port,enabled\n{nodes}"));
        let warnings = set.compiled().warnings;
        warnings.iter().map(ToString::to_string).filter(|warning| warning.contains("media")).collect::<Vec<_>>()
    };
    let none = [] as [String; 0];
    assert_eq!(warned("1", "1,1,192.0.2.20,2223,1\n2,1,192.0.2.21,2223,0\n"), none, "one of the set is enough");
    assert_eq!(warned("0", "1,1,192.0.2.20,2223,1\n"), none, "0 is any");
    assert_eq!(warned("", ""), none, "without media nodes");
    assert_eq!(
        warned("", "1,1,192.0.2.20,2223,0\n"),
        ["media_node.csv: has no enabled node, so every call gets 503; enable one"]
    );
    assert!(
        warned("1", "")[0]
            .starts_with("provider.csv:2: media_set 1: there is no media node at all, so calls of the provider")
    );
}

/// A text that is too long is told, and not cut: at run time there is no bound left that it could break.
#[test]
fn flags_that_are_too_long_are_refused() {
    let flags = |bytes: usize| {
        let text = "symmetric ".repeat(60)[..bytes].trim_end().to_owned();
        Set::with("provider.csv", &format!("id,routing_group,media_flags\n1,1,{text}\n2,2,\n")).complaints()
    };
    assert_eq!(flags(255), [] as [String; 0]);
    let told = flags(256);
    assert!(
        told[0].starts_with("provider.csv:2: media_flags symmetric")
            && told[0].contains("is no text of at most 255 bytes"),
        "{told:?}"
    );
}
