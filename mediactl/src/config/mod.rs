//! Settings of one node: defaults, then the config file, then the flags; and what follows from them on this machine.
//!
//! ```text
//! flags ──► Given ─┐
//!                  ├─ over ─► Given ─ resolve(machine) ─► Config + problems
//! file ───► Given ─┘
//! ```
//!
//! [`Given`] holds only what somebody set, each value with its place; [`Config`] is complete. Flags win over the file setting by
//! setting; a list (`listen`, `advertise`) given by flags replaces the file's list as a whole. Problems are collected,
//! never thrown one at a time.

pub mod bounds;
pub mod choice;
mod cpus;
pub mod file;
mod listen;

use std::path::{Path, PathBuf};
use std::time::Duration;

use corelane_core::engine::{Policy, Timers, UnknownSource};
use corelane_shard::{IoKind, SteeringMode};

pub use cpus::{CpuList, Placement};
pub use listen::{Advertise, Listen};

use crate::problem::{Place, Problem, Sourced};

/// Where the routing tables lie unless told otherwise.
pub const ROUTES_DEFAULT: &str = "/etc/corelane/routes";
/// Where state lies unless told otherwise.
pub const STATE_DIR_DEFAULT: &str = "/var/lib/corelane";
/// Calls held at once unless told otherwise: the load that the first SPEC row promises on one small machine.
pub const CALLS_MAX_DEFAULT: u32 = 60_000;
/// New calls a second unless told otherwise.
pub const CPS_MAX_DEFAULT: u32 = 1_000;

/// From a question to a media node to giving that node up, unless told otherwise; all nodes together have twice that.
pub const MEDIA_DEADLINE_MS_DEFAULT: u64 = 2_000;
/// How much longer than the deadline a shard waits for the control core: one that does not answer at all has panicked or stands still.
const MEDIA_GRACE: Duration = Duration::from_secs(1);
/// Sockets towards each media node unless told otherwise: rtpengine may serve each from another thread.
pub const MEDIA_SOCKETS_DEFAULT: u8 = 4;

/// From one look at the sessions of a media node to the next, unless told otherwise.
pub const MEDIA_RECONCILE_INTERVAL_S_DEFAULT: u64 = 30;
/// How long a session is seen on a media node without a record before it is deleted, unless told otherwise.
pub const MEDIA_ORPHAN_AGE_S_DEFAULT: u64 = 60;
/// How old the delete grows that no media node acknowledges, unless told otherwise: a little more than the hour after which rtpengine ends a session by
/// itself that was only offered, or is silent (`offer-timeout`, `silent-timeout`).
pub const MEDIA_DEBT_AGE_S_DEFAULT: u64 = 3_900;

/// What somebody set, in a file or by flags.
#[derive(Clone, Default, Debug)]
#[allow(missing_docs, reason = "each field is the setting of the same name in docs/operating.md")]
pub struct Given {
    pub routes: Option<Sourced<PathBuf>>,
    pub state_dir: Option<Sourced<PathBuf>>,
    pub journal_dir: Option<Sourced<PathBuf>>,
    pub node_id: Option<Sourced<u32>>,
    pub listen: Vec<Sourced<Listen>>,
    pub advertise: Vec<Sourced<Advertise>>,
    pub shards: Option<Sourced<u8>>,
    pub cpus: Option<Sourced<CpuList>>,
    pub control_cpu: Option<Sourced<usize>>,
    pub calls_max: Option<Sourced<u32>>,
    pub cps_max: Option<Sourced<u32>>,
    pub steering: Option<Sourced<SteeringMode>>,
    pub io: Option<Sourced<IoKind>>,
    pub unknown_source: Option<Sourced<UnknownSource>>,
    pub t1_ms: Option<Sourced<u64>>,
    pub t2_ms: Option<Sourced<u64>>,
    pub t4_ms: Option<Sourced<u64>>,
    pub fr_timer_ms: Option<Sourced<u64>>,
    pub progress_timeout_ms: Option<Sourced<u64>>,
    pub invite_timeout_ms: Option<Sourced<u64>>,
    pub ring_timeout_ms: Option<Sourced<u64>>,
    pub early_timeout_ms: Option<Sourced<u64>>,
    pub noack_timeout_ms: Option<Sourced<u64>>,
    pub default_timeout_s: Option<Sourced<u64>>,
    pub session_expires_s: Option<Sourced<u64>>,
    pub min_se_s: Option<Sourced<u64>>,
    pub hunt_after_ringing: Option<Sourced<bool>>,
    pub remap_503: Option<Sourced<bool>>,
    pub media_deadline_ms: Option<Sourced<u64>>,
    pub media_sockets: Option<Sourced<u8>>,
    pub media_reconcile_interval_s: Option<Sourced<u64>>,
    pub media_orphan_age_s: Option<Sourced<u64>>,
    pub media_debt_age_s: Option<Sourced<u64>>,
    pub bye_on_expiry: Option<Sourced<bool>>,
    pub shed_in_kernel: Option<Sourced<bool>>,
}

