//! Where two [`Settings`] differ, by the names a user knows.

use super::{Identity, browsers_take};
use super::{Log, Settings};
use webrtc_box_signaling::IceUrls;

/// The names of `$field`s that differ, each spelled as a key; a field left out does not compile.
macro_rules! differing {
    ($old:expr, $new:expr, $whole:path { $($field:ident: $name:literal),* $(,)? }) => {{
        let $whole { $($field),* } = $old;
        [$((*$field != $new.$field).then_some($name)),*].into_iter().flatten()
    }};
}

impl Settings {
    /// The STUN and TURN listeners that browsers are given. Without a domain no browser trusts the
    /// certificate, so there is no TURN over TLS; behind a proxy that has HTTPS it has a port of its own.
    pub fn ice_urls(&self) -> IceUrls {
        let (host, turns) = match &self.identity {
            Identity::TryOut => (None, None),
            Identity::Domain { name, .. } => {
                let beside_the_page = self.https_port.filter(|&port| browsers_take(port));
                (Some(name.clone()), beside_the_page.or(self.turns_port))
            }
        };
        let turn = self.turn_port;
        let turns = turns.filter(|_| turn.is_some()).into_iter().collect();
        IceUrls { host, stun: turn, turn_udp: turn, turn_tcp: turn, turns }
    }

    /// The names of the settings that are others in `new`.
    pub fn changed(&self, new: &Self) -> Vec<&'static str> {
        let mut names: Vec<_> = differing!(
            self,
            new,
            Settings {
                identity: "domain and its certificate",
                listen: "listen",
                https_port: "https-port",
                http_port: "http-port",
                turn_port: "turn-port",
                turns_port: "turns-port",
                external_ip: "external-ip",
                relay_scope: "relay-scope",
                min_port: "min-port",
                max_port: "max-port",
                allowed_peer_ip: "allowed-peer-ip",
                denied_peer_ip: "denied-peer-ip",
                static_auth_secret: "static-auth-secret",
                realm: "realm",
                credential_ttl: "credential-ttl",
                user_quota: "user-quota",
                total_quota: "total-quota",
                max_bps: "max-bps",
                bps_capacity: "bps-capacity",
                unauth_reply_rate: "unauth-reply-rate",
                source_connections: "source-connections",
                room_grace: "room-grace",
                host_key: "host-key",
                secret_files: "secret files",
                allowed_origin: "allowed-origin",
                trusted_proxy: "trusted-proxy",
                proxy_protocol: "proxy-protocol",
                public: "public",
                state_dir: "state-dir",
                drain_timeout: "drain-timeout",
                metrics_listen: "metrics-listen",
                log: "log",
            }
        )
        // What a file of secrets holds counts, and has a name of its own.
        .filter(|name| !matches!(*name, "log" | "secret files"))
        .collect();
        names.extend(differing!(
            &self.log,
            new.log,
            Log { filter: "log", json: "log-format", addresses: "log-addresses" }
        ));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Surroundings, Typed};
    use super::*;

    fn settings(mend: impl FnOnce(&mut Typed)) -> Settings {
        let mut typed = Typed::default();
        mend(&mut typed);
        typed.settings(&Surroundings::default()).unwrap()
    }

    #[test]
    fn what_differs_is_named_as_it_is_typed() {
        let old = settings(|_| {});
        assert_eq!(old.changed(&settings(|_| {})), [""; 0]);
        let new = settings(|typed| {
            typed.https_port = Some("9443".into());
            typed.host_key = Some(vec!["a long key".into()]);
            typed.proxy_protocol = Some(vec!["10.0.0.1".into()]);
            typed.log = Some("debug".into());
            typed.log_format = Some("json".into());
        });
        assert_eq!(old.changed(&new), ["https-port", "host-key", "proxy-protocol", "log", "log-format"]);
    }

    #[test]
    fn every_name_is_a_setting() {
        let new = settings(|typed| {
            *typed = Typed {
                domain: Some("a.example".into()),
                cert: Some("c".into()),
                key: Some("k".into()),
                ..Typed::default()
            }
        });
        let names = settings(|_| {}).changed(&new);
        assert_eq!(names, ["domain and its certificate", "https-port", "http-port", "turns-port"]);
    }
}
