//! `--listen` and `--advertise`: what one node changes about the listeners of the routing tables.
//!
//! Listeners are *declared* in the table `listener`, because providers and gateways are bound to them there. The flags
//! never add or remove one: they say where this node binds a declared listener and how it calls itself.
//!
//! ```text
//! --listen     [ID=]ADDRESS:PORT      7=192.0.2.10:5060   core=[2001:db8::1]:5060   127.0.0.1:0
//! --advertise  [ID=]HOST[:PORT]       7=sbc.example.net   [2001:db8::1]:5060        198.51.100.7:5080
//! ```
//!
//! ID is the listener's id or its name. Without ID the table must have exactly one listener; with several the flag is
//! refused and the listeners are named, because a guess would move an interconnect to the wrong network. Host names are
//! refused in `--listen`: a bind address is an address.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

use corelane_core::limits::HOST_MAX;

/// Where this node binds a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Id or name of the listener; `None`: the only one.
    pub listener: Option<String>,
    /// The address to bind; port 0 asks the kernel for a free one.
    pub address: SocketAddr,
}

/// How this node calls a listener in Via and Record-Route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advertise {
    /// Id or name of the listener; `None`: the only one.
    pub listener: Option<String>,
    /// Host name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// The port; `None`: the table's advertised port, else the bound one.
    pub port: Option<u16>,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let (listener, address) = split_listener(text)?;
        let address = address
            .parse()
            .map_err(|_| format!("`{address}` is no ADDRESS:PORT (IPv6 in brackets, as in `[2001:db8::1]:5060`)"))?;
        Ok(Listen { listener, address })
    }
}

impl FromStr for Advertise {
    type Err = String;

    fn from_str(text: &str) -> Result<Advertise, String> {
        let (listener, target) = split_listener(text)?;
        let (host, port) = match target.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(|| format!("`{target}` has no closing `]`"))?;
                host.parse::<Ipv6Addr>().map_err(|_| format!("`{host}` is no IPv6 address"))?;
                let port = match rest {
                    "" => None,
                    _ => Some(rest.strip_prefix(':').ok_or_else(|| format!("`{rest}` after `]` is no :PORT"))?),
                };
                (host, port)
            }
            None if target.parse::<Ipv6Addr>().is_ok() => {
                return Err(format!("`{target}`: an IPv6 address is written in brackets, `[{target}]`"));
            }
            None => match target.split_once(':') {
                Some((host, port)) => (check_host(host)?, Some(port)),
                None => (check_host(target)?, None),
            },
        };
        let port = port.map(parse_port).transpose()?;
        Ok(Advertise { listener, host: host.to_owned(), port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(listener) = &self.listener {
            write!(out, "{listener}=")?;
        }
        self.address.fmt(out)
    }
}

fn split_listener(text: &str) -> Result<(Option<String>, &str), String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("`{text}` names no listener before `=`")),
        Some((listener, rest)) => Ok((Some(listener.to_owned()), rest)),
        None => Ok((None, text)),
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("`{text}` is no port (1 to 65535)")),
        Ok(port) => Ok(port),
    }
}

/// RFC 3261 §25.1 `host`, as far as it matters here: what goes into Via must be readable by any peer.
fn check_host(host: &str) -> Result<&str, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if host.is_empty() || !host.bytes().all(legal) {
        return Err(format!("`{host}` is no host name or address"));
    }
    if host.len() > HOST_MAX {
        return Err(format!("`{host}` is longer than {HOST_MAX} bytes"));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_listen_with_and_without_a_listener() {
        let listen: Listen = "core=[2001:db8::1]:5060".parse().unwrap();
        assert_eq!(listen.listener.as_deref(), Some("core"));
        assert_eq!(listen.address, "[2001:db8::1]:5060".parse::<SocketAddr>().unwrap());
        assert_eq!("127.0.0.1:0".parse::<Listen>().unwrap().listener, None);
        for bad in ["localhost:5060", "127.0.0.1", "=127.0.0.1:5060", "1=2001:db8::1:5060x", "1=127.0.0.1:70000", ""] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_advertise_in_every_spelling() {
        let read = |text: &str| {
            let advertise: Advertise = text.parse().unwrap();
            (advertise.listener, advertise.host, advertise.port)
        };
        assert_eq!(read("sbc.example.net"), (None, "sbc.example.net".into(), None));
        assert_eq!(read("7=sbc.example.net:5080"), (Some("7".into()), "sbc.example.net".into(), Some(5080)));
        assert_eq!(read("[2001:db8::1]:5061"), (None, "2001:db8::1".into(), Some(5061)));
        assert_eq!(read("7=[2001:db8::1]"), (Some("7".into()), "2001:db8::1".into(), None));
        let long = "a".repeat(HOST_MAX + 1);
        for bad in ["", "a b", "2001:db8::1", "[2001:db8::1", "[zz]", "[::1]x", "a:0", "a:x", "=a", "a;b", &long] {
            assert!(bad.parse::<Advertise>().is_err(), "{bad}");
        }
    }
}