impl Given {
    /// This, with what it leaves open taken from `under`.
    #[must_use]
    pub fn over(self, under: Given) -> Given {
        Given {
            routes: self.routes.or(under.routes),
            state_dir: self.state_dir.or(under.state_dir),
            journal_dir: self.journal_dir.or(under.journal_dir),
            node_id: self.node_id.or(under.node_id),
            listen: if self.listen.is_empty() { under.listen } else { self.listen },
            advertise: if self.advertise.is_empty() { under.advertise } else { self.advertise },
            shards: self.shards.or(under.shards),
            cpus: self.cpus.or(under.cpus),
            control_cpu: self.control_cpu.or(under.control_cpu),
            calls_max: self.calls_max.or(under.calls_max),
            cps_max: self.cps_max.or(under.cps_max),
            steering: self.steering.or(under.steering),
            io: self.io.or(under.io),
            unknown_source: self.unknown_source.or(under.unknown_source),
            t1_ms: self.t1_ms.or(under.t1_ms),
            t2_ms: self.t2_ms.or(under.t2_ms),
            t4_ms: self.t4_ms.or(under.t4_ms),
            fr_timer_ms: self.fr_timer_ms.or(under.fr_timer_ms),
            progress_timeout_ms: self.progress_timeout_ms.or(under.progress_timeout_ms),
            invite_timeout_ms: self.invite_timeout_ms.or(under.invite_timeout_ms),
            ring_timeout_ms: self.ring_timeout_ms.or(under.ring_timeout_ms),
            early_timeout_ms: self.early_timeout_ms.or(under.early_timeout_ms),
            noack_timeout_ms: self.noack_timeout_ms.or(under.noack_timeout_ms),
            default_timeout_s: self.default_timeout_s.or(under.default_timeout_s),
            session_expires_s: self.session_expires_s.or(under.session_expires_s),
            min_se_s: self.min_se_s.or(under.min_se_s),
            hunt_after_ringing: self.hunt_after_ringing.or(under.hunt_after_ringing),
            remap_503: self.remap_503.or(under.remap_503),
            media_deadline_ms: self.media_deadline_ms.or(under.media_deadline_ms),
            media_sockets: self.media_sockets.or(under.media_sockets),
            media_reconcile_interval_s: self.media_reconcile_interval_s.or(under.media_reconcile_interval_s),
            media_orphan_age_s: self.media_orphan_age_s.or(under.media_orphan_age_s),
            media_debt_age_s: self.media_debt_age_s.or(under.media_debt_age_s),
            bye_on_expiry: self.bye_on_expiry.or(under.bye_on_expiry),
            shed_in_kernel: self.shed_in_kernel.or(under.shed_in_kernel),
        }
    }

