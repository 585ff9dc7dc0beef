//! A request forwarded (RFC 3261 §16.6).
//!
//! ```text
//! METHOD new-uri SIP/2.0
//! Via: ours                       always a field of its own, always the first
//! …                               every other field in its place, but:
//! Via: theirs;received=…;rport=…  the value that was topmost
//! Record-Route: ours              before the first Record-Route, or behind the Vias
//! Record-Route: theirs
//! Route: …                        values taken from the top (and the last one, §16.4); no value left: no line
//! Max-Forwards: n                 in place, or behind the Vias
//! Max-Breadth: n                  in place, or behind Max-Forwards
//! ```

use core::net::IpAddr;

use super::{Copier, Rewrite, Writer};
use crate::flow::Transport;
use crate::limits::MAX_BREADTH;
use crate::message::{Field, Message, Name, StartLine, Values, values};
use crate::token::TOKEN_PARAMETER;

/// A Max-Breadth behind the number of another field, which gives it its line end.
const NEW_BREADTH: &[u8] = b"\r\nMax-Breadth: 60";
const _: () = assert!(MAX_BREADTH == 60, "NEW_BREADTH says so");

/// What a forwarded request differs in from the one that came (RFC 3261 §16.6).
pub struct RequestEdits<'e> {
    /// The new Request-URI; `None` keeps it.
    pub request_uri: Option<&'e [u8]>,
    /// Our Via value; written as a field of its own before all others.
    pub via: OwnVia<'e>,
    /// Added to the Via value that was topmost (RFC 3261 §18.2.1), replacing one that is there.
    pub received: Option<IpAddr>,
    /// The value of its `rport` (RFC 3581 §4), where the parameter is there.
    pub rport: Option<u16>,
    /// Our Record-Route values, topmost first, written before the others.
    pub record_routes: &'e [OwnRoute<'e>],
    /// How many Route values to remove from the top.
    pub strip_routes: usize,
    /// Removes the last Route value (strict-router repair, RFC 3261 §16.4).
    pub drop_last_route: bool,
    /// The Max-Forwards to write, in place or as a new field.
    pub max_forwards: u8,
    /// Writes one Max-Breadth of [`MAX_BREADTH`], in place or as a new field; else what is there stays.
    pub max_breadth: bool,
    /// What of From, To and other headers leaves another way than it came.
    pub rewrite: Rewrite<'e>,
}

/// Our own Via value (RFC 3261 §18.1.1), in the parts that differ.
#[derive(Copy, Clone, Debug)]
pub struct OwnVia<'e> {
    /// What the request leaves by.
    pub transport: Transport,
    /// Host and port.
    pub sent_by: &'e [u8],
    /// The branch, cookie included.
    pub branch: &'e [u8],
}

/// Our own Record-Route value (RFC 3261 §16.6 step 4), in the parts that differ: `<sip:sent-by;lr;cl=token>`.
#[derive(Copy, Clone, Debug)]
pub struct OwnRoute<'e> {
    /// Host and port.
    pub sent_by: &'e [u8],
    /// The dialog token.
    pub token: &'e [u8],
}

/// Writes the request with the edits; the rest is kept byte for byte.
///
/// # Panics
/// When `message` is a response: our bug.
pub fn write_request(message: &Message<'_>, edits: &RequestEdits<'_>, out: &mut Writer<'_>) {
    // Two of the one: nearly every request has no field to rewrite, and none is asked for it.
    if edits.rewrite.keeps_fields() {
        write::<false>(message, edits, out);
    } else {
        write::<true>(message, edits, out);
    }
}

