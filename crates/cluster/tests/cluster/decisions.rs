//! Single decisions, with a clock held by the test and a store that answers at once.

use std::time::{Duration, Instant};

use webrtc_box_cluster::memory::MemoryStore;
use webrtc_box_cluster::registry::{Identity, Request};
use webrtc_box_cluster::*;

use crate::harness::{config, redirect, room};

const SECOND: Duration = Duration::from_secs(1);

/// Boxes and their store. Time passes for all of them in steps.
struct Bench {
    now: Instant,
    store: MemoryStore,
    boxes: Vec<(ClusterConfig, Cluster)>,
    events: Vec<(usize, Event)>,
    requests: Vec<Request>,
    /// Requests fail.
    is_down: bool,
}

fn name(index: usize) -> NodeName {
    NodeName::parse(&format!("b{index}.x")).unwrap()
}

fn serve(fence: u64, resumes: u64) -> Decision {
    Decision::Serve { fence: Fence(fence), resumes: Fence(resumes) }
}

impl Bench {
    fn new(count: usize, fallback: Fallback) -> Self {
        let now = Instant::now();
        let config = |index| ClusterConfig {
            boot: index as u64,
            fallback,
            ..config(name(index).as_str(), "redis://unused")
        };
        let boxes =
            (0..count).map(config).map(|config| (config.clone(), Cluster::new(&config, now))).collect();
        let (store, events, requests) = (MemoryStore::default(), Vec::new(), Vec::new());
        let mut bench = Self { now, store, boxes, events, requests, is_down: false };
        bench.pass(SECOND * 2, &[]);
        bench
    }

    /// Answers the requests of one box until it has none.
    fn exchange(&mut self, index: usize) {
        let (config, cluster) = &mut self.boxes[index];
        while let Some((id, request)) = cluster.poll_request() {
            self.requests.push(request.clone());
            let reply = match self.is_down {
                true => Err(StoreError::Timeout),
                false => Ok(self.store.answer(&Identity::of(config), request, self.now)),
            };
            cluster.handle_reply(id, reply, self.now);
        }
        self.events.extend(std::iter::from_fn(|| cluster.poll_event()).map(|event| (index, event)));
    }

    /// Time passes for all boxes but the `stopped` ones.
    fn pass(&mut self, duration: Duration, stopped: &[usize]) {
        let end = self.now + duration;
        while self.now < end {
            self.now += SECOND / 10;
            for index in (0..self.boxes.len()).filter(|index| !stopped.contains(index)) {
                if self.boxes[index].1.poll_timeout(self.now) <= self.now {
                    self.boxes[index].1.handle_timeout(self.now);
                }
                self.exchange(index);
            }
        }
    }

