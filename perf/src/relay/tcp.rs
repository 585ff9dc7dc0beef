//! ng over TCP, as rtpengine's `listen-tcp-ng`: the same requests one after the other, for lists that no datagram holds.
//!
//! A request has no frame but its own form: a cookie, a space, a dictionary that says where it ends. What does so never fills
//! [`REQUEST_MAX`] and ends the connection. Faults other than freezing are not drawn here.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::bencode::dictionary_end;
use super::faults::State;
use super::serve::Shared;

/// The largest request, in bytes.
const REQUEST_MAX: usize = 64 * 1024;

/// How often a thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// Accepts connections, each on a thread of its own, until `stop` is set.
pub(super) fn serve(listener: TcpListener, shared: Arc<Shared>, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    thread::spawn(move || {
        if let Err(error) = listener.set_nonblocking(true) {
            eprintln!("relay: no ng over TCP: {error}");
            return;
        }
        while !stop.load(Ordering::Relaxed) {
            if shared.node().faults.state == State::Serving
                && let Ok((stream, _)) = listener.accept()
            {
                let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
                thread::spawn(move || drop(converse(stream, &shared, &stop)));
            } else {
                thread::sleep(LOOK);
            }
        }
    })
}

fn converse(mut stream: TcpStream, shared: &Shared, stop: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LOOK))?;
    let mut bytes = Vec::new();
    let mut out = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut some = [0; 4096];
        match stream.read(&mut some) {
            Ok(0) => return Ok(()),
            Ok(count) => bytes.extend_from_slice(&some[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if shared.node().faults.state != State::Serving {
            continue;
        }
        while let Some(end) = request_end(&bytes) {
            out.clear();
            shared.node().answer(shared.now(), &bytes[..end], &mut out);
            stream.write_all(&out)?;
            bytes.drain(..end);
        }
        if bytes.len() > REQUEST_MAX {
            return Ok(());
        }
    }
    Ok(())
}

/// Where the first request ends; `None` while it is not whole.
fn request_end(bytes: &[u8]) -> Option<usize> {
    let space = memchr::memchr(b' ', bytes)?;
    dictionary_end(&bytes[space + 1..]).map(|end| space + 1 + end)
}
