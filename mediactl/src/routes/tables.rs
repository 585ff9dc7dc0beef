//! The tables of SPEC §4 as they are read: rows by id, each with its line, columns checked one by one. What rows say about each other
//! is `references.rs`.

use std::net::IpAddr;
use std::path::Path;

use corelane_core::routing::Digits;
use corelane_core::routing::layout::{
    CarrierRecord, GatewayRecord, ListenerRecord, MediaNodeRecord, NumberFormat, Privacy, ProviderRecord, Redirect,
    Refer, TimeoutMode, TransportKind, WindowRow,
};

use crate::routes::fields;
use crate::routes::problem::Problem;
use crate::routes::sheet::{Fields, Shape, read};
use crate::routes::zones::UTC;

/// A row and the line that it came from.
#[derive(Clone, PartialEq, Debug)]
pub struct Row<T> {
    /// Line in the file, from 1.
    pub line: u64,
    /// What it says.
    pub row: T,
}

/// All tables of one directory.
#[derive(Clone, Default, Debug)]
pub struct Tables {
    pub(super) listeners: Vec<Row<ListenerRecord>>,
    pub(super) providers: Vec<Row<Provider>>,
    pub(super) addresses: Vec<Row<Address>>,
    pub(super) gateways: Vec<Row<Gateway>>,
    pub(super) carriers: Vec<Row<CarrierRecord>>,
    pub(super) carrier_gateways: Vec<Row<CarrierGateway>>,
    pub(super) routes: Vec<Row<Route>>,
    pub(super) windows: Vec<Row<Window>>,
    pub(super) media_nodes: Vec<Row<MediaNodeRecord>>,
}

/// A provider; its record has no listener slot and no zone yet.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Provider {
    pub(super) record: ProviderRecord,
    pub(super) zone: String,
    pub(super) listener_id: Option<u32>,
}

/// A row of `provider_address`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Address {
    pub(super) provider_id: u32,
    pub(super) listener_id: Option<u32>,
    pub(super) network: IpAddr,
    pub(super) prefix_len: u8,
    pub(super) port: Option<u16>,
    pub(super) tech_prefix: Vec<u8>,
    pub(super) max_cps: Option<u32>,
}

/// A gateway; its record has no listener slot yet.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Gateway {
    pub(super) record: GatewayRecord,
    pub(super) listener_id: Option<u32>,
}

/// A row of `carrier_gateway`.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) struct CarrierGateway {
    pub(super) carrier_id: u32,
    pub(super) gateway_id: u32,
    pub(super) priority: u16,
    pub(super) weight: u16,
}

/// A row of `route`.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) struct Route {
    pub(super) prefix: Digits,
    pub(super) valid_from: i64,
    pub(super) valid_to: i64,
    pub(super) id: u32,
    pub(super) routing_group: u32,
    pub(super) carrier_id: u32,
    pub(super) time_window_id: Option<u32>,
    pub(super) cost: u32,
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) enabled: bool,
}

/// A row of `time_window`; it has no zone yet.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Window {
    pub(super) id: u32,
    pub(super) zone: String,
    pub(super) row: WindowRow,
}

