//! Several boxes as one service, with a real Redis: redirects, the loss of an owner, the loss of the store, drain.

mod boxes;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use webrtc_box_turn::credential::Credential;

use self::boxes::{Boxes, Client, RETRY_INTERVAL, Received};
use crate::harness::TEST_TIMEOUT;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TurnClient, socket};

/// A client with the reply that gave it its seat.
type Seated = (Client, Value);

fn join(room: &str) -> Value {
    json!({"type": "join", "room": room})
}

fn resume(room: &str, token: &Value) -> Value {
    json!({"type": "join", "room": room, "resume": token})
}

/// Joins over and over, following redirects, until there is a seat; from the box `first`.
fn join_somewhere(boxes: &Boxes, first: usize, frame: &Value) -> Seated {
    let start = Instant::now();
    let mut frame = frame.clone();
    let mut client = boxes.client(first);
    loop {
        client.send(&frame);
        match client.receive() {
            Received::Frame(reply) if reply["type"] == "resp-join" => return (client, reply),
            Received::Frame(reply) if reply["type"] == "redirect" => {
                let index = boxes.index_of(&reply["url"]);
                frame["fence"] = reply["fence"].clone();
                client = if boxes.is_running(index) { boxes.client(index) } else { boxes.client(first) };
            }
            Received::Frame(_) => {}
            Received::Close(_) | Received::Lost => client = boxes.client(first),
        }
        assert!(start.elapsed() < TEST_TIMEOUT, "no seat");
        std::thread::sleep(RETRY_INTERVAL);
    }
}

/// Joins at one box until it has the room, whose owner has stopped.
fn join_once_free(boxes: &Boxes, index: usize, frame: &Value) -> Seated {
    let start = Instant::now();
    loop {
        let mut client = boxes.client(index);
        let reply = client.ask(frame);
        if reply["type"] == "resp-join" {
            return (client, reply);
        }
        assert!(start.elapsed() < TEST_TIMEOUT, "{reply}");
        std::thread::sleep(RETRY_INTERVAL);
    }
}

fn pair(boxes: &Boxes, index: usize, room: &str) -> [Seated; 2] {
    [(); 2].map(|()| {
        let mut client = boxes.client(index);
        let reply = client.ask(&join(room));
        assert_eq!(reply["type"], "resp-join", "{reply}");
        (client, reply)
    })
}