#[inline(always)]
fn write<const REWRITES: bool>(message: &Message<'_>, edits: &RequestEdits<'_>, out: &mut Writer<'_>) {
    let StartLine::Request { uri, .. } = message.start() else {
        panic!("a response is not forwarded as a request");
    };
    // Nothing happens to the fields behind the last that changes.
    let fields = match REWRITES {
        true => message.fields(),
        false => {
            message.fields_up_to(&[Name::Via, Name::RecordRoute, Name::Route, Name::MaxForwards, Name::MaxBreadth])
        }
    };
    let mut copier = Copier::new(message, out);
    if let Some(new) = edits.request_uri {
        copier.keep_to(uri.first());
        copier.put(new);
        copier.drop_to(uri.last());
    }
    copier.keep_to(fields.first().map_or(message.bytes().len(), |field| field.line.first()));
    copier.put(edits.via.transport.via_start());
    copier.out.put_short(edits.via.sent_by);
    copier.out.put(b";branch=");
    copier.out.put_short(edits.via.branch);
    copier.out.put(b"\r\n");

    let mut routes = RouteCut::new(message, edits);
    let mut record_routes = (!edits.record_routes.is_empty()).then_some(edits.record_routes);
    let mut max_forwards = Some(edits.max_forwards);
    let (mut via_seen, mut in_vias) = (false, false);
    let has = |name| message.first(name).is_some();
    // It goes in with Max-Forwards where there is none yet.
    let new_breadth = edits.max_breadth && !has(Name::MaxBreadth);
    let mut breadth_seen = false;
    for field in fields {
        if !REWRITES
            && !in_vias
            && !matches!(field.name, Name::Via | Name::RecordRoute | Name::Route | Name::MaxForwards | Name::MaxBreadth)
        {
            continue;
        }
        if in_vias && field.name != Name::Via {
            in_vias = false;
            if !has(Name::RecordRoute) {
                copier.put_record_routes(field.line.first(), record_routes.take());
            }
            if !has(Name::MaxForwards) {
                copier.put_max_forwards(field.line.first(), max_forwards.take(), new_breadth);
            }
        }
        match field.name {
            Name::Via if !via_seen => {
                (via_seen, in_vias) = (true, true);
                copier.stamp(&message.via(), edits.received, edits.rport);
            }
            Name::RecordRoute => copier.put_record_routes(field.line.first(), record_routes.take()),
            Name::Route => routes.cut(&mut copier, field),
            Name::MaxForwards => {
                if let Some(hops) = max_forwards.take() {
                    copier.keep_to(field.value.first());
                    copier.put_number(u32::from(hops));
                    if new_breadth {
                        copier.put(NEW_BREADTH);
                    }
                    copier.drop_to(field.value.last());
                }
            }
            Name::MaxBreadth if edits.max_breadth => {
                let part = if breadth_seen { field.line } else { field.value };
                copier.keep_to(part.first());
                if !breadth_seen {
                    copier.put_number(MAX_BREADTH);
                }
                copier.drop_to(part.last());
                breadth_seen = true;
            }
            _ if REWRITES => edits.rewrite.field(&mut copier, field),
            _ => {}
        }
    }
    // The Vias were the last fields.
    if let Some(last) = fields.last() {
        copier.put_record_routes(last.line.last(), record_routes.take());
        copier.put_max_forwards(last.line.last(), max_forwards.take(), new_breadth);
        edits.rewrite.add_lines(&mut copier, last);
    }
    copier.keep_rest();
}

impl Copier<'_, '_, '_> {
    #[inline(always)]
    fn put_record_routes(&mut self, at: usize, values: Option<&[OwnRoute<'_>]>) {
        let Some(values) = values else { return };
        self.keep_to(at);
        self.finish();
        for value in values {
            self.out.put(b"Record-Route: <sip:");
            self.out.put_short(value.sent_by);
            self.out.put(b";lr");
            self.out.put(TOKEN_PARAMETER);
            self.out.put_short(value.token);
            self.out.put(b">\r\n");
        }
    }

    #[inline(always)]
    fn put_max_forwards(&mut self, at: usize, hops: Option<u8>, with_breadth: bool) {
        let Some(hops) = hops else { return };
        self.keep_to(at);
        self.put(b"Max-Forwards: ");
        self.put_number(u32::from(hops));
        if with_breadth {
            self.put(NEW_BREADTH);
        }
        self.put(b"\r\n");
    }
}

/// Which Route values stay: those with a number from `first` to before `end`, counted over all Route fields.
struct RouteCut {
    first: usize,
    end: usize,
    /// The number of the next value.
    next: usize,
}

impl RouteCut {
    fn new(message: &Message<'_>, edits: &RequestEdits<'_>) -> RouteCut {
        let end = match edits.drop_last_route {
            true => message.values(Name::Route).count().saturating_sub(1),
            false => usize::MAX,
        };
        RouteCut { first: edits.strip_routes, end, next: 0 }
    }

    /// Takes what does not stay out of a field. A field that has values and loses all goes as a line.
    fn cut(&mut self, copier: &mut Copier<'_, '_, '_>, field: &Field) {
        if self.next >= self.first && self.end == usize::MAX {
            return;
        }
        // One value that goes, as nearly always.
        if self.next < self.first && values::is_single(copier.bytes, field.value) {
            self.next += 1;
            copier.keep_to(field.line.first());
            copier.drop_to(field.line.last());
            return;
        }
        let (mut count, mut kept) = (0, None);
        for value in Values::within(copier.bytes, field.value) {
            let number = self.next + count;
            if number >= self.first && number < self.end {
                let (start, _) = kept.unwrap_or((value.first(), 0));
                kept = Some((start, value.last()));
            }
            count += 1;
        }
        self.next += count;
        match kept {
            // Blanks and commas around the values that stay go with the others; between them they stay.
            Some((start, end)) => {
                copier.keep_to(field.value.first());
                copier.drop_to(start);
                copier.keep_to(end);
                copier.drop_to(field.value.last());
            }
            None if count > 0 => {
                copier.keep_to(field.line.first());
                copier.drop_to(field.line.last());
            }
            None => {}
        }
    }
}
