//! The real program under a service manager: told what it does, asked to read its settings anew, to
//! drain, and to live on sockets it was given.

mod drain;
mod lifecycle;
mod manager;
mod reload;
mod socket_activation;
mod units;
