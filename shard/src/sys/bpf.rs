//! `bpf(2)`, and the socket options that attach programs: the only calls to the kernel that steering and shedding need.
//!
//! Each function fills the part of the kernel's `union bpf_attr` that its command reads, and passes that part's size; the kernel
//! takes the rest as zero. So one binary serves kernels with larger and smaller unions.
//!
//! Errors are plain [`io::Error`]s with the kernel's errno; [`steer`](crate::steer) and [`shed`](crate::shed) say which step failed and what
//! to do.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// One instruction word as the kernel reads it (`struct bpf_insn`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Word {
    /// Class, operation and source kind.
    pub code: u8,
    /// Destination register in the low half, source register in the high half.
    pub registers: u8,
    /// Jump distance in words, or offset of a memory access in bytes.
    pub offset: i16,
    /// Constant.
    pub immediate: i32,
}

const _: () = assert!(size_of::<Word>() == 8, "the kernel reads eight bytes an instruction");
const _: () = assert!(
    cfg!(target_endian = "little"),
    "the program compares bytes in little-endian words, and so does program_info"
);

/// Kinds of map in use (`enum bpf_map_type`).
#[derive(Copy, Clone, Debug)]
#[repr(u32)]
pub(crate) enum MapKind {
    Array = 2,
    PerCpuArray = 6,
    ReuseportSocketArray = 20,
}

/// Commands (`enum bpf_cmd`).
#[derive(Copy, Clone)]
#[repr(i32)]
enum Command {
    MapCreate = 0,
    MapUpdate = 2,
    ProgramLoad = 5,
    InfoByFd = 15,
    EnableStats = 32,
}

/// Kinds of program in use (`enum bpf_prog_type`).
#[derive(Copy, Clone, Debug)]
#[repr(u32)]
pub(crate) enum ProgramKind {
    SocketFilter = 1,
    SkReuseport = 21,
}

/// `BPF_F_MMAPABLE`: the process may map an array's values (Linux 5.5).
const MAPPABLE: u32 = 1 << 10;
/// `SO_ATTACH_REUSEPORT_EBPF` and `SO_DETACH_REUSEPORT_BPF` of `asm-generic/socket.h`; the libc crate names them for Android only.
const SO_ATTACH_REUSEPORT_EBPF: i32 = 52;
const SO_DETACH_REUSEPORT_BPF: i32 = 68;
/// No helper that the program calls asks for the GPL.
const LICENSE: &CStr = c"Apache-2.0";

#[derive(Default)]
#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries_max: u32,
    flags: u32,
    inner_map: u32,
    numa_node: u32,
    name: [u8; 16],
}

#[repr(C)]
struct MapElement {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    word_count: u32,
    words: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[repr(C)]
struct InfoByFd {
    fd: u32,
    info_size: u32,
    info: u64,
}

#[repr(C)]
struct EnableStats {
    kind: u32,
}

/// What the kernel says of a loaded program: the first 224 bytes of `struct bpf_prog_info`, in 8-byte words.
#[derive(Default)]
#[repr(C)]
struct RawProgramInfo {
    words: [u64; 28],
}

/// Runs and cost of a loaded program. Runs are counted only while the kernel was asked to.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct ProgramInfo {
    /// Time spent in the program, in ns; includes the kernel's own reading of the clock (about 20 ns a run).
    pub run_time_ns: u64,
    /// Datagrams seen.
    pub runs: u64,
    /// Instructions that the verifier walked; the kernel gives up at 1,000,000 (0 on kernels that do not tell, before 5.16).
    pub verified_instructions: u32,
    /// Size of the machine code in bytes, 0 when the kernel interprets.
    pub jited_bytes: u32,
}

/// A command with its part of `union bpf_attr`. Returns what the kernel returned: a descriptor or 0.
///
/// # Safety
/// Every address in `attributes` must be valid for what `command` does with it, for the length of the call.
unsafe fn bpf<Attributes>(command: Command, attributes: &mut Attributes) -> io::Result<i32> {
    let size = size_of_val(attributes);
    // SAFETY: `attributes` is a live, exclusive `repr(C)` struct of `size` bytes; the caller vouches for the addresses in it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as i32, std::ptr::from_mut(attributes), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// A fresh descriptor from a command's result.
///
/// # Safety
/// `result` must be the result of a command that opens a descriptor.
unsafe fn own(result: i32) -> OwnedFd {
    // SAFETY: the kernel just opened it for us and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(result) }
}

fn name(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    let length = text.len().min(15);
    name[..length].copy_from_slice(&text.as_bytes()[..length]);
    name
}

/// A map with 4-byte keys. It knows its value size, so that no update reads past a value.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    kind: MapKind,
    value_size: usize,
}

impl Map {
    /// Creates a map of `entries` values. `text` names it in the kernel's lists (15 bytes at most).
    pub(crate) fn create(kind: MapKind, text: &str, value_size: usize, entries: usize) -> io::Result<Map> {
        Map::create_with(kind, 0, text, value_size, entries)
    }

    /// Creates an array of one value of `words` 64-bit words that this process shares with programs by [`Map::share`].
    pub(crate) fn create_shared(text: &str, words: usize) -> io::Result<Map> {
        Map::create_with(MapKind::Array, MAPPABLE, text, words * size_of::<AtomicU64>(), 1)
    }

