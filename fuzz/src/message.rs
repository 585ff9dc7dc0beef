//! What `parse` and `round_trip` both do: look at everything that a message shows.

use corelane_core::message::{Message, Name, Span, StartLine, parse_ip};

/// Reads every typed view of a message. A span that leads outside the message panics in [`Message::text`].
///
/// # Panics
/// When the first field of a name, or the values of one, are not what the fields say.
pub fn look_at_all(message: &Message<'_>) {
    let text = |span: Span| message.text(span);
    let via = message.via();
    for span in [via.value, via.transport, via.host, via.rport_param] {
        text(span);
    }
    for span in [via.branch, via.received].into_iter().flatten() {
        text(span);
    }
    let _ = parse_ip(text(via.host));
    for address in [message.from(), message.to()] {
        text(address.value);
        text(address.uri);
        let _ = address.tag.map(text);
    }
    text(message.cseq().name);
    match message.start() {
        StartLine::Request { name, uri, .. } => _ = (text(name), text(uri)),
        StartLine::Response { status, reason } => {
            assert!((100..700).contains(&status), "a status of three digits");
            text(reason);
        }
    }
    let _ = (message.body(), message.call_id(), message.max_forwards());
    if let Some(uri) = message.request_uri() {
        let _ = (uri.user.map(text), text(uri.host), uri.param(message.bytes(), b"lr"));
    }
    for field in message.fields() {
        assert!(field.line.start <= field.value.start && field.value.end <= field.line.end);
        // A whole field is no single value, and must be refused or read like one.
        let _ = (message.parse_via(field.value), message.parse_uri(field.value), message.parse_name_addr(field.value));
    }
    for name in Name::ALL {
        assert_eq!(message.first(name), message.fields().iter().find(|field| field.name == name).copied());
        for value in message.values(name) {
            look_at_value(message, value);
        }
    }
}

/// Reads one element of a list as whatever it may be.
fn look_at_value(message: &Message<'_>, value: Span) {
    let bytes = message.bytes();
    assert!(!message.text(value).is_empty(), "empty elements are passed over");
    if let Ok(via) = message.parse_via(value) {
        let _ = (parse_ip(message.text(via.host)), via.branch.map(|branch| message.text(branch)));
    }
    if let Ok(address) = message.parse_name_addr(value)
        && let Ok(uri) = message.parse_uri(address.uri)
    {
        let _ = (uri.param(bytes, b"lr"), uri.param(bytes, b""), uri.user.map(|user| message.text(user)));
        let _ = parse_ip(message.text(uri.host));
    }
}
