//! The ng client as the media task's machine, and the file that it keeps its sessions in.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use corelane_core::bus::{MediaCall, MediaRequest};
use corelane_core::call::CallRecord;
use corelane_core::{Instant, Now};
use corelane_shard::MappedFile;

use super::machine::{MediaMachine, Outputs};
use crate::rtpengine::client::{Client, ClientSettings, Remains, SESSION_BYTES};
use crate::rtpengine::counter::TABLE;
use crate::rtpengine::node::{Breaker, NodeConfig};
use crate::rtpengine::sessions::{self, RECORD, Records, Survey};

/// Name of the table of sessions.
const FILE: &str = "media.sessions";
/// Name of one that this program cannot read.
const OTHER: &str = "media.sessions.other";
/// Records for debts of calls that are over, beside those of calls in progress.
const OWED: u32 = 8192;

impl Records for MappedFile {
    fn bytes(&self) -> &[u8] {
        self.bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes_mut()
    }
}

impl<R: Records> MediaMachine for Client<R> {
    type Remains = Remains;

    fn remains(&mut self) -> Remains {
        self.remains()
    }

    fn take_up(&mut self, remains: Remains) {
        self.take_up(remains);
    }

    fn configure(&mut self, now: Instant, nodes: Vec<NodeConfig>) {
        self.configure(now, nodes);
    }

    fn on_request(&mut self, now: Instant, shard: u16, request: &MediaRequest<'_>, out: &mut impl Outputs) {
        self.submit(now, shard, request, out);
    }

    fn on_ended(&mut self, now: Instant, call: &CallRecord, out: &mut impl Outputs) {
        if call.media {
            self.ended(now, MediaCall { call_hash: call.call_hash, pass: call.pass }, out);
        }
    }

    fn on_datagram(&mut self, now: Instant, socket: u8, from: SocketAddr, bytes: &[u8], out: &mut impl Outputs) {
        self.on_datagram(now, socket, from, bytes, out);
    }

    fn on_unreachable(&mut self, now: Instant, node: u32, out: &mut impl Outputs) {
        self.on_unreachable(now, node, out);
    }

    fn on_list(&mut self, now: Instant, node: u32, list: Option<&[u8]>, out: &mut impl Outputs) {
        self.on_list(now, node, list, out);
    }

    fn on_timeout(&mut self, now: Instant, out: &mut impl Outputs) {
        self.on_timeout(now, out);
    }

    fn next_timeout(&self) -> Instant {
        self.next_timeout()
    }

    fn holds(&self) -> Vec<SocketAddr> {
        self.sessions().counts().map(|(address, _)| address).collect()
    }

    fn foreign(&self) -> u64 {
        self.foreign()
    }

    fn answers(&self, node: u32) -> bool {
        self.nodes().find(|known| known.config.id == node).is_none_or(|known| known.breaker == Breaker::Closed)
    }

    fn pays(&self, until: Instant) -> bool {
        self.pays(until)
    }

    fn counters(&mut self, each: &mut dyn FnMut(&'static str, u64)) {
        let counters = self.counters();
        TABLE.iter().for_each(|row| each(row.name, counters.value(row.counter)));
    }
}

/// What the file of sessions was found to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// Records that can be read, or none.
    Good,
    /// So many that cannot, among others.
    Torn(u64),
    /// Not one record of this layout: it was put aside here.
    Other(PathBuf),
}

/// Where and how a node keeps its sessions, and who it is to media nodes.
#[derive(Clone, Debug)]
pub struct ClientSpec {
    /// The table of sessions.
    path: PathBuf,
    /// Its size.
    bytes: usize,
    /// Bytes of SDP that are kept.
    room: usize,
    settings: ClientSettings,
    /// Earlier starts of this node.
    boots: Vec<u64>,
}

impl ClientSpec {
    /// Sessions in `directory`, for a node that holds `calls` calls. A quarter of the calls may have been offered to a second node.
    #[must_use]
    pub fn new(directory: &Path, calls: u32, settings: ClientSettings, boots: Vec<u64>) -> ClientSpec {
        let records = ClientSpec::records(calls) as usize;
        let (bytes, room) = (RECORD * records, SESSION_BYTES * records);
        ClientSpec { path: directory.join(FILE), bytes, room, settings, boots }
    }

    /// Records of the table for so many calls, for the memory bill. Each has [`RECORD`] bytes there, and [`SESSION_BYTES`] for SDP.
    #[must_use]
    pub const fn records(calls: u32) -> u32 {
        calls.saturating_add(calls / 4).saturating_add(OWED)
    }

    /// Whether an earlier start has left sessions in `directory`: they may be owed although there are no nodes any more.
    #[must_use]
    pub fn left(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// The table of sessions.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at what the file holds before a client takes it, and makes it where it is missing. One of another layout is put aside.
    ///
    /// # Errors
    /// The file cannot be made, read, mapped or renamed.
    pub fn survey(&self) -> io::Result<Found> {
        let table = MappedFile::open(&self.path, self.bytes)?;
        let Survey { sound, torn, foreign } = sessions::survey(table.bytes());
        if sound + torn > 0 || foreign == 0 {
            return Ok(if torn + foreign == 0 { Found::Good } else { Found::Torn(torn + foreign) });
        }
        let aside = self.path.with_file_name(OTHER);
        fs::rename(&self.path, &aside)?;
        Ok(Found::Other(aside))
    }

    /// Makes a client on what the file holds: what another start left there is owed.
    ///
    /// # Errors
    /// The file cannot be made or mapped.
    pub fn make(&self, now: Now) -> io::Result<Client<MappedFile>> {
        let table = MappedFile::open(&self.path, self.bytes)?;
        // Not what the table has room for: that of an earlier start may be larger, and is not in the bill.
        Ok(Client::new(now, self.settings, Vec::new(), table).with_room(self.room).with_boots(&self.boots))
    }
}