    fn ask(&mut self, index: usize, request: JoinRequest) -> Decision {
        let cluster = &mut self.boxes[index].1;
        if let Some(decision) = cluster.owned(&request, self.now) {
            return decision;
        }
        cluster.join(request, self.now);
        self.exchange(index);
        match self.boxes[index].1.poll_outcome().expect("an answer").1 {
            Outcome::Decision(decision) => decision,
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, index: usize, number: u8) -> Decision {
        self.ask(index, JoinRequest::new(room(number)))
    }

    /// Joins and takes a seat.
    fn sit(&mut self, index: usize, number: u8) -> Decision {
        let decision = self.join(index, number);
        self.boxes[index].1.set_seats(room(number), 1, self.now);
        decision
    }

    /// Kills a box and starts it again at once.
    fn restart(&mut self, index: usize) {
        let config = ClusterConfig { boot: 100, ..self.boxes[index].0.clone() };
        self.boxes[index] = (config.clone(), Cluster::new(&config, self.now));
    }

    fn set_reachable(&mut self, index: usize, other: usize, reachable: bool) {
        let id = Identity::of(&self.boxes[other].0).id;
        self.boxes[index].1.set_reachable(&id, reachable);
    }

    fn has(&self, index: usize, event: &Event) -> bool {
        self.events.iter().any(|(of, happened)| (*of, happened) == (index, event))
    }
}

#[test]
fn a_box_that_was_stopped_looks_at_its_lease_before_it_answers() {
    let mut bench = Bench::new(2, Fallback::Open);
    assert_eq!(bench.sit(0, 1), serve(2, 0));
    bench.pass(SECOND * 10, &[0]);
    assert_eq!(bench.sit(1, 1), serve(3, 2));
    // Box 0 wakes and is asked before its timer runs.
    let request = JoinRequest::new(room(1));
    assert_eq!(bench.boxes[0].1.owned(&request, bench.now), None);
    assert_eq!(bench.join(0, 1), redirect("b1.x", Fence(3)));
    assert!(bench.has(0, &Event::RoomLost { room: room(1), owner: name(1), fence: Fence(3), seats: 1 }));
}

#[test]
fn a_box_that_was_stopped_for_a_moment_keeps_its_rooms() {
    let mut bench = Bench::new(2, Fallback::Open);
    bench.sit(0, 1);
    bench.pass(SECOND * 5 / 2, &[0]);
    assert_eq!(bench.join(0, 1), serve(2, 0));
    assert_eq!(bench.join(1, 1), redirect("b0.x", Fence(2)));
}

#[test]
fn a_box_that_most_others_cannot_reach_gives_up_its_lease() {
    let mut bench = Bench::new(3, Fallback::Open);
    bench.sit(0, 1);
    bench.set_reachable(1, 0, false);
    bench.pass(SECOND * 5, &[]);
    assert_eq!(bench.join(2, 1), redirect("b0.x", Fence(2)), "one of two voices is not most");
    bench.set_reachable(2, 0, false);
    bench.pass(SECOND * 5, &[]);
    assert!(bench.has(0, &Event::Unreachable { by: vec![name(1), name(2)] }));
    assert_eq!(bench.join(2, 1), serve(3, 2));
    bench.boxes[2].1.set_seats(room(1), 1, bench.now);
    assert!(matches!(bench.join(0, 2), Decision::Redirect { .. }), "new rooms go to others");

    bench.set_reachable(1, 0, true);
    bench.set_reachable(2, 0, true);
    bench.pass(SECOND * 5, &[]);
    assert!(bench.has(0, &Event::Reachable));
    assert!(bench.has(0, &Event::RoomLost { room: room(1), owner: name(2), fence: Fence(3), seats: 1 }));
    assert_eq!(bench.sit(0, 3), serve(5, 0));
}

#[test]
fn reports_about_the_process_before_this_one_do_not_count() {
    let mut bench = Bench::new(3, Fallback::Open);
    bench.set_reachable(1, 0, false);
    bench.set_reachable(2, 0, false);
    // The others have reported it when it starts again at once. Its old lease has to end first.
    bench.pass(SECOND, &[0]);
    bench.restart(0);
    bench.pass(SECOND * 5, &[]);
    let restarted = bench.boxes[1].1.nodes(bench.now).into_iter().find(|node| node.id.boot == 100);
    assert!(restarted.is_some_and(|node| node.id.name == name(0) && !node.unreachable));
    assert!(!bench.events.iter().any(|(_, event)| matches!(event, Event::Unreachable { .. })));
    bench.set_reachable(1, 0, false);
    bench.set_reachable(2, 0, false);
    bench.pass(SECOND * 5, &[]);
    assert!(bench.has(0, &Event::Unreachable { by: vec![name(1), name(2)] }), "they are about it now");
}

#[test]
fn a_box_outside_the_domain_is_no_member() {
    let mut bench = Bench::new(2, Fallback::Open);
    let evil = NodeName::parse("b2.x.evil").unwrap();
    let id = BoxId { name: evil.clone(), boot: 9 };
    let identity = Identity { id, ..Identity::of(&bench.boxes[0].0) };
    let renewal = bench.requests.iter().find(|request| matches!(request, Request::Renew { .. })).cloned();
    for _ in 0..4 {
        bench.store.answer(&identity, renewal.clone().unwrap(), bench.now);
        bench.pass(SECOND, &[]);
    }
    for (_, cluster) in &bench.boxes {
        assert!(cluster.nodes(bench.now).iter().all(|node| node.id.name != evil));
    }
    let reported =
        bench.events.iter().filter(|(_, event)| *event == Event::ForeignName { node: evil.clone() });
    assert_eq!(reported.count(), 2, "once by each box");
    bench.is_down = true;
    bench.pass(SECOND * 2, &[]);
    for number in 1..20 {
        assert_ne!(bench.join(0, number), Decision::Redirect { node: evil.clone(), fence: Fence::NONE });
    }
}

#[test]
fn boxes_that_reach_nobody_have_no_say() {
    let mut bench = Bench::new(3, Fallback::Open);
    for (index, other) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        bench.set_reachable(index, other, false);
    }
    bench.pass(SECOND * 5, &[]);
    assert!(!bench.events.iter().any(|(_, event)| matches!(event, Event::Unreachable { .. })));
    let mut pair = Bench::new(2, Fallback::Open);
    pair.set_reachable(0, 1, false);
    pair.pass(SECOND * 5, &[]);
    assert!(
        !pair.events.iter().any(|(_, event)| matches!(event, Event::Unreachable { .. })),
        "one other is not most"
    );
}

