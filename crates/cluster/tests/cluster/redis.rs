//! Boxes on a real `redis-server`.

use std::time::{Duration, Instant};

use crate::harness::{RedisServer, TestBox, config, redirect, room, until};
use webrtc_box_cluster::*;

#[tokio::test]
async fn the_first_box_owns_a_room_and_others_redirect_to_it() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let (one, two) =
        (TestBox::ready("b1.x", &server.url()).await, TestBox::ready("b2.x", &server.url()).await);
    assert_eq!(one.handle.look(room(1)).await, Decision::Vacant);
    assert_eq!(one.join(1).await, Decision::Serve { fence: Fence(2), resumes: Fence::NONE });
    assert_eq!(two.join(1).await, redirect("b1.x", Fence(2)));
    assert_eq!(two.handle.look(room(1)).await, redirect("b1.x", Fence(2)));
    let request = JoinRequest::new(room(1));
    let served = Decision::Serve { fence: Fence(2), resumes: Fence::NONE };
    assert_eq!(one.handle.owned(&request, Instant::now()), Some(served.clone()));
    assert_eq!(two.handle.owned(&request, Instant::now()), None);

    let forged = JoinRequest { redirect_fence: Some(Fence(99)), token_fence: Some(Fence(98)), ..request };
    assert_eq!(one.handle.owned(&forged, Instant::now()), None);
    assert_eq!(one.handle.join(forged).await, served);
    assert_eq!(two.handle.join(forged).await, redirect("b1.x", Fence(2)));
}

#[tokio::test]
async fn a_room_without_seats_is_released_and_one_with_seats_stays() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let (one, two) =
        (TestBox::ready("b1.x", &server.url()).await, TestBox::ready("b2.x", &server.url()).await);
    let kept = one.serve(1).await;
    one.serve(2).await;
    one.handle.set_seats(room(2), 0);
    until("room 2 is released", async || two.handle.look(room(2)).await == Decision::Vacant).await;
    assert_eq!(two.join(1).await, redirect("b1.x", kept));
}

#[tokio::test]
async fn a_killed_owner_is_taken_over_and_its_tokens_reopen_the_room() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let mut one = TestBox::ready("b1.x", &server.url()).await;
    let mut two = TestBox::ready("b2.x", &server.url()).await;
    let last = one.serve(1).await;
    one.kill().await;
    let start = Instant::now();
    let resume = JoinRequest { token_fence: Some(last), ..JoinRequest::new(room(1)) };
    let mut decision = Decision::TryLater;
    until("the lease ends", async || {
        decision = two.handle.join(resume).await;
        matches!(decision, Decision::Serve { .. })
    })
    .await;
    assert_eq!(decision, Decision::Serve { fence: Fence(last.0 + 1), resumes: last });
    println!("taken over after {:?}; goal 3.5 s", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(9));
    let from =
        two.event(|event| if let Event::TookOver { from, .. } = event { Some(from) } else { None }).await;
    assert_eq!(from, Some(NodeName::parse("b1.x").unwrap()));
}