/// Declares a table's shape and its columns' places together, so that they cannot drift apart.
macro_rules! table {
    ($module:ident, $file:literal, required: $required:literal, [$($needed:ident),*], $($column:ident),*) => {
        mod $module {
            use super::Shape;
            #[allow(non_camel_case_types)]
            enum Place { $( $column, )* }
            $( #[allow(non_upper_case_globals)] pub(super) const $column: usize = Place::$column as usize; )*
            pub(super) const SHAPE: Shape = Shape {
                file: $file,
                required: $required,
                columns: &[$( stringify!($column) ),*],
                required_columns: &[$( stringify!($needed) ),*],
            };
        }
    };
}

table!(listener, "listener.csv", required: false, [id, address],
    id, name, address, port, transport, advertise_host, advertise_port);
table!(provider, "provider.csv", required: true, [id, routing_group],
    id, name, enabled, listener_id, routing_group, strip, prepend, max_cps, burst, max_calls, max_calls_day,
    max_minutes_day, zone, session_expires, min_se, invite_timeout_ms, ring_timeout_ms, default_timeout_s,
    timeout_mode, refuse_code, redirect, refer, privacy, media_set, media_flags);
table!(provider_address, "provider_address.csv", required: true, [provider_id, cidr],
    provider_id, listener_id, cidr, port, tech_prefix, max_cps);
table!(gateway, "gateway.csv", required: true, [id, host],
    id, name, enabled, listener_id, host, port, transport, probe, max_cps, burst, max_calls, strip, prepend,
    number_format, from_host, privacy, fr_timer_ms, ring_timeout_ms, media_flags);
table!(carrier, "carrier.csv", required: true, [id],
    id, name, enabled, max_cps, burst, max_calls, failover_codes);
table!(carrier_gateway, "carrier_gateway.csv", required: true, [carrier_id, gateway_id],
    carrier_id, gateway_id, priority, weight);
table!(route, "route.csv", required: true, [id, routing_group, prefix, carrier_id],
    id, routing_group, prefix, carrier_id, priority, weight, time_window_id, valid_from, valid_to, cost, enabled);
table!(time_window, "time_window.csv", required: false, [id],
    id, days, from, to, date_from, date_to, zone);
table!(media_node, "media_node.csv", required: false, [id, host, port],
    id, set, host, port, weight, max_sessions, enabled);

/// SIP's port (RFC 3261 §19.1.2).
const SIP_PORT: u16 = 5060;
/// Statuses on which a call goes on to the next candidate, unless the carrier says otherwise.
const FAILOVER_CODES: [u16; 5] = [408, 500, 502, 503, 504];
/// Sessions of one media node, unless it says otherwise.
const MEDIA_SESSIONS: u32 = 20_000;

/// Reads all files of a directory, complaining about every field that cannot stand.
pub(super) fn read_all(dir: &Path, problems: &mut Vec<Problem>) -> Tables {
    let mut tables = Tables::default();
    read(dir, &listener::SHAPE, problems, |fields| push(&mut tables.listeners, fields, read_listener));
    read(dir, &provider::SHAPE, problems, |fields| push(&mut tables.providers, fields, read_provider));
    read(dir, &provider_address::SHAPE, problems, |fields| push(&mut tables.addresses, fields, read_address));
    read(dir, &gateway::SHAPE, problems, |fields| push(&mut tables.gateways, fields, read_gateway));
    read(dir, &carrier::SHAPE, problems, |fields| push(&mut tables.carriers, fields, read_carrier));
    read(dir, &carrier_gateway::SHAPE, problems, |fields| {
        push(&mut tables.carrier_gateways, fields, read_carrier_gateway);
    });
    read(dir, &route::SHAPE, problems, |fields| push(&mut tables.routes, fields, read_route));
    read(dir, &time_window::SHAPE, problems, |fields| push(&mut tables.windows, fields, read_window));
    tables.media_nodes = read_media_nodes(dir, problems);
    tables
}

/// Reads `media_node` alone.
pub(super) fn read_media_nodes(dir: &Path, problems: &mut Vec<Problem>) -> Vec<Row<MediaNodeRecord>> {
    let mut rows = Vec::new();
    read(dir, &media_node::SHAPE, problems, |fields| push(&mut rows, fields, read_media_node));
    rows
}

/// Rows with a complaint are kept as well, so that what refers to them is not complained about too.
#[inline]
fn push<T>(rows: &mut Vec<Row<T>>, fields: &mut Fields<'_>, read: fn(&mut Fields<'_>) -> T) {
    rows.push(Row { line: fields.line(), row: read(fields) });
}

const TRANSPORTS: [(&str, TransportKind); 1] = [("udp", TransportKind::Udp)];
const NUMBER_FORMATS: [(&str, NumberFormat); 3] =
    [("plain", NumberFormat::Plain), ("e164", NumberFormat::E164), ("no_plus", NumberFormat::NoPlus)];
const PRIVACIES: [(&str, Privacy); 2] = [("trusted", Privacy::Trusted), ("untrusted", Privacy::Untrusted)];

/// The name, or the id where a row has none.
fn name(fields: &mut Fields<'_>, column: usize, id: u32) -> String {
    fields.text(column).map_or_else(|| id.to_string(), str::to_string)
}

/// The zone's name, UTC where a row has none.
fn zone(fields: &mut Fields<'_>, column: usize) -> String {
    fields.parsed(column, fields::zone).unwrap_or_else(|| UTC.to_string())
}

fn needed_ip(fields: &mut Fields<'_>, column: usize, parse: fn(&str) -> Result<IpAddr, String>) -> IpAddr {
    if fields.bytes(column).is_empty() {
        fields.complain(column, "is empty; every row needs it");
    }
    fields.parsed(column, parse).unwrap_or(IpAddr::V4(0.into()))
}

fn read_listener(fields: &mut Fields<'_>) -> ListenerRecord {
    use listener as at;
    let id = fields.required(at::id);
    ListenerRecord {
        id,
        name: name(fields, at::name, id),
        address: needed_ip(fields, at::address, |text| {
            text.trim_start_matches('[')
                .trim_end_matches(']')
                .parse()
                .map_err(|_| "must be an IP address of this host".into())
        }),
        port: fields.number(at::port, 1, u16::MAX).unwrap_or(SIP_PORT),
        transport: fields.word(at::transport, &TRANSPORTS),
        advertise_host: fields.parsed(at::advertise_host, fields::host),
        advertise_port: fields.number(at::advertise_port, 1, u16::MAX),
    }
}

