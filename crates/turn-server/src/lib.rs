//! A STUN and TURN server (RFC 8489, RFC 8656) without IO.
//!
//! The crate opens no socket, reads no clock and draws no randomness. The caller passes in datagrams with the current
//! moment, sends what [`Server`](server::Server) returns and carries out its events:
//!
//! ```text
//!         inputs                                             outputs
//!  ┌─────────────────────────┐   ┌────────┐   ┌──────────────────────────────────────────┐
//!  │ handle        client    │   │        │   │ Transmit: a payload to a client or peer  │
//!  │ handle_peer   peer      │   │        │   │ poll_event → Reply      a STUN message   │
//!  │ handle_port_opened      ├──▶│ Server ├──▶│              OpenPort   ClosePort        │
//!  │ handle_principal_event  │   │        │   │              Evict      AllocationOpened │
//!  │ handle_timeout          │   │        │   │                         AllocationClosed │
//!  └─────────────────────────┘   └───┬────┘   │ poll_timeout → next handle_timeout       │
//!    each with the moment `now`      │        │ stats → counters                         │
//!                                    │        └──────────────────────────────────────────┘
//!             RoutingTable, AllocationRegistry, ReplyLimit
//!             shared by the servers of all worker threads
//! ```
//!
//! A payload that fits a channel or permission is relayed without a lock, an allocation of memory or a copy. In
//! [`PeerPolicy::SameGroup`](peer_policy::PeerPolicy::SameGroup), packets pass between allocations of one isolation group
//! in memory, so no relay sockets are needed. In [`PeerPolicy::Public`](peer_policy::PeerPolicy::Public) the server is a
//! general TURN server; a filter excludes private networks and the host itself.
//!
//! # Example
//!
//! `examples/udp_server.rs` is a complete server on UDP sockets. In short:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//! use webrtc_box_rate_limit::Rate;
//! use webrtc_box_turn::addr::{ClientAddr, Families, Transport};
//! use webrtc_box_turn::auth::{Authenticator, NonceKey};
//! use webrtc_box_turn::credential::{Secret, Secrets};
//! use webrtc_box_turn::peer_policy::PeerPolicy;
//! use webrtc_box_turn::registry::Quota;
//! use webrtc_box_turn::reply_limit::ReplyLimit;
//! use webrtc_box_turn::routing_table::RoutingTable;
//! use webrtc_box_turn::server::{Event, Now, Server, ServerConfig};
//!
//! // Keys, seeds and `rng` come from a random number generator.
//! let start = Instant::now();
//! let config = ServerConfig {
//!     worker: 0,
//!     relayed: Families { v4: Some("192.0.2.1".parse().unwrap()), v6: None },
//!     peer_policy: PeerPolicy::SameGroup,
//!     quota: Quota::default(),
//!     max_bps: 0,
//!     credential_ttl: Duration::from_secs(3600),
//!     group_size: 2,
//! };
//! let secrets = Secrets::new(Secret::new("a shared secret"), vec![]);
//! let authenticator = Authenticator::new(secrets, "example.org".into(), NonceKey::new([1; 32], start));
//! let routes = Arc::new(RoutingTable::new(&(49152..=65535), &[], 0, 2, start));
//! let limit = Arc::new(ReplyLimit::new(Rate::per_second(20), [[3, 4], [5, 6]], start));
//! let mut server = Server::new(config, authenticator, routes, limit, Box::new(|| 7));
//!
//! // A Binding request (RFC 8489 §5) gets a reply with the client's address.
//! let client =
//!     ClientAddr::new(Transport::Udp, "198.51.100.7:5000".parse().unwrap(), "192.0.2.1:3478".parse().unwrap());
//! let mut request = [0; 20];
//! request[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
//! let now = Now { instant: start, unix: 1_700_000_000 };
//! assert_eq!(server.handle(client, &request, now), None);
//! assert!(matches!(server.poll_event(), Some(Event::Reply { to, .. }) if to == client));
//! ```
//!
//! # Modules
//!
//! In the order in which a datagram meets them:
//!
//! * [`server`] reads it. [`channel_data`] parses payloads in place, `forward` relays them.
//! * [`request`] parses requests, [`auth`] and [`credential`] authenticate them, [`reply_limit`] limits replies to
//!   forged addresses, [`response`] writes replies.
//! * `allocations` carries requests out, `allocate` those that wait for sockets, on the [`allocation`]s of a worker.
//!   [`principal`] decides who may have some, [`peer_policy`] which peers they reach.
//! * [`routing_table`] finds the allocation of a relayed port from any worker; [`registry`] and [`port_pool`] have the
//!   ports and quotas of all workers.
//! * [`bandwidth`] limits authenticated clients, [`stats`] counts.

pub mod addr;
pub mod allocation;
mod allocations;
pub mod auth;
pub mod bandwidth;
pub mod channel_data;
pub mod credential;
mod forward;
pub mod peer_policy;
mod pending_allocates;
pub mod port_pool;
pub mod principal;
pub mod registry;
pub mod reply_limit;
pub mod request;
pub mod response;
pub mod routing_table;
pub mod server;
pub mod stats;
