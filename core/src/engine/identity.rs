//! Who is named to whom, in the messages that set a call up. The rules are [`crate::identity`].

use super::records::{Role, ServerRef};
use super::{Engine, Turn};
use crate::call::CallRef;
use crate::call::session::Wording;
use crate::identity::{towards_gateway, withheld};
use crate::memory::{BufferRef, Full};
use crate::message::{Message, Name, Names, Rewrite, Writer, write_response, write_response_with};
use crate::routing::{Gateway, Privacy};

impl Engine {
    /// What of a call's INVITE leaves another way towards a gateway.
    pub(crate) fn identity_towards<'i>(
        &self,
        turn: &Turn<'_>,
        message: &Message<'_>,
        call: Option<CallRef>,
        gateway: &Gateway<'i>,
    ) -> Rewrite<'i> {
        let provider = call.and_then(|at| self.calls.find(at)).and_then(|call| turn.image.provider(call.provider));
        // A provider that a new image no longer has is not one that we trust.
        let privacy = provider.map_or(Privacy::Untrusted, |provider| provider.privacy);
        towards_gateway(message, privacy, gateway)
    }

    /// A response as the caller gets it: From as he sent it, without what the gateway's word is not good for.
    pub(crate) fn compose_upstream(
        &mut self,
        turn: &Turn<'_>,
        server: ServerRef,
        message: &Message<'_>,
        role: &Role,
    ) -> Result<BufferRef, Full> {
        let drop = self.withheld_upstream(turn, message, role);
        let session = Wording::of_answer(role.asked, message);
        if !role.renamed && drop.is_empty() && session.is_none() {
            return self.compose(|writer| write_response(message, writer));
        }
        // The INVITE as it came is held until its final answer; a 2xx behind that (a fork's) keeps the From that the gateway knows.
        let invite = if role.renamed { self.servers.find(server).and_then(|server| server.request) } else { None };
        let invite = invite.and_then(|buffer| Message::parse(self.pool.bytes(buffer)).ok());
        let from = invite.as_ref().map(|invite| invite.text(invite.from().value));
        let lines = session.as_ref().map(Wording::answer_lines).unwrap_or_default();
        let drop = drop.and(session.as_ref().map(Wording::replaced).unwrap_or_default());
        let rewrite = Rewrite { drop, lines: &lines, ..Rewrite::identities(message, from, None) };
        let mut writer = Writer::new(&mut self.scratch);
        write_response_with(message, &rewrite, &mut writer);
        let written = writer.finish().and_then(|bytes| self.pool.store(bytes));
        self.count_full(written)
    }

    fn withheld_upstream(&self, turn: &Turn<'_>, message: &Message<'_>, role: &Role) -> Names {
        let named = message.first(Name::PAssertedIdentity).or_else(|| message.first(Name::RemotePartyId)).is_some();
        let (Some(candidate), true) = (role.candidate, named) else { return Names::NONE };
        let call = role.call.and_then(|at| self.calls.find(at));
        let gateway = turn.image.gateway(candidate.gateway).map(|gateway| gateway.privacy);
        let provider = call.and_then(|call| turn.image.provider(call.provider)).map(|provider| provider.privacy);
        withheld(message, gateway.unwrap_or(Privacy::Untrusted), provider.unwrap_or(Privacy::Untrusted))
    }
}
