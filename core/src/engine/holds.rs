//! What a call that is hunted holds of caps (SPEC §2 row 6): of each gateway as many places as branches of it hang there, of a carrier one.
//!
//! ```text
//!   INVITE's server transaction ──client──► branch ──before──► branch ──before──► branch
//!                                           runs               503                silent, given up
//!   place of its gateway                    held               given back         held, until it is over
//!   place of their carrier                  held, for all three
//! ```
//!
//! A gateway's place is the branch's, from its INVITE to its final response: a gateway that was given up may still be busy with it, as
//! when only its answers are lost. Where nothing arrived (ICMP, a send that the kernel refused) it goes back at once.
//!
//! A carrier's place is the call's. The newest of its branches there holds it, so that the next one of the same carrier takes it over
//! and does not compete with it. It goes back when the call has gone on to another carrier and none of its branches at the first one can
//! answer any more; when the call was answered by another; and when it has ended, whatever hangs then.

use super::records::{ClientRef, ClientState, ClientTransaction};
use super::{Engine, ServerRef, Turn};
use crate::admission::{GatewayHold, Limits, Refusal};
use crate::call::CallRef;
use crate::counter::Counter;
use crate::routing::{Candidate, CarrierSlot, Gateway};
use crate::transaction::invite_client::State;

/// What a call has of a carrier before its next branch.
#[derive(Copy, Clone)]
pub(crate) struct Standing {
    /// It had a branch there: it is no new call for the carrier's rate.
    known: bool,
    /// The branch that holds the place.
    holder: Option<ClientRef>,
}

impl Standing {
    /// That of a call's first branch.
    pub(crate) const NEW: Standing = Standing { known: false, holder: None };

    /// What is to be asked of the carrier's limits.
    fn of(self, carrier: Limits) -> Limits {
        Limits {
            max_calls: carrier.max_calls.filter(|_| self.holder.is_none()),
            rate: carrier.rate.filter(|_| !self.known),
        }
    }
}

impl Engine {
    /// The branches of an INVITE, the newest first.
    fn branches(&self, server: ServerRef) -> impl Iterator<Item = (ClientRef, &ClientTransaction)> {
        let mut next = self.servers.find(server).and_then(|transaction| transaction.client);
        core::iter::from_fn(move || {
            let at = next?;
            let transaction = self.clients.find(at)?;
            next = transaction.before;
            Some((at, transaction))
        })
    }

    /// The newest of them of which something holds.
    fn branch_where(&self, server: ServerRef, holds: impl Fn(&ClientTransaction) -> bool) -> Option<ClientRef> {
        self.branches(server).find(|(_, branch)| holds(branch)).map(|(at, _)| at)
    }

    /// What an INVITE has of a carrier.
    pub(crate) fn standing(&self, server: ServerRef, carrier: CarrierSlot) -> Standing {
        let there = |branch: &ClientTransaction| branch.role.candidate.is_some_and(|at| at.carrier == carrier);
        let mut standing = Standing::NEW;
        for (at, _) in self.branches(server).filter(|(_, branch)| there(branch)) {
            standing.known = true;
            standing.holder = standing.holder.or(self.clients.find(at).filter(|to| to.hold.has_carrier()).map(|_| at));
        }
        standing
    }

    /// Takes the place of a candidate: with itself, and with its carrier what the call does not have there.
    pub(crate) fn take_gateway(
        &mut self,
        turn: &Turn<'_>,
        candidate: Candidate,
        gateway: &Gateway<'_>,
        standing: Standing,
    ) -> Result<GatewayHold, Refusal> {
        let carrier = turn.image.carrier(candidate.carrier).map_or(Limits::NONE, |carrier| Limits::from(&carrier));
        let carrier = standing.of(carrier);
        self.take_places(turn, candidate, &carrier, &gateway.into())
    }

    fn take_places(
        &mut self,
        turn: &Turn<'_>,
        candidate: Candidate,
        carrier: &Limits,
        gateway: &Limits,
    ) -> Result<GatewayHold, Refusal> {
        let hold = self.settings.caps.take_gateway(candidate, carrier, gateway, turn.now.monotonic)?;
        let [of_carrier, of_gateway] = hold.counts();
        self.admission.acquired += of_carrier + of_gateway;
        Ok(hold)
    }

    /// Gives places of a carrier and a gateway back.
    pub(crate) fn give_back(&mut self, hold: GatewayHold) {
        let [of_carrier, of_gateway] = hold.counts();
        self.admission.released += of_carrier + of_gateway;
        self.settings.caps.release_gateway(hold);
    }

    /// Whether a candidate takes a call, as far as can be seen before it is tried; one that does not is passed over, and counted.
    pub(crate) fn has_room(&mut self, turn: &Turn<'_>, candidate: Candidate, standing: Standing) -> bool {
        let (carrier, gateway) = Limits::of_candidate(turn.image, candidate);
        let room = self.settings.caps.has_room(candidate, &standing.of(carrier), &gateway, turn.now.monotonic);
        if !room {
            self.counters.count(Counter::GatewaysSkipped);
            self.counters.count(Counter::CandidateCapped);
        }
        room
    }