    /// Fills in the defaults and places shards on the cores `machine` that this process may use.
    #[must_use]
    pub fn resolve(self, machine: &[usize]) -> (Config, Vec<Problem>) {
        let mut problems = Vec::new();
        let placement = cpus::place(&self, machine, &mut problems);
        let timers = self.timers(&mut problems);
        let policy = self.policy();
        let media = Media {
            deadline: self.media_deadline(),
            sockets: self.media_sockets.as_ref().map_or(MEDIA_SOCKETS_DEFAULT, |given| given.value),
            reconcile_interval: seconds(self.media_reconcile_interval_s.as_ref(), MEDIA_RECONCILE_INTERVAL_S_DEFAULT),
            orphan_age: seconds(self.media_orphan_age_s.as_ref(), MEDIA_ORPHAN_AGE_S_DEFAULT),
            debt_age: seconds(self.media_debt_age_s.as_ref(), MEDIA_DEBT_AGE_S_DEFAULT),
        };
        let path = |given: Option<Sourced<PathBuf>>, default: &str, setting: &'static str| {
            given.unwrap_or_else(|| Sourced::new(default.into(), Place::Default(setting)))
        };
        let config = Config {
            routes: path(self.routes, ROUTES_DEFAULT, "routes"),
            state_dir: path(self.state_dir, STATE_DIR_DEFAULT, "state_dir"),
            journal_dir: self.journal_dir,
            node_id: self.node_id.map(|given| given.value),
            listen: self.listen,
            advertise: self.advertise,
            placement,
            calls_max: or_default(self.calls_max, CALLS_MAX_DEFAULT, "calls_max"),
            cps_max: or_default(self.cps_max, CPS_MAX_DEFAULT, "cps_max"),
            steering: or_default(self.steering, SteeringMode::Auto, "steering"),
            io: or_default(self.io, IoKind::Mmsg, "io"),
            unknown_source: or_default(self.unknown_source, UnknownSource::Drop, "unknown_source"),
            timers,
            policy,
            media,
        };
        (config, problems)
    }

    fn media_deadline(&self) -> Duration {
        Duration::from_millis(self.media_deadline_ms.as_ref().map_or(MEDIA_DEADLINE_MS_DEFAULT, |given| given.value))
    }

    fn policy(&self) -> Policy {
        let defaults = Policy::default();
        let switch = |given: &Option<Sourced<bool>>, default| given.as_ref().map_or(default, |given| given.value);
        Policy {
            hunt_after_ringing: switch(&self.hunt_after_ringing, defaults.hunt_after_ringing),
            remap_503: switch(&self.remap_503, defaults.remap_503),
            bye_on_expiry: switch(&self.bye_on_expiry, defaults.bye_on_expiry),
            shed_in_kernel: switch(&self.shed_in_kernel, defaults.shed_in_kernel),
        }
    }

    fn timers(&self, problems: &mut Vec<Problem>) -> Timers {
        let defaults = Timers::default();
        let ms = |given: &Option<Sourced<u64>>, default| {
            given.as_ref().map_or(default, |given| Duration::from_millis(given.value))
        };
        let s = |given: &Option<Sourced<u64>>, default| {
            given.as_ref().map_or(default, |given| Duration::from_secs(given.value))
        };
        let timers = Timers {
            t1: ms(&self.t1_ms, defaults.t1),
            t2: ms(&self.t2_ms, defaults.t2),
            t4: ms(&self.t4_ms, defaults.t4),
            fr_timer: ms(&self.fr_timer_ms, defaults.fr_timer),
            progress_timeout: ms(&self.progress_timeout_ms, defaults.progress_timeout),
            invite_timeout: ms(&self.invite_timeout_ms, defaults.invite_timeout),
            ring_timeout: ms(&self.ring_timeout_ms, defaults.ring_timeout),
            early_timeout: ms(&self.early_timeout_ms, defaults.early_timeout),
            noack_timeout: ms(&self.noack_timeout_ms, defaults.noack_timeout),
            default_timeout: s(&self.default_timeout_s, defaults.default_timeout),
            session_expires: s(&self.session_expires_s, defaults.session_expires),
            min_se: s(&self.min_se_s, defaults.min_se),
            media_idle: defaults.media_idle,
            media_timeout: 2 * self.media_deadline() + MEDIA_GRACE,
        };
        // RFC 4028 §4: what we ask for ourselves must be what we accept.
        if timers.session_expires < timers.min_se {
            let place = self.min_se_s.as_ref().or(self.session_expires_s.as_ref());
            problems.push(Problem::error(
                place.map_or(Place::Default("session_expires_s"), |timer| timer.place.clone()),
                format!(
                    "sessions are asked for {} s while none below {} s is accepted",
                    timers.session_expires.as_secs(),
                    timers.min_se.as_secs()
                ),
                "raise `session_expires_s` or lower `min_se_s`",
            ));
        }
        // RFC 3261 §17.1.2.1: retransmissions double from T1 until they reach T2.
        if timers.t1 > timers.t2 {
            let place =
                self.t1_ms.as_ref().or(self.t2_ms.as_ref()).map_or(Place::Default("t1_ms"), |t| t.place.clone());
            problems.push(Problem::error(
                place,
                format!("T1 ({} ms) is longer than T2 ({} ms)", timers.t1.as_millis(), timers.t2.as_millis()),
                "retransmissions double from `t1_ms` up to `t2_ms`: raise t2_ms or lower t1_ms",
            ));
        }
        // RFC 3261 §13.3.1.4: a 2xx is retransmitted for 64 × T1 before its dialog is given up.
        if timers.noack_timeout < timers.t1 * 64 {
            let place = self.noack_timeout_ms.as_ref().or(self.t1_ms.as_ref());
            problems.push(Problem::warning(
                place.map_or(Place::Default("noack_timeout_ms"), |timer| timer.place.clone()),
                format!(
                    "calls are ended {} ms after an answer without ACK, while the callee repeats it for 64 × T1 = {} ms",
                    timers.noack_timeout.as_millis(),
                    timers.t1.as_millis() * 64
                ),
                "raise `noack_timeout_ms`, or lower `t1_ms` as well",
            ));
        }
        timers
    }
}

