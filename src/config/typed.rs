//! What was typed: every setting once, as text, there or not. The field's name is its only
//! spelling; flags, TOML keys and variables are derived from it.

use clap::Args;
use serde::Deserialize;

/// Settings as they were typed, unchecked. Has no `Debug`: it holds secrets.
///
/// Each doc comment is a line of `--help`; the last bracket holds the default.
#[derive(Args, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Typed {
    /// Public name: certificate and URLs handed out (default none: try-out mode)
    #[arg(long, value_name = "NAME", help_heading = SITE)]
    pub domain: Option<String>,
    /// PEM certificate chain, leaf first (default none)
    #[arg(long, value_name = "FILE", help_heading = SITE)]
    pub cert: Option<String>,
    /// PEM private key of the certificate (default none)
    #[arg(long, value_name = "FILE", help_heading = SITE)]
    pub key: Option<String>,
    /// Get and renew the certificate by ACME instead, with this address for the account (default off)
    #[arg(long, value_name = "ADDRESS", help_heading = SITE)]
    pub acme_email: Option<String>,
    #[allow(rustdoc::bare_urls, reason = "help shows it as it stands")]
    /// Whom to get it from (default https://acme-v02.api.letsencrypt.org/directory)
    #[arg(long, value_name = "URL", help_heading = SITE)]
    pub acme_directory: Option<String>,
    /// Origin that may open the WebSocket besides our own, as https://host; repeatable (default none)
    #[arg(long, value_name = "ORIGIN", help_heading = SITE)]
    pub allowed_origin: Option<Vec<String>>,
    /// Reverse proxy whose X-Forwarded and Forwarded headers are believed; repeatable (default none)
    #[arg(long, value_name = "CIDR", help_heading = SITE)]
    pub trusted_proxy: Option<Vec<String>>,
    /// Proxy that begins each connection to a TLS or TURN port with a PROXY header; repeatable (default none)
    #[arg(long, value_name = "CIDR", help_heading = SITE)]
    pub proxy_protocol: Option<Vec<String>>,
    /// Serve the page from this folder instead of the built-in one (default built in)
    #[arg(long, value_name = "FOLDER", help_heading = SITE)]
    pub public: Option<String>,

    /// Address to bind; repeatable (default ::, else 0.0.0.0)
    #[arg(long, value_name = "IP", help_heading = PORTS)]
    pub listen: Option<Vec<String>>,
    /// HTTPS and WSS; 0: off (default 443; 8443 in try-out mode)
    #[arg(long, value_name = "PORT", help_heading = PORTS)]
    pub https_port: Option<String>,
    /// Redirects to HTTPS; 0: off (default 80; 8080 in try-out mode)
    #[arg(long, value_name = "PORT", help_heading = PORTS)]
    pub http_port: Option<String>,
    /// STUN and TURN; 0: off (default 3478)
    #[arg(long, value_name = "PORT", help_heading = PORTS)]
    pub turn_port: Option<String>,
    /// TURN over TLS besides the one on https-port; 0: off (default 5349; off in try-out mode)
    #[arg(long, value_name = "PORT", help_heading = PORTS)]
    pub turns_port: Option<String>,

    /// Address the box is seen by from outside, or PUBLIC/LOCAL; repeatable (default found out)
    #[arg(long, value_name = "IP", help_heading = RELAY)]
    pub external_ip: Option<Vec<String>>,
    /// Whom the relay reaches: room (only the same room) or public (a general TURN server) (default room)
    #[arg(long, value_name = "SCOPE", help_heading = RELAY)]
    pub relay_scope: Option<String>,
    /// First relayed port (default 49152)
    #[arg(long, value_name = "PORT", help_heading = RELAY)]
    pub min_port: Option<String>,
    /// Last relayed port (default 65535)
    #[arg(long, value_name = "PORT", help_heading = RELAY)]
    pub max_port: Option<String>,
    /// Peers allowed in scope public whatever else says no; repeatable (default none)
    #[arg(long, value_name = "CIDR", help_heading = RELAY)]
    pub allowed_peer_ip: Option<Vec<String>>,
    /// Peers refused in scope public; repeatable (default none)
    #[arg(long, value_name = "CIDR", help_heading = RELAY)]
    pub denied_peer_ip: Option<Vec<String>>,
    /// The STUN realm; short, it stands in every 401 (default webrtc-box)
    #[arg(long, value_name = "TEXT", help_heading = RELAY)]
    pub realm: Option<String>,

    /// TURN REST secret, for others to see in the list of processes, unlike one in
    /// static-auth-secret-file; repeatable: the first mints, all verify (default random, kept)
    #[arg(long, value_name = "SECRET", help_heading = ACCESS)]
    pub static_auth_secret: Option<Vec<String>>,
    /// File with such secrets instead, one a line (default none)
    #[arg(long, value_name = "FILE", help_heading = ACCESS)]
    pub static_auth_secret_file: Option<String>,
    /// How long a credential opens allocations; seconds, or 10m, 1h (default 3600)
    #[arg(long, value_name = "TIME", help_heading = ACCESS)]
    pub credential_ttl: Option<String>,
    /// Where set, opening an empty room takes one of these, for others to see in the list of processes,
    /// unlike those in host-key-file; repeatable (default none)
    #[arg(long, value_name = "KEY", help_heading = ACCESS)]
    pub host_key: Option<Vec<String>>,
    /// File with such keys instead, one a line, # begins a comment (default none)
    #[arg(long, value_name = "FILE", help_heading = ACCESS)]
    pub host_key_file: Option<String>,
    /// How long a seat is kept for somebody who dropped (default 30)
    #[arg(long, value_name = "TIME", help_heading = ACCESS)]
    pub room_grace: Option<String>,

    /// Allocations of one seat; 0: no limit (default 48)
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub user_quota: Option<String>,
    /// Allocations in all; 0: no limit (default 0)
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub total_quota: Option<String>,
    /// Bytes per second and direction of one allocation; 0: no limit (default 0)
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_bps: Option<String>,
    /// Bytes per second and direction of the whole relay; 0: no limit (default 0)
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub bps_capacity: Option<String>,
    /// Unauthenticated UDP replies per second to one source; 0: no limit (default 20)
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub unauth_reply_rate: Option<String>,
    /// TCP connections of one source (default 256)
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub source_connections: Option<String>,

    /// Where secrets, keys and certificates are kept (default $STATE_DIRECTORY, else certs)
    #[arg(long, value_name = "FOLDER", help_heading = PROCESS)]
    pub state_dir: Option<String>,
    /// How long calls may go on after the first SIGTERM (default 60)
    #[arg(long, value_name = "TIME", help_heading = PROCESS)]
    pub drain_timeout: Option<String>,
    /// /metrics and the full /healthz by plain HTTP, as IP:PORT; off: none (default 127.0.0.1:9641)
    #[arg(long, value_name = "IP:PORT", help_heading = PROCESS)]
    pub metrics_listen: Option<String>,
    /// What is logged: error, warn, info, debug, trace or a filter like webrtc_box=debug (default info)
    #[arg(long, value_name = "FILTER", help_heading = PROCESS)]
    pub log: Option<String>,
    /// How: text or json (default text)
    #[arg(long, value_name = "FORMAT", help_heading = PROCESS)]
    pub log_format: Option<String>,
    /// Let addresses and room names into the log (default off)
    #[arg(long, value_name = "on|off", help_heading = PROCESS,
          num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub log_addresses: Option<String>,
}