#[tokio::test]
async fn a_store_that_stops_leaves_rooms_where_they_are() {
    let Some(mut server) = RedisServer::start(&[]).await else { return };
    let mut one = TestBox::ready("b1.x", &server.url()).await;
    let mut two = TestBox::ready("b2.x", &server.url()).await;
    until("they see each other", async || one.handle.nodes().len() == 2).await;
    let fence = one.serve(1).await;
    server.kill();
    for lost in [&mut one, &mut two] {
        let reason = lost
            .event(|event| if let Event::StoreLost { reason, .. } = event { Some(reason) } else { None })
            .await;
        println!("{reason}");
    }
    let served = Decision::Serve { fence, resumes: Fence::NONE };
    assert_eq!(one.handle.owned(&JoinRequest::new(room(1)), Instant::now()), Some(served.clone()));
    // Both send a new room to the same box, without waiting.
    let start = Instant::now();
    for number in 2..40 {
        let decisions = [one.join(number).await, two.join(number).await];
        let is_served =
            |decision: &Decision| matches!(decision, Decision::Serve { fence: Fence::FALLBACK, .. });
        assert_eq!(decisions.iter().filter(|decision| is_served(decision)).count(), 1, "{decisions:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());

    server.restart().await;
    let start = Instant::now();
    for back in [&mut one, &mut two] {
        back.event(|event| matches!(event, Event::StoreBack { .. }).then_some(())).await;
    }
    println!("the store is back after {:?}; goal 5 s", start.elapsed());
    assert_eq!(one.join(1).await, served);
    assert_eq!(two.join(1).await, redirect("b1.x", fence));
}

#[tokio::test]
async fn a_box_drains_and_moves_its_rooms() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let (one, two) =
        (TestBox::ready("b1.x", &server.url()).await, TestBox::ready("b2.x", &server.url()).await);
    let fence = one.serve(1).await;
    one.handle.drain(true);
    let (node, moved) = one.handle.move_room(room(1)).await.unwrap();
    assert_eq!((node.as_str(), moved), ("b2.x", Fence(fence.0 + 1)));
    assert_eq!(one.join(1).await, redirect("b2.x", moved));
    assert_eq!(two.join(1).await, Decision::Serve { fence: moved, resumes: fence });
    assert!(matches!(one.join(2).await, Decision::Redirect { .. }), "a draining box opens no rooms");
    one.handle.shutdown().await;
    let status = read_nodes(
        &config("b1.x", &server.url()).store,
        &NodeName::parse("x").unwrap(),
        [7; 8],
        rustls::RootCertStore::empty(),
    )
    .await;
    let status = status.unwrap();
    assert_eq!(status.nodes.iter().map(|node| node.id.name.as_str()).collect::<Vec<_>>(), ["b2.x"]);
    println!("{:?}", status.facts);
}

#[tokio::test]
async fn certificates_are_ordered_by_one_box_at_a_time() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let (one, mut two) =
        (TestBox::ready("b1.x", &server.url()).await, TestBox::ready("b2.x", &server.url()).await);
    assert!(one.handle.lock_order().await);
    assert!(!two.handle.lock_order().await);
    two.handle.unlock_order().await;
    assert!(!two.handle.lock_order().await, "only the box that may order ends it");
    assert!(one.handle.put_challenge("x", "token.digest", Duration::from_secs(300)).await);
    assert_eq!(two.handle.get_challenge("x").await.as_deref(), Some("token.digest"));
    assert_eq!(two.handle.get_challenge("y").await, None);
    one.handle.unlock_order().await;
    assert!(two.handle.lock_order().await);
    two.kill().await;
    until("the lease of the box that orders ends", async || one.handle.lock_order().await).await;
}

/// The number of calls of a command since the server started.
async fn calls(server: &RedisServer, command: &str) -> u64 {
    let reply = server.run(&["INFO", "commandstats"]).await.unwrap();
    let text: String = redis::from_redis_value(reply).unwrap();
    let prefix = format!("cmdstat_{command}:calls=");
    let line = text.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn at_rest_a_box_writes_once_a_second() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    let mut boxes = Vec::new();
    for name in ["b1.x", "b2.x", "b3.x"] {
        boxes.push(TestBox::ready(name, &server.url()).await);
    }
    for number in 0..240 {
        boxes[usize::from(number) % 3].serve(number).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let commands = ["set", "del", "incr", "sadd", "srem", "expire", "pexpire", "rpush"];
    let mut before = 0;
    for command in commands {
        before += calls(&server, command).await;
    }
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut after = 0;
    for command in commands {
        after += calls(&server, command).await;
    }
    let rate = (after - before) as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.1} writes/s at rest of 3 boxes; goal 5");
    assert!(rate < 15.0, "{rate}");
}
