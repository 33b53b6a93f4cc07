//! What is said on stdout once the box is up: where to go, and what to mind.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, SocketAddr};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::config::{Identity, RelayScope, Settings};
use crate::doctor::{Finding, at_start};
use crate::net::interfaces::lan_addresses;

/// White on black whatever the terminal's own colours are, so that a camera sees the right pattern.
const QR_COLOURS: (&str, &str) = ("\x1b[97;40m", "\x1b[0m");

/// The greeting for this host, with a QR code where stdout is a terminal, and of a box that is for the
/// world what a look at the host found. Reads files; asks nobody.
pub fn for_this_host(settings: &Settings) -> String {
    let text = text(settings, &lan_addresses(), io::stdout().is_terminal());
    match settings.identity {
        Identity::TryOut => text,
        Identity::Domain { .. } => format!("{text}\n{}", found(&at_start(settings))),
    }
}

/// What was found, a line each, and who tells more.
fn found(findings: &[Finding]) -> String {
    let lines: String = findings.iter().map(Finding::line).collect();
    format!("Found on this host:\n{lines}Whether people get through to all of it says: webrtc-box check")
}

/// The greeting: where the page is, and in try-out mode the addresses `lan` with a QR code of the
/// first if `qr`. Several lines, the last one without an end.
pub fn text(settings: &Settings, lan: &[IpAddr], qr: bool) -> String {
    match &settings.identity {
        Identity::TryOut => try_out(settings, lan, qr),
        Identity::Domain { name, .. } => production(settings, name),
    }
}

fn try_out(settings: &Settings, lan: &[IpAddr], qr: bool) -> String {
    let Some(port) = settings.https_port else {
        return format!("webrtc-box is up for trying out, without a page. {}", ports(settings));
    };
    let lan: Vec<_> = lan.iter().filter(|&&ip| settings.listen.covers(ip)).map(|&ip| url(ip, port)).collect();
    let mut text = format!("webrtc-box is up for trying out. Open\n  https://localhost:{port}/\n");
    if let Some(first) = lan.first() {
        // Writing to a string does not fail.
        let _ = write!(text, "or, on other devices in this network,\n  {}\n", lan.join("\n  "));
        text.push_str(&if qr { qr_code(first) } else { String::new() });
    }
    text.push_str(
        "The browser warns once, because the certificate is self-signed: go on to the page.\n\
         iPhones and iPads need a real certificate: --domain NAME --acme-email YOU@EXAMPLE.COM.",
    );
    text
}

fn production(settings: &Settings, name: &str) -> String {
    let page = match settings.https_port {
        Some(443) => format!("webrtc-box serves https://{name}/"),
        Some(port) => format!("webrtc-box serves https://{name}:{port}/"),
        None => format!("webrtc-box is up for {name}, without HTTPS of its own."),
    };
    format!("{page}\n{}", ports(settings))
}

/// The ports that a firewall must let in.
fn ports(settings: &Settings) -> String {
    let listeners = [
        (settings.https_port, "tcp"),
        (settings.http_port, "tcp"),
        (settings.turn_port, "udp"),
        (settings.turn_port, "tcp"),
        (settings.turns_port, "tcp"),
    ];
    let mut open: Vec<_> =
        listeners.iter().filter_map(|(port, kind)| port.map(|port| format!("{port}/{kind}"))).collect();
    if settings.relay_scope == RelayScope::Public && settings.turn_port.is_some() {
        open.push(format!("{}-{}/udp", settings.min_port, settings.max_port));
    }
    format!("Ports to open in the firewall: {}", open.join(", "))
}

fn url(ip: IpAddr, port: u16) -> String {
    format!("https://{}/", SocketAddr::new(ip, port))
}

/// Two rows of modules in each line of text, every line ended.
fn qr_code(url: &str) -> String {
    // No URL of ours is too long for a QR code.
    let Ok(code) = QrCode::new(url) else {
        return String::new();
    };
    // The block is the foreground, which is white here: light modules are the ones to fill.
    let picture = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let (on, off) = QR_COLOURS;
    picture.lines().map(|line| format!("  {on}{line}{off}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Listen, RawSettings, StateDirDefaults};
    use crate::doctor::Subject;

    fn trying() -> Settings {
        RawSettings::default().validate(&StateDirDefaults::default()).unwrap()
    }

    fn serving() -> Settings {
        let some = |text: &str| Some(text.to_owned());
        let typed = RawSettings {
            domain: some("a.example"),
            cert: some("c"),
            key: some("k"),
            ..RawSettings::default()
        };
        typed.validate(&StateDirDefaults::default()).unwrap()
    }

    fn lan() -> Vec<IpAddr> {
        vec!["192.168.1.2".parse().unwrap(), "fd00::2".parse().unwrap()]
    }

    #[test]
    fn trying_out_lists_the_addresses_and_what_to_mind() {
        let text = text(&trying(), &lan(), false);
        assert_eq!(
            text,
            "webrtc-box is up for trying out. Open\n  https://localhost:8443/\n\
             or, on other devices in this network,\n  https://192.168.1.2:8443/\n  https://[fd00::2]:8443/\n\
             The browser warns once, because the certificate is self-signed: go on to the page.\n\
             iPhones and iPads need a real certificate: --domain NAME --acme-email YOU@EXAMPLE.COM."
        );
    }

    #[test]
    fn a_terminal_gets_a_qr_code_of_the_first_address() {
        let with = text(&trying(), &lan(), true);
        assert!(with.contains('█') && with.contains("\x1b[97;40m"));
        assert!(!text(&trying(), &[], true).contains('█'));
    }

    #[test]
    fn only_addresses_that_are_listened_on_are_offered() {
        let listen = |address: &str| Listen::These(vec![address.parse().unwrap()]);
        let offered = |address: &str| text(&Settings { listen: listen(address), ..trying() }, &lan(), false);
        assert!(!offered("127.0.0.1").contains("192.168.1.2"));
        assert!(offered("192.168.1.2").contains("192.168.1.2"));
        assert!(!offered("0.0.0.0").contains("fd00::2"));
        assert!(offered("::").contains("fd00::2"));
    }

    #[test]
    fn what_a_look_at_the_host_found_is_a_line_each() {
        let said = found(&[
            Finding::ok(Subject::Addresses, "relayed addresses are 45.0.0.10"),
            Finding::warn(Subject::Limits, "net.core.rmem_max is 1", "raise it"),
        ]);
        let lines = "Found on this host:\n  ok    relayed addresses are 45.0.0.10\n\
             \x20 warn  net.core.rmem_max is 1; raise it\n\
             Whether people get through to all of it says: webrtc-box check";
        assert_eq!(said, lines);
    }

    #[test]
    fn production_names_the_page_and_the_ports_to_open() {
        let lines = "webrtc-box serves https://a.example/\n\
             Ports to open in the firewall: 443/tcp, 80/tcp, 3478/udp, 3478/tcp, 5349/tcp";
        assert_eq!(text(&serving(), &lan(), true), lines);
        let public = Settings { relay_scope: RelayScope::Public, http_port: None, ..serving() };
        assert!(
            text(&public, &[], false).ends_with("443/tcp, 3478/udp, 3478/tcp, 5349/tcp, 49152-65535/udp")
        );
    }
}
