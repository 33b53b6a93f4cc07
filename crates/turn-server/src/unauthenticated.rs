//! What clients get that are not authenticated: what their requests prove, and the reply where
//! [`ReplyLimit`](super::reply_limit::ReplyLimit) allows one.

use std::time::Instant;

use super::addr::{ClientAddr, Transport};
use super::error::Refusal;
use super::reply_limit::Proof;
use super::request::{Method, Request};
use super::response::Reply;
use super::server::Server;

impl Server {
    /// What the request of a client that is not authenticated shows of it.
    pub(super) fn proof(&self, client: ClientAddr, request: &mut Request, now: Instant) -> Proof {
        if client.transport != Transport::Udp {
            return Proof::Address;
        }
        let allocation = self.table.get(&client);
        let known = allocation.map(|allocation| (&*allocation.username, &allocation.key));
        match self.authenticator.proof(request, client, known, || self.limit.may_check_password(now), now) {
            Proof::Address => Proof::Address,
            Proof::None | Proof::Allocation | Proof::Credential(_) if allocation.is_some() => {
                Proof::Allocation
            }
            proof @ (Proof::None | Proof::Allocation | Proof::Credential(_)) => proof,
        }
    }

    /// DTLS is not built: who tries it is told so, under the limit for requests that prove nothing.
    pub(super) fn refuse_dtls(&mut self, client: ClientAddr, alert: &[u8], now: Instant) {
        if client.transport != Transport::Udp {
            return;
        }
        if self.limit.allows_datagram(&client, now) {
            self.reply(client, alert.to_vec());
        } else {
            self.stats.unanswered += 1;
        }
    }

    pub(super) fn refuse_unauthenticated(
        &mut self,
        client: ClientAddr,
        request: &Request,
        refusal: &Refusal,
        proof: &Proof,
        now: Instant,
    ) {
        if self.may_answer(client, request, proof, now) {
            self.challenge(client, request.method, request.transaction, refusal, now);
        }
    }

    /// An error reply without integrity, with realm and nonce where it asks for credentials.
    pub(super) fn challenge(
        &mut self,
        client: ClientAddr,
        method: Method,
        transaction: [u8; 12],
        refusal: &Refusal,
        now: Instant,
    ) {
        self.stats.refused(refusal);
        let mut reply = Reply::refusal(method, transaction, refusal);
        if refusal.challenges() {
            reply = reply.challenge(self.authenticator.realm(), &self.authenticator.nonce(client, now));
        }
        self.reply(client, reply.encode(None));
    }

    pub(super) fn may_answer(
        &mut self,
        client: ClientAddr,
        request: &Request,
        proof: &Proof,
        now: Instant,
    ) -> bool {
        let may = self.limit.allows(&client, &request.transaction, proof, now);
        self.stats.unanswered += u64::from(!may);
        may
    }
}
