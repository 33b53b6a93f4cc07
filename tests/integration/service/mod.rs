//! The real program under a service manager: notifications, reload, drain, and socket activation.

mod drain;
mod lifecycle;
mod manager;
mod reload;
mod socket_activation;
mod units;
