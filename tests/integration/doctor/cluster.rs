//! `webrtc-box check` and `webrtc-box nodes` for servers of a cluster with a real Redis. Their node names have no record in
//! DNS here, which is a finding of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::checked_server::{Checked, CheckedServer, contains_secret};
use crate::harness::redis_server::RedisServer;

/// A lease is in the store soon after the start.
const LEASE_LIMIT: Duration = Duration::from_secs(10);

const KEY: &str = "a key of all servers";

fn flags<'a>(url: &'a str, node: &'a str, key: &'a str) -> [&'a str; 6] {
    ["--cluster", url, "--node-name", node, "--cluster-key", key]
}

/// Checks until a finding about the cluster contains `part`.
fn check_until(server: &CheckedServer, flags: &[&str], part: &str) -> Checked {
    let start = Instant::now();
    loop {
        let checked = server.check(flags);
        if checked.findings("cluster").iter().any(|line| line.contains(part)) {
            return checked;
        }
        assert!(start.elapsed() < LEASE_LIMIT, "no {part:?}: {:#?}", checked.findings("cluster"));
    }
}

#[test]
fn nodes_and_check_see_all_servers_of_the_store() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let url = redis.url();
    let (first, second) = (flags(&url, "b1.localhost", KEY), flags(&url, "b2.localhost", KEY));
    let server = CheckedServer::new().start(&first);
    let other = CheckedServer::new().start(&second);
    let checked = check_until(&server, &first, "b2.localhost");
    checked.assert_finding("cluster", "ok", &["the store", &url, "Redis", "answers within"]);
    checked.assert_finding("cluster", "ok", &["b1.localhost has version", "0 rooms"]);
    checked.assert_finding("cluster", "warn", &["b2.localhost holds a lease", "leads nowhere", "https-port"]);
    checked.assert_finding("certificate", "fail", &["does not cover node-name b1.localhost", "*.localhost"]);
    checked.assert_finding("addresses", "fail", &["b1.localhost"]);
    assert!(!contains_secret(&server.file(""), &checked.report.to_string()) && checked.code == 2);

    let start = Instant::now();
    let nodes = loop {
        let list = server.nodes(&[&first[..], &["--json"]].concat());
        let nodes: Vec<Value> =
            serde_json::from_value(serde_json::from_str::<Value>(&list).unwrap()["nodes"].take()).unwrap();
        // The room that the check has left is in the store until the next renewal of the lease.
        if nodes.iter().all(|node| node["rooms"] == 0) || start.elapsed() > LEASE_LIMIT {
            break nodes;
        }
    };
    let names: Vec<_> = nodes.iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b1.localhost", "b2.localhost"]);
    let facts =
        |node: &Value| (node["rooms"].as_u64(), node["draining"].as_bool(), node["foreign"].as_bool());
    assert!(nodes.iter().all(|node| facts(node) == (Some(0), Some(false), Some(false))), "{nodes:?}");
    let table = server.nodes(&first);
    let version = env!("CARGO_PKG_VERSION");
    assert!(table.lines().skip(1).all(|line| line.contains(version) && line.contains("serving")), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
    drop(other);
}

#[test]
fn foreign_servers_and_one_name_for_two_are_failures() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let url = redis.url();
    let own = flags(&url, "b1.localhost", KEY);
    let server = CheckedServer::new().start(&own);
    let _foreign = CheckedServer::new().start(&flags(&url, "b2.localhost", "the key of other servers"));
    let checked = check_until(&server, &own, "b2.localhost has another cluster-key");
    checked.assert_finding("cluster", "fail", &["another cluster-key", "the same cluster-key"]);

    let _double = CheckedServer::new().start(&own);
    let checked = check_until(&server, &own, "2 boxes have the node-name b1.localhost");
    checked.assert_finding("cluster", "fail", &["2 boxes", "node-name of its own"]);
}

#[test]
fn faults_of_the_store_are_failures_with_a_hint() {
    let arguments = ["--requirepass", "secret-of-redis", "--maxmemory", "64mb"];
    let arguments = [&arguments[..], &["--maxmemory-policy", "allkeys-lru"]].concat();
    let Some(redis) = RedisServer::start(&arguments) else { return };
    let server = CheckedServer::new();
    let with_password = format!("redis://:secret-of-redis@127.0.0.1:{}", redis.port);
    let checked = server.check(&flags(&with_password, "b1.localhost", KEY));
    checked.assert_finding("cluster", "fail", &["maxmemory-policy allkeys-lru", "noeviction"]);
    checked.assert_finding("cluster", "warn", &["no other box holds a lease"]);
    assert!(!checked.report.to_string().contains("secret-of-redis"));

    let wrong = with_password.replace("secret-of", "wrong-word-of");
    let checked = server.check(&flags(&wrong, "b1.localhost", KEY));
    checked.assert_finding("cluster", "fail", &["refuses the user or password", "setting cluster"]);
    assert!(!checked.report.to_string().contains("wrong-word"));
    let line = server.nodes_error(&flags(&wrong, "b1.localhost", KEY));
    assert!(line.contains("refuses the user or password") && !line.contains("wrong-word"), "{line}");

    let port = redis.port;
    drop(redis);
    let gone = format!("redis://127.0.0.1:{port}");
    let checked = server.check(&flags(&gone, "b1.localhost", KEY));
    checked.assert_finding("cluster", "fail", &["cannot connect", "firewall"]);
    assert!(server.nodes_error(&[]).contains("cluster is not set"));
}

/// Operators copy this file.
#[test]
fn example_configuration_of_redis_permits_what_a_server_needs() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/redis.conf");
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.replace("127.0.0.1 10.0.0.5", "127.0.0.1").replace(">PASSWORD", ">secret-of-redis");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.conf");
    std::fs::write(&path, text).unwrap();
    let Some(redis) = RedisServer::start_with_file(path.to_str().unwrap()) else { return };
    let url = format!("redis://webrtc-box:secret-of-redis@127.0.0.1:{}", redis.port);
    let own = flags(&url, "b1.localhost", KEY);
    let server = CheckedServer::new().start(&own);
    let checked = check_until(&server, &own, "b1.localhost has version");
    checked.assert_finding("cluster", "ok", &["is Redis", "answers within"]);
    let anonymous = format!("redis://127.0.0.1:{}", redis.port);
    let checked = server.check(&flags(&anonymous, "b1.localhost", KEY));
    checked.assert_finding("cluster", "fail", &["refuses the user or password"]);
}

#[test]
fn settings_file_with_a_secret_that_everybody_may_read_is_a_warning() {
    let server = CheckedServer::new();
    let file = server.file("box.toml");
    let set_mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    let open_folder = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(server.file(""), open_folder).unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let warns = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let findings = server.check(&config).findings("settings");
        findings.iter().any(|line| line.contains("config: every user") && line.contains("chmod o-r"))
    };
    let secret =
        "cluster = 'redis://:secret@127.0.0.1:1'\nnode-name = 'b1.localhost'\ncluster-key-file = 'keys'";
    std::fs::write(server.file("keys"), KEY).unwrap();
    assert!(!warns("realm = 'x'\nhost-key = []"));
    set_mode(0o644);
    assert!(warns(secret) && warns("host-key = 'long enough'"));
    set_mode(0o640);
    assert!(!warns(secret));
}