/// A complete configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the routing tables (CSV).
    pub routes: Sourced<PathBuf>,
    /// Directory of key, image and lock.
    pub state_dir: Sourced<PathBuf>,
    /// Directory of journals and media sessions, where it is another one.
    pub journal_dir: Option<Sourced<PathBuf>>,
    /// Id of this node among those that share media nodes, where it is not the state directory's.
    pub node_id: Option<u32>,
    /// Where listeners bind on this node.
    pub listen: Vec<Sourced<Listen>>,
    /// What listeners call themselves on this node.
    pub advertise: Vec<Sourced<Advertise>>,
    /// How many shards, and who runs where.
    pub placement: Placement,
    /// Calls held at once by the node.
    pub calls_max: Sourced<u32>,
    /// New calls a second of the node.
    pub cps_max: Sourced<u32>,
    /// How datagrams find their shard.
    pub steering: Sourced<SteeringMode>,
    /// How a shard receives and sends.
    pub io: Sourced<IoKind>,
    /// What unknown sources get.
    pub unknown_source: Sourced<UnknownSource>,
    /// Timer values.
    pub timers: Timers,
    /// What a failed gateway, an expired session and an overload mean.
    pub policy: Policy,
    /// How media nodes are asked.
    pub media: Media,
}

/// How media nodes are asked.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Media {
    /// From a question to giving its node up; all nodes together have twice that.
    pub deadline: Duration,
    /// Sockets towards each node.
    pub sockets: u8,
    /// From one look at a node's sessions to the next.
    pub reconcile_interval: Duration,
    /// How long a session is seen without a record before it is deleted.
    pub orphan_age: Duration,
    /// How old a delete grows that no node acknowledges.
    pub debt_age: Duration,
}

impl Config {
    /// Where journals and the table of media sessions lie.
    #[must_use]
    pub fn journal_dir(&self) -> &Path {
        &self.journal_dir.as_ref().unwrap_or(&self.state_dir).value
    }

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> u8 {
        u8::try_from(self.placement.shards.len()).expect("the number of shards was checked when it was read")
    }

    /// The compiled routing image.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.state_dir.value.join("routes.image")
    }
}

fn seconds(given: Option<&Sourced<u64>>, default: u64) -> Duration {
    Duration::from_secs(given.map_or(default, |given| given.value))
}

