//! A flow as the RFC draws it: a row for each message on each hop, under the RFC's number where the message is one of its figure (else `-`).
//!
//! ```text
//!   F7   INVITE        p1    --> bob        a user agent sends it, or it is the next message that came there and is compared line by line
//!   F9   180 Ringing   p1    <-- bob        answers the last request that is no ACK, or the one named: `487 … (INVITE)`
//! ```
//!
//! What a row's message looks like follows from the way that it has come (RFC 3261 §16.6, §16.7): on the way there each Corelane puts its
//! Via on top, counts down Max-Forwards, records itself in what opens a dialog and takes its own Route off; on the way back it takes its
//! Via off and changes nothing else. CANCEL, the ACK of a refusal, a 100 and what answers a CANCEL belong to one hop. Lines and bodies that
//! the user agents bring are said before ([`Stage::says`]).

use std::collections::BTreeMap;

use super::stage::{Stage, address};

/// A request as it is at one host.
#[derive(Clone, Default)]
struct Arrived {
    uri: String,
    /// Values of its Vias, the topmost first; of its Record-Routes, the latest first; of its Routes.
    vias: Vec<String>,
    recorded: Vec<String>,
    routes: Vec<String>,
    forwards: u32,
}

/// A request, wherever it has been.
#[derive(Clone, Default)]
pub(super) struct Asked {
    method: String,
    number: u32,
    /// From, To and Call-ID.
    lines: String,
    rest: String,
    at: BTreeMap<String, Arrived>,
    /// Record-Routes that who answers has seen.
    recorded: Vec<String>,
    /// Statuses that came from beyond the Corelanes, and what the last of them brought.
    answers: Vec<String>,
    told: String,
    /// From, To and Call-ID of its final answer, and whether that is a refusal.
    answered: Option<(String, bool)>,
}

/// What is played.
#[derive(Default)]
pub(super) struct Play {
    /// What a user agent adds to a request of this method, or to its answer to an INVITE.
    said: BTreeMap<(String, String), String>,
    /// The last request of each method.
    asked: BTreeMap<String, Asked>,
    /// Method of the last request that can be answered.
    last: String,
    /// The CSeq of each user agent.
    numbers: BTreeMap<String, u32>,
    /// INVITEs that were to open a dialog: each has tokens of its own.
    calls: u32,
    /// There is a dialog.
    established: bool,
}

/// Header lines of one name.
fn lines(name: &str, values: &[String]) -> String {
    values.iter().map(|value| format!("{name}: {value}\n")).collect()
}

/// The route to a Corelane, with the token of a call.
fn route(host: &str, call: u32) -> String {
    format!("<sip:{};lr;cl={{token-{host}-{call}}}>", address(host))
}

impl Stage {
    /// What a user agent adds to its requests of a method (`INVITE`), or to its answer to an INVITE (`180 Ringing`).
    pub(super) fn says(&mut self, who: &str, what: &str, rest: &str) {
        self.play.said.insert((who.into(), what.into()), rest.into());
    }

