//! Every counter of a shard in one table: name, unit, help.
//!
//! A shard holds a plain array and copies it out once a second; nothing shared is touched per message.

use core::marker::PhantomData;

/// Makes the enumeration `Counter` and its `TABLE` from rows of name, unit and help. The control core's tables are made by it, too.
#[macro_export]
macro_rules! counters {
    ($( #[$about:meta] )* $( $variant:ident, $name:literal, $unit:literal, $help:literal; )*) => {
        $( #[$about] )*
        #[derive(Copy, Clone, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Counter { $( #[doc = $help] $variant, )* }

        impl $crate::counter::Numbered for Counter {
            #[inline]
            fn number(self) -> usize {
                self as usize
            }
        }

        /// What an operator is told of each counter, in the order of [`Counter`].
        pub const TABLE: &[$crate::counter::Description<Counter>] = &[
            $( $crate::counter::Description { counter: Counter::$variant, name: $name, unit: $unit, help: $help }, )*
        ];
    };
}

/// A counter's public face.
#[derive(Copy, Clone, Debug)]
pub struct Description<C> {
    /// Which one.
    pub counter: C,
    /// The name in exports: lower case, underscores.
    pub name: &'static str,
    /// `total` for counters, `now` for gauges.
    pub unit: &'static str,
    /// One sentence.
    pub help: &'static str,
}

counters! {
    /// One counter or gauge of a shard.
    DatagramsIn, "datagrams_in", "total", "Datagrams handed to the engine.";
    DatagramsOut, "datagrams_out", "total", "Datagrams that the engine asked to send.";
    DatagramsForeign, "datagrams_foreign", "total", "Messages of a call that another shard owns, met after steering.";
    DatagramsForwarded, "datagrams_forwarded", "total", "Datagrams handed to the owning shard by forward steering.";
    ForwardDropped, "forward_dropped", "total", "Datagrams lost because the owning shard's inbox was full.";
    MediaRequestsRefused, "media_requests_refused", "total", "Media requests for which the ring to the control core had no room.";
    RecordsWritten, "records_written", "total", "Records of ended calls that went into the journal.";
    RecordsLost, "records_lost", "total", "Records of ended calls for which the journal had no place.";
    RecordsUnread, "records_unread", "now", "Records in the journal that the control core has not dealt with.";
    CallsHeldOff, "calls_held_off", "total", "Times that new calls were refused until the journal had room again.";
    SendFailed, "send_failed", "total", "Datagrams that the kernel refused to send.";
    Keepalives, "keepalives", "total", "Empty and CR LF datagrams, ignored.";
    ParseErrors, "parse_errors", "total", "Datagrams that are no SIP message.";
    Oversized, "oversized", "total", "Messages above the size limit in either direction.";
    Requests, "requests", "total", "Requests that parsed.";
    Responses, "responses", "total", "Responses that parsed.";
    RetransmissionsAbsorbed, "retransmissions_absorbed", "total", "Requests and responses absorbed by a transaction.";
    Retransmissions, "retransmissions", "total", "Messages that a transaction sent again.";
    StrayResponses, "stray_responses", "total", "Responses that match no transaction, dropped (RFC 3261 §16.7, RFC 6026 §7).";
    ByesEarly, "byes_early", "total", "BYEs of a callee whose 2xx is still with a media node, dropped: they are repeated.";
    StrayAcks, "stray_acks", "total", "ACKs that match neither a transaction nor a dialog, dropped.";
    UnknownSource, "unknown_source", "total", "Out-of-dialog requests from an address that belongs to no provider.";
    Rejected400, "rejected_400", "total", "Malformed requests, and INVITEs whose From has no tag, answered 400.";
    Rejected403, "rejected_403", "total", "Requests answered 403.";
    Rejected404, "rejected_404", "total", "Calls without a route.";
    Rejected405, "rejected_405", "total", "Out-of-dialog methods that Corelane does not serve.";
    Rejected408, "rejected_408", "total", "INVITEs that no gateway answered in time.";
    Rejected416, "rejected_416", "total", "Request-URIs of a scheme that Corelane does not route.";
    Rejected420, "rejected_420", "total", "Proxy-Require extensions that Corelane does not know; in OPTIONS those of Require as well.";
    Rejected422, "rejected_422", "total", "Session intervals below min_se (RFC 4028).";
    Rejected440, "rejected_440", "total", "Requests out of Max-Breadth (RFC 5393).";
    Rejected481, "rejected_481", "total", "In-dialog requests and CANCELs that match nothing.";
    Rejected482, "rejected_482", "total", "Looped requests (RFC 5393).";
    Rejected483, "rejected_483", "total", "Requests out of Max-Forwards.";
    Rejected484, "rejected_484", "total", "Numbers of which the provider's rules left nothing.";
    Rejected488, "rejected_488", "total", "Offers answered 488: a media node refused them, or nobody can read them.";
    Rejected500, "rejected_500", "total", "Requests that failed here for a reason of ours.";
    Rejected503, "rejected_503", "total", "Requests answered 503: no usable gateway, or a full slab.";
    Rejected505, "rejected_505", "total", "Requests of another SIP version.";
    Rejected513, "rejected_513", "total", "Requests above the size limit.";
    Unreachable, "unreachable", "total", "Peers that the kernel reported unreachable (ICMP).";
    Full, "full", "total", "Requests refused because a slab was full.";
    ProviderCapped, "provider_capped", "total", "Calls refused because of their provider's max_calls or max_cps.";
    ProviderDayUsed, "provider_day_used", "total", "Calls refused because of their provider's max_calls_day or max_minutes_day.";
    AddressCapped, "address_capped", "total", "Calls refused because of the max_cps of the provider_address that they came from.";
    CandidateCapped, "candidate_capped", "total", "Candidates skipped because of the carrier's or gateway's max_calls or max_cps.";
    Shed, "shed", "total", "New calls shed by overload, statelessly.";
    ShedInKernel, "shed_in_kernel", "total", "New calls dropped by the kernel while their shard shed.";
    OptionsAnswered, "options_answered", "total", "OPTIONS to Corelane itself.";
    SizeException, "size_exception", "total", "Requests above 1,300 bytes sent by UDP (RFC 3261 §18.1.1 exception).";
    CallsStarted, "calls_started", "total", "Calls that got a record.";
    CallsAnswered, "calls_answered", "total", "Calls that got a 2xx.";
    CallsEnded, "calls_ended", "total", "Calls that ended, each once.";
    EndedRefused, "ended_refused", "total", "Calls that ended with a non-2xx final response.";
    EndedCancelled, "ended_cancelled", "total", "Calls that the caller cancelled.";
    EndedUnanswered, "ended_unanswered", "total", "Calls without an answer within invite_timeout, ring_timeout or early_timeout.";
    EndedByCaller, "ended_by_caller", "total", "Calls that the caller's BYE ended.";
    EndedByCallee, "ended_by_callee", "total", "Calls that the callee's BYE ended.";
    EndedUnacknowledged, "ended_unacknowledged", "total", "Calls that noack_timeout ended.";
    EndedExpired, "ended_expired", "total", "Calls that default_timeout ended.";
    EndedSessionExpired, "ended_session_expired", "total", "Calls whose session was not refreshed (RFC 4028).";
    EndedLost, "ended_lost", "total", "Calls of which a peer no longer knew the dialog (481, 408).";
    EndedHungUp, "ended_hung_up", "total", "Calls that the operator or drain ended.";
    Attempts, "attempts", "total", "INVITEs sent to gateways.";
    GatewaysSkipped, "gateways_skipped", "total", "Candidates passed over: gone, capped, or of a number that cannot be written for them.";
    Hunts, "hunts", "total", "INVITEs that went to another gateway after a failure.";
    GatewayChallenges, "gateway_challenges", "total", "401 and 407 of gateways: they do not know us.";
    AnswersUndelivered, "answers_undelivered", "total", "2xx that no caller waited for any more: acknowledged and ended by Corelane.";
    ByesSent, "byes_sent", "total", "BYEs of Corelane's own.";
    ForksForgotten, "forks_forgotten", "total", "Dialogs of a fork for which a call had no room.";
    MediaAsked, "media_asked", "total", "Wishes handed to the control core for media nodes.";
    MediaDone, "media_done", "total", "Messages that came back from a media node.";
    MediaRefused, "media_refused", "total", "SDP that a media node refused.";
    MediaNoNode, "media_no_node", "total", "Messages for which no media node could be used.";
    MediaFailed, "media_failed", "total", "Messages that the media node of their call failed.";
    MediaTimeouts, "media_timeouts", "total", "Messages for which nothing came back within media_timeout.";
    MediaQueries, "media_queries", "total", "Questions to media nodes whether RTP of a call flows that has reached default_timeout.";
    MediaFlowing, "media_flowing", "total", "Such questions that were answered with yes: default_timeout started anew.";
    MediaSilent, "media_silent", "total", "Such questions that were answered with no: the call ended.";
    MediaLate, "media_late", "total", "Replies that nobody waited for any more.";
    MediaReused, "media_reused", "total", "Messages that left with an SDP that a node had given before.";
    Unrelayed, "unrelayed", "total", "Messages not sent because their SDP did not come back from a media node (I2).";
    CallsLive, "calls_live", "now", "Calls that have not ended.";
    CallRecordsLive, "call_records_live", "now", "Call records in use; those of calls that Corelane ended stay for 64·T1.";
    CallsCapacity, "calls_capacity", "now", "Call records that exist.";
    ServerTransactionsLive, "server_transactions_live", "now", "Server transactions in use, lingering ones included.";
    ClientTransactionsLive, "client_transactions_live", "now", "Client transactions in use, lingering ones included.";
    ExchangesLive, "exchanges_live", "now", "Messages that wait for a media node.";
    BuffersLive, "buffers_live", "now", "Message buffers in use.";
    TimersLive, "timers_live", "now", "Timers that run.";
    CallRecordsAcquired, "call_records_acquired", "total", "Call records ever taken.";
    CallRecordsReleased, "call_records_released", "total", "Call records ever given back.";
    ServerTransactionsAcquired, "server_transactions_acquired", "total", "Server transactions ever taken.";
    ServerTransactionsReleased, "server_transactions_released", "total", "Server transactions ever given back.";
    ClientTransactionsAcquired, "client_transactions_acquired", "total", "Client transactions ever taken.";
    ClientTransactionsReleased, "client_transactions_released", "total", "Client transactions ever given back.";
    ExchangesAcquired, "exchanges_acquired", "total", "Exchanges with media nodes ever opened.";
    ExchangesReleased, "exchanges_released", "total", "Exchanges with media nodes ever closed.";
    BuffersAcquired, "buffers_acquired", "total", "Message buffers ever taken.";
    BuffersReleased, "buffers_released", "total", "Message buffers ever given back.";
    TimersAcquired, "timers_acquired", "total", "Timers ever started.";
    TimersReleased, "timers_released", "total", "Timers that fired or were stopped.";
    AdmissionPlacesLive, "admission_places_live", "now", "Places that calls hold with providers, carriers and gateways of a max_calls.";
    AdmissionPlacesAcquired, "admission_places_acquired", "total", "Such places ever taken.";
    AdmissionPlacesReleased, "admission_places_released", "total", "Such places ever given back.";
    MediaDebtsLive, "media_debts_live", "now", "Calls in progress of which a media node got an offer: each owes a delete.";
    MediaDebtsAcquired, "media_debts_acquired", "total", "Calls ever of which a media node was sent an offer.";
    MediaDebtsReleased, "media_debts_released", "total", "Such calls that ended; their record hands the debt to the control core.";
}

/// The account of one resource: what was taken is what came back and what is in use.
#[derive(Copy, Clone, Debug)]
pub struct Account {
    /// Of what, as in the names of its counters.
    pub name: &'static str,
    /// How often one was taken.
    pub acquired: Counter,
    /// How often one came back.
    pub released: Counter,
    /// How many are in use.
    pub live: Counter,
}

/// Every account of a shard, calls first.
pub const LEDGER: &[Account] = &[
    Account { name: "calls", acquired: Counter::CallsStarted, released: Counter::CallsEnded, live: Counter::CallsLive },
    Account {
        name: "call_records",
        acquired: Counter::CallRecordsAcquired,
        released: Counter::CallRecordsReleased,
        live: Counter::CallRecordsLive,
    },
    Account {
        name: "server_transactions",
        acquired: Counter::ServerTransactionsAcquired,
        released: Counter::ServerTransactionsReleased,
        live: Counter::ServerTransactionsLive,
    },
    Account {
        name: "client_transactions",
        acquired: Counter::ClientTransactionsAcquired,
        released: Counter::ClientTransactionsReleased,
        live: Counter::ClientTransactionsLive,
    },
    Account {
        name: "exchanges",
        acquired: Counter::ExchangesAcquired,
        released: Counter::ExchangesReleased,
        live: Counter::ExchangesLive,
    },
    Account {
        name: "buffers",
        acquired: Counter::BuffersAcquired,
        released: Counter::BuffersReleased,
        live: Counter::BuffersLive,
    },
    Account {
        name: "timers",
        acquired: Counter::TimersAcquired,
        released: Counter::TimersReleased,
        live: Counter::TimersLive,
    },
    Account {
        name: "admission_places",
        acquired: Counter::AdmissionPlacesAcquired,
        released: Counter::AdmissionPlacesReleased,
        live: Counter::AdmissionPlacesLive,
    },
    Account {
        name: "media_debts",
        acquired: Counter::MediaDebtsAcquired,
        released: Counter::MediaDebtsReleased,
        live: Counter::MediaDebtsLive,
    },
];

/// How many counters there are.
pub const COUNTERS: usize = TABLE.len();

/// The counters of one shard.
pub type Counters = Values<Counter, COUNTERS>;

/// A counter's place in its table.
pub trait Numbered: Copy {
    /// From 0 on.
    fn number(self) -> usize;
}

/// The values of a table's counters, held by one thread.
#[derive(Clone, Debug)]
pub struct Values<C, const N: usize>([u64; N], PhantomData<C>);

impl<C, const N: usize> Default for Values<C, N> {
    fn default() -> Values<C, N> {
        Values([0; N], PhantomData)
    }
}

impl<C: Numbered, const N: usize> Values<C, N> {
    /// Adds one.
    #[inline]
    pub fn count(&mut self, counter: C) {
        self.add(counter, 1);
    }

    /// Adds `amount`.
    #[inline]
    pub fn add(&mut self, counter: C, amount: u64) {
        let value = &mut self.0[counter.number()];
        *value = value.wrapping_add(amount);
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&mut self, counter: C, value: u64) {
        self.0[counter.number()] = value;
    }

    /// The value now.
    #[must_use]
    pub fn value(&self, counter: C) -> u64 {
        self.0[counter.number()]
    }

    /// All values, in the order of [`TABLE`].
    #[must_use]
    pub fn values(&self) -> &[u64; N] {
        &self.0
    }
}

impl Counters {
    /// Whether an account adds up.
    #[must_use]
    pub fn balances(&self, account: &Account) -> bool {
        self.value(account.acquired) == self.value(account.released) + self.value(account.live)
    }
}
