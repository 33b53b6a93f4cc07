//! Errors of invalid settings: one line with the setting and a hint.

use std::fs;

use super::{Fixture, assert_contains, startup_error};

#[test]
fn bad_setting_is_one_line_with_its_name_and_a_hint() {
    let fixture = Fixture::new();
    let long = "x".repeat(65);
    let bad: &[(&[&str], &[&str])] = &[
        (
            &["--min-port", "60000", "--max-port", "50000"],
            &["min-port 60000 is above max-port 50000; swap them"],
        ),
        (&["--min-port", "0"], &["min-port", "from 1 to 65535"]),
        (&["--https-port", "70000"], &["https-port", "from 1 to 65535"]),
        (
            &["--https-port", "9000", "--http-port", "9000"],
            &["https-port and http-port", "9000", "another port"],
        ),
        (&["--https-port", "3478"], &["https-port and turn-port", "another port"]),
        (&["--turn-port", "1023"], &["turn-port 1023", "Chromium", "take another port"]),
        (&["--turns-port", "5349", "--https-port", "5349"], &["https-port and turns-port", "another port"]),
        (&["--https-port=0", "--http-port=0", "--turn-port=0"], &["turn-port", "give one of them a port"]),
        (&["--denied-peer-ip", "10.0.0.0/33"], &["denied-peer-ip", "10.0.0.0/33", "CIDR"]),
        (&["--allowed-peer-ip", "home"], &["allowed-peer-ip", "CIDR"]),
        (&["--trusted-proxy", "proxy:80"], &["trusted-proxy", "CIDR"]),
        (&["--proxy-protocol", "on"], &["proxy-protocol", "CIDR"]),
        (&["--external-ip", "1.2.3.4/::1"], &["external-ip", "both IPv4 or both IPv6"]),
        (&["--external-ip", "127.0.0.1"], &["external-ip", "loopback", "leave external-ip out"]),
        (&["--listen", "localhost"], &["listen", "bare"]),
        (&["--listen", "0.0.0.0", "--listen", "::"], &["listen 0.0.0.0", "covered", "leave one of them out"]),
        (&["--credential-ttl", "soon"], &["credential-ttl", "whole seconds"]),
        (&["--credential-ttl", "0"], &["credential-ttl", "one second or more"]),
        (&["--room-grace", "2000h"], &["room-grace", "shorter"]),
        (&["--allowed-origin", "a.example"], &["allowed-origin", "scheme://host"]),
        (&["--realm", ""], &["realm", "1 to 64 characters"]),
        (&["--realm", &long], &["realm", "1 to 64 characters"]),
        (&["--relay-scope", "world"], &["relay-scope", "room or public"]),
        (&["--user-quota", "-1"], &["user-quota", "whole number"]),
        (&["--source-connections", "0"], &["source-connections", "from 1 up"]),
        (&["--static-auth-secret", ""], &["static-auth-secret", "openssl rand"]),
        (&["--static-auth-secret-file", "nowhere"], &["static-auth-secret-file: ", "correct the path"]),
        (&["--host-key", " "], &["host-key", "openssl rand"]),
        (&["--host-key", "1234567"], &["host-key", "8 characters"]),
        (&["--host-key", "long enough", "--host-key", "кухня"], &["host-key", "8 characters"]),
        (&["--public", "nowhere"], &["public nowhere", "correct the path"]),
        (&["--public", "."], &["public", "index.html", "name the folder"]),
        (&["--state-dir", "/proc/nowhere"], &["state-dir /proc/nowhere", "may write to"]),
        (&["--state-dir", ""], &["state-dir", "name a folder"]),
        (&["--metrics-listen", "9641"], &["metrics-listen", "127.0.0.1:9641", "or off"]),
        (&["--metrics-listen", "127.0.0.1:0"], &["metrics-listen", "no address with a port"]),
        (&["--log", "inof"], &["log", "info"]),
        (&["--log-format", "xml"], &["log-format", "text or json"]),
        (&["--log-addresses=maybe"], &["log-addresses", "on or off"]),
        (&["--config", "nowhere.toml"], &["config nowhere.toml", "correct the path"]),
        (&["--min-prot", "1"], &["--min-prot", "--min-port"]),
        (&["credentials", "--ttl", "never"], &["ttl", "whole seconds"]),
    ];
    for (arguments, words) in bad {
        assert_contains(&fixture.startup_error(arguments), words);
    }
}

