//! From the declared listeners of the routing tables to what this node binds and advertises.
//!
//! ```text
//! table listener:  7 core 192.0.2.10:5060 advertise sbc.example.net
//! --listen core=127.0.0.1:5070               ──►  bind 127.0.0.1:5070, advertise sbc.example.net:5070
//! --advertise core=127.0.0.1                 ──►  advertise 127.0.0.1:5070
//! ```
//!
//! The advertised port is that of `--advertise`, else `advertise_port` of the table, else the bound port. What a peer could not
//! answer to (`0.0.0.0` in a Via) is refused here, before a socket is opened.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::{fmt, io};

use corelane_core::limits::{HOST_MAX, LISTENERS_MAX};

use crate::config::{Advertise, Config, Listen};
use crate::problem::{Place, Problem, Sourced};

/// A listener as the routing tables declare it.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its slot in the image.
    pub slot: u16,
    /// Its id, as the operator writes it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The address to bind.
    pub address: SocketAddr,
    /// The advertised host, where it differs from the address.
    pub advertise_host: Option<String>,
    /// The advertised port, where it differs from the bound one.
    pub advertise_port: Option<u16>,
}

/// A listener as this node opens it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Its slot in the image.
    pub slot: u16,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The address to bind.
    pub address: SocketAddr,
    /// `host:port` or `[v6]:port`, as Via and Record-Route say it.
    pub advertised: String,
}

impl fmt::Display for Bound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "listener {} ({}) udp:{}", self.id, self.name, self.address)?;
        if self.advertised == self.address.to_string() {
            Ok(())
        } else {
            write!(out, " advertised {}", self.advertised)
        }
    }
}

/// Applies `--listen` and `--advertise` to the table's listeners; problems are collected. The order is the table's.
#[must_use]
pub fn bind(declared: &[Declared], config: &Config) -> (Vec<Bound>, Vec<Problem>) {
    let mut problems = Vec::new();
    if declared.len() > LISTENERS_MAX {
        problems.push(Problem::error(
            Place::File(config.routes.value.join("listener.csv")),
            format!("{} listeners are declared, but a node opens at most {LISTENERS_MAX}", declared.len()),
            "move some of them to another node",
        ));
    }
    if declared.is_empty() {
        problems.push(Problem::error(
            Place::File(config.routes.value.join("listener.csv")),
            "no listener is declared",
            "declare one in the table `listener`; `--listen` can then bind it elsewhere on this node",
        ));
    }
    let listens = choose(declared, &config.listen, |listen| listen.listener.as_deref(), &mut problems);
    let advertises = choose(declared, &config.advertise, |advertise| advertise.listener.as_deref(), &mut problems);
    let bound: Vec<Bound> = declared
        .iter()
        .zip(listens.iter().zip(&advertises))
        .map(|(declared, (listen, advertise))| one(declared, *listen, *advertise, config, &mut problems))
        .collect();
    for (place, later) in bound.iter().enumerate() {
        if let Some(earlier) = bound[..place].iter().find(|earlier| collide(earlier.address, later.address)) {
            problems.push(Problem::error(
                listens[place]
                    .map_or(Place::File(config.routes.value.join("listener.csv")), |listen| listen.place.clone()),
                format!("listeners {} and {} both bind {}", earlier.id, later.id, later.address),
                "give each listener an address or port of its own",
            ));
        }
    }
    (bound, problems)
}

/// For each declared listener the flag that speaks of it.
fn choose<'a, T>(
    declared: &[Declared],
    flags: &'a [Sourced<T>],
    listener_of: impl Fn(&T) -> Option<&str>,
    problems: &mut Vec<Problem>,
) -> Vec<Option<&'a Sourced<T>>> {
    let mut chosen = vec![None; declared.len()];
    if declared.is_empty() {
        return chosen;
    }
    let all = || declared.iter().map(|one| format!("{} ({})", one.id, one.name)).collect::<Vec<_>>().join(", ");
    for flag in flags {
        let place = match listener_of(&flag.value) {
            // An id beats a name, so that a listener named like another's id cannot steal it.
            Some(wanted) => {
                let by_id = declared.iter().position(|one| one.id == wanted);
                by_id.or_else(|| declared.iter().position(|one| one.name == wanted)).ok_or_else(|| {
                    (format!("no listener has the id or name `{wanted}`"), format!("the listeners are {}", all()))
                })
            }
            None if declared.len() == 1 => Ok(0),
            None => Err((
                format!("which of the {} listeners is meant?", declared.len()),
                format!("write ID=… in front; the listeners are {}", all()),
            )),
        };
        match place {
            Ok(place) if chosen[place].is_some() => problems.push(Problem::error(
                flag.place.clone(),
                format!("listener {} is given twice", declared[place].id),
                "leave one of them out",
            )),
            Ok(place) => chosen[place] = Some(flag),
            Err((what, cure)) => problems.push(Problem::error(flag.place.clone(), what, cure)),
        }
    }
    chosen
}

