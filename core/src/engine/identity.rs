//! Who is named to whom, in the messages that set a call up. The rules are [`crate::identity`].

use super::records::ServerRef;
use super::{Engine, Turn};
use crate::call::Call;
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
        call: &Call,
        gateway: &Gateway<'i>,
    ) -> Rewrite<'i> {
        // A provider that a new image no longer has is not one that we trust.
        let privacy = turn.image.provider(call.provider).map_or(Privacy::Untrusted, |provider| provider.privacy);
        towards_gateway(message, privacy, gateway)
    }

    /// A response as the caller gets it: From as he sent it, without what the gateway's word is not good for.
    pub(crate) fn compose_upstream(
        &mut self,
        turn: &Turn<'_>,
        server: ServerRef,
        message: &Message<'_>,
    ) -> Result<BufferRef, Full> {
        let drop = self.withheld_upstream(turn, server, message);
        let renamed = self.servers.find(server).is_some_and(|transaction| transaction.renamed);
        if !renamed && drop.is_empty() {
            return self.compose(|writer| write_response(message, writer));
        }
        // The INVITE as it came is held until its final answer; a 2xx behind that (a fork's) keeps the From that the gateway knows.
        let invite = if renamed { self.servers.find(server).and_then(|transaction| transaction.request) } else { None };
        let invite = invite.and_then(|buffer| Message::parse(self.pool.bytes(buffer)).ok());
        let from = invite.as_ref().map(|invite| invite.text(invite.from().value));
        let rewrite = Rewrite { drop, ..Rewrite::identities(message, from, None) };
        let mut writer = Writer::new(&mut self.scratch);
        write_response_with(message, &rewrite, &mut writer);
        let written = writer.finish().and_then(|bytes| self.pool.store(bytes));
        self.count_full(written)
    }

    fn withheld_upstream(&self, turn: &Turn<'_>, server: ServerRef, message: &Message<'_>) -> Names {
        let named = message.first(Name::PAssertedIdentity).or_else(|| message.first(Name::RemotePartyId)).is_some();
        if !named {
            return Names::NONE;
        }
        let call = self.servers.find(server).and_then(|transaction| self.calls.find(transaction.call?));
        let Some(call) = call.filter(|call| call.server == server) else { return Names::NONE };
        let gateway = call.candidate.and_then(|candidate| turn.image.gateway(candidate.gateway));
        let provider = turn.image.provider(call.provider);
        withheld(
            message,
            gateway.map_or(Privacy::Untrusted, |gateway| gateway.privacy),
            provider.map_or(Privacy::Untrusted, |provider| provider.privacy),
        )
    }
}