#[test]
fn a_full_or_draining_box_gives_new_rooms_to_the_less_loaded() {
    let mut bench = Bench::new(3, Fallback::Open);
    let load = |percent| Load { allocations: percent, ..Load::default() };
    bench.boxes[0].1.set_load(load(81));
    bench.boxes[1].1.set_load(load(50));
    bench.boxes[2].1.set_load(load(10));
    bench.pass(SECOND * 2, &[]);
    assert_eq!(bench.join(0, 1), redirect("b2.x", Fence(2)));
    assert_eq!(bench.join(2, 1), serve(2, 0));
    assert_eq!(bench.join(1, 2), serve(3, 0), "50 % is not full");
    bench.boxes[1].1.set_load(load(99));
    bench.boxes[2].1.set_load(load(99));
    bench.pass(SECOND * 2, &[]);
    assert_eq!(bench.join(0, 3), serve(4, 0), "the others are fuller");
    bench.boxes[0].1.drain(true);
    bench.boxes[1].1.drain(true);
    bench.pass(SECOND * 2, &[]);
    assert_eq!(bench.join(0, 4), redirect("b2.x", Fence(5)));
    assert!(matches!(bench.join(0, 3), Decision::Serve { .. }), "its own rooms stay until they are moved");
}

#[test]
fn without_the_store_new_rooms_are_refused_if_the_operator_wants_so() {
    let mut bench = Bench::new(2, Fallback::Refuse);
    bench.sit(0, 1);
    bench.is_down = true;
    bench.pass(SECOND * 5, &[]);
    assert_eq!(bench.join(0, 1), serve(2, 0));
    assert_eq!(bench.join(0, 2), Decision::TryLater);
    bench.is_down = false;
    bench.pass(SECOND * 5, &[]);
    assert_eq!(bench.sit(0, 2), serve(3, 0));
}

#[test]
fn a_room_that_was_opened_without_the_store_yields_to_its_owner() {
    let mut bench = Bench::new(2, Fallback::Open);
    // The owner is box 1. The hash of some room leads to box 0.
    let number = (0..)
        .find(|number| {
            bench.sit(1, *number);
            bench.is_down = true;
            bench.pass(SECOND, &[]);
            let decision = bench.sit(0, *number);
            bench.is_down = false;
            bench.pass(SECOND * 5, &[]);
            matches!(decision, Decision::Serve { fence: Fence::FALLBACK, .. })
        })
        .unwrap();
    assert!(matches!(bench.join(0, number), Decision::Redirect { .. }));
    assert!(matches!(bench.join(1, number), Decision::Serve { .. }));
    let lost = |(index, event): &(usize, Event)| *index == 0 && matches!(event, Event::RoomLost { .. });
    assert!(bench.events.iter().any(lost));
}