fn or_default<T>(given: Option<Sourced<T>>, default: T, setting: &'static str) -> Sourced<T> {
    given.unwrap_or(Sourced::new(default, Place::Default(setting)))
}

#[cfg(test)]
mod tests {
    use corelane_shard::SHARDS_MAX;

    use super::*;

    fn from_file(text: &str) -> Given {
        let (given, problems) = file::parse(Path::new("c.toml"), text);
        assert_eq!(problems, []);
        given
    }

    #[test]
    fn defaults_are_those_of_the_specification() {
        let (config, problems) = Given::default().resolve(&[0, 1]);
        assert_eq!(problems, []);
        assert_eq!(config.shards(), 1);
        assert_eq!(config.placement, Placement { shards: vec![Some(1)], control: Some(0) });
        assert_eq!((config.calls_max.value, config.cps_max.value), (60_000, 1_000));
        assert_eq!(config.timers.t1, Duration::from_millis(500));
        assert_eq!(config.timers.ring_timeout, Duration::from_secs(180));
        assert_eq!((config.media.deadline, config.media.sockets), (Duration::from_secs(2), 4));
        let reconciler = (config.media.reconcile_interval, config.media.orphan_age, config.media.debt_age);
        assert_eq!(reconciler, (Duration::from_secs(30), Duration::from_secs(60), Duration::from_secs(3_900)));
        assert_eq!(config.timers.media_timeout, Duration::from_secs(5), "after the control core has given up");
        assert_eq!(config.unknown_source.value, UnknownSource::Drop);
        assert_eq!(config.image(), Path::new("/var/lib/corelane/routes.image"));
    }

    #[test]
    fn flags_win_setting_by_setting() {
        let flags = Given {
            shards: Some(Sourced::new(1, Place::Flag("--shards"))),
            listen: vec![Sourced::new("127.0.0.1:5070".parse().unwrap(), Place::Flag("--listen"))],
            ..Given::default()
        };
        let file = from_file("shards = 2\ncps_max = 7\nlisten = ['1=127.0.0.1:5060', '2=127.0.0.1:5061']\n");
        let (config, _) = flags.over(file).resolve(&[0, 1]);
        assert_eq!(config.shards(), 1);
        assert_eq!(config.cps_max, Sourced::new(7, Place::Line("c.toml".into(), 2)));
        assert_eq!(config.listen.len(), 1, "a list is replaced as a whole");
    }

    #[test]
    fn timers_must_agree() {
        let (_, problems) = from_file("t1_ms = 500\nt2_ms = 100\n").resolve(&[0, 1]);
        assert!(problems[0].to_string().starts_with("error: c.toml:1: T1 (500 ms) is longer than T2 (100 ms)"));
        let (_, problems) = from_file("noack_timeout_ms = 1000\n").resolve(&[0, 1]);
        assert!(problems[0].to_string().starts_with("warning: c.toml:1: calls are ended 1000 ms after"));
        let (config, problems) = from_file("t1_ms = 10\nt2_ms = 80\nnoack_timeout_ms = 1000\n").resolve(&[0, 1]);
        assert_eq!(problems, []);
        assert_eq!(config.timers.t2, Duration::from_millis(80));
        let (_, problems) = from_file("session_expires_s = 100\nmin_se_s = 120\n").resolve(&[0, 1]);
        assert!(
            problems[0].to_string().starts_with("error: c.toml:2: sessions are asked for 100 s while none below 120 s")
        );
        let (config, problems) = from_file("session_expires_s = 600\nmin_se_s = 120\n").resolve(&[0, 1]);
        assert_eq!(problems, []);
        assert_eq!((config.timers.session_expires.as_secs(), config.timers.min_se.as_secs()), (600, 120));
    }

    #[test]
    fn more_shards_than_a_node_can_have_are_cut() {
        let list = (0..300).map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(",");
        let machine: Vec<usize> = (0..300).collect();
        let (config, problems) = from_file(&format!("cpus = '{list}'\n")).resolve(&machine);
        assert_eq!(usize::from(config.shards()), SHARDS_MAX);
        assert!(problems.iter().any(|problem| problem.what.contains("at most 64 shards")), "{problems:?}");
    }
}
