//! The relay's decisions: STUN and TURN (RFC 8489, RFC 8656) as pure functions of bytes and a
//! moment.
//!
//! The map, in the order a datagram meets it:
//! [`server`] takes it; [`channel_data`] reads media in place and `media` hands it on, `flow` remembering where;
//! [`request`] reads everything else;
//! [`auth`] asks who is there; [`allocate`] and `upkeep` answer, `seats` says how long; [`allocation`] is what is kept of
//! it, [`allocation_table`] how a worker finds it, [`routing_table`] how other workers do; [`registry`] and
//! [`port_pool`] say what is lent to whom; [`peer_policy`] says who may be reached; [`response`] and [`error`]
//! are the answers, `dtls` the one to who speaks DTLS; `unauthenticated` and [`reply_limit`] bound
//! replies to unauthenticated clients, [`bandwidth`] the bytes of authenticated ones; [`stats`] counts.

pub mod addr;
pub mod allocate;
pub mod allocation;
pub mod allocation_table;
pub mod auth;
pub mod bandwidth;
pub mod channel_data;
pub mod credential;
mod dtls;
pub mod error;
mod flow_cache;
mod forward;
mod mac;
pub mod peer_policy;
pub mod port_pool;
pub mod principal;
mod principal_events;
pub mod registry;
pub mod reply_limit;
pub mod request;
mod requests;
pub mod response;
pub mod routing_table;
pub mod server;
mod shares;
pub mod stats;
pub mod time;
mod unauthenticated;

#[cfg(test)]
mod tests;
