//! The syntax of fields: networks, hosts, times, dates, days, money. Each parser returns the reason and the cure when it refuses.

use std::net::IpAddr;

use corelane_core::limits::HOST_MAX;
use corelane_core::routing::Digits;
use corelane_core::routing::layout::{PREFIX_MAX, TECH_PREFIX_MAX};

use crate::routes::zones;

/// Seconds of a day.
const DAY_S: i64 = 86_400;

/// `10.0.0.0/8`, `2001:db8::/32`, or an address alone.
pub(super) fn cidr(text: &str) -> Result<(IpAddr, u8), String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address
        .parse()
        .map_err(|_| "must be an address or network, such as 192.0.2.0/24 or 2001:db8::/32".to_string())?;
    if address.to_canonical() != address {
        return Err(format!("is IPv4 written as IPv6; write {}", address.to_canonical()));
    }
    let (width, value) = match address {
        IpAddr::V4(ip) => (32u32, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (128, ip.to_bits()),
    };
    let bits = match bits {
        None => width,
        Some(bits) => bits
            .parse()
            .ok()
            .filter(|count| *count <= width)
            .ok_or_else(|| format!("must have a prefix length from 0 to {width} behind the slash"))?,
    };
    let start = if bits == 0 { 0 } else { value >> (width - bits) << (width - bits) };
    if start != value {
        let network = if width == 32 { IpAddr::V4((start as u32).into()) } else { IpAddr::V6(start.into()) };
        return Err(format!("has bits set behind /{bits}; write {network}/{bits}, or {address} alone for one host"));
    }
    Ok((address, bits as u8))
}

/// An address, because a shard resolves no names.
pub(super) fn gateway_host(text: &str) -> Result<IpAddr, String> {
    text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().map(|ip| ip.to_canonical()).map_err(|_| {
        "must be an IP address: names cannot be resolved yet; write the address that the name stands for".to_string()
    })
}

/// A host name or address, as it may stand in a URI.
pub(super) fn host(text: &str) -> Result<String, String> {
    let name = text.len() <= HOST_MAX
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if name || text.parse::<IpAddr>().is_ok() {
        Ok(text.to_string())
    } else {
        Err(format!("must be a host name of at most {HOST_MAX} bytes or an IP address"))
    }
}

/// A host as a URI has it: a name, an IPv4 address, an IPv6 address in brackets (RFC 3261 §25.1), with or without them in the table.
pub(super) fn uri_host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match bare.unwrap_or(text).parse() {
        Ok(IpAddr::V6(ip)) => Ok(format!("[{ip}]")),
        _ if bare.is_some() => Err("must have an IPv6 address between its brackets".to_string()),
        _ => host(text),
    }
}

/// A routed prefix.
#[inline]
pub(super) fn prefix(bytes: &[u8]) -> Result<Digits, String> {
    Digits::parse(bytes).map_err(|place| match bytes.get(place) {
        _ if place == PREFIX_MAX => format!("is longer than {PREFIX_MAX} symbols; shorten it"),
        Some(b'+') if place == 0 => "starts with '+', which is taken off every number; write it without".to_string(),
        Some(byte) => format!("has '{}', but a prefix is of 0-9 * # A-D only; remove it", byte.escape_ascii()),
        None => "is no prefix".to_string(),
    })
}

/// Put in front of a number: the alphabet of prefixes, and `+` where the number leaves.
pub(super) fn prepend(text: &str, plus: bool) -> Result<String, String> {
    let digits = if plus { text.strip_prefix('+').unwrap_or(text) } else { text };
    match Digits::parse(digits.as_bytes()) {
        Ok(_) => Ok(text.to_string()),
        Err(_) if plus => Err(format!("must be an optional + and at most {PREFIX_MAX} of 0-9 * # A-D")),
        Err(_) => Err(format!("must be at most {PREFIX_MAX} of 0-9 * # A-D, the symbols that prefixes are made of")),
    }
}

