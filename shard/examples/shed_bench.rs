//! What the shedding filter costs per datagram, dropped or not.
//!
//! `cargo run --release -p corelane-shard --example shed_bench` (as root; `--listing` prints the program instead).
//!
//! The kernel counts each run and its time while this runs. Its own part of a run (two readings of the clock, the call) is that of a
//! datagram which is no INVITE, less one call of a kernel function.

use std::net::UdpSocket;

use corelane_core::siphash::Key;
use corelane_shard::shed::{self, Filter};
use corelane_shard::steer::Measuring;

const ROUNDS: usize = 5;
const DATAGRAMS: usize = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().any(|argument| argument == "--listing") {
        print(&shed::listing());
        return Ok(());
    }
    let start = std::time::Instant::now();
    let filter = Filter::load(Key::new(*b"a secret of test"))?;
    let load_time = start.elapsed();
    let cost = filter.cost()?;
    print(&format!(
        "loaded in {load_time:.1?}, verifier walked {} instructions, machine code {} bytes\n\n\
         | datagram | bytes | ns a run, lowest | median |\n| --- | --- | --- | --- |\n",
        cost.verified_instructions, cost.jited_bytes
    ));
    let _measuring = Measuring::start()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    filter.attach(&socket)?;
    let line = |name: &str, message: &[u8], named: bool| -> Result<(), Box<dyn std::error::Error>> {
        let mut costs =
            (0..ROUNDS).map(|_| per_run(&filter, &socket, message, named)).collect::<Result<Vec<_>, _>>()?;
        costs.sort_by(f64::total_cmp);
        print(&format!("| {name} | {} | {:.0} | {:.0} |\n", message.len(), costs[0], costs[ROUNDS / 2]));
        Ok(())
    };
    line("no INVITE", &message("BYE", 700, ""), true)?;
    line("INVITE of a source that is not named", &message("INVITE", 700, ""), false)?;
    for size in [300, 700, 1400] {
        line("new call, dropped", &message("INVITE", size, ""), true)?;
    }
    line("re-INVITE", &message("INVITE", 700, ";tag=two"), true)
}

/// To standard output, which this example exists for.
#[expect(clippy::print_stdout, reason = "an example that prints a table")]
fn print(text: &str) {
    print!("{text}");
}

/// Time of a run in ns, over [`DATAGRAMS`] runs.
fn per_run(
    filter: &Filter,
    socket: &UdpSocket,
    message: &[u8],
    named: bool,
) -> Result<f64, Box<dyn std::error::Error>> {
    let sender = UdpSocket::bind(if named { "127.0.0.7:0" } else { "127.0.0.8:0" })?;
    let address = socket.local_addr()?;
    let mut buffer = [0; 2048];
    let before = filter.cost()?;
    for sent in 0..DATAGRAMS {
        if sent % 16 == 0 {
            filter.set([127, 0, 0, 7].into(), 0);
            while socket.recv(&mut buffer).is_ok() {}
        }
        sender.send_to(message, address)?;
    }
    let after = filter.cost()?;
    let runs = after.runs - before.runs;
    assert!(runs >= DATAGRAMS as u64, "the kernel counted {runs} of {DATAGRAMS} runs");
    Ok((after.run_time_ns - before.run_time_ns) as f64 / runs as f64)
}

/// A request of `size` bytes.
fn message(method: &str, size: usize, to_tag: &str) -> Vec<u8> {
    let mut text = format!(
        "{method} sip:+4930123456@192.0.2.10 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds\r\n\
         From: <sip:+4930987654@192.0.2.1>;tag=1928301774\r\nTo: <sip:+4930123456@192.0.2.10>{to_tag}\r\nX: "
    );
    while text.len() + 4 < size {
        text.push('x');
    }
    text.push_str("\r\n\r\n");
    text.into_bytes()
}
