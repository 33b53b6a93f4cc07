//! A real store that is slow, full, read-only, stopped, refuses the login, holds foreign values, or fails over.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::harness::{LIMIT, RedisServer, TestBox, config, free_port, redirect, room, until};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use webrtc_box_cluster::*;

const LEASE: Duration = Duration::from_secs(3);

/// Why the store is lost, in one event.
async fn loss(test_box: &mut TestBox) -> String {
    test_box
        .event(|event| if let Event::StoreLost { reason, .. } = event { Some(reason) } else { None })
        .await
}

async fn back(test_box: &mut TestBox) -> Duration {
    test_box.event(|event| if let Event::StoreBack { after } = event { Some(after) } else { None }).await
}

/// Rooms stay and are served from memory, new ones are opened, and nothing waits.
async fn check_outage(test_box: &TestBox, kept: Fence) {
    let start = Instant::now();
    assert_eq!(test_box.join(1).await, Decision::Serve { fence: kept, resumes: Fence::NONE });
    for number in 100..150 {
        assert!(matches!(test_box.join(number).await, Decision::Serve { fence: Fence::FALLBACK, .. }));
    }
    let elapsed = start.elapsed();
    println!("51 joins without the store: {elapsed:?}; goal 100 ms");
    assert!(elapsed < Duration::from_millis(300), "{elapsed:?}");
}

#[tokio::test]
async fn a_store_that_answers_after_a_second_is_not_waited_for() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let mut one = TestBox::ready("b1.x", &server.url()).await;
    let kept = one.serve(1).await;
    server.signal("-STOP");
    let reason = loss(&mut one).await;
    assert!(reason.contains("300 ms") || reason.contains("no answer"), "{reason}");
    check_outage(&one, kept).await;
    server.signal("-CONT");
    println!("back after {:?}", back(&mut one).await);
    assert_eq!(one.events().iter().filter(|event| matches!(event, Event::StoreLost { .. })).count(), 0);
    assert_eq!(one.join(1).await, Decision::Serve { fence: kept, resumes: Fence::NONE });
}

#[tokio::test]
async fn a_slow_store_is_reported_once() {
    let Some(server) = RedisServer::start(&["--enable-debug-command", "yes"]).await else { return };
    let mut one = TestBox::ready("b1.x", &server.url()).await;
    let kept = one.serve(1).await;
    let port = server.port;
    let blocker = tokio::spawn(async move {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        connection.set_response_timeout(LIMIT);
        // With 1 s each renewal, one a second, could come just between two of them.
        for _ in 0..3 {
            redis::cmd("DEBUG").arg("SLEEP").arg(1.4).query_async::<()>(&mut connection).await.unwrap();
        }
    });
    loss(&mut one).await;
    check_outage(&one, kept).await;
    blocker.await.unwrap();
    back(&mut one).await;
    let losses = one.events().iter().filter(|event| matches!(event, Event::StoreLost { .. })).count();
    assert!(losses <= 2, "{losses}");
}