#[test]
fn a_join_at_another_box_leads_to_the_owner() {
    let Some(boxes) = Boxes::start(2, &[]) else { return };
    let mut alice = boxes.client(0);
    let first = alice.ask(&join("kitchen"));
    let servers = first["iceServers"].to_string();
    assert!(servers.contains("turn:b1.localhost:"), "{servers}");
    let mut bob = boxes.client(1);
    let redirect = bob.ask(&join(" Kitchen "));
    let expected =
        json!({"type": "redirect", "url": boxes.url(0), "room": "kitchen", "fence": first["fence"]});
    assert_eq!(redirect, expected);
    assert_eq!(bob.receive(), Received::Close(4002));
    let mut bob = boxes.follow(&redirect);
    let frame = json!({"type": "join", "room": "kitchen", "fence": redirect["fence"]});
    assert_eq!(bob.ask(&frame)["peer"], first["id"]);
    assert_eq!(alice.wait_for("new-peer")["type"], "new-peer");
    let mut looking = boxes.client(1);
    assert_eq!(looking.ask(&json!({"type": "look", "room": "kitchen"}))["url"], boxes.url(0));
    assert_eq!(looking.receive(), Received::Close(4002));
    let mut looking = boxes.client(1);
    assert_eq!(looking.ask(&json!({"type": "look", "room": "attic"}))["seats"], 0, "nobody has it");
    assert_eq!(boxes.metric(1, r#"webrtc_box_redirects_total{cause="join"}"#), Some(1.0));
    assert_eq!(boxes.metric(1, r#"webrtc_box_redirects_total{cause="look"}"#), Some(1.0));
    assert_eq!(boxes.metric(0, "webrtc_box_owned_rooms"), Some(1.0));
}

#[test]
fn a_join_names_the_boxes_that_take_rooms() {
    let Some(boxes) = Boxes::start(3, &[]) else { return };
    boxes.wait_until_known();
    let expected = json!([boxes.authority(1), boxes.authority(2), boxes.authority(0)]);
    let start = Instant::now();
    loop {
        let mut client = boxes.client(1);
        let reply = client.ask(&join("kitchen"));
        if reply["nodes"] == expected {
            return;
        }
        assert!(start.elapsed() < TEST_TIMEOUT, "{reply}");
        client.send(&json!({"type": "leave"}));
        std::thread::sleep(RETRY_INTERVAL);
    }
}

#[test]
fn a_forged_fence_makes_nobody_an_owner() {
    let Some(boxes) = Boxes::start(2, &[]) else { return };
    let (mut alice, mut bob) = (boxes.client(0), boxes.client(1));
    let first = alice.ask(&join("kitchen"));
    let forged = |fence: u64| json!({"type": "join", "room": "kitchen", "fence": fence});
    let reply = boxes.client(0).ask(&forged(1 << 52));
    assert_eq!((&reply["type"], &reply["fence"]), (&json!("resp-join"), &first["fence"]));
    assert_eq!(bob.ask(&forged(u64::MAX))["url"], boxes.url(0));
    assert_eq!(boxes.client(1).ask(&forged(0))["url"], boxes.url(0));
}

#[test]
fn long_polling_is_redirected() {
    let Some(boxes) = Boxes::start(2, &[]) else { return };
    let mut alice = boxes.client(0);
    assert_eq!(alice.ask(&join("kitchen"))["type"], "resp-join");
    let open = |index| {
        let reply = boxes.poll(index, &json!({})).json();
        assert_eq!(reply["node"], boxes.authority(index));
        reply["session"].clone()
    };
    let session = open(1);
    let frames = json!({"session": session, "seq": 1, "frames": [join("kitchen"), {"type": "ping"}]});
    assert_eq!(boxes.poll(1, &frames).status, 204);
    let reply = boxes.poll(1, &json!({"session": session, "after": 0})).json();
    assert_eq!(reply["frames"][0]["url"], boxes.url(0));
    assert_eq!(reply["close"]["code"], 4002);
    let session = open(0);
    let frames = json!({"session": session, "seq": 1, "frames": [{"type": "ping"}, join("kitchen")]});
    assert_eq!(boxes.poll(0, &frames).status, 204);
    let reply = boxes.poll(0, &json!({"session": session, "after": 0})).json();
    assert_eq!(
        (&reply["frames"][0]["type"], &reply["frames"][1]["type"]),
        (&json!("pong"), &json!("resp-join"))
    );
}

#[test]
fn a_socket_io_client_learns_the_owner_and_stays_connected() {
    let Some(boxes) = Boxes::start(2, &[]) else { return };
    let mut alice = boxes.client(0);
    assert_eq!(alice.ask(&join("kitchen"))["type"], "resp-join");
    let url = format!("wss://{}/socket.io/?EIO=4&transport=websocket", boxes.authority(1));
    let mut classic = Client::connect(boxes.server(1), &url);
    assert!(classic.text().starts_with("0{"));
    assert!(classic.ask_text("40").starts_with("40{"));
    let expected = format!(r#"42["error",{{"code":"redirect","message":"https://{}"}}]"#, boxes.authority(0));
    assert_eq!(classic.ask_text(r#"42["join","kitchen"]"#), expected);
    let own = classic.ask_text(r#"42["join","attic"]"#);
    assert!(own.starts_with(r#"42["ice-servers""#), "{own}");
}

#[test]
fn the_room_of_a_killed_owner_opens_elsewhere_for_its_tokens() {
    let Some(mut boxes) = Boxes::start(3, &["--host-key", "open sesame"]) else { return };
    let opens = json!({"type": "join", "room": "kitchen", "key": "open sesame"});
    let (mut alice, mut bob) = (boxes.client(0), boxes.client(0));
    let (first, second) = (alice.ask(&opens), bob.ask(&join("kitchen")));
    let killed = Instant::now();
    drop(boxes.take(0));
    let (_alice, resumed) = join_somewhere(&boxes, 1, &resume("kitchen", &first["resume"]));
    let (_bob, other) = join_somewhere(&boxes, 2, &resume("kitchen", &second["resume"]));
    let took = killed.elapsed();
    println!("signaling is back {:.1} s after the owner was killed (goal: 5 s)", took.as_secs_f32());
    assert_eq!((&resumed["id"], &other["id"]), (&first["id"], &second["id"]));
    assert_eq!(other["peer"], first["id"], "both are on one box again");
    assert!(resumed["fence"].as_u64() > first["fence"].as_u64());
    assert!(took < 3 * Duration::from_secs(5));
    let takeovers = [1, 2].map(|index| boxes.metric(index, "webrtc_box_room_takeovers_total").unwrap());
    assert_eq!(takeovers.iter().sum::<f64>(), 1.0);
    let mut other = boxes.client(1);
    let refused = other.ask(&resume("kitchen", &json!("forged")));
    assert_eq!(refused["code"], "bad-resume", "whichever box has the room");
}

#[test]
fn a_replaced_key_keeps_rooms_and_tokens() {
    let (old, new) = ("a key that all boxes share", "the key that replaces it");
    let Some(mut boxes) = Boxes::start(2, &[]) else { return };
    let [(_alice, first), (bob, second)] = pair(&boxes, 0, "kitchen");
    boxes.set_keys(&[new, old]);
    assert_eq!(boxes.client(1).ask(&join("kitchen"))["url"], boxes.url(0), "rooms keep their names");
    drop(bob);
    let mut bob = boxes.client(0);
    let renewed = bob.ask(&resume("kitchen", &second["resume"]));
    assert_eq!(renewed["id"], second["id"]);
    drop(boxes.take(0));
    // A token under each key.
    let (_alice, resumed) = join_somewhere(&boxes, 1, &resume("kitchen", &first["resume"]));
    let (_bob, other) = join_somewhere(&boxes, 1, &resume("kitchen", &renewed["resume"]));
    assert_eq!((&resumed["id"], &other["id"]), (&first["id"], &second["id"]));

    boxes.set_keys(&[new]);
    boxes.server(1).wait_for_line("the last cluster-key names the rooms");
    let mut carol = boxes.client(1);
    assert_eq!(carol.ask(&resume("kitchen", &first["resume"]))["code"], "bad-resume");
    assert_eq!(carol.ask(&join("kitchen"))["code"], "room-full", "the same room until the restart");
}

#[test]
fn a_box_that_wakes_gives_up_the_rooms_that_another_box_has() {
    let Some(boxes) = Boxes::start(2, &[]) else { return };
    let [(alice, first), (mut bob, second)] = pair(&boxes, 0, "kitchen");
    boxes.server(0).signal(Signal::STOP);
    // Her page gives the silent connection up, which the box reads when it wakes.
    drop(alice);
    let (mut alice, resumed) = join_once_free(&boxes, 1, &resume("kitchen", &first["resume"]));
    assert_eq!(resumed["id"], first["id"]);
    boxes.wait_for_stored_seats(1);
    boxes.server(0).signal(Signal::CONT);
    let woken = Instant::now();
    let redirect = bob.wait_for("redirect");
    println!("the room has one owner {:.2} s after the box wakes (goal: 1 s)", woken.elapsed().as_secs_f32());
    assert!(woken.elapsed() < 3 * Duration::from_secs(1));
    assert_eq!(bob.receive(), Received::Close(4002));
    let mut bob = boxes.follow(&redirect);
    let reply = bob.ask(&resume("kitchen", &second["resume"]));
    assert_eq!((&reply["id"], &reply["peer"]), (&second["id"], &first["id"]));
    assert_eq!(alice.wait_for("new-peer")["id"], second["id"]);
    assert_eq!(boxes.metric(0, r#"webrtc_box_redirects_total{cause="lost"}"#), Some(1.0));
    boxes.server(0).wait_for_line("other boxes have rooms of this one");
}

/// Two participants on the box 0, which stops and wakes; meanwhile `others` have joined their room on the box 1.
fn split_room(boxes: &Boxes, others: usize) -> ([Seated; 2], Vec<Seated>) {
    let mut here = pair(boxes, 0, "kitchen");
    boxes.server(0).signal(Signal::STOP);
    let there: Vec<_> = (0..others).map(|_| join_once_free(boxes, 1, &join("kitchen"))).collect();
    boxes.wait_for_stored_seats(others);
    boxes.server(0).signal(Signal::CONT);
    boxes.server(0).wait_for_line("other boxes have rooms of this one");
    let [(alice, _), (bob, second)] = &mut here;
    alice.send(&json!({"type": "offer", "target": second["id"], "sdp": {}}));
    assert_eq!(bob.wait_for("offer")["type"], "offer", "the call runs on");
    (here, there)
}

#[test]
fn two_full_rooms_stay_apart_until_one_of_the_calls_ends() {
    let Some(boxes) = Boxes::start(2, &[]) else { return };
    let ([(mut alice, _), (mut bob, second)], mut there) = split_room(&boxes, 2);
    assert_eq!(boxes.client(0).ask(&join("kitchen"))["url"], boxes.url(1), "new joins go to the owner");
    assert_eq!(boxes.client(1).ask(&join("kitchen"))["code"], "room-full");
    drop(bob);
    let mut bob_again = boxes.client(0);
    let back = bob_again.ask(&resume("kitchen", &second["resume"]));
    assert_eq!((&back["id"], &back["resumed"]), (&second["id"], &json!(true)), "the call is here");
    bob = bob_again;
    alice.send(&json!({"type": "leave"}));
    let redirect = bob.wait_for("redirect");
    assert_eq!(bob.receive(), Received::Close(4002));
    let mut bob = boxes.follow(&redirect);
    let again = resume("kitchen", &back["resume"]);
    assert_eq!(bob.ask(&again)["code"], "room-full", "the other call goes on");
    there[0].0.send(&json!({"type": "leave"}));
    assert_eq!(there[1].0.wait_for("peer-leave")["id"], there[0].1["id"]);
    assert_eq!(bob.ask(&again)["peer"], there[1].1["id"]);
}

#[test]
fn a_call_runs_on_beside_one_participant_at_the_owner_until_it_is_interrupted() {
    let Some(boxes) = Boxes::start(2, &[]) else { return };
    let ([(alice, _), (mut bob, second)], there) = split_room(&boxes, 1);
    drop(alice);
    let redirect = bob.wait_for("redirect");
    assert_eq!(redirect["url"], boxes.url(1));
    let reply = boxes.follow(&redirect).ask(&resume("kitchen", &second["resume"]));
    assert_eq!((&reply["id"], &reply["peer"]), (&second["id"], &there[0].1["id"]));
    assert_eq!(boxes.metric(0, r#"webrtc_box_redirects_total{cause="lost"}"#), Some(1.0));
}

#[test]
fn a_store_that_comes_back_empty_learns_the_rooms_again() {
    let Some(mut boxes) = Boxes::start(2, &[]) else { return };
    let mut alice = boxes.client(0);
    let first = alice.ask(&join("kitchen"));
    boxes.restart_redis();
    let lost = Instant::now();
    for index in [0, 1] {
        boxes.server(index).wait_for_line("the store answers again");
    }
    println!("the store is in use again after {:.1} s", lost.elapsed().as_secs_f32());
    let (_bob, second) = join_somewhere(&boxes, 1, &join("kitchen"));
    assert_eq!((&second["peer"], &second["fence"]), (&first["id"], &first["fence"]));
}

#[test]
fn a_draining_box_gives_its_rooms_away_and_exits() {
    let Some(mut boxes) = Boxes::start(2, &["--drain-timeout", "4"]) else { return };
    let [(mut alice, first), (mut bob, second)] = pair(&boxes, 0, "kitchen");
    let [(mut carol, third), (mut dave, _)] = pair(&boxes, 0, "attic");
    for client in [&mut alice, &mut bob] {
        client.send(&json!({"type": "report", "path": "direct", "setup": 100}));
        client.send(&json!({"type": "ping"}));
        client.wait_for("pong");
    }
    boxes.server(0).signal(Signal::TERM);
    let stopped = Instant::now();
    for client in [&mut alice, &mut bob] {
        let redirect = client.wait_for("redirect");
        assert_eq!(redirect["url"], boxes.url(1));
        assert_eq!(client.receive(), Received::Close(4002));
    }
    println!("the direct call moves after {:.2} s (goal: at once)", stopped.elapsed().as_secs_f32());
    assert!(stopped.elapsed() < Duration::from_millis(1900), "not with the relayed ones");
    for (client, what) in [(&mut carol, "half of the time"), (&mut dave, "half of the time")] {
        assert_eq!(client.wait_for("redirect")["url"], boxes.url(1));
        assert!(stopped.elapsed() >= Duration::from_secs(2), "a call that may be relayed moves after {what}");
    }
    let (_exit, after) = boxes.take(0).wait_for_exit();
    println!("the box exits {:.2} s later", after.as_secs_f32());
    let mut back = boxes.client(1);
    let reply = back.ask(&resume("kitchen", &first["resume"]));
    assert_eq!((&reply["id"], &reply["type"]), (&first["id"], &json!("resp-join")));
    let mut back = boxes.client(1);
    assert_eq!(back.ask(&resume("kitchen", &second["resume"]))["peer"], first["id"]);
    let mut back = boxes.client(1);
    assert_eq!(back.ask(&resume("attic", &third["resume"]))["id"], third["id"]);
}

#[test]
fn a_drain_ends_before_its_time_when_allocations_carry_no_media() {
    let Some(mut boxes) = Boxes::start(2, &["--drain-timeout", "60"]) else { return };
    let mut alice = boxes.client(0);
    let reply = alice.ask(&join("kitchen"));
    let servers = reply["iceServers"].as_array().unwrap();
    let relay = servers.iter().find(|server| server["username"].is_string()).unwrap();
    let text = |name: &str| relay[name].as_str().unwrap().to_owned();
    let credential = Credential { username: text("username"), password: text("credential") };
    let mut turn = TurnClient::with_credential(credential, socket([0, 9, 1], boxes.server(0).turn));
    turn.allocate();
    boxes.server(0).signal(Signal::TERM);
    let stopped = Instant::now();
    assert_eq!(alice.wait_for("redirect")["url"], boxes.url(1));
    boxes.take(0).wait_for_exit();
    println!("the box exits {:.1} s after the signal (goal: 6 s)", stopped.elapsed().as_secs_f32());
}

#[test]
fn without_the_store_calls_continue_and_new_rooms_open() {
    let Some(mut boxes) = Boxes::start(2, &[]) else { return };
    boxes.wait_until_known();
    let mut alice = boxes.client(0);
    let first = alice.ask(&join("kitchen"));
    boxes.redis = None;
    let (_bob, second) = join_somewhere(&boxes, 0, &join("kitchen"));
    assert_eq!(second["peer"], first["id"], "the owner needs no store");
    assert_eq!(alice.wait_for("new-peer")["id"], second["id"]);
    let (_carol, third) = join_somewhere(&boxes, 1, &join("attic"));
    let (_dave, fourth) = join_somewhere(&boxes, 0, &join("attic"));
    assert_eq!(fourth["peer"], third["id"], "both boxes choose the same one");
    boxes.server(0).wait_for_line("the store cannot be used");
    for index in [0, 1] {
        assert_eq!(boxes.server(index).get("/healthz").status, 200);
        assert!(boxes.metric(index, "webrtc_box_store_errors_total") > Some(0.0));
    }
}

#[test]
fn without_the_store_new_rooms_can_be_refused() {
    let Some(mut boxes) = Boxes::start(1, &["--cluster-fallback", "refuse"]) else { return };
    let mut alice = boxes.client(0);
    let first = alice.ask(&join("kitchen"));
    boxes.redis = None;
    let mut bob = boxes.client(0);
    let refused = bob.ask(&join("attic"));
    assert_eq!(refused["code"], "try-later");
    assert!(refused["retry"].as_u64() > Some(0), "{refused}");
    assert_eq!(bob.ask(&join("kitchen"))["peer"], first["id"]);
}

#[test]
fn a_box_alone_knows_neither_fences_nor_the_store() {
    let server = ServerProcess::new();
    let url = format!("wss://localhost:{}/ws", server.https.port());
    for (room, fence) in [("kitchen", json!(5)), ("cellar", json!("5")), ("attic", json!([]))] {
        let frame = json!({"type": "join", "room": room, "fence": fence});
        let reply = Client::connect(&server, &url).ask(&frame);
        assert_eq!((&reply["type"], reply.get("fence")), (&json!("resp-join"), None), "{frame}");
        assert_eq!(reply["resume"].as_str().unwrap().len(), 96);
    }
}

#[test]
fn values_of_a_foreign_type_in_the_store_are_replaced() {
    let Some(boxes) = Boxes::start(2, &[]) else { return };
    boxes.wait_until_known();
    let mut alice = boxes.client(0);
    let first = alice.ask(&join("kitchen"));
    let redis = boxes.redis.as_ref().unwrap();
    for key in redis.cli(&["KEYS", "*"]).lines() {
        redis.cli(&["DEL", key]);
        redis.cli(&["RPUSH", key, "a", "b"]);
    }
    let mut bob = boxes.client(0);
    assert_eq!(bob.ask(&join("kitchen"))["peer"], first["id"], "the owner keeps its room");
    let start = Instant::now();
    for attempt in 0.. {
        let room = format!("attic-{attempt}");
        let replies = [0, 1].map(|index| boxes.client(index).ask(&join(&room)));
        if replies[0]["type"] == "resp-join" && replies[1]["url"] == boxes.url(0) {
            break;
        }
        assert!(start.elapsed() < TEST_TIMEOUT, "{replies:?}");
        std::thread::sleep(RETRY_INTERVAL);
    }
}