/// What a dialled user starts with, once visual separators and a leading `+` are out of it: as `Dialled::text` has it.
pub(super) fn tech_prefix(text: &str) -> Result<Vec<u8>, String> {
    if let Some(byte) = text.chars().find(|byte| "+-.()".contains(*byte)) {
        return Err(format!("has '{byte}', which is taken off every dialled number first; write it without"));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"*#_".contains(&byte);
    if text.len() <= TECH_PREFIX_MAX && text.bytes().all(fits) {
        Ok(text.as_bytes().to_vec())
    } else {
        Err(format!("must be at most {TECH_PREFIX_MAX} letters, digits or * # _"))
    }
}

/// A name of the time zone database, as the database spells it.
pub(super) fn zone(text: &str) -> Result<String, String> {
    zones::canonical(text).ok_or_else(|| {
        "must be a time zone name of the IANA database; write it in full, such as Europe/Madrid or UTC".to_string()
    })
}

/// `408 503 q850:34`: status codes and Q.850 causes.
pub(super) fn failover_codes(text: &str) -> Result<(Vec<u16>, Vec<u8>), String> {
    let (mut codes, mut causes) = (Vec::new(), Vec::new());
    for word in text.split([' ', ',', ';']).filter(|word| !word.is_empty()) {
        if let Some(cause) = word.strip_prefix("q850:") {
            let cause = cause.parse().ok().filter(|cause| (1..=127).contains(cause));
            causes.push(cause.ok_or_else(|| format!("has '{word}'; a cause is written q850:1 to q850:127"))?);
            continue;
        }
        match word.parse::<u16>() {
            // SPEC §3, hunt: these are the callee's own answer and no other gateway changes it.
            Ok(422 | 486 | 487 | 600..=699) => {
                return Err(format!("has {word}, on which no call ever goes on to another gateway; remove it"));
            }
            Ok(code @ 400..=599) => codes.push(code),
            _ => return Err(format!("has '{word}'; write status codes from 400 to 599 and causes as q850:34")),
        }
    }
    codes.sort_unstable();
    codes.dedup();
    causes.sort_unstable();
    causes.dedup();
    Ok((codes, causes))
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `mon-fri`, `sat sun`, `*`: bit 0 is Monday.
pub(super) fn days(text: &str) -> Result<u8, String> {
    let day = |name: &str| DAYS.iter().position(|day| name.trim().eq_ignore_ascii_case(day));
    let mut mask = 0;
    for part in text.split([' ', ',', ';']).filter(|part| !part.is_empty()) {
        let (first, last) = match part.split_once('-') {
            _ if part == "*" => (Some(0), Some(6)),
            Some((first, last)) => (day(first), day(last)),
            None => (day(part), day(part)),
        };
        let (Some(first), Some(last)) = (first, last) else {
            return Err(format!("has '{part}'; write days as mon tue wed thu fri sat sun, or as mon-fri"));
        };
        // fri-mon goes over the weekend.
        let count = (last + 7 - first) % 7 + 1;
        (0..count).for_each(|step| mask |= 1u8 << ((first + step) % 7));
    }
    if mask == 0 {
        return Err("names no day; leave it empty for every day".to_string());
    }
    Ok(mask)
}

/// `HH:MM` or `HH:MM:SS`, up to 24:00, to seconds of the day.
pub(super) fn time_of_day(text: &str) -> Result<u32, String> {
    clock(text).ok_or_else(|| "must be a time of day from 00:00 to 24:00, such as 08:30".to_string())
}

fn clock(text: &str) -> Option<u32> {
    let mut parts = text.split(':').map(|part| two_digits(part.as_bytes()));
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().unwrap_or(Some(0))?;
    let total = hours * 3600 + minutes * 60 + seconds;
    (parts.next().is_none() && minutes < 60 && seconds < 60 && total <= 86_400).then_some(total)
}

fn two_digits(bytes: &[u8]) -> Option<u32> {
    match bytes {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0')),
        _ => None,
    }
}

/// `YYYY-MM-DD` to days since 1970-01-01.
pub(super) fn date(text: &str) -> Result<i32, String> {
    calendar(text).ok_or_else(|| "must be a date of the calendar, such as 2026-12-31".to_string())
}

fn calendar(text: &str) -> Option<i32> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *text.as_bytes() else { return None };
    let year = (two_digits(&[y0, y1])? * 100 + two_digits(&[y2, y3])?) as i32;
    let (month, day) = (two_digits(&[m0, m1])? as i32, two_digits(&[d0, d1])? as i32);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + i32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > days_of_month || year < 1 {
        return None;
    }
    // Years from March, so that the leap day is the last: 153 days to five months.
    let (shifted_year, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = shifted_year * 365 + shifted_year / 4 - shifted_year / 100 + shifted_year / 400;
    Some(before + (153 * from_march + 2) / 5 + day - 1 - 719_468)
}

/// A date or a moment in UTC (`2026-12-31T23:00:00Z`) to seconds since 1970. A date as `end` includes its whole day.
pub(super) fn moment(text: &str, end: bool) -> Result<i64, String> {
    let wrong = || "must be a date such as 2026-12-31 or a moment in UTC such as 2026-12-31T23:00:00Z".to_string();
    if text.len() == 10 {
        let days = i64::from(calendar(text).ok_or_else(wrong)?);
        return Ok((days + i64::from(end)) * DAY_S);
    }
    let (day, time) = text.split_once(['T', ' ']).ok_or_else(wrong)?;
    let time = time.strip_suffix('Z').or_else(|| time.strip_suffix("+00")).unwrap_or(time);
    let days = i64::from(calendar(day).ok_or_else(wrong)?);
    Ok(days * DAY_S + i64::from(clock(time).ok_or_else(wrong)?))
}

/// `0.0125` to millionths.
#[inline]
pub(super) fn cost(bytes: &[u8]) -> Result<u32, String> {
    let mut value = 0u64;
    let mut decimals = None;
    for byte in bytes {
        match (byte, decimals) {
            (b'0'..=b'9', _) if value < 1 << 40 && decimals.is_none_or(|count| count < 6) => {
                value = value * 10 + u64::from(byte - b'0');
                decimals = decimals.map(|count| count + 1);
            }
            (b'.', None) => decimals = Some(0u32),
            _ => return Err(COST.to_string()),
        }
    }
    let scaled = value.checked_mul(10u64.pow(6 - decimals.unwrap_or(0)));
    let scaled = scaled.and_then(|value| u32::try_from(value).ok()).filter(|value| *value < u32::MAX);
    scaled.filter(|_| bytes.iter().any(u8::is_ascii_digit)).ok_or_else(|| COST.to_string())
}

const COST: &str = "must be an amount from 0 to 4294 with at most six decimals, such as 0.0125";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_since_1970() {
        for (text, days) in [
            ("1970-01-01", Some(0)),
            ("1969-12-31", Some(-1)),
            ("2000-02-29", Some(11_016)),
            ("2026-12-31", Some(20_818)),
            ("1900-02-29", None),
            ("2025-02-29", None),
            ("2026-04-31", None),
            ("2026-13-01", None),
            ("2026-1-01", None),
            ("tomorrow", None),
        ] {
            assert_eq!(date(text).ok(), days, "{text}");
        }
        assert_eq!(moment("1970-01-02", false), Ok(86_400));
        assert_eq!(moment("1970-01-02", true), Ok(2 * 86_400), "the last day counts");
        assert_eq!(moment("1970-01-02T01:00:00Z", true), Ok(90_000));
        assert!(moment("1970-01-02T25:00:00Z", true).is_err());
    }

    #[test]
    fn times_days_and_money() {
        assert_eq!(
            [time_of_day("08:30"), time_of_day("24:00"), time_of_day("23:59:59")],
            [Ok(30_600), Ok(86_400), Ok(86_399)]
        );
        assert!(
            ["24:01", "8:30", "0830", "08:60", "08:30:00:00", ""].into_iter().all(|text| time_of_day(text).is_err())
        );
        assert_eq!(
            [days("mon-fri"), days("sat, sun"), days("fri-mon"), days("*")],
            [Ok(31), Ok(96), Ok(0b111_0001), Ok(127)]
        );
        assert!(days("monday").is_err());
        assert_eq!([cost(b"0.0125"), cost(b"3"), cost(b".5")], [Ok(12_500), Ok(3_000_000), Ok(500_000)]);
        assert!([&b"-1"[..], b"5000", b"0.0000001", b"1.2.3", b"."].into_iter().all(|text| cost(text).is_err()));
    }

    #[test]
    fn networks_hosts_and_codes() {
        assert_eq!(cidr("10.0.0.0/8"), Ok(("10.0.0.0".parse().expect("address"), 8)));
        assert_eq!(cidr("::/0"), Ok(("::".parse().expect("address"), 0)));
        assert_eq!(cidr("2001:db8::1").map(|(_, bits)| bits), Ok(128));
        assert!(cidr("10.0.0.1/8").expect_err("host bits").contains("write 10.0.0.0/8"));
        assert!(cidr("::ffff:10.0.0.1").expect_err("mapped").contains("write 10.0.0.1"));
        assert!(["10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "example.net"].into_iter().all(|text| cidr(text).is_err()));
        assert_eq!(failover_codes("503, 408 q850:34"), Ok((vec![408, 503], vec![34])));
        assert!(["486", "603", "200", "q850:200", "x"].into_iter().all(|text| failover_codes(text).is_err()));
        assert_eq!(uri_host("2001:DB8::1").as_deref(), Ok("[2001:db8::1]"));
        assert_eq!(uri_host("[2001:db8::1]").as_deref(), Ok("[2001:db8::1]"));
        assert_eq!(uri_host("192.0.2.1").as_deref(), Ok("192.0.2.1"));
        assert_eq!(uri_host("sbc.example.net").as_deref(), Ok("sbc.example.net"));
        assert!(["[192.0.2.1]", "[a]", "a b", "a@b", "a:5060", "[::1"].into_iter().all(|text| uri_host(text).is_err()));
        assert_eq!(tech_prefix("ACME_7#").as_deref(), Ok(&b"ACME_7#"[..]));
        assert!(tech_prefix("9-9").expect_err("a separator").contains("has '-'"));
        assert!(tech_prefix("+99").expect_err("a plus").contains("has '+'"));
        assert!(host("sbc-1.example.net").is_ok() && host("2001:db8::1").is_ok());
        assert!(["", "a..b", "-a", "a b"].into_iter().all(|text| host(text).is_err()));
        assert!(zone("Etc/GMT+1").is_ok() && zone("Europe/Atlantis").is_err());
    }
}