#[test]
fn joins_at_the_same_time_keep_the_tokens_of_an_owner_that_is_gone() {
    let mut bench = Bench::new(2, Fallback::Open);
    bench.sit(1, 1);
    bench.pass(SECOND * 5, &[1]);
    bench.is_down = true;
    bench.pass(SECOND * 2, &[1]);
    assert_eq!(bench.join(0, 1), serve(1, 0), "the store was not asked");
    bench.is_down = false;
    bench.pass(SECOND * 3, &[1]);
    // Both ask the store before the first is answered.
    let first = JoinRequest::new(room(1));
    let (now, resume) = (bench.now, JoinRequest { token_fence: Some(Fence(2)), ..first });
    for request in [first, resume] {
        bench.boxes[0].1.join(request, now);
    }
    bench.exchange(0);
    for _ in 0..2 {
        let (_, outcome) = bench.boxes[0].1.poll_outcome().unwrap();
        assert_eq!(outcome, Outcome::Decision(serve(1, 2)));
    }
}

#[test]
fn rooms_are_extended_long_before_they_expire_with_few_requests() {
    let mut bench = Bench::new(1, Fallback::Open);
    for number in 0..200 {
        bench.sit(0, number);
    }
    bench.requests.clear();
    for _ in 0..30 {
        // Hours in seconds: the box is not stopped, its clock is.
        bench.now += Duration::from_secs(3600);
        bench.pass(SECOND * 60, &[]);
    }
    let extended: usize = bench
        .requests
        .iter()
        .map(|request| if let Request::Renew { extend, .. } = request { extend.len() } else { 0 })
        .sum();
    println!("{extended} extensions of 200 rooms in 30 hours");
    for number in 0..200 {
        assert!(matches!(bench.join(0, number), Decision::Serve { .. }));
        assert!(bench.store.owner(room(number)).is_some());
    }
}

#[test]
fn a_box_that_shuts_down_releases_its_empty_rooms_and_its_lease() {
    let mut bench = Bench::new(2, Fallback::Open);
    bench.sit(0, 1);
    bench.join(0, 2);
    bench.boxes[0].1.shut_down(bench.now);
    bench.exchange(0);
    assert_eq!(bench.boxes[0].1.poll_outcome().map(|(_, outcome)| outcome), Some(Outcome::ShutDown));
    assert_eq!(bench.store.owner(room(2)), None);
    assert_eq!(bench.join(1, 1), serve(4, 2), "without waiting for the end of the lease");
    bench.pass(SECOND * 5, &[]);
    assert_eq!(bench.boxes[1].1.nodes(bench.now).iter().filter(|node| node.age < SECOND * 3).count(), 1);
    assert_eq!(bench.join(0, 3), Decision::TryLater);
}

#[test]
fn a_forged_fence_causes_one_look_and_no_ownership() {
    let mut bench = Bench::new(2, Fallback::Open);
    bench.sit(0, 1);
    bench.requests.clear();
    let forged = JoinRequest { redirect_fence: Some(Fence(u64::MAX)), ..JoinRequest::new(room(1)) };
    assert_eq!(bench.ask(0, forged), serve(2, 0));
    assert_eq!(bench.requests.len(), 1);
    assert_eq!(bench.ask(1, forged), redirect("b0.x", Fence(2)));
    let old = JoinRequest { redirect_fence: Some(Fence(1)), ..JoinRequest::new(room(1)) };
    assert_eq!(bench.ask(0, old), serve(2, 0));
    assert_eq!(bench.sit(1, 2), serve(3, 0), "the counter did not follow the forged fence");
}

