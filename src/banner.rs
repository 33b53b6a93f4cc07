//! The text on stdout after the start: the addresses of the page, and what the operator must do.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, SocketAddr};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::config::{Identity, RelayScope, Settings};
use crate::doctor::{Finding, at_start};
use crate::net::addresses::url_host;
use crate::net::interfaces::lan_addresses;

/// White on black whatever the colors of the terminal: a camera must not see the pattern inverted.
const QR_COLORS: (&str, &str) = ("\x1b[97;40m", "\x1b[0m");

/// What follows the trial, for the person at the terminal.
const NEXT_STEPS: &str = "their calls do not work here.\n\
    All others in this network can call each other. From the internet nobody gets here through a router or firewall.\n\
    For your own server, with a name or a public address, stop this with Ctrl-C and run: webrtc-box setup";

/// The banner for this host, with a QR code if stdout is a terminal. With a domain it includes the doctor's findings about
/// this host. Reads files and uses no network.
pub fn for_this_host(settings: &Settings) -> String {
    let text = text(settings, &lan_addresses(), io::stdout().is_terminal());
    match settings.identity {
        Identity::TryOut => text,
        Identity::Domain { .. } => format!("{text}\n{}", finding_lines(&at_start(settings))),
    }
}

/// One line per finding, and the command for the complete check.
fn finding_lines(findings: &[Finding]) -> String {
    let lines: String = findings.iter().map(Finding::line).collect();
    format!("Found on this host:\n{lines}For a check from outside, run: webrtc-box check")
}

/// The banner: the URL of the page and the ports; in try-out mode the URLs at the addresses `lan`, on a `terminal` with a QR
/// code of the first and what to do next. Several lines without a final line break.
pub fn text(settings: &Settings, lan: &[IpAddr], terminal: bool) -> String {
    match &settings.identity {
        Identity::TryOut => try_out(settings, lan, terminal),
        Identity::Domain { name, .. } => production(settings, &url_host(name)),
    }
}

fn try_out(settings: &Settings, lan: &[IpAddr], terminal: bool) -> String {
    let Some(port) = settings.https_port else {
        return format!("webrtc-box runs in try-out mode, without a page. {}", ports(settings));
    };
    let lan: Vec<_> = lan.iter().filter(|&&ip| settings.listen.covers(ip)).map(|&ip| url(ip, port)).collect();
    let mut text = format!("webrtc-box runs in try-out mode. Open\n  https://localhost:{port}/\n");
    if let Some(first) = lan.first() {
        // Writing to a string cannot fail.
        let _ = write!(text, "or, on other devices in this network,\n  {}\n", lan.join("\n  "));
        text.push_str(&if terminal { qr_code(first) } else { String::new() });
    }
    text.push_str(
        "The browser warns once, because the certificate is self-signed: continue to the page.\n\
         iPhones and iPads need a real certificate: ",
    );
    text.push_str(if terminal { NEXT_STEPS } else { "--domain NAME --acme-email YOU@EXAMPLE.COM." });
    text
}

fn production(settings: &Settings, name: &str) -> String {
    let page = match settings.https_port {
        Some(443) => format!("webrtc-box serves https://{name}/"),
        Some(port) => format!("webrtc-box serves https://{name}:{port}/"),
        None => format!("webrtc-box runs for {name}, without its own HTTPS."),
    };
    format!("{page}\n{}", ports(settings))
}

/// The ports that the firewall must allow.
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

/// Two rows of modules per line of text; each line ends with a line break.
fn qr_code(url: &str) -> String {
    // The URLs of this function are never too long for a QR code.
    let Ok(code) = QrCode::new(url) else {
        return String::new();
    };
    // The block character has the foreground color, which is white here: it draws the light modules.
    let image = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let (on, off) = QR_COLORS;
    image.lines().map(|line| format!("  {on}{line}{off}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Listen, RawSettings, StateDirDefaults};
    use crate::doctor::Subject;

    fn try_out_settings() -> Settings {
        RawSettings::default().validate(&StateDirDefaults::default()).unwrap()
    }

    fn domain_settings() -> Settings {
        let some = |text: &str| Some(text.to_owned());
        let raw = RawSettings {
            domain: some("a.example"),
            cert: some("c"),
            key: some("k"),
            ..RawSettings::default()
        };
        raw.validate(&StateDirDefaults::default()).unwrap()
    }

    fn lan() -> Vec<IpAddr> {
        vec!["192.168.1.2".parse().unwrap(), "fd00::2".parse().unwrap()]
    }

    #[test]
    fn try_out_mode_lists_the_local_addresses_and_the_warning() {
        let text = text(&try_out_settings(), &lan(), false);
        assert_eq!(
            text,
            "webrtc-box runs in try-out mode. Open\n  https://localhost:8443/\n\
             or, on other devices in this network,\n  https://192.168.1.2:8443/\n  https://[fd00::2]:8443/\n\
             The browser warns once, because the certificate is self-signed: continue to the page.\n\
             iPhones and iPads need a real certificate: --domain NAME --acme-email YOU@EXAMPLE.COM."
        );
    }

    #[test]
    fn a_terminal_gets_a_qr_code_of_the_first_address() {
        let with = text(&try_out_settings(), &lan(), true);
        assert!(with.contains('█') && with.contains("\x1b[97;40m"));
        assert!(!text(&try_out_settings(), &[], true).contains('█'));
        assert!(with.ends_with("run: webrtc-box setup"));
    }

    #[test]
    fn only_addresses_with_a_listener_are_listed() {
        let listen = |address: &str| Listen::These(vec![address.parse().unwrap()]);
        let listed =
            |address: &str| text(&Settings { listen: listen(address), ..try_out_settings() }, &lan(), false);
        assert!(!listed("127.0.0.1").contains("192.168.1.2"));
        assert!(listed("192.168.1.2").contains("192.168.1.2"));
        assert!(!listed("0.0.0.0").contains("fd00::2"));
        assert!(listed("::").contains("fd00::2"));
    }

    #[test]
    fn each_finding_is_one_line() {
        let text = finding_lines(&[
            Subject::Addresses.ok("relayed addresses are 45.0.0.10"),
            Subject::Limits.warn("net.core.rmem_max is 1", "raise it"),
        ]);
        let lines = "Found on this host:\n  ok    relayed addresses are 45.0.0.10\n\
             \x20 warn  net.core.rmem_max is 1; raise it\n\
             For a check from outside, run: webrtc-box check";
        assert_eq!(text, lines);
    }

    #[test]
    fn with_a_domain_the_page_and_the_firewall_ports_are_listed() {
        let lines = "webrtc-box serves https://a.example/\n\
             Ports to open in the firewall: 443/tcp, 80/tcp, 3478/udp, 3478/tcp, 5349/tcp";
        assert_eq!(text(&domain_settings(), &lan(), true), lines);
        let public = Settings { relay_scope: RelayScope::Public, http_port: None, ..domain_settings() };
        assert!(
            text(&public, &[], false).ends_with("443/tcp, 3478/udp, 3478/tcp, 5349/tcp, 49152-65535/udp")
        );
    }
}
