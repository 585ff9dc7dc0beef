//! Every counter of media control in one table: name, unit, help.
//!
//! The control core holds one such array; a bad datagram costs one of these and nothing else.

corelane_core::counters! {
    /// One counter or gauge of media control.
    Requests, "media_requests", "total", "Requests that shards made of media control.";
    Done, "media_done", "total", "Requests that a media node did.";
    Refused, "media_refused", "total", "Requests refused because no node takes such an SDP.";
    NoNode, "media_no_node", "total", "Requests for which no media node could be used.";
    Failed, "media_failed", "total", "Requests that the session's own node did not do.";
    Silent, "media_silent", "total", "Calls of which the session's node has heard no RTP.";
    Sent, "media_sent", "total", "Datagrams to media nodes, retransmissions included.";
    Retransmissions, "media_retransmissions", "total", "Questions asked again under the same cookie.";
    Moved, "media_moved", "total", "Offers that went to another node because the first was silent, unreachable or full.";
    Limits, "media_limits", "total", "Replies that said that a node takes no more.";
    Windowed, "media_windowed", "total", "Choices in which a node was passed over because it owed too many replies.";
    InFlightFull, "media_in_flight_full", "total", "Requests refused because too many were waiting for replies.";
    RepliesLate, "media_replies_late", "total", "Replies to questions that were answered or given up before.";
    RepliesForeign, "media_replies_foreign", "total", "Datagrams without a cookie of this process.";
    RepliesMalformed, "media_replies_malformed", "total", "Replies that are truncated, no bencode, or without a result.";
    RepliesMisplaced, "media_replies_misplaced", "total", "Replies from another address, node or socket than was asked.";
    RepliesUnfitting, "media_replies_unfitting", "total", "Replies that do not fit their question.";
    RepliesOversized, "media_replies_oversized", "total", "Replies whose SDP is larger than a message may be.";
    BreakersOpened, "media_breakers_opened", "total", "Nodes given up because they were silent or unreachable.";
    BreakersClosed, "media_breakers_closed", "total", "Nodes taken back because they answered a probe.";
    Unreachable, "media_unreachable", "total", "Nodes that the kernel reported unreachable (ICMP).";
    DeletesPaid, "media_deletes_paid", "total", "Sessions whose delete a node acknowledged.";
    DeletesUnknown, "media_deletes_unknown", "total", "Deletes of sessions that the node no longer knew.";
    DeletesRetried, "media_deletes_retried", "total", "Deletes that were not acknowledged and are tried again later.";
    DeletesAbandoned, "media_deletes_abandoned", "total", "Deletes given up because nobody acknowledged them for media_debt_age_s.";
    BranchesLost, "media_branches_lost", "total", "Deletes of branches that were not acknowledged; they go with the session.";
    Lists, "media_lists", "total", "Lists of their sessions that media nodes gave.";
    ListsMissed, "media_lists_missed", "total", "Lists that a media node did not give, or that nobody can read.";
    OrphansFound, "media_orphans_found", "total", "Sessions of this node on a media node that no record knew.";
    Queries, "media_queries", "total", "Sessions asked for one by one, of nodes that give no list.";
    RecordsGone, "media_records_gone", "total", "Sessions of calls in progress that their node no longer had.";
    SdpUnkept, "media_sdp_unkept", "total", "Offers and answers that were not kept for want of room.";
    RecordsDamaged, "media_records_damaged", "total", "Records of the table of sessions that were torn and are left to the reconciler.";
    RecordsFull, "media_records_full", "total", "Offers refused because the table of sessions was full.";
    RecordsOwed, "media_records_owed", "total", "Sessions of earlier starts found in the table, and owed.";
    SdpKept, "media_sdp_kept", "now", "Bytes of the offers and answers that are kept for calls in progress.";
    InFlight, "media_in_flight", "now", "Questions that wait for replies.";
    SessionsHeld, "media_sessions_held", "now", "Sessions of calls in progress.";
    SessionsDue, "media_sessions_due", "now", "Sessions whose delete is owed and not yet acknowledged.";
    SessionsAcquired, "media_sessions_acquired", "total", "Sessions ever noted, those found in the table at the start among them.";
    SessionsReleased, "media_sessions_released", "total", "Sessions that were deleted, or that no node had any more.";
    SessionsStranded, "media_sessions_stranded", "now", "Owed deletes of addresses that no row of media_node means any more.";
    SessionsForeign, "media_sessions_foreign", "now", "Sessions on media nodes with this node's id and a start that was not its own; they are left alone.";
    NodesUsable, "media_nodes_usable", "now", "Media nodes that take new calls.";
    NodesUnlisted, "media_nodes_unlisted", "now", "Media nodes that gave no list of their sessions when last asked.";
    Capacity, "media_capacity", "now", "Sessions that the nodes that take new calls hold at most.";
}

/// How many counters there are.
pub const COUNTERS: usize = TABLE.len();

/// The counters of media control.
pub type Counters = corelane_core::counter::Values<Counter, COUNTERS>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_whose_they_are() {
        for (place, description) in TABLE.iter().enumerate() {
            assert_eq!(description.counter as usize, place);
            assert!(description.name.starts_with("media_") && matches!(description.unit, "total" | "now"));
            assert!(TABLE[..place].iter().all(|other| other.name != description.name));
        }
    }
}