#[test]
fn domain_needs_exactly_one_certificate_source() {
    let fixture = Fixture::new();
    let bad: &[(&[&str], &[&str])] = &[
        (&["--domain", "a.example"], &["domain a.example", "--cert", "--key", "--acme-email"]),
        (&["--acme-email", "a@b.example"], &["acme-email", "without domain", "--domain"]),
        (&["--domain", "a.example", "--acme-email", "me"], &["acme-email", "you@example.com"]),
        (
            &["--domain", "a.example", "--acme-email", "a@b.example", "--cert", "c", "--key", "k"],
            &["acme-email and cert with key", "keep"],
        ),
        (
            &["--domain", "a.example", "--acme-email", "a@b.example", "--https-port", "0"],
            &["acme-email needs https-port", "cert and key"],
        ),
        (&["--acme-directory", "http://a.example"], &["acme-directory", "https URL"]),
        (&["--domain", "a.example", "--cert", "c"], &["cert is set without key", "--key"]),
        (&["--key", "k"], &["key is set without cert", "--cert"]),
        (&["--cert", "c", "--key", "k"], &["without domain", "--domain"]),
        (&["--domain", "https://a.example"], &["domain", "URL", "the name alone"]),
        (&["--domain", "192.0.2.1"], &["domain 192.0.2.1 has no certificate", "--acme-email"]),
        (&["--domain", "0.0.0.0"], &["domain", "not the address of a host"]),
        (&["--domain", "a.example:443"], &["domain", "https-port"]),
    ];
    for (arguments, words) in bad {
        assert_contains(&fixture.startup_error(arguments), words);
    }
}

#[test]
fn settings_of_several_servers_need_each_other() {
    let fixture = Fixture::new();
    let key = "sixteen letters!";
    let error = |words: &[&str]| {
        let domain = ["--domain", "a.example", "--cert", "c", "--key", "k"];
        fixture.startup_error(&[&domain, words].concat())
    };
    let store = ["--cluster", "redis://127.0.0.1"];
    assert_contains(&fixture.startup_error(&store), &["cluster is set without domain", "add --domain"]);
    let bad: &[(&[&str], &[&str])] = &[
        (&[], &["without node-name", "b1.a.example"]),
        (&["--node-name", "b1.b.example"], &["node-name b1.b.example", "subdomain of domain a.example"]),
        (&["--node-name", "a.example"], &["node-name a.example", "subdomain", "b1.a.example"]),
        (&["--node-name", "ba.example"], &["node-name ba.example", "subdomain", "b1.a.example"]),
        (&["--node-name", "192.0.2.1"], &["node-name", "no host name", "b1.call.example.com"]),
        (&["--node-name", "https://b1.a.example"], &["node-name", "no host name", "the name alone"]),
        (&["--node-name", "b1.a.example"], &["without cluster-key", "--cluster-key-file", "openssl rand"]),
        (&["--cluster-key", "fifteen letters"], &["cluster-key", "16 characters", "openssl rand"]),
        (&["--cluster-key", ""], &["cluster-key is empty", "openssl rand"]),
        (&["--cluster-key-file", "nowhere"], &["cluster-key-file: ", "correct the path"]),
        (&["--cluster-key-file", "f", "--cluster-key", key], &["cluster-key-file are both set", "keep one"]),
        (&["--cluster-fallback", "close"], &["cluster-fallback", "open or refuse"]),
    ];
    for (arguments, words) in bad {
        assert_contains(&error(&[&store, *arguments].concat()), words);
    }
    let alone: &[(&[&str], &[&str])] = &[
        (&["--node-name", "b1.a.example"], &["node-name is set without cluster", "--cluster redis://"]),
        (&["--cluster-key", key], &["cluster-key is set without cluster", "leave cluster-key out"]),
    ];
    for (arguments, words) in alone {
        assert_contains(&error(arguments), words);
    }
    for url in [
        "",
        "http://127.0.0.1",
        "127.0.0.1:6379",
        "redis://",
        "redis+cluster://a",
        "redis://a,b",
        "redis+sentinel://a,b",
        "redis://a:0",
        "redis://name@a",
    ] {
        assert_contains(&error(&["--cluster", url]), &["cluster: the URL of the store", "redis"]);
    }
}