#[test]
fn repeated_false_fences_ask_the_store_once_a_second() {
    let mut bench = Bench::new(2, Fallback::Open);
    bench.sit(0, 1);
    bench.sit(0, 2);
    bench.requests.clear();
    let asked = |bench: &Bench| {
        bench.requests.iter().filter(|request| matches!(request, Request::Reassert { .. })).count()
    };
    for fence in 0..50 {
        for number in [1, 2] {
            let forged = Fence(1000 + fence);
            let claim = JoinRequest { redirect_fence: Some(forged), ..JoinRequest::new(room(number)) };
            assert!(matches!(bench.ask(0, claim), Decision::Serve { .. }));
        }
        bench.pass(SECOND / 10, &[]);
    }
    assert_eq!(asked(&bench), 10, "in five seconds, of two rooms");
    // A fence that another box gave out leads to it.
    bench.pass(SECOND * 10, &[0]);
    let fence = Fence(4);
    assert_eq!(bench.sit(1, 1), serve(fence.0, 2));
    bench.boxes[0].1.handle_timeout(bench.now);
    bench.exchange(0);
    let claim = JoinRequest { token_fence: Some(fence), ..JoinRequest::new(room(1)) };
    assert_eq!(bench.ask(0, claim), redirect("b1.x", fence));
}

#[test]
fn the_store_learns_of_a_second_participant_before_the_next_renewal() {
    let mut bench = Bench::new(1, Fallback::Open);
    bench.sit(0, 1);
    bench.sit(0, 2);
    bench.pass(SECOND * 2, &[]);
    // The next renewal is due in a second then.
    bench.requests.clear();
    while bench.requests.is_empty() {
        bench.pass(SECOND / 10, &[]);
    }
    bench.requests.clear();
    let (now, calls) = (bench.now, [room(1), room(2)]);
    assert!(!bench.boxes[0].1.set_seats(calls[0], 0, now), "fewer seats can wait");
    assert!(bench.boxes[0].1.set_seats(calls[0], 2, now), "the driver must wake earlier");
    assert!(!bench.boxes[0].1.set_seats(calls[1], 2, now), "the same renewal tells of both");
    bench.pass(SECOND / 10, &[]);
    let told: Vec<_> = bench
        .requests
        .iter()
        .flat_map(|request| if let Request::Renew { extend, .. } = request { extend.clone() } else { vec![] })
        .map(|(room, _, seats)| (room, seats))
        .collect();
    assert!(calls.iter().all(|room| told.contains(&(*room, 2))), "{told:?}");
    bench.pass(SECOND * 3, &[]);
    let renewals = bench.requests.iter().filter(|request| matches!(request, Request::Renew { .. }));
    assert!(renewals.count() <= 4, "no more renewals than before");

    // More rooms than one renewal names.
    for number in 0..u16::MAX >> 5 {
        let mut tag = [0; 16];
        tag[..2].copy_from_slice(&number.to_be_bytes());
        let room = RoomTag::new(tag);
        let now = bench.now;
        bench.boxes[0].1.join(JoinRequest::new(room), now);
        bench.exchange(0);
        assert!(!bench.boxes[0].1.set_seats(room, 1, now), "the claim has told of the first one");
        bench.boxes[0].1.set_seats(room, 2, now);
    }
    bench.requests.clear();
    bench.pass(SECOND * 3 / 2, &[]);
    let told = bench
        .requests
        .iter()
        .map(|request| if let Request::Renew { extend, .. } = request { extend.len() } else { 0 });
    assert_eq!(told.sum::<usize>(), usize::from(u16::MAX >> 5));
}

#[test]
fn an_outage_is_one_event_at_its_begin_and_one_at_its_end() {
    let mut bench = Bench::new(1, Fallback::Open);
    bench.sit(0, 1);
    for seconds in [2, 5, 20, 5, 1, 5] {
        bench.events.clear();
        bench.is_down = true;
        bench.pass(SECOND * seconds, &[]);
        let is_lost =
            |events: &[(usize, Event)]| matches!(events, [(0, Event::StoreLost { unreported: 0, .. })]);
        assert!(is_lost(&bench.events), "{:?}", bench.events);
        bench.is_down = false;
        bench.pass(SECOND * 5, &[]);
        let is_back = matches!(bench.events[1..], [(0, Event::StoreBack { .. })]);
        assert!(is_back, "{:?}", bench.events);
    }
    // Without an outage that explains it, the end of the lease is one.
    bench.events.clear();
    bench.pass(SECOND * 10, &[0]);
    bench.pass(SECOND * 2, &[]);
    assert_eq!(bench.events, [(0, Event::LeaseLost), (0, Event::LeaseRenewed)]);
}
