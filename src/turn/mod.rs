//! The relay's decisions: STUN and TURN (RFC 8489, RFC 8656) as pure functions of bytes and a
//! moment.
//!
//! The map, in the order a datagram meets it:
//! [`server`] takes it; [`channel_data`] reads media in place and `media` hands it on, `flow` remembering where;
//! [`request`] reads everything else;
//! [`auth`] asks who is there; [`opening`] and `upkeep` answer, `seats` says how long; [`allocation`] is what is kept of
//! it, [`table`] how a worker finds it, [`exchange`] how other workers do; [`register`] and
//! [`port`] say what is lent to whom; [`scope`] says who may be reached; [`reply`] and [`refusal`]
//! are the answers, `dtls` the one to who speaks DTLS; `unauthenticated` and [`reply_limit`] bound
//! replies to unauthenticated clients, [`pace`] the bytes of authenticated ones; [`tally`] counts.

pub mod address;
pub mod allocation;
pub mod auth;
pub mod channel_data;
mod dtls;
pub mod exchange;
mod flow;
mod media;
pub mod opening;
pub mod pace;
pub mod port;
pub mod refusal;
pub mod register;
pub mod reply;
pub mod reply_limit;
pub mod request;
pub mod scope;
mod seats;
pub mod server;
mod shares;
pub mod table;
pub mod tally;
mod unauthenticated;
mod upkeep;

#[cfg(test)]
mod tests;
