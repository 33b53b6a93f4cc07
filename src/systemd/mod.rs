//! The service manager: notifications and sockets (sd_notify(3), sd_listen_fds(3)).

pub mod notify;
pub mod socket_activation;
