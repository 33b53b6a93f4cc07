//! The table of settings: one row gives the flag, environment variable, file key, help text, default, type, parser and
//! reload rule. [`RawSettings`] is the text of all rows as given; [`RawSettings::validate`] turns it into [`Settings`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use serde::Deserialize;

use super::values::{self, Field, LONGEST_TTL, LONGEST_WAIT, each, kebab, one, time};
use super::{ExternalIp, Identity, Listen, RelayScope, SettingsError, cluster, files, network};
use webrtc_box_cluster::{Fallback, NodeName, StoreUrl};
use webrtc_box_turn::credential::Secret;

/// The name of a field as users write it: `min-port` for `min_port`.
macro_rules! name {
    ($field:ident) => {{
        const BYTES: [u8; stringify!($field).len()] = kebab(stringify!($field));
        match std::str::from_utf8(&BYTES) {
            Ok(name) => name,
            Err(_) => stringify!($field),
        }
    }};
}

/// `"443" | "8443"`: the default with a domain, and the one in try-out mode.
macro_rules! default {
    ($try_out:expr, $default:literal) => {
        $default
    };
    ($try_out:expr, $default:literal, $other:literal) => {
        if $try_out { $other } else { $default }
    };
}

/// Rows are `name: raw type = "VALUE", "default" => reload rule, type, parser`. The rows of `identity` have no type of
/// their own: together they are an [`Identity`].
macro_rules! settings {
    (
        identity, $page:literal { $( $(#[doc = $id_doc:literal])+ $id:ident = $id_value:literal, $id_default:literal; )+ }
        $( $heading:literal { $(
            $(#[doc = $doc:literal])+
            $(#[arg($($arg:tt)+)])?
            $name:ident: $raw:ty = $value:literal, $default:literal $(| $other:literal)? => $rule:ident, $type:ty, $parse:expr;
        )+ } )+
    ) => {
        /// Settings as given, unchecked. Has no `Debug`: it holds secrets.
        #[derive(Args, Clone, Default, Deserialize, PartialEq, Eq)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        #[allow(missing_docs, reason = "the help texts document them")]
        pub struct RawSettings {
            $( #[arg(long, value_name = $id_value, help_heading = $page,
                     help = concat!($($id_doc,)+ " (default ", $id_default, ")").trim_start())]
               pub $id: Option<String>, )+
            $( $( #[arg(long, value_name = $value, help_heading = $heading,
                        help = concat!($($doc,)+ " (default ", $default, $("; ", $other, " in try-out mode",)? ")").trim_start()
                        $(, $($arg)+)?)]
                  pub $name: $raw, )+ )+
        }

        /// Validated settings. Ports: `None` is off; `Some(0)` takes any free one, for tests only.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings {
            /// The name of the server and its certificate.
            pub identity: Identity,
            $( $( $(#[doc = $doc])+ pub $name: $type, )+ )+
        }

        impl RawSettings {
            /// Each setting of `self` if it is given, else that of `fallback`.
            #[must_use]
            pub fn or(self, fallback: Self) -> Self {
                Self { $( $id: self.$id.or(fallback.$id), )+ $( $( $name: self.$name.or(fallback.$name), )+ )+ }
            }

            /// The given settings: name, texts, and whether it takes a list.
            pub fn given(&self) -> Vec<(&'static str, &[String], bool)> {
                let identity = [$( (name!($id), self.$id.as_ref().map(values::Texts::texts), false), )+];
                let rows = [$( $( (name!($name), self.$name.as_ref().map(values::Texts::texts), is_list(&self.$name)), )+ )+];
                let given = |(name, texts, is_list)| Some((name, Option::<&[String]>::from(texts)?, is_list));
                identity.into_iter().chain(rows).filter_map(given).collect()
            }

            /// Parses each row by itself.
            pub(super) fn parse_rows(&self, identity: Identity, try_out: bool) -> Result<Settings, SettingsError> {
                Ok(Settings { identity, $( $( $name: ($parse)(&Field {
                    name: name!($name),
                    texts: self.$name.as_ref().map_or(&[], values::Texts::texts),
                    default: default!(try_out, $default $(, $other)?),
                    raw: self,
                })?, )+ )+ })
            }
        }

        impl Settings {
            /// The settings that differ in `new`, with whether a reload applies them.
            pub fn changed(&self, new: &Self) -> Vec<(&'static str, Reload)> {
                let identity = (self.identity != new.identity).then_some(("domain and its certificate", Reload::Restart));
                let rows = [$( $( (self.$name != new.$name).then_some((name!($name), Reload::$rule)), )+ )+];
                let changed = identity.into_iter().chain(rows.into_iter().flatten());
                changed.filter(|(_, rule)| *rule != Reload::Ignored).collect()
            }

            /// Applies the changes that need no restart.
            pub fn reload(&mut self, new: Self) {
                $( $( if Reload::$rule == Reload::Applied { self.$name = new.$name; } )+ )+
            }
        }
    };
}

fn is_list<T: values::Texts>(_: &Option<T>) -> bool {
    T::IS_LIST
}

/// What a reload does with a changed setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The change applies immediately.
    Applied,
    /// The change applies at the next start.
    Restart,
    /// The setting only names a file with another setting, which is compared instead.
    Ignored,
}

settings! {
    identity, "The page" {
        /// Public name or IP address, used in the certificate and in URLs
        domain = "NAME", "none: try-out mode";
        /// PEM certificate chain, leaf first
        cert = "FILE", "none";
        /// PEM private key of the certificate
        key = "FILE", "none";
        /// Get and renew the certificate by ACME instead, with this address for the account
        acme_email = "ADDRESS", "off";
        /// ACME directory of the certificate authority
        acme_directory = "URL", "https://acme-v02.api.letsencrypt.org/directory";
    }
    "The page" {
        /// Another origin that may open the WebSocket, as https://host; repeatable
        allowed_origin: Option<Vec<String>> = "ORIGIN", "none" => Restart, Vec<String>, each(network::origin);
        /// Serve Socket.IO clients at /socket.io/
        socket_io: Option<String> = "on|off", "on" => Restart, bool, one(values::switch);
        /// Reverse proxy whose X-Forwarded and Forwarded headers are trusted; repeatable
        trusted_proxy: Option<Vec<String>> = "CIDR", "none" => Restart, Vec<IpNet>, each(network::network);
        /// Proxy that begins each connection to a TLS or TURN port with a PROXY header; repeatable
        proxy_protocol: Option<Vec<String>> = "CIDR", "none" => Restart, Vec<IpNet>, each(network::network);
        /// Serve the page from this folder instead of the built-in one
        public: Option<String> = "FOLDER", "built in" => Restart, Option<PathBuf>, files::page_folder;
    }
    "Listening" {
        /// Address to bind; repeatable
        listen: Option<Vec<String>> = "IP", "::, else 0.0.0.0" => Restart, Listen, Listen::parse;
        /// HTTPS and WSS; 0: off
        https_port: Option<String> = "PORT", "443" | "8443" => Restart, Option<u16>, one(values::listener);
        /// HTTP, redirects to HTTPS; 0: off
        http_port: Option<String> = "PORT", "80" | "8080" => Restart, Option<u16>, one(values::listener);
        /// STUN and TURN; 0: off
        turn_port: Option<String> = "PORT", "3478" => Restart, Option<u16>, one(values::listener);
        /// TURN over TLS on a port of its own, besides https-port; 0: off
        turns_port: Option<String> = "PORT", "5349" | "0" => Restart, Option<u16>, one(values::listener);
    }
    "The relay" {
        /// Public address of this server, or PUBLIC/LOCAL behind NAT; repeatable
        external_ip: Option<Vec<String>> = "IP", "detected" => Restart, Vec<ExternalIp>, each(ExternalIp::parse);
        /// What the relay reaches: room (only the same room) or public (a general TURN server)
        relay_scope: Option<String> = "SCOPE", "room" => Restart, RelayScope, one(values::scope);
        /// First relayed port
        min_port: Option<String> = "PORT", "49152" => Restart, u16, one(values::port);
        /// Last relayed port
        max_port: Option<String> = "PORT", "65535" => Restart, u16, one(values::port);
        /// Peers allowed in scope public, before any other rule; repeatable
        allowed_peer_ip: Option<Vec<String>> = "CIDR", "none" => Restart, Vec<IpNet>, each(network::network);
        /// Peers refused in scope public; repeatable
        denied_peer_ip: Option<Vec<String>> = "CIDR", "none" => Restart, Vec<IpNet>, each(network::network);
        /// STUN realm; short, because every 401 carries it
        realm: Option<String> = "TEXT", "webrtc-box" => Restart, String, one(values::realm);
    }
    "Credentials and rooms" {
        /// TURN REST secret, visible in the list of processes, unlike one in static-auth-secret-file; repeatable: the
        /// first signs credentials, all verify them
        static_auth_secret: Option<Vec<String>> = "SECRET", "random, kept" => Applied, Vec<Secret>, files::auth_secrets;
        /// File with such secrets instead, one a line
        static_auth_secret_file: Option<String> = "FILE", "none" => Ignored, Option<PathBuf>, files::optional_file;
        /// How long a credential opens allocations; seconds, or 10m, 1h
        credential_ttl: Option<String> = "TIME", "3600" => Restart, Duration, one(time(1..=LONGEST_TTL));
        /// If set, opening an empty room requires one of these keys; visible in the list of processes, unlike those in
        /// host-key-file; repeatable
        host_key: Option<Vec<String>> = "KEY", "none" => Applied, Vec<Secret>, files::host_keys;
        /// File with such keys instead, one a line, # begins a comment
        host_key_file: Option<String> = "FILE", "none" => Ignored, Option<PathBuf>, files::optional_file;
        /// How long the seat of a disconnected participant stays reserved
        room_grace: Option<String> = "TIME", "30" => Restart, Duration, one(time(0..=LONGEST_WAIT));
    }
    "Several servers" {
        /// Store that all servers of one service share: redis://, rediss:// or redis+sentinel://HOST,HOST/MASTER; with
        /// a password better in the settings file, because flags are visible in the list of processes
        cluster: Option<String> = "URL", "none" => Restart, Option<StoreUrl>, cluster::store;
        /// Public name of this server alone, a subdomain of domain
        node_name: Option<String> = "NAME", "none" => Restart, Option<NodeName>, cluster::node_name;
        /// Key that all servers share, visible in the list of processes, unlike one in cluster-key-file; repeatable: the
        /// first signs, all verify, the last names the rooms
        cluster_key: Option<Vec<String>> = "KEY", "none" => Applied, Vec<Secret>, files::cluster_keys;
        /// File with such keys instead, one a line, # begins a comment
        cluster_key_file: Option<String> = "FILE", "none" => Ignored, Option<PathBuf>, files::optional_file;
        /// What happens to new rooms while the store cannot be reached: open or refuse
        cluster_fallback: Option<String> = "open|refuse", "open" => Restart, Fallback, one(cluster::fallback);
    }
    "Limits" {
        /// Allocations per seat; 0: no limit
        user_quota: Option<String> = "N", "48" => Restart, u32, one(values::limit);
        /// Allocations in all; 0: no limit
        total_quota: Option<String> = "N", "0" => Restart, u32, one(values::limit);
        /// Bytes per second and direction of one allocation; 0: no limit
        max_bps: Option<String> = "N", "0" => Restart, u32, one(values::limit);
        /// Bytes per second and direction of the whole relay; 0: no limit
        bps_capacity: Option<String> = "N", "0" => Restart, u32, one(values::limit);
        /// Unauthenticated UDP replies per second to one source; 0: no limit
        unauth_reply_rate: Option<String> = "N", "20" => Restart, u32, one(values::limit);
        /// TCP connections per source
        source_connections: Option<String> = "N", "256" => Restart, u32, one(values::count);
    }
    "The process" {
        /// Folder of the secrets, keys and certificates that survive a restart
        state_dir: Option<String> = "FOLDER", "$STATE_DIRECTORY, else certs" => Restart, PathBuf, files::state_dir;
        /// How long calls may continue after the first SIGTERM
        drain_timeout: Option<String> = "TIME", "60" => Applied, Duration, one(time(0..=LONGEST_WAIT));
        /// /metrics and the full /healthz by plain HTTP, as IP:PORT; off: none
        metrics_listen: Option<String> = "IP:PORT", "127.0.0.1:9641" => Restart, Option<SocketAddr>, one(network::socket);
        /// Log filter: error, warn, info, debug, trace or a filter like webrtc_box=debug
        log: Option<String> = "FILTER", "info" => Applied, String, one(values::filter);
        /// Log format: text or json
        log_format: Option<String> = "FORMAT", "text" => Restart, LogFormat, one(values::log_format);
        /// Log addresses and room names
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "on")]
        log_addresses: Option<String> = "on|off", "off" => Restart, bool, one(values::switch);
    }
}

/// Text, or one JSON object per line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names document them")]
pub enum LogFormat {
    Text,
    Json,
}
