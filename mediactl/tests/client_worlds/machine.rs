//! A media node as the client sees it from outside: sessions by call-id, replies that are remembered by cookie, and moods.
//!
//! As rtpengine does it: a cookie that is remembered (30 to 60 s, in two generations) gets what was said then, and nothing is done again; load is looked
//! at before a session is made, and ports run out behind that; a delete of what is not there succeeds with a warning.

use std::collections::{BTreeSet, HashMap};

use corelane_mediactl::rtpengine::bencode::{Dictionary, Value, Writer};

/// How long a generation of remembered replies lasts, in microseconds.
const GENERATION: u64 = 30_000_000;

/// Whether the process runs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Up,
    /// Stopped: what comes waits in its socket.
    Frozen,
    /// Gone, with all it knew.
    Down,
}

/// What it does with offers and answers.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    Sound,
    /// Says that its load is too high.
    Full,
    /// Makes the session and has no ports for it.
    NoPorts,
    BadSdp,
    /// Says something that nobody knows.
    Broken,
    /// Does it, and answers without an SDP.
    Mute,
    /// Answers everything but these.
    Deaf,
    /// Answers with more than a message holds.
    Wordy,
}

/// The moods, for a draw.
pub(crate) const MOODS: [Mood; 7] =
    [Mood::Full, Mood::NoPorts, Mood::BadSdp, Mood::Broken, Mood::Mute, Mood::Deaf, Mood::Wordy];

/// The node.
pub(crate) struct Machine {
    pub(crate) name: usize,
    pub(crate) state: State,
    pub(crate) mood: Mood,
    /// Its network is cut: towards it, from it.
    pub(crate) cut: (bool, bool),
    /// It gives lists of its sessions.
    pub(crate) listed: bool,
    pub(crate) sessions: BTreeSet<String>,
    /// What came while it was frozen: socket and datagram.
    pub(crate) waiting: Vec<(u8, Vec<u8>)>,
    remembered: [HashMap<Vec<u8>, Vec<u8>>; 2],
    generation_ends: u64,
}

/// What a node writes into an SDP: by this a reply is known for whose it is.
pub(crate) fn rewritten(machine: usize, session: &str, command: &str, from_tag: &str, sdp: &str) -> String {
    format!("m{machine} {session} {command} {from_tag} {sdp}")
}

/// A text of a command.
pub(crate) fn text<'b>(command: Dictionary<'b>, key: &str) -> &'b str {
    std::str::from_utf8(command.text(key).unwrap_or_default()).expect("a world asks in UTF-8")
}

impl Machine {
    pub(crate) fn new(name: usize, listed: bool) -> Machine {
        Machine {
            name,
            state: State::Up,
            mood: Mood::Sound,
            cut: (false, false),
            listed,
            sessions: BTreeSet::new(),
            waiting: Vec::new(),
            remembered: [HashMap::new(), HashMap::new()],
            generation_ends: GENERATION,
        }
    }

    /// It is gone, and so is what it knew.
    pub(crate) fn crash(&mut self) {
        self.state = State::Down;
        self.sessions.clear();
        self.waiting.clear();
        self.remembered.iter_mut().for_each(HashMap::clear);
    }

    /// Its reply to a datagram, if it says anything.
    pub(crate) fn answer(&mut self, now: u64, datagram: &[u8]) -> Option<Vec<u8>> {
        let blank = datagram.iter().position(|byte| *byte == b' ')?;
        let (cookie, body) = (&datagram[..blank], &datagram[blank + 1..]);
        if now >= self.generation_ends {
            self.generation_ends = now + GENERATION;
            self.remembered.swap(0, 1);
            self.remembered[0].clear();
        }
        if let Some(said) = self.remembered.iter().find_map(|generation| generation.get(cookie)) {
            return Some(said.clone());
        }
        let command = Value::parse(body).ok()?.dictionary()?;
        let mut said = [cookie, b" "].concat();
        self.say(command, &mut said)?;
        self.remembered[0].insert(cookie.to_vec(), said.clone());
        Some(said)
    }

    fn say(&mut self, command: Dictionary<'_>, said: &mut Vec<u8>) -> Option<()> {
        let session = text(command, "call-id");
        let asked = text(command, "command");
        let mut ng = Writer::new(said);
        ng.dictionary();
        match asked {
            "ping" => {
                ng.pair("result", b"pong");
            }
            "statistics" => {
                ng.text(b"statistics").dictionary().text(b"currentstatistics").dictionary();
                ng.text(b"sessionstotal").integer(self.sessions.len() as i64).close().close().pair("result", b"ok");
            }
            "query" if self.sessions.contains(session) => {
                ng.text(b"tags").dictionary().close().pair("result", b"ok");
            }
            "delete" if self.sessions.contains(session) => {
                if text(command, "to-tag").is_empty() {
                    self.sessions.remove(session);
                }
                ng.pair("result", b"ok");
            }
            "delete" => {
                ng.pair("result", b"ok").pair("warning", b"Call-ID not found or tags didn't match");
            }
            "offer" | "answer" => return self.exchange(command, ng),
            _ => {
                ng.pair("result", b"error").pair("error-reason", b"Unknown call-id");
            }
        }
        ng.close();
        Some(())
    }

    fn exchange(&mut self, command: Dictionary<'_>, mut ng: Writer<'_>) -> Option<()> {
        let (session, asked) = (text(command, "call-id"), text(command, "command"));
        let offer = asked == "offer";
        let makes = matches!(self.mood, Mood::Sound | Mood::NoPorts | Mood::Mute | Mood::Wordy);
        if offer && makes {
            self.sessions.insert(session.to_owned());
        }
        let mut error = |reason: &[u8]| {
            ng.pair("error-reason", reason).pair("result", b"error").close();
            Some(())
        };
        match self.mood {
            Mood::Deaf => return None,
            Mood::Broken => return error(b"Something else"),
            Mood::BadSdp => return error(b"Failed to parse SDP"),
            Mood::NoPorts => return error(b"Ran out of ports"),
            Mood::Full if offer => {
                ng.pair("message", b"Load limit exceeded").pair("result", b"load limit").close();
                return Some(());
            }
            _ if !self.sessions.contains(session) => return error(b"Unknown call-id"),
            Mood::Sound | Mood::Full | Mood::Mute | Mood::Wordy => {}
        }
        let mut sdp = rewritten(self.name, session, asked, text(command, "from-tag"), text(command, "sdp"));
        if self.mood == Mood::Wordy {
            sdp.push_str(&" ".repeat(9_000));
        }
        if self.mood != Mood::Mute {
            ng.pair("sdp", sdp.as_bytes());
        }
        ng.pair("result", b"ok").close();
        Some(())
    }
}