fn one(
    declared: &Declared,
    listen: Option<&Sourced<Listen>>,
    advertise: Option<&Sourced<Advertise>>,
    config: &Config,
    problems: &mut Vec<Problem>,
) -> Bound {
    let address = listen.map_or(declared.address, |listen| listen.value.address);
    let host = advertise.map(|advertise| advertise.value.host.as_str()).or(declared.advertise_host.as_deref());
    let port = advertise.and_then(|advertise| advertise.value.port).or(declared.advertise_port);
    let table = || Place::File(config.routes.value.join("listener.csv"));
    if host.is_none() && address.ip().is_unspecified() {
        problems.push(Problem::error(
            listen.map_or_else(table, |listen| listen.place.clone()),
            format!("listener {} binds {address}, an address that no peer could answer to", declared.id),
            format!("say what peers reach with `--advertise {}=HOST`, or bind one address", declared.id),
        ));
    }
    if let (Some(listen), None, Some(host)) = (listen, advertise, &declared.advertise_host) {
        problems.push(Problem::warning(
            listen.place.clone(),
            format!("listener {} is bound to {address} but still advertises `{host}` from the table", declared.id),
            format!("say so with `--advertise {}=HOST` if peers reach this node by another name", declared.id),
        ));
    }
    if let Some(host) = host.filter(|host| host.len() > HOST_MAX) {
        problems.push(Problem::error(
            table(),
            format!("listener {} advertises a host of {} bytes, more than {HOST_MAX}", declared.id, host.len()),
            "advertise a shorter name",
        ));
    }
    let port = port.unwrap_or(address.port());
    let advertised = match host {
        None => SocketAddr::new(address.ip(), port).to_string(),
        Some(host) => match host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port).to_string(),
            Err(_) => format!("{host}:{port}"),
        },
    };
    Bound { slot: declared.slot, id: declared.id.clone(), name: declared.name.clone(), address, advertised }
}

/// Two equal addresses; two zero ports become two different ports.
fn collide(left: SocketAddr, right: SocketAddr) -> bool {
    left == right && left.port() != 0
}

/// What a port that somebody holds means.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum InUse {
    /// The node cannot start.
    Error,
    /// The holder may be the very node whose next configuration is being checked.
    Warning,
}

/// Tries each address with a plain socket, which unlike the shards' own (`SO_REUSEPORT`) refuses to share a port with another
/// process. The sockets are closed again when this returns; the shards bind next.
#[must_use]
pub fn try_bind(bound: &[Bound], in_use: InUse) -> Vec<Problem> {
    let tried = bound.iter().map(|one| UdpSocket::bind(one.address).map_err(|error| bind_problem(one, &error, in_use)));
    tried.filter_map(Result::err).collect()
}