fn read_provider(fields: &mut Fields<'_>) -> Provider {
    use provider as at;
    let id = fields.required(at::id);
    let record = ProviderRecord {
        id,
        name: name(fields, at::name, id),
        enabled: fields.flag(at::enabled, true),
        listener: None,
        routing_group: fields.required(at::routing_group),
        strip: fields.number(at::strip, 0, 32).unwrap_or(0),
        prepend: fields.parsed(at::prepend, |text| fields::prepend(text, false)).unwrap_or_default(),
        max_cps: fields.cap(at::max_cps),
        burst: fields.cap(at::burst),
        max_calls: fields.cap(at::max_calls),
        max_calls_day: fields.cap(at::max_calls_day),
        max_minutes_day: fields.cap(at::max_minutes_day),
        zone: None,
        session_expires_s: fields.number(at::session_expires, 90, 86_400),
        min_se_s: fields.number(at::min_se, 90, 86_400),
        invite_timeout_ms: fields.number(at::invite_timeout_ms, 1_000, 600_000),
        ring_timeout_ms: fields.number(at::ring_timeout_ms, 1_000, 3_600_000),
        default_timeout_s: fields.number(at::default_timeout_s, 60, 604_800),
        timeout_mode: fields.word(at::timeout_mode, &[("hard", TimeoutMode::Hard), ("media", TimeoutMode::Media)]),
        refuse_code: fields.number(at::refuse_code, 400, 699).unwrap_or(503),
        redirect: fields
            .word(at::redirect, &[("hunt", Redirect::Hunt), ("pass", Redirect::Pass), ("recurse", Redirect::Recurse)]),
        refer: fields.word(at::refer, &[("reject", Refer::Reject), ("pass", Refer::Pass)]),
        privacy: fields.word(at::privacy, &PRIVACIES),
        media_set: fields.number(at::media_set, 0, u32::MAX),
        media_flags: fields.text(at::media_flags).unwrap_or_default().to_string(),
    };
    // Where the row has only one of the two, the node's other one goes with it, and the larger counts.
    if let (Some(min_se), Some(session_expires)) = (record.min_se_s, record.session_expires_s)
        && session_expires < min_se
    {
        fields.complain(
            at::session_expires,
            format!("{session_expires} is below min_se {min_se} (RFC 4028 §4); raise it"),
        );
    }
    let zone = zone(fields, at::zone);
    Provider { record, zone, listener_id: fields.number(at::listener_id, 0, u32::MAX) }
}

fn read_address(fields: &mut Fields<'_>) -> Address {
    use provider_address as at;
    if fields.bytes(at::cidr).is_empty() {
        fields.complain(at::cidr, "is empty; write 0.0.0.0/0 if every source is meant");
    }
    let (network, prefix_len) = fields.parsed(at::cidr, fields::cidr).unwrap_or((IpAddr::V4(0.into()), 32));
    Address {
        provider_id: fields.required(at::provider_id),
        listener_id: fields.number(at::listener_id, 0, u32::MAX),
        network,
        prefix_len,
        port: fields.number(at::port, 1, u16::MAX),
        tech_prefix: fields.parsed(at::tech_prefix, fields::tech_prefix).unwrap_or_default(),
        max_cps: fields.cap(at::max_cps),
    }
}

fn read_gateway(fields: &mut Fields<'_>) -> Gateway {
    use gateway as at;
    let id = fields.required(at::id);
    let record = GatewayRecord {
        id,
        name: name(fields, at::name, id),
        enabled: fields.flag(at::enabled, true),
        listener: None,
        host: needed_ip(fields, at::host, fields::gateway_host),
        port: fields.number(at::port, 1, u16::MAX).unwrap_or(SIP_PORT),
        transport: fields.word(at::transport, &TRANSPORTS),
        probe: fields.flag(at::probe, true),
        max_cps: fields.cap(at::max_cps),
        burst: fields.cap(at::burst),
        max_calls: fields.cap(at::max_calls),
        strip: fields.number(at::strip, 0, 32).unwrap_or(0),
        prepend: fields.parsed(at::prepend, |text| fields::prepend(text, true)).unwrap_or_default(),
        number_format: fields.word(at::number_format, &NUMBER_FORMATS),
        from_host: fields.parsed(at::from_host, fields::uri_host),
        privacy: fields.word(at::privacy, &PRIVACIES),
        fr_timer_ms: fields.number(at::fr_timer_ms, 100, 60_000),
        ring_timeout_ms: fields.number(at::ring_timeout_ms, 1_000, 3_600_000),
        media_flags: fields.text(at::media_flags).unwrap_or_default().to_string(),
    };
    let (plus, digits) = record.prepend.strip_prefix('+').map_or((false, &*record.prepend), |digits| (true, digits));
    match record.number_format {
        NumberFormat::NoPlus if plus => {
            fields.complain(at::prepend, "has a '+' that number_format no_plus takes off again; remove one of them");
        }
        NumberFormat::E164 if !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            fields.complain(at::prepend, "has a symbol that no number of number_format e164 has; remove one of them");
        }
        _ => {}
    }
    Gateway { record, listener_id: fields.number(at::listener_id, 0, u32::MAX) }
}

