//! The flags of `run` and `check`: the settings of docs/operating.md, dashes for underscores.

use std::path::PathBuf;

use clap::Args;
use corelane_core::engine::UnknownSource;
use corelane_mediactl::config::choice::{parse_io, parse_steering, parse_unknown_source};
use corelane_mediactl::config::{Advertise, Config, CpuList, Given, Listen, bounds, file};
use corelane_mediactl::{Place, Problem, Sourced, machine};
use corelane_shard::{IoKind, SteeringMode};

/// Every setting can stand in the config file too, with underscores (`calls_max = 60000`). Flags win.
#[derive(Args)]
pub(crate) struct SettingsArgs {
    /// Config file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the routing tables (CSV) [default: /etc/corelane/routes]
    #[arg(long, value_name = "DIR")]
    routes: Option<PathBuf>,
    /// Directory of secret key and routing image [default: /var/lib/corelane]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Directory of journals and media sessions, best in memory (tmpfs) [default: that of --state-dir]
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<PathBuf>,
    /// Id of this node among all that share media nodes [default: drawn at the first start]
    #[arg(long, value_name = "N", value_parser = |text: &str| bounds::NODE_ID.parse::<u32>(text))]
    node_id: Option<u32>,
    /// Bind a listener of the tables elsewhere on this node; ID (or name) may be left out when there is only one; port 0
    /// takes a free one (repeatable)
    #[arg(long, value_name = "[ID=]ADDR:PORT")]
    listen: Vec<Listen>,
    /// What a listener calls itself in Via and Record-Route on this node (repeatable)
    #[arg(long, value_name = "[ID=]HOST[:PORT]")]
    advertise: Vec<Advertise>,
    /// Number of shards [default: one for each core but one]
    #[arg(long, value_name = "N", value_parser = |text: &str| bounds::SHARDS.parse::<u8>(text))]
    shards: Option<u8>,
    /// Cores of the shards, such as 0,2-3 [default: all but the control core]
    #[arg(long, value_name = "LIST")]
    cpus: Option<CpuList>,
    /// Core of the control core [default: the lowest that no shard has]
    #[arg(long, value_name = "CORE", value_parser = |text: &str| bounds::CPU.parse::<usize>(text))]
    control_cpu: Option<usize>,
    /// Calls held at once by the node [default: 60000]
    #[arg(long, value_name = "N", value_parser = |text: &str| bounds::CALLS.parse::<u32>(text))]
    calls_max: Option<u32>,
    /// New calls a second of the node [default: 1000]
    #[arg(long, value_name = "N", value_parser = |text: &str| bounds::CPS.parse::<u32>(text))]
    cps_max: Option<u32>,
    /// How datagrams find their shard: auto, bpf, forward [default: auto]
    #[arg(long, value_name = "MODE", value_parser = parse_steering)]
    steering: Option<SteeringMode>,
    /// How a shard receives and sends: mmsg, ring [default: mmsg]
    #[arg(long, value_name = "KIND", value_parser = parse_io)]
    io: Option<IoKind>,
    /// What requests from unknown sources get: drop (silence), forbid (403) [default: drop]
    #[arg(long, value_name = "WHAT", value_parser = parse_unknown_source)]
    unknown_source: Option<UnknownSource>,
    /// RFC 3261 T1 in milliseconds [default: 500]
    #[arg(long, value_name = "MS", value_parser = |text: &str| bounds::T1_MS.parse::<u64>(text))]
    t1_ms: Option<u64>,
    /// RFC 3261 T2 in milliseconds [default: 4000]
    #[arg(long, value_name = "MS", value_parser = |text: &str| bounds::T2_MS.parse::<u64>(text))]
    t2_ms: Option<u64>,
    /// RFC 3261 T4 in milliseconds [default: 5000]
    #[arg(long, value_name = "MS", value_parser = |text: &str| bounds::T4_MS.parse::<u64>(text))]
    t4_ms: Option<u64>,
    /// A gateway's silence after an INVITE, in milliseconds [default: 4000]
    #[arg(long, value_name = "MS", value_parser = |text: &str| bounds::TIMEOUT_MS.parse::<u64>(text))]
    fr_timer_ms: Option<u64>,
    /// From a bare 100 to ringing or a final response, in milliseconds [default: 10000]
    #[arg(long, value_name = "MS", value_parser = |text: &str| bounds::TIMEOUT_MS.parse::<u64>(text))]
    progress_timeout_ms: Option<u64>,
    /// From the INVITE to ringing or a final response over all gateways, in milliseconds [default: 30000]
    #[arg(long, value_name = "MS", value_parser = |text: &str| bounds::TIMEOUT_MS.parse::<u64>(text))]
    invite_timeout_ms: Option<u64>,
    /// Timer C: ringing without news, in milliseconds [default: 180000]
    #[arg(long, value_name = "MS", value_parser = |text: &str| bounds::TIMEOUT_MS.parse::<u64>(text))]
    ring_timeout_ms: Option<u64>,
    /// From ringing to the answer over all gateways, in milliseconds [default: 300000]
    #[arg(long, value_name = "MS", value_parser = |text: &str| bounds::TIMEOUT_MS.parse::<u64>(text))]
    early_timeout_ms: Option<u64>,
    /// An answered call without ACK, in milliseconds [default: 60000]
    #[arg(long, value_name = "MS", value_parser = |text: &str| bounds::TIMEOUT_MS.parse::<u64>(text))]
    noack_timeout_ms: Option<u64>,
    /// An answered call without a refresh, in seconds [default: 1800]
    #[arg(long, value_name = "S", value_parser = |text: &str| bounds::TIMEOUT_S.parse::<u64>(text))]
    default_timeout_s: Option<u64>,
    /// Session interval to ask for (RFC 4028), in seconds [default: 1800]
    #[arg(long, value_name = "S", value_parser = |text: &str| bounds::SESSION_S.parse::<u64>(text))]
    session_expires_s: Option<u64>,
    /// Shortest session interval to accept (RFC 4028), in seconds [default: 90]
    #[arg(long, value_name = "S", value_parser = |text: &str| bounds::SESSION_S.parse::<u64>(text))]
    min_se_s: Option<u64>,
    /// Whether another gateway is tried after a telephone rang [default: true]
    #[arg(long, value_name = "BOOL")]
    hunt_after_ringing: Option<bool>,
    /// Whether a gateway's 503 goes upstream as 500 [default: true]
    #[arg(long, value_name = "BOOL")]
    remap_503: Option<bool>,
    /// How long a message may wait for one media node, in milliseconds [default: 2000]
    #[arg(long, value_name = "MS", value_parser = |text: &str| bounds::MEDIA_DEADLINE_MS.parse::<u64>(text))]
    media_deadline_ms: Option<u64>,
    /// Sockets towards each media node [default: 4]
    #[arg(long, value_name = "N", value_parser = |text: &str| bounds::MEDIA_SOCKETS.parse::<u8>(text))]
    media_sockets: Option<u8>,
    /// From one look at the sessions of a media node to the next, in seconds [default: 30]
    #[arg(long, value_name = "S", value_parser = |text: &str| bounds::MEDIA_RECONCILE_S.parse::<u64>(text))]
    media_reconcile_interval_s: Option<u64>,
    /// How long a session of this node is seen on a media node without a record before it is deleted, in seconds [default: 60]
    #[arg(long, value_name = "S", value_parser = |text: &str| bounds::MEDIA_ORPHAN_S.parse::<u64>(text))]
    media_orphan_age_s: Option<u64>,
    /// How old a delete grows that no media node acknowledges, in seconds; then it is given up [default: 3900]
    #[arg(long, value_name = "S", value_parser = |text: &str| bounds::MEDIA_DEBT_S.parse::<u64>(text))]
    media_debt_age_s: Option<u64>,
    /// Whether an expired session is ended with BYE both ways [default: true]
    #[arg(long, value_name = "BOOL")]
    bye_on_expiry: Option<bool>,
    /// Whether the kernel may drop new calls of a provider that overloads a shard [default: true]
    #[arg(long, value_name = "BOOL")]
    shed_in_kernel: Option<bool>,
}

