//! Values that no box writes, under the keys of the boxes: each has a defined answer, and none counts as a failure of the store.

use std::sync::Arc;

use crate::harness::{RedisServer, config, room, until};
use webrtc_box_cluster::registry::*;
use webrtc_box_cluster::*;

const OWNER: &str = "b9.x#00000000000000ff";

/// A connected registry of a box that holds a lease.
async fn connect(name: &str, server: &RedisServer) -> Arc<RedisRegistry> {
    let config = config(name, &server.url());
    let registry = Arc::new(RedisRegistry::new(&config));
    let running = Arc::clone(&registry);
    tokio::spawn(async move { running.run().await });
    until("the store answers", async || registry.call(renewal(0)).await.is_ok()).await;
    registry
}

fn renewal(serial: u64) -> Request {
    let lease = Lease {
        v: PROTOCOL,
        key: "0707070707070707".to_owned(),
        version: String::new(),
        load: 0,
        rooms: 0,
        draining: false,
        unreachable: Vec::new(),
        serial,
    };
    Request::Renew { lease, withdrawn: false, floor: Fence::FALLBACK, extend: Vec::new() }
}

async fn owner(registry: &RedisRegistry, request: Request) -> Owner {
    match registry.call(request).await {
        Ok(Reply::Owner(owner)) => owner,
        other => panic!("no owner: {other:?}"),
    }
}

fn claim(number: u8, elsewhere: Elsewhere) -> Request {
    Request::Claim { room: room(number), serial: 1, floor: Fence::FALLBACK, elsewhere }
}

fn room_key(number: u8) -> String {
    format!("webrtc-box:room:{}", room(number))
}

/// Runs a script, which may contain bytes that are no text.
async fn eval(server: &RedisServer, script: &str) -> redis::Value {
    server.run(&["EVAL", script, "0"]).await.unwrap()
}

#[tokio::test]
async fn an_owner_that_no_box_can_read_counts_as_absent() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let (one, two) = (connect("b1.x", &server).await, connect("b2.x", &server).await);
    let long_boot = format!("b9.x#{}", "f".repeat(17));
    let long_name = format!("{}#1", "a".repeat(64));
    let names = ["..#1", ".x#1", "x.#1", "-x#1", "x-.y#1", "#1", "x", "x#", "X#1", &long_boot, &long_name];
    for name in names {
        for alive in [false, true] {
            let value = serde_json::json!({
                "v": PROTOCOL, "key": "0707070707070707", "owner": name, "fence": 5, "resumes": 0, "seats": 0, "serial": 1,
            });
            server.run(&["SET", &room_key(1), &value.to_string()]).await.unwrap();
            if alive {
                server.run(&["SET", &format!("webrtc-box:box:{name}"), "{}", "PX", "60000"]).await.unwrap();
            }
            assert_eq!(owner(&two, Request::Look { room: room(1) }).await, Owner::Nobody, "{name}");
            let claimed = owner(&one, claim(1, Elsewhere::No)).await;
            assert!(matches!(claimed, Owner::Me { corrupt: true, from: None, .. }), "{name}: {claimed:?}");
        }
    }
}

#[tokio::test]
async fn texts_that_are_no_utf8_do_not_stop_renewals() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let box_one = connect("b1.x", &server).await;
    let script = format!(
        r"redis.call('SET', 'webrtc-box:box:{OWNER}', '\255\254', 'PX', 60000)
          redis.call('SET', 'webrtc-box:box:\255#1', '{{}}', 'PX', 60000)
          redis.call('SADD', 'webrtc-box:boxes', '{OWNER}', '\255#1', '')
          for _, id in ipairs(redis.call('SMEMBERS', 'webrtc-box:boxes')) do
            redis.call('SADD', 'webrtc-box:lost:' .. id, '\255', 'x', '{lost}')
          end",
        lost = room(3),
    );
    eval(&server, &script).await;
    let reply = box_one.call(renewal(1)).await;
    let Ok(Reply::Renewed { nodes, lost, .. }) = reply else { panic!("not renewed: {reply:?}") };
    assert_eq!((nodes, lost), (Vec::new(), vec![room(3)]));
    assert_eq!(box_one.call(Request::Nodes).await, Ok(Reply::Nodes(Vec::new())));
}