    fn create_with(kind: MapKind, flags: u32, text: &str, value_size: usize, entries: usize) -> io::Result<Map> {
        let mut attributes = MapCreate {
            kind: kind as u32,
            flags,
            key_size: 4,
            value_size: value_size as u32,
            entries_max: entries as u32,
            name: name(text),
            ..MapCreate::default()
        };
        // SAFETY: the command reads no address; it opens a descriptor.
        let fd = unsafe { bpf(Command::MapCreate, &mut attributes).map(|fd| own(fd))? };
        Ok(Map { fd, kind, value_size })
    }

    /// The descriptor, as instructions name the map.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Writes one element.
    ///
    /// # Panics
    /// When `value` is not of the map's value size, or the map keeps a value per CPU (such an update takes one value for each).
    pub(crate) fn update(&self, key: u32, value: &[u8]) -> io::Result<()> {
        assert_eq!(value.len(), self.value_size, "the kernel reads the map's value size, whatever the slice is");
        assert!(!matches!(self.kind, MapKind::PerCpuArray), "such an update reads a value for each CPU");
        let mut attributes = MapElement {
            map: self.fd.as_raw_fd() as u32,
            padding: 0,
            key: std::ptr::from_ref(&key) as u64,
            value: value.as_ptr() as u64,
            flags: 0,
        };
        // SAFETY: `key` and `value` outlive the call and the kernel only reads them: 4 bytes, as `create` said, and the map's
        // value size, which is the slice's length (asserted above).
        unsafe { bpf(Command::MapUpdate, &mut attributes).map(|_| ()) }
    }

    /// Maps the value of an array made by [`Map::create_shared`]. The memory lives as long as the mapping, whatever becomes of the map.
    pub(crate) fn share(&self) -> io::Result<SharedWords> {
        let words = self.value_size / size_of::<AtomicU64>();
        let map = MmapOptions::new().len(self.value_size).map_raw(self.fd.as_raw_fd())?;
        Ok(SharedWords { map, words })
    }

    /// Puts a bound socket into a place of a socket array.
    pub(crate) fn update_socket(&self, place: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.update(place, &u64::from(socket.as_raw_fd() as u32).to_ne_bytes())
    }
}

/// 64-bit words that this process and programs in the kernel read and write.
pub(crate) struct SharedWords {
    map: MmapRaw,
    words: usize,
}

impl SharedWords {
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let start = self.map.as_mut_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping is page-aligned, is that many words long, and lives as long as `self`. Nobody forms another kind of
        // reference into it, and programs reach it by aligned 64-bit accesses only, so that all accesses are atomic.
        unsafe { std::slice::from_raw_parts(start, self.words) }
    }
}

impl fmt::Debug for SharedWords {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SharedWords({})", self.words)
    }
}

/// Loads a program. A `log` that is not empty receives the verifier's words, closed by a NUL.
pub(crate) fn load_program(kind: ProgramKind, words: &[Word], text: &str, log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut attributes = ProgramLoad {
        kind: kind as u32,
        word_count: words.len() as u32,
        words: words.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kernel_version: 0,
        flags: 0,
        name: name(text),
        interface: 0,
        attach_type: 0,
    };
    // SAFETY: the words and the license are only read, within their lengths; `log` is exclusively ours and written within its
    // length. All outlive the call. The command opens a descriptor.
    unsafe { bpf(Command::ProgramLoad, &mut attributes).map(|fd| own(fd)) }
}

/// Runs, cost and size of a program.
pub(crate) fn program_info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let mut raw = RawProgramInfo::default();
    let mut attributes = InfoByFd {
        fd: program.as_raw_fd() as u32,
        info_size: size_of::<RawProgramInfo>() as u32,
        info: std::ptr::from_mut(&mut raw) as u64,
    };
    // SAFETY: the kernel writes at most `info_size` bytes into `raw`, plain integers for which any bits are valid; the counts of
    // arrays in it are zero, so that it follows no address in it.
    unsafe { bpf(Command::InfoByFd, &mut attributes)? };
    Ok(ProgramInfo {
        run_time_ns: raw.words[24],
        runs: raw.words[25],
        verified_instructions: raw.words[27] as u32,
        jited_bytes: raw.words[2] as u32,
    })
}

/// Makes the kernel count runs and their time, for all programs of the machine, until the descriptor is closed.
pub(crate) fn enable_statistics() -> io::Result<OwnedFd> {
    let mut attributes = EnableStats { kind: 0 };
    // SAFETY: the command reads no address; it opens a descriptor.
    unsafe { bpf(Command::EnableStats, &mut attributes).map(|fd| own(fd)) }
}

fn set_option(socket: BorrowedFd<'_>, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<i32>()` bytes of `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(&value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes `program` choose for the whole group of `socket`.
pub(crate) fn attach_to_group(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, SO_ATTACH_REUSEPORT_EBPF, program.as_raw_fd())
}

/// Leaves the choice for the group of `socket` to the kernel's own hash again.
pub(crate) fn detach_from_group(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, SO_DETACH_REUSEPORT_BPF, 0)
}

/// Makes `program` look at each datagram that a socket is about to take.
pub(crate) fn attach_filter(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SO_ATTACH_BPF, program.as_raw_fd())
}

/// Lets a socket take everything again.
pub(crate) fn detach_filter(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SO_DETACH_FILTER, 0)
}

/// The kernel's monotonic clock, in ns: what [`Helper::MonotonicNanos`](crate::assembler::Helper) tells a program. Time namespaces move
/// only ours.
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec`, which outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0, "every Linux has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