const SITE: &str = "The page";
const PORTS: &str = "Listening";
const RELAY: &str = "The relay";
const ACCESS: &str = "Credentials and rooms";
const LIMITS: &str = "Limits";
const PROCESS: &str = "The process";

/// One setting's name and whether it may be given several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// As a TOML key; the flag without its dashes.
    pub(super) name: String,
    /// Takes a list.
    pub(super) repeatable: bool,
}

/// Lays `$above` over `$below`, field by field; a field left out does not compile.
macro_rules! laid_over {
    ($above:ident, $below:ident: $($field:ident)*) => {
        Typed { $($field: $above.$field.or($below.$field)),* }
    };
}

impl Typed {
    /// These settings where they are given, `below` where they are not.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        laid_over! { self, below:
            domain cert key acme_email acme_directory allowed_origin trusted_proxy proxy_protocol public
            listen https_port http_port turn_port turns_port
            external_ip relay_scope min_port max_port allowed_peer_ip denied_peer_ip realm
            static_auth_secret static_auth_secret_file credential_ttl host_key host_key_file room_grace
            user_quota total_quota max_bps bps_capacity unauth_reply_rate source_connections
            state_dir drain_timeout metrics_listen log log_format log_addresses
        }
    }

    /// The names of all settings, in the order of `--help`.
    pub fn names() -> Vec<String> {
        Self::keys().into_iter().map(|key| key.name).collect()
    }

    pub(super) fn keys() -> Vec<Key> {
        let command = Self::augment_args(clap::Command::new(""));
        let key = |arg: &clap::Arg| {
            let repeatable = matches!(arg.get_action(), clap::ArgAction::Append);
            arg.get_long().map(|name| Key { name: name.to_owned(), repeatable })
        };
        command.get_arguments().filter_map(key).collect()
    }
}