impl SettingsArgs {
    /// File and flags together, on this machine.
    pub(crate) fn resolve(self) -> (Config, Vec<Problem>) {
        let (from_file, mut problems) = self.config.as_deref().map(file::read).unwrap_or_default();
        let (config, found) = self.given().over(from_file).resolve(&machine::cpus());
        problems.extend(found);
        (config, problems)
    }

    fn given(self) -> Given {
        Given {
            routes: from_flag(self.routes, "--routes"),
            state_dir: from_flag(self.state_dir, "--state-dir"),
            journal_dir: from_flag(self.journal_dir, "--journal-dir"),
            node_id: from_flag(self.node_id, "--node-id"),
            listen: self.listen.into_iter().map(|value| Sourced::new(value, Place::Flag("--listen"))).collect(),
            advertise: self
                .advertise
                .into_iter()
                .map(|value| Sourced::new(value, Place::Flag("--advertise")))
                .collect(),
            shards: from_flag(self.shards, "--shards"),
            cpus: from_flag(self.cpus, "--cpus"),
            control_cpu: from_flag(self.control_cpu, "--control-cpu"),
            calls_max: from_flag(self.calls_max, "--calls-max"),
            cps_max: from_flag(self.cps_max, "--cps-max"),
            steering: from_flag(self.steering, "--steering"),
            io: from_flag(self.io, "--io"),
            unknown_source: from_flag(self.unknown_source, "--unknown-source"),
            t1_ms: from_flag(self.t1_ms, "--t1-ms"),
            t2_ms: from_flag(self.t2_ms, "--t2-ms"),
            t4_ms: from_flag(self.t4_ms, "--t4-ms"),
            fr_timer_ms: from_flag(self.fr_timer_ms, "--fr-timer-ms"),
            progress_timeout_ms: from_flag(self.progress_timeout_ms, "--progress-timeout-ms"),
            invite_timeout_ms: from_flag(self.invite_timeout_ms, "--invite-timeout-ms"),
            ring_timeout_ms: from_flag(self.ring_timeout_ms, "--ring-timeout-ms"),
            early_timeout_ms: from_flag(self.early_timeout_ms, "--early-timeout-ms"),
            noack_timeout_ms: from_flag(self.noack_timeout_ms, "--noack-timeout-ms"),
            default_timeout_s: from_flag(self.default_timeout_s, "--default-timeout-s"),
            session_expires_s: from_flag(self.session_expires_s, "--session-expires-s"),
            min_se_s: from_flag(self.min_se_s, "--min-se-s"),
            hunt_after_ringing: from_flag(self.hunt_after_ringing, "--hunt-after-ringing"),
            remap_503: from_flag(self.remap_503, "--remap-503"),
            media_deadline_ms: from_flag(self.media_deadline_ms, "--media-deadline-ms"),
            media_sockets: from_flag(self.media_sockets, "--media-sockets"),
            media_reconcile_interval_s: from_flag(self.media_reconcile_interval_s, "--media-reconcile-interval-s"),
            media_orphan_age_s: from_flag(self.media_orphan_age_s, "--media-orphan-age-s"),
            media_debt_age_s: from_flag(self.media_debt_age_s, "--media-debt-age-s"),
            bye_on_expiry: from_flag(self.bye_on_expiry, "--bye-on-expiry"),
            shed_in_kernel: from_flag(self.shed_in_kernel, "--shed-in-kernel"),
        }
    }
}

fn from_flag<T>(value: Option<T>, flag: &'static str) -> Option<Sourced<T>> {
    value.map(|value| Sourced::new(value, Place::Flag(flag)))
}
