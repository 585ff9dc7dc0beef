//! What sessions media nodes have, asked by ng over TCP: over UDP a list is one datagram and holds a few of them.
//!
//! rtpengine listens there with `listen-tcp-ng`, here on the port of its ng socket. A node that does not, or says something else, is told once; the
//! machine then asks it by what it knows itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::teller::Teller;
use crate::rtpengine::command::Command;
use crate::rtpengine::id::{Cookie, Origin};
use crate::rtpengine::reply::{self, Meaning};

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest list, in bytes: that of 100,000 sessions with names like ours.
const LIST_MAX: usize = 8 << 20;
/// Read at once, in bytes.
const PART: usize = 64 << 10;

/// A node's list as it came, without its cookie; `None`: there is none.
pub(super) type Listed = (u32, Option<Vec<u8>>);

/// Asks a node for its list at this interval, for as long as somebody listens.
pub(super) async fn follow(
    node: u32,
    address: SocketAddr,
    every: Duration,
    listed: mpsc::Sender<Listed>,
    teller: Teller,
) {
    let mut told = false;
    while !listed.is_closed() {
        sleep(every).await;
        let list = match timeout(PATIENCE, ask(address)).await {
            Ok(list) => list,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = &list
            && !told
        {
            teller.tell(format!(
                "media node at {address}: no list of its sessions over TCP: {error}; it is asked for those in the table \
                 one by one, and what the table has lost is not seen (give rtpengine `listen-tcp-ng`)"
            ));
        }
        told = list.is_err();
        let _ = listed.send((node, list.ok())).await;
    }
}

/// Asks once.
async fn ask(address: SocketAddr) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address).await?;
    // A node remembers replies by cookie alone: one that nobody ever had.
    let mut drawn = [0; 16];
    getrandom::fill(&mut drawn).map_err(|error| io::Error::other(error.to_string()))?;
    let [boot, number] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|place| drawn[at + place])));
    let mut question = Vec::new();
    Command::List.write(Cookie { origin: Origin { node: 0, boot }, number }, &mut question);
    let mut rest = &question[..];
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let (mut said, mut part) = (Vec::new(), vec![0; PART]);
    loop {
        stream.readable().await?;
        match stream.try_read(&mut part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) if said.len() + length > LIST_MAX => return Err(io::Error::other("it is too long")),
            Ok(length) => {
                said.extend_from_slice(&part[..length]);
                if let Some(body) = reply::whole(&said) {
                    let list = matches!(reply::parse(body), Ok(Meaning::List(_)));
                    return list.then(|| body.to_vec()).ok_or_else(|| io::Error::other("what it says is no list"));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn a_list_comes_in_parts() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let node = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("asked");
            let mut question = vec![0; 256];
            let length = stream.read(&mut question).expect("a question");
            let question = String::from_utf8(question[..length].to_vec()).expect("text");
            let (cookie, command) = question.split_once(' ').expect("a cookie");
            for part in [cookie, " d5:calls", "l3:a-e1:be6:result2:ok", "e"] {
                stream.write_all(part.as_bytes()).expect("heard");
            }
            command.to_owned()
        });
        let list = ask(address).await.expect("a list");
        assert_eq!(list, b"d5:callsl3:a-e1:be6:result2:oke");
        assert!(node.join().expect("served").starts_with("d7:command4:list"));
    }

    #[tokio::test]
    async fn a_node_that_knows_no_list_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let node = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("asked");
            let mut question = vec![0; 256];
            let length = stream.read(&mut question).expect("a question");
            let cookie = question[..length].split(|byte| *byte == b' ').next().expect("a cookie");
            let reply = b" d6:result5:error12:error-reason20:Unrecognized commande";
            stream.write_all(&[cookie, reply].concat()).expect("heard");
        });
        assert_eq!(ask(address).await.expect_err("no list").to_string(), "what it says is no list");
        node.join().expect("served");
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_and_no_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        assert_eq!(ask(address).await.expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
    }
}
