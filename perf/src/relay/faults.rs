//! What a stand-in does wrong, at its start and while it runs: one line of text each.
//!
//! ```text
//!   freeze │ blackhole │ unfreeze           does not read │ reads and forgets │ serves
//!   delay-us N                              every reply waits this long
//!   loss N                                  of 1,000 requests N are lost
//!   error N REASON                          of 1,000 offers, answers and queries N get this error, e.g. `error 1000 Ran out of ports`
//!   silent N                                of 1,000 queries N say that no RTP came since the session was made
//!   load-limit on│off                       offers get "Load limit exceeded"
//!   max-sessions N                          how many sessions are taken
//!   truncated N  garbage N  duplicated N  wrong-address N      of 1,000 replies
//!   late N  late-us N                       of 1,000 replies N wait longer
//!   counters                                nothing but the answer
//! ```
//!
//! Draws come from a seeded sequence, so that a run can be repeated as far as the order of its requests can.

/// Whether a node serves.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub enum State {
    /// It does.
    #[default]
    Serving,
    /// It does not read: what comes waits in the socket, as for a stopped process.
    Frozen,
    /// It reads and forgets.
    Blackhole,
}

/// Settings of a node that may change while it runs. Shares are of 1,000.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Faults {
    /// Whether it serves.
    pub state: State,
    /// Wait before every reply, in microseconds.
    pub delay_us: u64,
    /// Requests that are lost.
    pub loss: u32,
    /// Offers, answers and queries that get [`Faults::reason`].
    pub error: u32,
    /// What they are told.
    pub reason: String,
    /// Queries that say that no RTP came since the session was made.
    pub silent: u32,
    /// Whether offers get "Load limit exceeded".
    pub load_limit: bool,
    /// Sessions that are taken, where that was set.
    pub max_sessions: Option<usize>,
    /// Replies that are cut in the middle.
    pub truncated: u32,
    /// Replies that are replaced by bytes of no meaning, behind their cookie.
    pub garbage: u32,
    /// Replies that are sent twice.
    pub duplicated: u32,
    /// Replies that come from another port.
    pub wrong_address: u32,
    /// Replies that wait for [`Faults::late_us`] too.
    pub late: u32,
    /// How long those wait, in microseconds.
    pub late_us: u64,
}

impl Faults {
    /// Takes a line.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence; nothing has changed then.
    pub fn set(&mut self, line: &str) -> Result<(), String> {
        let (word, value) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let number =
            |text: &str| text.trim().parse::<u64>().map_err(|_| format!("`{word}` wants a number, not `{text}`"));
        let share = |text: &str| match number(text)? {
            share @ 0..=1000 => Ok(share as u32),
            _ => Err(format!("`{word}` wants a share of 1,000, not `{text}`")),
        };
        match word {
            "freeze" => self.state = State::Frozen,
            "blackhole" => self.state = State::Blackhole,
            "unfreeze" => self.state = State::Serving,
            "delay-us" => self.delay_us = number(value)?,
            "loss" => self.loss = share(value)?,
            "error" => {
                let (count, reason) = value.split_once(' ').unwrap_or((value, "Internal error"));
                (self.error, self.reason) = (share(count)?, reason.trim().to_owned());
            }
            "silent" => self.silent = share(value)?,
            "load-limit" if matches!(value, "on" | "off") => self.load_limit = value == "on",
            "max-sessions" => self.max_sessions = Some(number(value)? as usize),
            "truncated" => self.truncated = share(value)?,
            "garbage" => self.garbage = share(value)?,
            "duplicated" => self.duplicated = share(value)?,
            "wrong-address" => self.wrong_address = share(value)?,
            "late" => self.late = share(value)?,
            "late-us" => self.late_us = number(value)?,
            "counters" => {}
            _ => return Err(format!("nothing is set by `{line}`")),
        }
        Ok(())
    }
}

/// SplitMix64: draws for the shares.
pub struct Draw(u64);

impl Draw {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    /// Whether this one is among `share` of 1,000. A share of none draws nothing.
    pub fn hits(&mut self, share: u32) -> bool {
        if share == 0 {
            return false;
        }
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 1000 < u64::from(share)
    }
}

#[cfg(test)]
mod tests {
    use super::{Draw, Faults, State};

    #[test]
    fn lines_set_what_they_name() {
        let mut faults = Faults::default();
        for line in [
            "freeze",
            "delay-us 5000",
            "error 20 Ran out of ports",
            "silent 300",
            "load-limit on",
            "max-sessions 7",
            "late 1000",
            "counters\n",
        ] {
            assert_eq!(faults.set(line), Ok(()), "{line}");
        }
        let wanted = Faults {
            state: State::Frozen,
            delay_us: 5000,
            error: 20,
            reason: "Ran out of ports".to_owned(),
            silent: 300,
            load_limit: true,
            max_sessions: Some(7),
            late: 1000,
            ..Faults::default()
        };
        assert_eq!(faults, wanted);
        for line in ["", "thaw", "loss", "loss 1001", "loss many", "load-limit maybe", "delay-us -1"] {
            assert!(faults.set(line).is_err(), "{line}");
        }
        assert_eq!(faults, wanted, "a bad line changes nothing");
    }

    #[test]
    fn draws_hit_their_share() {
        let mut draw = Draw::new(7);
        let hits = (0..100_000).filter(|_| draw.hits(250)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!(!draw.hits(0) && draw.hits(1000));
    }
}