    /// A branch follows others: it takes over what the call has of its carrier, and what those that are over had of theirs goes back.
    #[cold]
    #[inline(never)]
    pub(crate) fn inherit(&mut self, server: ServerRef, branch: ClientRef, standing: Standing) {
        let before = self.servers.find(server).and_then(|transaction| transaction.client);
        if let Some(transaction) = self.clients.find_mut(branch) {
            transaction.before = before;
        }
        self.move_carrier(standing.holder, branch);
        let left = |branch: &ClientTransaction| is_over(branch) && branch.hold.has_carrier();
        while let Some(over) = self.branch_where(server, left) {
            self.leave_carrier(over);
        }
    }

    fn move_carrier(&mut self, from: Option<ClientRef>, to: ClientRef) {
        let Some(from) = from else { return };
        if self.clients.find(to).is_none_or(|branch| branch.hold.has_carrier()) {
            return;
        }
        let Some(place) = self.clients.find_mut(from).map(|branch| branch.hold.take_carrier()) else { return };
        if let Some(branch) = self.clients.find_mut(to) {
            branch.hold = branch.hold.and(place);
        }
    }

    /// A branch is over: its carrier's place is for another one of the call there that may still answer, or for others.
    fn leave_carrier(&mut self, at: ClientRef) {
        let Some(branch) = self.clients.find(at) else { return };
        let (server, carrier) = (branch.role.server, branch.role.candidate.map(|candidate| candidate.carrier));
        let hangs = |branch: &ClientTransaction| {
            !is_over(branch) && branch.role.candidate.map(|candidate| candidate.carrier) == carrier
        };
        if let Some(heir) = server.and_then(|server| self.branch_where(server, hangs)) {
            self.move_carrier(Some(at), heir);
        }
        // Where there was an heir nothing is left.
        if let Some(hold) = self.clients.find_mut(at).map(|branch| branch.hold.take_carrier()) {
            self.give_back(hold);
        }
    }

    /// Gives the gateway's place of a branch back: it has its final response, or never arrived. What it has of its carrier is the call's.
    pub(crate) fn release_place(&mut self, at: ClientRef) {
        if let Some(hold) = self.clients.find_mut(at).map(|branch| branch.hold.take_gateway()) {
            self.give_back(hold);
        }
    }

    /// Gives back what a branch held that no call waits for.
    pub(crate) fn release_branch(&mut self, at: ClientRef) {
        self.release_place(at);
        if self.clients.find(at).is_some_and(|branch| branch.hold.has_carrier()) {
            self.leave_carrier(at);
        }
    }

    /// The call of an INVITE is over, or answered elsewhere: none of its branches is a call of its carrier any more.
    #[cold]
    #[inline(never)]
    pub(crate) fn release_carriers(&mut self, server: ServerRef, but: Option<ClientRef>) {
        let mut next = self.servers.find(server).and_then(|transaction| transaction.client);
        while let Some((at, branch)) = next.and_then(|at| Some((at, self.clients.find_mut(at)?))) {
            next = branch.before;
            if but != Some(at) {
                let hold = branch.hold.take_carrier();
                self.give_back(hold);
            }
        }
    }

    /// A branch of several has answered: it gets what the call has of its carrier. One that was given up, and has given its place
    /// back since, takes it again; false where others have it.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle_on(&mut self, turn: &Turn<'_>, at: CallRef, branch: ClientRef, candidate: Candidate) -> bool {
        let Some(call) = self.calls.find(at) else { return true };
        let (server, runs) = (call.server, call.branch == Some(branch));
        let standing = self.standing(server, candidate.carrier);
        let Some(hold) = self.clients.find(branch).map(|branch| branch.hold) else { return true };
        if !runs {
            let (carrier, gateway) = Limits::of_candidate(turn.image, candidate);
            let missing =
                |limits: Limits, held: bool| Limits { max_calls: limits.max_calls.filter(|_| !held), rate: None };
            let carrier = missing(carrier, standing.holder.is_some());
            let gateway = missing(gateway, hold.has_gateway());
            match self.take_places(turn, candidate, &carrier, &gateway) {
                Ok(taken) => {
                    if let Some(branch) = self.clients.find_mut(branch) {
                        branch.hold = hold.and(taken);
                    }
                }
                Err(_) => return false,
            }
        }
        self.move_carrier(standing.holder, branch);
        self.release_carriers(server, Some(branch));
        true
    }
}

/// Whether a branch cannot answer with a 2xx any more, or has.
fn is_over(branch: &ClientTransaction) -> bool {
    !matches!(branch.state, ClientState::Invite(State::Calling | State::Proceeding))
}