#[test]
fn bad_settings_file_is_one_line_with_key_or_line_number() {
    let fixture = Fixture::new();
    let bad: &[(&str, &[&str])] = &[
        ("min-prot = 1", &["min-prot", "box.toml", "min-port"]),
        ("bell = ''", &["bell", "not a setting"]),
        ("[turn]\nport = 1", &["turn", "not a setting"]),
        ("realm = 'a'\nlog = ", &["box.toml", "line 2"]),
        ("log = 'info'\nlog = 'warn'", &["box.toml", "line 2"]),
        ("realm = 2.5", &["realm", "box.toml", "give one text"]),
        ("min-port = 70000", &["min-port", "from 1 to 65535"]),
        ("denied-peer-ip = ['10.0.0.0/8', 'x']", &["denied-peer-ip", "\"x\"", "CIDR"]),
        ("static-auth-secret-file = 'empty'", &["static-auth-secret-file is empty", "openssl rand"]),
        ("static-auth-secret = 'a'\nstatic-auth-secret-file = 'empty'", &["both set", "keep one"]),
        ("realm = \"a\\nb\"", &["realm", "1 to 64 characters"]),
    ];
    fixture.write_file("empty", "\n \n");
    for (text, words) in bad {
        fixture.write_file("box.toml", text);
        assert_contains(&fixture.startup_error(&["--config", "box.toml"]), words);
    }
    fs::write(fixture.folder.path().join("box.toml"), [0xff, 0xfe]).unwrap();
    assert_contains(&fixture.startup_error(&["--config", "box.toml"]), &["config box.toml", "UTF-8"]);
}

#[test]
fn bad_variable_is_one_line_with_its_name() {
    let fixture = Fixture::new();
    let error = |name: &str, value: &str| {
        let mut command = fixture.command(&[]);
        command.env(name, value);
        startup_error(command)
    };
    assert_contains(&error("WEBRTC_BOX_MINPORT", "1"), &["WEBRTC_BOX_MINPORT", "WEBRTC_BOX_MIN_PORT"]);
    assert_contains(&error("WEBRTC_BOX_MIN_PORT", "x"), &["min-port", "from 1 to 65535"]);
    assert_contains(
        &error("WEBRTC_BOX_DENIED_PEER_IP", "10.0.0.0/8,y"),
        &["denied-peer-ip", "\"y\"", "CIDR"],
    );
    assert_contains(&error("WEBRTC_BOX_CONFIG", "gone.toml"), &["config gone.toml", "correct the path"]);
}

#[test]
fn unusable_certificate_is_one_line_with_its_setting() {
    let fixture = Fixture::new();
    let production = ["--domain", "box.test", "--cert", "cert.pem", "--key", "key.pem"];
    let error = || fixture.startup_error(&production);
    assert_contains(&error(), &["cert cert.pem", "correct the path"]);

    let pair = rcgen::generate_simple_self_signed(["box.test".to_owned()]).unwrap();
    fixture.write_file("cert.pem", &pair.cert.pem());
    assert_contains(&error(), &["key key.pem", "correct the path"]);
    fixture.write_file("key.pem", "no key");
    assert_contains(&error(), &["key key.pem", "privkey.pem"]);
    fixture.write_file("key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    assert_contains(&error(), &["key key.pem", "does not belong to cert cert.pem"]);
}

#[test]
fn damaged_key_file_is_one_line_with_the_state_directory() {
    let fixture = Fixture::new();
    fixture.create_state("certs");
    fixture.write_file("certs/room-tag-key", "damaged");
    assert_contains(&fixture.startup_error(&[]), &["state-dir", "room-tag-key", "delete it"]);
}