#[tokio::test]
async fn a_full_store_is_named_and_recovers() {
    let Some(server) = RedisServer::start(&["--maxmemory-policy", "noeviction"]).await else { return };
    let mut one = TestBox::ready("b1.x", &server.url()).await;
    let kept = one.serve(1).await;
    server.run(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    assert_eq!(loss(&mut one).await, StoreError::Full.to_string());
    check_outage(&one, kept).await;
    server.run(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    back(&mut one).await;
    assert_eq!(one.join(1).await, Decision::Serve { fence: kept, resumes: Fence::NONE });
}

#[tokio::test]
async fn a_read_only_store_is_named_and_recovers() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let mut one = TestBox::ready("b1.x", &server.url()).await;
    let kept = one.serve(1).await;
    server.run(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    assert!(loss(&mut one).await.contains("read-only"));
    check_outage(&one, kept).await;
    server.run(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    back(&mut one).await;
}

#[tokio::test]
async fn a_wrong_password_is_named_without_repeating_it() {
    let Some(server) = RedisServer::start(&["--requirepass", "right"]).await else { return };
    let mut one = TestBox::start(config("b1.x", &format!("redis://:wr0ng@127.0.0.1:{}", server.port)));
    let reason = loss(&mut one).await;
    assert!(reason.contains("user or password") && !reason.contains("wr0ng"), "{reason}");
    assert!(matches!(one.join(1).await, Decision::Serve { fence: Fence::FALLBACK, .. }));
    let url = format!("redis://127.0.0.1:{}", server.port);
    let mut without = TestBox::start(config("b2.x", &url));
    assert!(loss(&mut without).await.contains("user or password"));
    TestBox::ready("b3.x", &format!("redis://:right@127.0.0.1:{}", server.port)).await;
}

#[tokio::test]
async fn the_rules_of_the_example_suffice_and_a_missing_one_is_named() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let example =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/redis.conf")).unwrap();
    let rules = example.lines().find_map(|line| line.strip_prefix("user webrtc-box ")).unwrap();
    let rules = rules.replace("PASSWORD", "secret");
    let words = ["ACL", "SETUSER", "webrtc-box"].into_iter().chain(rules.split(' ')).collect::<Vec<_>>();
    server.run(&words).await.unwrap();
    server.run(&["ACL", "SETUSER", "narrow", "on", ">secret", "~webrtc-box:box:*", "+@all"]).await.unwrap();
    let url = |user: &str| format!("redis://{user}:secret@127.0.0.1:{}", server.port);
    let one = TestBox::ready("b1.x", &url("webrtc-box")).await;
    let two = TestBox::ready("b2.x", &url("webrtc-box")).await;
    let fence = one.serve(1).await;
    assert_eq!(two.join(1).await, redirect("b1.x", fence));
    assert!(one.handle.move_room(room(1)).await.is_some());
    assert!(one.handle.lock_order().await && one.handle.put_challenge("x", "y", LIMIT).await);
    one.handle.shutdown().await;
    let store = StoreUrl::parse(&url("webrtc-box")).unwrap();
    read_nodes(&store, &NodeName::parse("x").unwrap(), [7; 8], rustls::RootCertStore::empty()).await.unwrap();

    let mut narrow = TestBox::start(config("b3.x", &url("narrow")));
    let reason = loss(&mut narrow).await;
    assert!(reason.contains("permission"), "{reason}");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_named() {
    let Ok(program) = std::env::var("OLD_REDIS_SERVER") else {
        println!("skipped: OLD_REDIS_SERVER names no redis-server before 6.2");
        return;
    };
    let Some(server) = RedisServer::start_as(&program, free_port(), &[]).await else { return };
    let mut one = TestBox::start(config("b1.x", &server.url()));
    let reason = loss(&mut one).await;
    println!("{reason}");
    assert!(reason.contains("too old; 6.2 or later"), "{reason}");
    assert!(matches!(one.join(1).await, Decision::Serve { fence: Fence::FALLBACK, .. }));
    let url = StoreUrl::parse(&server.url()).unwrap();
    let checked =
        read_nodes(&url, &NodeName::parse("x").unwrap(), [7; 8], rustls::RootCertStore::empty()).await;
    assert!(matches!(checked, Err(StoreError::Version(_))), "{checked:?}");
}

#[tokio::test]
async fn a_key_that_the_store_refuses_affects_no_other_room() {
    // Tags that begin with a zero are refused.
    let rules = "user box on >secret ~webrtc-box:[^r]* ~webrtc-box:room:[^0]* +@all";
    let arguments: Vec<&str> = std::iter::once("--user").chain(rules.split(' ').skip(1)).collect();
    let Some(mut server) = RedisServer::start(&arguments).await else { return };
    let url = format!("redis://box:secret@127.0.0.1:{}", server.port);
    let (mut one, two) = (TestBox::ready("b1.x", &url).await, TestBox::ready("b2.x", &server.url()).await);
    let (good, refused) = (0x21, 0x01);
    let fence = one.serve(good).await;
    assert_eq!(one.join(refused).await, Decision::TryLater);
    let reason = one
        .event(|event| if let Event::RequestRefused { reason } = event { Some(reason) } else { None })
        .await;
    println!("{reason}");
    assert!(reason.contains("permission"), "{reason}");
    assert!(one.serve(good + 1).await > fence, "the store is asked for the next room");
    assert!(!one.events().iter().any(|event| matches!(event, Event::StoreLost { .. })));

    // Rooms that opened without the store are asserted together.
    two.handle.shutdown().await;
    until("the other box is gone", async || {
        one.handle.nodes().iter().all(|node| node.age > LEASE || node.id.name.as_str() == "b1.x")
    })
    .await;
    server.kill();
    loss(&mut one).await;
    for number in [refused, good + 2, good + 3] {
        assert_eq!(one.serve(number).await, Fence::FALLBACK);
    }
    server.restart().await;
    back(&mut one).await;
    for number in [refused, good + 2, good + 3] {
        assert_eq!(one.serve(number).await, Fence::FALLBACK, "a call goes on");
    }
    let two = TestBox::ready("b3.x", &server.url()).await;
    assert_eq!(two.join(good).await, redirect("b1.x", fence));
    assert_eq!(two.join(good + 3).await, redirect("b1.x", Fence::FALLBACK));
    let events = one.events();
    assert!(!events.iter().any(|event| matches!(event, Event::StoreLost { .. })), "{events:?}");
}

#[tokio::test]
async fn a_certificate_is_verified() {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    let tls_port = free_port();
    let arguments = [
        ["--tls-port", &tls_port.to_string()],
        ["--tls-cert-file", &path("cert.pem")],
        ["--tls-key-file", &path("key.pem")],
        ["--tls-auth-clients", "no"],
    ];
    let arguments = arguments.concat();
    let Some(_server) = RedisServer::start(&arguments.iter().map(AsRef::as_ref).collect::<Vec<&str>>()).await
    else {
        return;
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(ca_cert.der().to_vec())).unwrap();
    let url = format!("rediss://localhost:{tls_port}");
    let mut one = TestBox::start(ClusterConfig { roots, ..config("b1.x", &url) });
    one.event(|event| (event == Event::LeaseRenewed).then_some(())).await;
    let mut untrusting = TestBox::start(config("b2.x", &url));
    let reason = loss(&mut untrusting).await;
    assert!(reason.contains("certificate"), "{reason}");
}

#[tokio::test]
async fn foreign_and_corrupt_values_have_a_defined_outcome() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let mut one = TestBox::ready("b1.x", &server.url()).await;
    let key = |number: u8| format!("webrtc-box:room:{}", room(number));
    let values = [
        "no JSON",
        "",
        "[]",
        "null",
        "{}",
        r#"{"v":1}"#,
        r#"{"v":1,"key":"0707070707070707","owner":"b2.x#1"}"#,
        r#"{"v":1,"key":"0707070707070707","owner":"b2.x#1","fence":1e300}"#,
        r#"{"v":1,"key":"0707070707070707","owner":"b2.x#1","fence":-5}"#,
        r#"{"v":1,"key":"0707070707070707","owner":"no id","fence":5}"#,
    ];
    for (number, value) in values.into_iter().enumerate() {
        let number = number as u8;
        server.run(&["SET", &key(number), value]).await.unwrap();
        assert_eq!(one.handle.look(room(number)).await, Decision::Vacant, "{value}");
        one.serve(number).await;
        one.event(|event| (event == Event::CorruptValue { room: room(number) }).then_some(())).await;
    }
    // Another type.
    server.run(&["SADD", &key(50), "member"]).await.unwrap();
    one.serve(50).await;
    // The counter, too.
    for counter in ["text", "-7", "9007199254740993", "0x10", "1e9"] {
        server.run(&["SET", "webrtc-box:fence", counter]).await.unwrap();
        let number = 60 + counter.len() as u8;
        assert!(one.serve(number).await < Fence(1000), "{counter}");
        server.run(&["DEL", "webrtc-box:fence"]).await.unwrap();
        server.run(&["RPUSH", "webrtc-box:fence", "member"]).await.unwrap();
        one.serve(number + 30).await;
    }

    // A room of another key or version is respected while its owner has a lease.
    server.run(&["SET", "webrtc-box:box:b9.x#1", "{}", "PX", "60000"]).await.unwrap();
    for (number, fields) in [(150, r#""v":2,"key":"0707070707070707""#), (151, r#""v":1,"key":"08""#)] {
        let value = format!(r#"{{{fields},"owner":"b9.x#1","fence":3}}"#);
        server.run(&["SET", &key(number), &value]).await.unwrap();
        assert_eq!(one.join(number).await, Decision::TryLater);
        assert_eq!(one.handle.look(room(number)).await, Decision::TryLater);
    }
    server.run(&["DEL", "webrtc-box:box:b9.x#1"]).await.unwrap();
    one.serve(150).await;
    one.serve(151).await;

    // Lists of boxes and of lost rooms, and leases, of another type or without sense.
    let id = one.handle.nodes()[0].id.to_string();
    for name in ["webrtc-box:boxes", &format!("webrtc-box:lost:{id}"), &format!("webrtc-box:box:{id}")] {
        server.run(&["DEL", name]).await.unwrap();
        server.run(&["RPUSH", name, "member"]).await.unwrap();
    }
    until("the box repairs them", async || {
        let boxes = server.run(&["TYPE", "webrtc-box:boxes"]).await.unwrap();
        boxes == redis::Value::SimpleString("set".to_owned())
    })
    .await;
    for member in ["no id", "b8.x#1", ""] {
        server.run(&["SADD", "webrtc-box:boxes", member]).await.unwrap();
    }
    server.run(&["SET", "webrtc-box:box:b8.x#1", "no JSON", "PX", "60000"]).await.unwrap();
    let two = TestBox::ready("b2.x", &server.url()).await;
    until("the boxes see each other", async || two.handle.nodes().len() == 2).await;
    assert!(!one.events().iter().any(|event| matches!(event, Event::StoreLost { .. })));
}

#[tokio::test]
async fn a_box_with_another_key_shares_no_room() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let mut one = TestBox::ready("b1.x", &server.url()).await;
    let _two = TestBox::start(ClusterConfig { key_id: [8; 8], ..config("b2.x", &server.url()) });
    let foreign = Event::ForeignBox { node: NodeName::parse("b2.x").unwrap(), key_differs: true };
    one.event(|event| (event == foreign).then_some(())).await;
    one.handle.drain(true);
    one.serve(1).await;
    assert_eq!(one.handle.move_room(room(1)).await, None, "there is no box to move it to");
}

#[tokio::test]
async fn a_second_box_of_one_name_serves_nothing_until_the_first_ends() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let mut one = TestBox::ready("b1.x", &server.url()).await;
    let mut two = TestBox::start(config("b1.x", &server.url()));
    two.event(|event| matches!(event, Event::DuplicateName { .. }).then_some(())).await;
    let fence = one.serve(1).await;
    assert_eq!(two.join(1).await, Decision::TryLater);
    assert_eq!(two.join(2).await, Decision::TryLater);
    assert!(
        !one.events().iter().any(|event| matches!(event, Event::DuplicateName { .. })),
        "the first is not disturbed"
    );
    one.kill().await;
    two.event(|event| (event == Event::NameFree).then_some(())).await;
    let resume = JoinRequest { token_fence: Some(fence), ..JoinRequest::new(room(1)) };
    assert_eq!(two.handle.join(resume).await, Decision::Serve { fence: Fence(fence.0 + 1), resumes: fence });
}

#[tokio::test]
async fn a_restarted_box_is_no_duplicate() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let mut one = TestBox::ready("b1.x", &server.url()).await;
    one.kill().await;
    let start = Instant::now();
    let mut two = TestBox::start(config("b1.x", &server.url()));
    let duplicate = two.event(|event| match event {
        Event::LeaseRenewed => Some(false),
        Event::DuplicateName { .. } => Some(true),
        _ => None,
    });
    assert!(!duplicate.await);
    println!("a box that was killed serves again after {:?}; goal 3.5 s", start.elapsed());
}

#[tokio::test]
async fn a_fail_over_by_sentinel_leaves_one_owner() {
    let (Some(mut primary), Some(replica)) = (RedisServer::start(&[]).await, RedisServer::start(&[]).await)
    else {
        return;
    };
    let replica_of = ["REPLICAOF", "127.0.0.1", &primary.port.to_string()];
    replica.run(&replica_of).await.unwrap();
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let lines = [
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("sentinel monitor main 127.0.0.1 {} 2", primary.port),
            "sentinel down-after-milliseconds main 500".to_owned(),
            "sentinel failover-timeout main 2000".to_owned(),
        ];
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let started = RedisServer::start_as("redis-sentinel", port, &[file.to_str().unwrap()]).await;
        let Some(sentinel) = started else { return };
        sentinels.push((sentinel, folder));
    }
    let addresses: Vec<String> =
        sentinels.iter().map(|(sentinel, _)| format!("127.0.0.1:{}", sentinel.port)).collect();
    let url = format!("redis+sentinel://{}/main", addresses.join(","));
    let (mut one, mut two) = (TestBox::ready("b1.x", &url).await, TestBox::ready("b2.x", &url).await);
    let kept = one.serve(1).await;
    until("the replica has the room", async || {
        let key = format!("webrtc-box:room:{}", room(1));
        replica.run(&["EXISTS", &key]).await.unwrap() == redis::Value::Int(1)
    })
    .await;
    until("the Sentinels know the replica and each other", async || {
        let ask = async |what: &str| sentinels[0].0.run(&["SENTINEL", what, "main"]).await;
        let count = |value| if let redis::Value::Array(items) = value { items.len() } else { 0 };
        count(ask("REPLICAS").await.unwrap()) == 1 && count(ask("SENTINELS").await.unwrap()) == 2
    })
    .await;
    // What follows is not replicated: the last second is lost.
    replica.run(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    let lost = one.serve(2).await;
    primary.kill();
    loss(&mut one).await;
    let start = Instant::now();
    back(&mut one).await;
    println!("the store is back after {:?} of fail-over", start.elapsed());
    back(&mut two).await;
    let start = Instant::now();
    until("one owner remains", async || two.join(2).await == redirect("b1.x", lost)).await;
    println!("one owner remains after {:?}; goal 5 s", start.elapsed());
    assert_eq!(two.join(1).await, redirect("b1.x", kept));
    assert!(start.elapsed() < Duration::from_secs(15));
    let role = replica.run(&["ROLE"]).await.unwrap();
    assert!(format!("{role:?}").contains("master"), "{role:?}");
    assert!(tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, primary.port)).await.is_err());
}