    /// Plays a figure.
    pub(super) fn plays(&mut self, figure: &str) {
        for row in figure.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let words: Vec<&str> = row.split_whitespace().collect();
            let [_, what @ .., left, arrow, right] = &words[..] else { panic!("no row of a figure: {row}") };
            let what = what.join(" ");
            let (from, to) = if *arrow == "-->" { (*left, *right) } else { (*right, *left) };
            self.row = row.into();
            let answers = what.starts_with(|first: char| first.is_ascii_digit());
            match (answers, self.is_corelane(from)) {
                (false, false) => self.asks(&what, from, to),
                (false, true) => self.passes_on(&what, from, to),
                (true, false) => self.replies(&what, from),
                (true, true) => self.passes_back(&what, from, to),
            }
        }
    }

    /// A user agent sends a request to its Corelane.
    fn asks(&mut self, method: &str, from: &str, to: &str) {
        let own_via = |key: &str| format!("SIP/2.0/UDP {};branch=z9hG4bK-{key}", address(from));
        let invite = self.play.asked.get("INVITE").cloned().unwrap_or_default();
        let refused = invite.answered.as_ref().filter(|(_, refused)| *refused && method == "ACK");
        let own_hop = invite.at.get(to).filter(|_| method == "CANCEL" || refused.is_some());
        let asked = if let Some(hop) = own_hop {
            let hop = Arrived { routes: Vec::new(), ..hop.clone() };
            let lines = refused.map_or(&invite.lines, |(lines, _)| lines).clone();
            Asked {
                method: method.into(),
                number: invite.number,
                lines,
                at: [(to.into(), hop)].into(),
                ..Asked::default()
            }
        } else {
            let last = self.play.numbers.entry(from.into()).or_default();
            *last += u32::from(method != "ACK");
            let number = *last;
            self.play.calls += u32::from(!self.play.established && method == "INVITE");
            let corelanes = ["p1", "p2"].into_iter().filter(|host| self.is_corelane(host));
            let routes: Vec<String> = corelanes.map(|host| route(host, self.play.calls)).collect();
            let (uri, lines, routes) = match (self.play.established, from) {
                (false, _) => ("sip:+4930123456@10.0.0.1".into(), "{call}", Vec::new()),
                (true, "alice") => (self.target.clone(), "{dialog}", routes),
                (true, _) => ("sip:alice@192.0.2.101".into(), "{reversed}", routes.into_iter().rev().collect()),
            };
            let vias = vec![own_via(&format!("{from}-{method}-{number}"))];
            let arrived = Arrived { uri, vias, recorded: Vec::new(), routes, forwards: 70 };
            let rest = self.play.said.get(&(from.into(), method.into())).cloned().unwrap_or_default();
            let at = [(to.to_owned(), arrived)].into();
            Asked { method: method.into(), number, lines: lines.into(), rest, at, ..Asked::default() }
        };
        let text = asked.text(&asked.at[to]);
        if method != "ACK" {
            self.play.last = method.into();
        }
        self.play.asked.insert(method.into(), asked);
        self.sends(address(from), address(to), &text);
    }

    /// A Corelane sends a request on, or its own CANCEL or ACK.
    fn passes_on(&mut self, method: &str, from: &str, to: &str) {
        let invite = &self.play.asked["INVITE"];
        let refusal = invite.answered.clone().filter(|(_, refused)| *refused && method == "ACK");
        if method == "CANCEL" || refusal.is_some() {
            let hop = Arrived { vias: vec![invite.at[to].vias[0].clone()], forwards: 70, ..invite.at[to].clone() };
            let hop = Arrived { recorded: Vec::new(), ..hop };
            let lines = refusal.map_or(invite.lines.clone(), |(lines, _)| lines);
            let number = invite.number;
            let asked = self.play.asked.entry(method.into()).or_default();
            (asked.method, asked.number, asked.lines) = (method.into(), number, lines);
            asked.at.insert(to.into(), hop.clone());
            let text = asked.text(&hop);
            return self.gets(address(to), &text);
        }
        let call = self.play.calls;
        let asked = self.play.asked.get_mut(method).unwrap_or_else(|| panic!("nobody sent a {method}"));
        let mut arrived = asked.at[from].clone();
        let branch = format!("{{{method}-{}-{from}-{to}}}", asked.number);
        arrived.vias.insert(0, format!("SIP/2.0/UDP {};branch={branch}", address(from)));
        arrived.forwards -= 1;
        if asked.lines == "{call}" {
            arrived.uri = format!("sip:+4930123456@{}", address(to));
            arrived.recorded.insert(0, route(from, call));
            asked.recorded.clone_from(&arrived.recorded);
        } else {
            arrived.routes.remove(0);
        }
        asked.at.insert(to.into(), arrived.clone());
        let text = asked.text(&arrived);
        self.gets(address(to), &text);
    }

    /// What a row answers, without its parentheses, and which request.
    fn answered(&self, what: &str) -> (String, String) {
        match what.split_once(" (") {
            Some((status, method)) => (status.into(), method.trim_end_matches(')').into()),
            None => (what.into(), self.play.last.clone()),
        }
    }

    /// A user agent answers.
    fn replies(&mut self, what: &str, from: &str) {
        let (status, method) = self.answered(what);
        let rest = self.play.said.get(&(from.into(), status.clone())).filter(|_| method == "INVITE");
        let rest = rest.cloned().unwrap_or_default();
        if let Some(asked) = self.play.asked.get_mut(&method) {
            asked.answers.push(status.clone());
            asked.told.clone_from(&rest);
            if method == "INVITE" && status.as_str() >= "200" {
                let lines = asked.lines.replace("{call}", "{dialog}");
                asked.answered = Some((lines, status.as_str() >= "300"));
            }
        }
        self.answers(address(from), &method, &status, &rest);
    }

    /// A Corelane sends a response back, or one of its own.
    fn passes_back(&mut self, what: &str, from: &str, to: &str) {
        let (status, method) = self.answered(what);
        let rang = |invite: &Asked| invite.answers.iter().any(|status| status.starts_with("18"));
        let rang = self.play.asked.get("INVITE").is_some_and(rang);
        let asked = self.play.asked.get_mut(&method).unwrap_or_else(|| panic!("nobody sent a {method}"));
        let vias = lines("Via", &asked.at[from].vias);
        let own = method == "CANCEL" || !asked.answers.contains(&status);
        let (recorded, told, rest) = match (own, asked.lines.as_str()) {
            (true, told) if status.starts_with("100") => (String::new(), told.to_owned(), ""),
            // RFC 3261 §9.2: the tag that the INVITE's final response will have.
            (true, _) if method == "CANCEL" && rang => (String::new(), "{dialog}".into(), ""),
            (true, _) => (String::new(), format!("{{from}}\n{{to}};tag={{tag-{from}-{method}}}\n{{id}}"), ""),
            (false, "{call}") => (lines("Record-Route", &asked.recorded), "{dialog}".into(), asked.told.as_str()),
            (false, told) => (String::new(), told.to_owned(), asked.told.as_str()),
        };
        let text = format!("SIP/2.0 {status}\n{vias}{recorded}{told}\nCSeq: {} {method}\n{rest}", asked.number);
        if method == "INVITE" && status.as_str() >= "200" {
            asked.answered = Some((told, status.as_str() >= "300"));
            self.play.established |= status.as_str() < "300";
        }
        self.gets(address(to), &text);
    }
}

impl Asked {
    /// The request as it is at a host.
    fn text(&self, at: &Arrived) -> String {
        let (method, number) = (&self.method, self.number);
        let breadth = if at.forwards < 70 { "Max-Breadth: 60\n" } else { "" };
        let [vias, recorded] = [lines("Via", &at.vias), lines("Record-Route", &at.recorded)];
        let (forwards, routes) = (at.forwards, lines("Route", &at.routes));
        format!(
            "{method} {} SIP/2.0\n{vias}{recorded}Max-Forwards: {forwards}\n{breadth}{routes}{}\nCSeq: {number} {method}\n{}",
            at.uri, self.lines, self.rest
        )
    }
}