#[tokio::test]
async fn a_challenge_that_is_no_text_is_none() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let registry = connect("b1.x", &server).await;
    let request = || Request::Challenge { domain: "call.example".to_owned() };
    for command in ["'RPUSH', key, 'a'", r"'SET', key, '\255'"] {
        let key = "local key = 'webrtc-box:challenge:call.example'";
        eval(&server, &format!("{key} redis.call('DEL', key) return redis.call({command})")).await;
        assert_eq!(registry.call(request()).await, Ok(Reply::Challenge(None)), "{command}");
    }
}

#[tokio::test]
async fn a_corrupt_counter_leaves_each_room_with_one_owner() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let (one, two) = (connect("b1.x", &server).await, connect("b2.x", &server).await);
    let counters =
        ["0012", "-5", "1.5", "x", "", "9007199254740990", "9007199254740991", "9223372036854775807"];
    for (number, counter) in (1..).zip(counters) {
        server.run(&["SET", "webrtc-box:fence", counter]).await.unwrap();
        for number in [number, number + 100] {
            let claimed = owner(&one, claim(number, Elsewhere::No)).await;
            let Owner::Me { fence, .. } = claimed else { panic!("{counter}: {claimed:?}") };
            assert!((Fence(2)..=Fence::MAX).contains(&fence), "{counter}: {fence:?}");
            let other = owner(&two, claim(number, Elsewhere::No)).await;
            assert!(
                matches!(other, Owner::Other { fence: known, alive: true, .. } if known == fence),
                "{other:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_room_for_another_box_is_forgotten_unless_that_box_claims_it() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let (one, two) = (connect("b1.x", &server).await, connect("b2.x", &server).await);
    let seconds_left = async || match server.run(&["TTL", &room_key(1)]).await {
        Ok(redis::Value::Int(seconds)) => seconds as u64,
        other => panic!("{other:?}"),
    };
    let chosen = owner(&one, claim(1, Elsewhere::IfAny([0, 0]))).await;
    assert!(matches!(chosen, Owner::Other { alive: true, .. }), "{chosen:?}");
    assert!(seconds_left().await <= CHOSEN_DURATION.as_secs());
    assert!(matches!(owner(&two, claim(1, Elsewhere::No)).await, Owner::Me { .. }));
    assert!(seconds_left().await > ROOM_DURATION.as_secs() / 2);
}

#[tokio::test]
async fn no_room_goes_to_a_box_outside_the_domain() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let box_one = connect("b1.x", &server).await;
    let evil = "b2.x.evil#0000000000000002";
    let script = format!(
        r#"local lease = redis.call('GET', 'webrtc-box:box:' .. redis.call('SMEMBERS', 'webrtc-box:boxes')[1])
          redis.call('SET', 'webrtc-box:box:{evil}', lease, 'PX', 60000)
          redis.call('SADD', 'webrtc-box:boxes', '{evil}')
          local room = '{{"v":1,"key":"0707070707070707","owner":"{evil}","fence":9,"serial":1}}'
          redis.call('SET', '{key}', room)"#,
        key = room_key(1),
    );
    eval(&server, &script).await;
    assert_eq!(owner(&box_one, Request::Look { room: room(1) }).await, Owner::Nobody);
    for (number, elsewhere) in [(1, Elsewhere::No), (2, Elsewhere::IfAny([0, 0]))] {
        let claimed = owner(&box_one, claim(number, elsewhere)).await;
        assert!(matches!(claimed, Owner::Me { .. }), "{number}: {claimed:?}");
    }
    let Owner::Me { fence, .. } = owner(&box_one, Request::Look { room: room(2) }).await else { panic!() };
    let floor = Fence::FALLBACK;
    let moved = Request::Move { room: room(2), fence, serial: 1, floor, random: [0, 0] };
    assert_eq!(box_one.call(moved).await, Ok(Reply::Moved(None)), "there is no other box");
}