fn read_carrier(fields: &mut Fields<'_>) -> CarrierRecord {
    use carrier as at;
    let id = fields.required(at::id);
    let codes = fields.parsed(at::failover_codes, fields::failover_codes);
    let (failover_codes, failover_causes) = codes.unwrap_or_else(|| (FAILOVER_CODES.to_vec(), Vec::new()));
    CarrierRecord {
        id,
        name: name(fields, at::name, id),
        enabled: fields.flag(at::enabled, true),
        max_cps: fields.cap(at::max_cps),
        burst: fields.cap(at::burst),
        max_calls: fields.cap(at::max_calls),
        failover_codes,
        failover_causes,
        gateways: Vec::new(),
    }
}

fn read_carrier_gateway(fields: &mut Fields<'_>) -> CarrierGateway {
    use carrier_gateway as at;
    CarrierGateway {
        carrier_id: fields.required(at::carrier_id),
        gateway_id: fields.required(at::gateway_id),
        priority: fields.number(at::priority, 0, u16::MAX).unwrap_or(0),
        weight: fields.number(at::weight, 0, u16::MAX).unwrap_or(1),
    }
}

fn read_route(fields: &mut Fields<'_>) -> Route {
    use route as at;
    let or_complain = |fields: &mut Fields<'_>, column, reason: String| fields.complain(column, reason);
    let prefix = fields::prefix(fields.bytes(at::prefix)).unwrap_or_else(|reason| {
        or_complain(fields, at::prefix, reason);
        Digits::default()
    });
    let cost = match fields.bytes(at::cost) {
        b"" => u32::MAX,
        bytes => fields::cost(bytes).unwrap_or_else(|reason| {
            or_complain(fields, at::cost, reason);
            u32::MAX
        }),
    };
    let route = Route {
        prefix,
        valid_from: fields.parsed(at::valid_from, |text| fields::moment(text, false)).unwrap_or(i64::MIN),
        valid_to: fields.parsed(at::valid_to, |text| fields::moment(text, true)).unwrap_or(i64::MAX),
        id: fields.required(at::id),
        routing_group: fields.required(at::routing_group),
        carrier_id: fields.required(at::carrier_id),
        time_window_id: fields.number(at::time_window_id, 0, u32::MAX),
        cost,
        priority: fields.number(at::priority, 0, u16::MAX).unwrap_or(0),
        weight: fields.number(at::weight, 0, u16::MAX).unwrap_or(1),
        enabled: fields.flag(at::enabled, true),
    };
    if route.valid_from >= route.valid_to {
        fields.complain(at::valid_to, "is not after valid_from; correct one of them");
    }
    route
}

fn read_window(fields: &mut Fields<'_>) -> Window {
    use time_window as at;
    let row = WindowRow {
        days: fields.parsed(at::days, fields::days).unwrap_or(0b111_1111),
        from_s: fields.parsed(at::from, fields::time_of_day).unwrap_or(0),
        to_s: fields.parsed(at::to, fields::time_of_day).unwrap_or(86_400),
        date_from: fields.parsed(at::date_from, fields::date).unwrap_or(i32::MIN),
        date_to: fields.parsed(at::date_to, fields::date).unwrap_or(i32::MAX),
        zone: None,
    };
    if row.date_from > row.date_to {
        fields.complain(at::date_to, "is before date_from; correct one of them");
    }
    Window { id: fields.required(at::id), zone: zone(fields, at::zone), row }
}

fn read_media_node(fields: &mut Fields<'_>) -> MediaNodeRecord {
    use media_node as at;
    for column in [at::id, at::host, at::port] {
        if fields.bytes(column).is_empty() {
            fields.complain(column, "is empty; every row needs it");
        }
    }
    MediaNodeRecord {
        // 0 means none where a node is named.
        id: fields.number(at::id, 1, u32::MAX).unwrap_or(0),
        set: fields.number(at::set, 0, u32::MAX).unwrap_or(1),
        host: fields.parsed(at::host, fields::host).unwrap_or_default(),
        port: fields.number(at::port, 1, u16::MAX).unwrap_or(0),
        weight: fields.number(at::weight, 0, u16::MAX).unwrap_or(1),
        max_sessions: fields.number(at::max_sessions, 1, u32::MAX).unwrap_or(MEDIA_SESSIONS),
        enabled: fields.flag(at::enabled, true),
    }
}
