//! A raw UDP peer: says exactly what a test wants said, and shows exactly what came back.
//!
//! It is not a SIP stack. Where a whole call is wanted, SIPp places it; this is for single requests, for bytes that no stack
//! would send, and for calls that must stand still while the test looks at something else.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The longest that an answer may take on a busy machine.
const ANSWER: Duration = Duration::from_secs(30);

/// A socket and the Corelane that it talks to.
pub(crate) struct Peer {
    socket: UdpSocket,
    corelane: SocketAddr,
}

impl Peer {
    /// A peer on a free port of `ip`.
    pub(crate) fn new(ip: IpAddr, corelane: SocketAddr) -> Peer {
        Peer::at(SocketAddr::new(ip, 0), corelane)
    }

    /// A peer on a known port.
    pub(crate) fn at(local: SocketAddr, corelane: SocketAddr) -> Peer {
        let socket = UdpSocket::bind(local).unwrap_or_else(|error| panic!("cannot bind {local}: {error}"));
        socket.set_read_timeout(Some(ANSWER)).expect("a time-out that is not zero");
        Peer { socket, corelane }
    }

    /// Its own address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// Sends these bytes to Corelane.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        self.socket.send_to(bytes.as_ref(), self.corelane).expect("loopback takes a datagram");
    }

    /// The next message.
    pub(crate) fn receive(&self) -> Message {
        let mut bytes = vec![0; 65_536];
        let (length, from) = self.next(&mut bytes).unwrap_or_else(|error| panic!("no message came: {error}"));
        assert_eq!(from, self.corelane, "a message came from somewhere else");
        Message(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// The next datagram. A socket with a time limit is interrupted by any signal, also by one that nobody handles: that says nothing.
    fn next(&self, bytes: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            match self.socket.recv_from(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    }

    /// The next message that starts with `start`, e.g. a method; others are passed over.
    pub(crate) fn receive_starting(&self, start: &str) -> Message {
        loop {
            let message = self.receive();
            if message.0.starts_with(start) {
                return message;
            }
        }
    }

    /// The next request of this method with this CSeq number in the call with this Call-ID. What is repeated of others, and of other calls, is
    /// passed over: on a busy machine Corelane repeats what was not answered at once, and it arrives after its answer has left.
    pub(crate) fn receive_request(&self, call_id: &str, method: &str, cseq: u32) -> Message {
        loop {
            let message = self.receive_starting(method);
            if message.call_id() == call_id && message.header("CSeq") == Some(&format!("{cseq} {method}")) {
                return message;
            }
        }
    }

    /// The next response of this status.
    pub(crate) fn receive_status(&self, code: u16) -> Message {
        self.receive_starting(&format!("SIP/2.0 {code} "))
    }

    /// Whether nothing waits to be read.
    pub(crate) fn nothing_came(&self) -> bool {
        self.socket.set_nonblocking(true).expect("a socket can be asked without waiting");
        let came = self.next(&mut [0; 1]).is_ok();
        self.socket.set_nonblocking(false).expect("and set back");
        !came
    }

    /// All messages that wait to be read.
    pub(crate) fn all_waiting(&self) -> Vec<Message> {
        self.socket.set_nonblocking(true).expect("a socket can be asked without waiting");
        let mut bytes = vec![0; 65_536];
        let mut messages = Vec::new();
        while let Ok((length, _)) = self.next(&mut bytes) {
            messages.push(Message(String::from_utf8_lossy(&bytes[..length]).into_owned()));
        }
        self.socket.set_nonblocking(false).expect("and set back");
        messages
    }

    /// The final response to `request`. Provisional ones come before it, and so may a repeated answer to an earlier request.
    pub(crate) fn receive_final(&self, request: &Request) -> Message {
        loop {
            let message = self.receive();
            let same = ["Call-ID", "CSeq"].iter().all(|&name| message.header(name) == request.header(name));
            if same && message.code().is_some_and(|code| code >= 200) {
                return message;
            }
        }
    }

    /// A request to Corelane that is well formed and outside any dialog.
    pub(crate) fn request(&self, method: &str, number: &str) -> Request {
        static REQUESTS: AtomicU32 = AtomicU32::new(1);
        let n = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let (local, corelane) = (self.address(), self.corelane);
        let user = if number.is_empty() { String::new() } else { format!("{number}@") };
        Request {
            line: format!("{method} sip:{user}{corelane} SIP/2.0"),
            headers: vec![
                format!("Via: SIP/2.0/UDP {local};branch=z9hG4bK-peer-{n};rport"),
                "Max-Forwards: 70".to_owned(),
                format!("From: <sip:peer@{local}>;tag=p{n}"),
                format!("To: <sip:{user}{corelane}>"),
                format!("Call-ID: {n}-peer@{local}"),
                format!("CSeq: 1 {method}"),
                format!("Contact: <sip:peer@{local}>"),
                "Content-Length: 0".to_owned(),
            ],
            body: String::new(),
        }
    }

    /// A request within the dialog that this peer accepted with `invite` (RFC 3261 §12.1.1): the caller's Contact, the Record-Routes in their
    /// order, the tag that [`Message::answer`] gave. It has no body.
    pub(crate) fn request_within(&self, invite: &Message, method: &str, cseq: u32) -> Request {
        let local = self.address();
        let value = |name: &str| invite.header(name).unwrap_or_default();
        let contact = value("Contact");
        let target = contact.trim_start_matches('<').split('>').next().unwrap_or_default();
        let mut headers = vec![
            format!(
                "Via: SIP/2.0/UDP {local};branch=z9hG4bK-{}-{method}-{cseq};rport",
                value("Call-ID").replace('@', "-")
            ),
            "Max-Forwards: 70".to_owned(),
            format!("From: {};tag=gateway", value("To")),
            format!("To: {}", value("From")),
            format!("Call-ID: {}", value("Call-ID")),
            format!("CSeq: {cseq} {method}"),
            format!("Contact: <sip:gateway@{local}>"),
            "Content-Length: 0".to_owned(),
        ];
        headers.extend(invite.headers("Record-Route").iter().map(|route| format!("Route: {route}")));
        Request { line: format!("{method} {target} SIP/2.0"), headers, body: String::new() }
    }

    /// Sends a request and gives its final response. The ACK of a refused INVITE is sent too (RFC 3261 §17.1.1.3).
    pub(crate) fn ask(&self, request: &Request) -> Message {
        self.send(request.text());
        let answer = self.receive_final(request);
        if request.line.starts_with("INVITE") && answer.code().is_some_and(|code| code >= 300) {
            self.send(request.ack(&answer).text());
        }
        answer
    }

    /// Establishes a call and leaves it standing.
    pub(crate) fn call(&self, number: &str) -> Dialog {
        let invite = self.request("INVITE", number);
        self.send(invite.text());
        self.answered(invite)
    }

    /// Same, where the call may be refused: then the status.
    pub(crate) fn try_call(&self, number: &str) -> Result<Dialog, u16> {
        let invite = self.request("INVITE", number);
        let answer = self.ask(&invite);
        match answer.code() {
            Some(200) => Ok(self.acknowledge(invite, answer)),
            code => Err(code.unwrap_or(0)),
        }
    }

    /// Waits until an INVITE that was sent is answered, and acknowledges that.
    pub(crate) fn answered(&self, invite: Request) -> Dialog {
        let answer = self.receive_final(&invite);
        assert_eq!(answer.code(), Some(200), "{}", answer.0);
        self.acknowledge(invite, answer)
    }

    fn acknowledge(&self, invite: Request, answer: Message) -> Dialog {
        let dialog = Dialog { invite, answer };
        self.send(dialog.request("ACK", 1).text());
        dialog
    }

    /// Ends a call.
    pub(crate) fn hang_up(&self, dialog: &Dialog) {
        let answer = self.receive_final(&self.say_bye(dialog));
        assert_eq!(answer.code(), Some(200), "{}", answer.0);
    }

    /// Sends BYE and does not wait.
    pub(crate) fn say_bye(&self, dialog: &Dialog) -> Request {
        let bye = dialog.request("BYE", 2);
        self.send(bye.text());
        bye
    }
}

/// A request in the making.
#[derive(Clone)]
pub(crate) struct Request {
    line: String,
    headers: Vec<String>,
    body: String,
}

impl Request {
    /// Replaces the request line.
    pub(crate) fn line(mut self, line: &str) -> Request {
        line.clone_into(&mut self.line);
        self
    }

    /// Adds a header line at the end.
    pub(crate) fn add(mut self, header: &str) -> Request {
        self.headers.push(header.to_owned());
        self
    }

    /// Replaces the header of this name; its value may be given in any form.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Request {
        let at = self.headers.iter().position(|header| named(header, name)).expect("a header to replace");
        self.headers[at] = format!("{name}: {value}");
        self
    }

    /// Sets a body of this type, with its length.
    pub(crate) fn content(mut self, kind: &str, body: &str) -> Request {
        self.headers.retain(|header| !named(header, "Content-Type"));
        if !body.is_empty() {
            self.headers.push(format!("Content-Type: {kind}"));
        }
        self.set("Content-Length", &body.len().to_string()).body(body)
    }

    /// Sets the body and leaves Content-Length alone.
    pub(crate) fn body(mut self, body: &str) -> Request {
        body.clone_into(&mut self.body);
        self
    }

    fn header(&self, name: &str) -> Option<&str> {
        value(self.headers.iter().map(String::as_str), name)
    }

    /// Its Call-ID, which Corelane leaves as it is.
    pub(crate) fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    /// The ACK of a refused INVITE: its branch, its Request-URI, the To of the answer.
    pub(crate) fn ack(&self, answer: &Message) -> Request {
        let cseq = self.header("CSeq").unwrap_or_default().replace("INVITE", "ACK");
        let to = answer.header("To").unwrap_or_default().to_owned();
        let line = self.line.replacen("INVITE", "ACK", 1);
        self.clone().content("", "").line(&line).set("To", &to).set("CSeq", &cseq)
    }

    /// The CANCEL of an INVITE (RFC 3261 §9.1): its branch and its CSeq number.
    pub(crate) fn cancel(&self) -> Request {
        let cseq = self.header("CSeq").unwrap_or_default().replace("INVITE", "CANCEL");
        let line = self.line.replacen("INVITE", "CANCEL", 1);
        self.clone().content("", "").line(&line).set("CSeq", &cseq)
    }

    /// The bytes.
    pub(crate) fn text(&self) -> String {
        format!("{}\r\n{}\r\n\r\n{}", self.line, self.headers.join("\r\n"), self.body)
    }
}

/// A call as its caller knows it.
pub(crate) struct Dialog {
    invite: Request,
    answer: Message,
}

impl Dialog {
    /// The dialog that a response with a To tag made: early by a 1xx, confirmed by a 2xx.
    pub(crate) fn of(invite: Request, answer: Message) -> Dialog {
        Dialog { invite, answer }
    }

    /// The Call-ID of it.
    pub(crate) fn call_id(&self) -> &str {
        self.invite.call_id()
    }

    /// The response that made it.
    pub(crate) fn answer(&self) -> &Message {
        &self.answer
    }

    /// A request within the dialog (RFC 3261 §12.2.1.1): remote target, reversed route set, the callee's tag. It has no body.
    pub(crate) fn request(&self, method: &str, cseq: u32) -> Request {
        let contact = self.answer.header("Contact").expect("a 2xx has a Contact");
        let target = contact.trim_start_matches('<').split('>').next().unwrap_or_default();
        let via = self.invite.header("Via").unwrap_or_default().replace(";rport", &format!("-{method}-{cseq};rport"));
        let to = self.answer.header("To").unwrap_or_default().to_owned();
        let mut request = self.invite.clone().content("", "").line(&format!("{method} {target} SIP/2.0"));
        request = request.set("Via", &via).set("To", &to).set("CSeq", &format!("{cseq} {method}"));
        let mut routes = self.answer.headers("Record-Route");
        routes.reverse();
        routes.iter().fold(request, |request, route| request.add(&format!("Route: {route}")))
    }
}

/// A message that came.
pub(crate) struct Message(pub(crate) String);

impl Message {
    /// The status code of a response.
    pub(crate) fn code(&self) -> Option<u16> {
        self.0.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        value(self.lines(), name)
    }

    /// Its Call-ID; empty where it has none.
    pub(crate) fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    /// All lines of a header, in order.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        self.lines()
            .filter(|line| named(line, name))
            .filter_map(|line| line.split_once(':'))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// All of it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// What follows the headers.
    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// A response to this request as a gateway would give it.
    pub(crate) fn answer(&self, status: &str, contact: SocketAddr) -> String {
        self.answer_with(status, contact, &[], "")
    }

    /// Same, with further header lines and an SDP, which may be none.
    pub(crate) fn answer_with(&self, status: &str, contact: SocketAddr, headers: &[&str], sdp: &str) -> String {
        let echoed = ["Via", "Record-Route", "From", "Call-ID", "CSeq"];
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in echoed {
            for value in self.headers(name) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let to = self.header("To").unwrap_or_default();
        let tag = if to.contains(";tag=") { "" } else { ";tag=gateway" };
        text.push_str(&format!("To: {to}{tag}\r\nContact: <sip:gateway@{contact}>\r\n"));
        for header in headers {
            text.push_str(&format!("{header}\r\n"));
        }
        if !sdp.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        text + &format!("Content-Length: {}\r\n\r\n{sdp}", sdp.len())
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.split("\r\n").take_while(|line| !line.is_empty())
    }
}

fn named(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(known, _)| known.trim().eq_ignore_ascii_case(name))
}

fn value<'a>(mut lines: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    lines.find(|line| named(line, name)).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
}