fn bind_problem(bound: &Bound, error: &io::Error, in_use: InUse) -> Problem {
    let (id, address) = (&bound.id, bound.address);
    let (what, cure) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            format!("listener {id}: {address} is in use by another process"),
            format!(
                "`ss -ulpn 'sport = :{}'` shows which; stop it, or bind elsewhere with `--listen {id}=…`",
                address.port()
            ),
        ),
        io::ErrorKind::AddrNotAvailable => (
            format!("listener {id}: {} is no address of this machine", address.ip()),
            format!("`ip address` shows those it has; bind one with `--listen {id}=…`"),
        ),
        io::ErrorKind::PermissionDenied => (
            format!("listener {id}: the kernel refuses {address}: permission denied"),
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned(),
        ),
        _ => (
            format!("listener {id}: {address} cannot be bound: {error}"),
            format!("bind elsewhere with `--listen {id}=…`"),
        ),
    };
    let problem = Problem::error(Place::Machine, what, cure);
    let milder = error.kind() == io::ErrorKind::AddrInUse && in_use == InUse::Warning;
    if milder { problem.as_warning() } else { problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Given;
    use crate::problem::Severity;

    fn declared(id: &str, name: &str, address: &str, advertise: Option<(&str, Option<u16>)>) -> Declared {
        Declared {
            slot: id.parse().unwrap(),
            id: id.into(),
            name: name.into(),
            address: address.parse().unwrap(),
            advertise_host: advertise.map(|(host, _)| host.into()),
            advertise_port: advertise.and_then(|(_, port)| port),
        }
    }

    fn bind_with(declared: &[Declared], listen: &[&str], advertise: &[&str]) -> (Vec<String>, Vec<String>) {
        let given = Given {
            listen: listen.iter().map(|text| Sourced::new(text.parse().unwrap(), Place::Flag("--listen"))).collect(),
            advertise: advertise
                .iter()
                .map(|text| Sourced::new(text.parse().unwrap(), Place::Flag("--advertise")))
                .collect(),
            ..Given::default()
        };
        let (config, _) = given.resolve(&[0, 1]);
        let (bound, problems) = bind(declared, &config);
        (bound.iter().map(ToString::to_string).collect(), problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn takes_the_table_as_it_is() {
        let table = [
            declared("1", "in", "192.0.2.1:5060", None),
            declared("2", "out", "[2001:db8::1]:5060", Some(("sbc.example", None))),
        ];
        let (bound, problems) = bind_with(&table, &[], &[]);
        assert_eq!(bound[0], "listener 1 (in) udp:192.0.2.1:5060");
        assert_eq!(bound[1], "listener 2 (out) udp:[2001:db8::1]:5060 advertised sbc.example:5060");
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn flags_move_the_only_listener_or_the_named_one() {
        let one = [declared("1", "in", "192.0.2.1:5060", None)];
        let (bound, problems) = bind_with(&one, &["127.0.0.1:5070"], &["sbc.example"]);
        assert_eq!(bound, ["listener 1 (in) udp:127.0.0.1:5070 advertised sbc.example:5070"]);
        assert_eq!(problems, [""; 0]);
        let two = [one[0].clone(), declared("2", "out", "192.0.2.2:5060", Some(("a.example", Some(5099))))];
        let (bound, problems) = bind_with(&two, &["out=127.0.0.1:5071", "1=127.0.0.1:5070"], &["2=[2001:db8::2]"]);
        assert_eq!(bound[0], "listener 1 (in) udp:127.0.0.1:5070");
        assert_eq!(bound[1], "listener 2 (out) udp:127.0.0.1:5071 advertised [2001:db8::2]:5099");
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn refuses_to_guess() {
        let two = [declared("1", "in", "192.0.2.1:5060", None), declared("2", "out", "192.0.2.2:5060", None)];
        for (listen, expected) in [
            (
                &["127.0.0.1:5070"][..],
                "which of the 2 listeners is meant?\n  cure: write ID=… in front; the listeners are 1 (in), 2 (out)",
            ),
            (&["9=127.0.0.1:5070"], "no listener has the id or name `9`"),
            (&["1=127.0.0.1:5070", "in=127.0.0.1:5071"], "listener 1 is given twice"),
            (&["1=127.0.0.1:5070", "2=127.0.0.1:5070"], "listeners 1 and 2 both bind 127.0.0.1:5070"),
            (&["1=0.0.0.0:5060"], "an address that no peer could answer to"),
        ] {
            let (_, problems) = bind_with(&two, listen, &[]);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{listen:?}: {problems:?}");
            assert!(problems[0].starts_with("error: --listen: "), "{problems:?}");
        }
        let (bound, problems) = bind_with(&[], &["127.0.0.1:5060"], &[]);
        assert!(bound.is_empty() && problems[0].contains("no listener is declared"), "{problems:?}");
    }

    #[test]
    fn warns_when_a_moved_listener_keeps_its_advertised_name() {
        let one = [declared("1", "in", "192.0.2.1:5060", Some(("sbc.example", None)))];
        let (_, problems) = bind_with(&one, &["127.0.0.1:5070"], &[]);
        assert!(
            problems[0].starts_with("warning: --listen: listener 1 is bound to 127.0.0.1:5070 but still"),
            "{problems:?}"
        );
    }

    #[test]
    fn finds_what_cannot_be_bound() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let bound = |id: &str, address: SocketAddr| Bound {
            slot: 0,
            id: id.into(),
            name: "x".into(),
            address,
            advertised: address.to_string(),
        };
        let all = [
            bound("1", taken.local_addr().unwrap()),
            bound("2", "127.0.0.1:0".parse().unwrap()),
            bound("3", "192.0.2.1:5060".parse().unwrap()),
        ];
        let problems: Vec<String> = try_bind(&all, InUse::Error).iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("is in use by another process"), "{problems:?}");
        assert!(problems[1].contains("192.0.2.1 is no address of this machine"), "{problems:?}");
        assert_eq!(try_bind(&all[..1], InUse::Warning)[0].severity, Severity::Warning);
    }
}
