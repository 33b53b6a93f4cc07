//! Any interleaving of faults: three boxes and a store in simulated time, with clients that follow redirects.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use webrtc_box_cluster::memory::MemoryStore;
use webrtc_box_cluster::registry::{CALL_TIMEOUT, Identity, Reply, Request};
use webrtc_box_cluster::*;

use crate::harness;

const TICK: Duration = Duration::from_millis(50);
const BOXES: usize = 3;
const ROOMS: u8 = 3;
const SEATS: usize = 6;
/// For everything to come to rest after the last fault.
const REST: Duration = Duration::from_secs(12);

#[derive(Clone, Debug)]
enum Step {
    Run(u64),
    /// A client without a seat joins at this box.
    Join(usize, usize),
    Leave(usize),
    Kill(usize),
    /// The process stops for so long.
    Pause(usize, u64),
    ClockJump(usize, u64),
    /// The box cannot reach the store, or can again.
    Cut(usize, bool),
    /// Requests arrive, and replies come back, so much later.
    Delay(usize, u64),
    StoreUp(bool),
    StoreEmptied,
    /// A replica that lacks the last second takes over.
    StoreFailsOver,
    Drain(usize, bool),
    Move(usize, u8),
    Reachable(usize, usize, bool),
}

struct SimBox {
    config: ClusterConfig,
    cluster: Cluster,
    /// How much its clock is ahead.
    offset: Duration,
    paused_until: Option<Instant>,
    cut: bool,
    delay: Duration,
    calls: Vec<SimCall>,
    joins: BTreeMap<Ticket, usize>,
    moves: BTreeMap<Ticket, RoomTag>,
    /// Rooms that it served and was not told to have lost.
    serving: BTreeSet<RoomTag>,
}

struct SimCall {
    id: CallId,
    request: Option<Request>,
    execute: Instant,
    reply: Option<Reply>,
    deliver: Instant,
    give_up: Instant,
    answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Nowhere,
    Asking(usize, Instant),
    Sitting(usize),
}

struct Seat {
    room: RoomTag,
    place: Place,
    token: Option<Fence>,
    hops: u8,
    /// The owner died, the store knew of it, and nobody else had the room: the token must reopen it.
    guaranteed: bool,
}

struct Sim {
    time: Instant,
    store: MemoryStore,
    snapshots: VecDeque<MemoryStore>,
    is_up: bool,
    sessions: u64,
    boxes: Vec<SimBox>,
    seats: Vec<Seat>,
    boots: u64,
}

fn config(index: usize, boot: u64, fallback: Fallback) -> ClusterConfig {
    ClusterConfig { boot, fallback, ..harness::config(&format!("b{index}.x"), "redis://unused") }
}

impl SimBox {
    fn new(config: ClusterConfig, offset: Duration, time: Instant) -> Self {
        Self {
            cluster: Cluster::new(&config, time + offset),
            config,
            offset,
            paused_until: None,
            cut: false,
            delay: Duration::ZERO,
            calls: Vec::new(),
            joins: BTreeMap::new(),
            moves: BTreeMap::new(),
            serving: BTreeSet::new(),
        }
    }

    fn is_paused(&self, time: Instant) -> bool {
        self.paused_until.is_some_and(|until| time < until)
    }

    fn id(&self) -> BoxId {
        Identity::of(&self.config).id
    }
}

impl Sim {
    fn new(fallback: Fallback) -> Self {
        let time = Instant::now();
        let boxes =
            (0..BOXES).map(|index| SimBox::new(config(index, index as u64, fallback), Duration::ZERO, time));
        let seat = |index| Seat {
            room: harness::room(index as u8 % ROOMS),
            place: Place::Nowhere,
            token: None,
            hops: 0,
            guaranteed: false,
        };
        Self {
            time,
            store: MemoryStore::default(),
            snapshots: VecDeque::new(),
            is_up: true,
            sessions: 0,
            boxes: boxes.collect(),
            seats: (0..SEATS).map(seat).collect(),
            boots: BOXES as u64,
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.time + duration;
        while self.time < end {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.time += TICK;
        self.snapshots.push_back(self.store.clone());
        if self.snapshots.len() > 20 {
            self.snapshots.pop_front();
        }
        for index in 0..BOXES {
            self.execute(index);
            if !self.boxes[index].is_paused(self.time) {
                self.deliver(index);
                self.drive(index);
            }
        }
    }

    /// What reaches the store now.
    fn execute(&mut self, index: usize) {
        let sim_box = &mut self.boxes[index];
        let identity = Identity::of(&sim_box.config);
        for call in sim_box.calls.iter_mut().filter(|call| self.time >= call.execute) {
            if let Some(request) = call.request.take()
                && self.is_up
                && !sim_box.cut
            {
                call.reply = Some(self.store.answer(&identity, request, self.time));
            }
        }
    }

    /// What reaches the box now, in the order of a driver that was stopped: replies before time-outs.
    fn deliver(&mut self, index: usize) {
        let sim_box = &mut self.boxes[index];
        let now = self.time + sim_box.offset;
        for call in &mut sim_box.calls {
            let arrived = self.time >= call.deliver && !sim_box.cut;
            let answer = match call.reply.take_if(|_| arrived) {
                Some(reply) => Ok(reply),
                None if self.time >= call.give_up => Err(StoreError::Timeout),
                None => continue,
            };
            if !std::mem::replace(&mut call.answered, true) {
                sim_box.cluster.handle_reply(call.id, answer, now);
            }
        }
        sim_box.calls.retain(|call| !call.answered || call.request.is_some());
    }

    fn drive(&mut self, index: usize) {
        let (sim_box, time) = (&mut self.boxes[index], self.time);
        let now = time + sim_box.offset;
        if sim_box.cluster.poll_timeout(now) <= now + TICK {
            sim_box.cluster.handle_timeout(now);
        }
        while let Some((id, request)) = sim_box.cluster.poll_request() {
            let (execute, deliver) = (time + sim_box.delay, time + sim_box.delay * 2);
            let (request, give_up) = (Some(request), time + CALL_TIMEOUT);
            sim_box.calls.push(SimCall {
                id,
                request,
                execute,
                reply: None,
                deliver,
                give_up,
                answered: false,
            });
        }
        let events: Vec<Event> = std::iter::from_fn(|| sim_box.cluster.poll_event()).collect();
        let outcomes: Vec<_> = std::iter::from_fn(|| sim_box.cluster.poll_outcome()).collect();
        for event in events {
            if let Event::RoomLost { room, .. } = event {
                self.unseat(index, room);
            }
        }
        for (ticket, outcome) in outcomes {
            match outcome {
                Outcome::Decision(decision) => {
                    let seat = self.boxes[index].joins.remove(&ticket).unwrap();
                    self.decide(seat, index, decision);
                }
                Outcome::Moved(Some(_)) => {
                    let room = self.boxes[index].moves[&ticket];
                    self.unseat(index, room);
                    // Only tokens of the last fence reopen a room; who came back to neither owner has missed it.
                    let missed = self.seats.iter_mut().filter(|seat| seat.room == room);
                    missed.for_each(|seat| seat.guaranteed = false);
                }
                Outcome::Moved(None) | Outcome::Reply(_) | Outcome::ShutDown => {}
            }
        }
    }

    /// The seats of a room are disconnected, and keep their tokens.
    fn unseat(&mut self, index: usize, room: RoomTag) {
        self.boxes[index].serving.remove(&room);
        for seat in
            self.seats.iter_mut().filter(|seat| seat.room == room && seat.place == Place::Sitting(index))
        {
            seat.place = Place::Nowhere;
        }
    }

    fn ask(&mut self, seat: usize, index: usize, redirect_fence: Option<Fence>) {
        let (room, token_fence, time) = (self.seats[seat].room, self.seats[seat].token, self.time);
        let sim_box = &mut self.boxes[index];
        if sim_box.is_paused(time) {
            self.seats[seat].place = Place::Nowhere;
            return;
        }
        let (request, now) = (JoinRequest { room, token_fence, redirect_fence }, time + sim_box.offset);
        self.seats[seat].place = Place::Asking(index, time);
        match sim_box.cluster.owned(&request, now) {
            Some(decision) => self.decide(seat, index, decision),
            None => {
                let ticket = sim_box.cluster.join(request, now);
                sim_box.joins.insert(ticket, seat);
            }
        }
    }

    fn decide(&mut self, number: usize, index: usize, decision: Decision) {
        let room = self.seats[number].room;
        match decision {
            Decision::Serve { fence, resumes } => {
                let others = self.boxes.iter().enumerate();
                let contested = others
                    .filter(|(other, _)| *other != index)
                    .any(|(_, other)| other.serving.contains(&room));
                self.boxes[index].serving.insert(room);
                for (other, seat) in self.seats.iter_mut().enumerate().filter(|(_, seat)| seat.room == room) {
                    seat.guaranteed &= !contested;
                    // In a room that was opened without the store a token counts when it comes.
                    let counts = fence != Fence::FALLBACK || other == number;
                    if seat.guaranteed && counts {
                        let token = seat.token.unwrap();
                        assert!(
                            token == fence || token == resumes,
                            "{token} cannot reopen {fence} or {resumes}"
                        );
                    }
                }
                let seat = &mut self.seats[number];
                (seat.place, seat.token, seat.guaranteed) = (Place::Sitting(index), Some(fence), false);
                self.count(index, room);
            }
            Decision::Redirect { node, fence } => {
                self.seats[number].hops += 1;
                self.seats[number].place = Place::Nowhere;
                let target = self.boxes.iter().position(|other| other.config.name == node).unwrap();
                if self.seats[number].hops <= 3 {
                    self.ask(number, target, Some(fence));
                }
            }
            Decision::TryLater | Decision::Vacant => self.seats[number].place = Place::Nowhere,
        }
    }

    fn count(&mut self, index: usize, room: RoomTag) {
        let sits = |seat: &&Seat| seat.room == room && seat.place == Place::Sitting(index);
        let count = self.seats.iter().filter(sits).count();
        let sim_box = &mut self.boxes[index];
        sim_box.cluster.set_seats(room, count, self.time + sim_box.offset);
    }

    fn join(&mut self, seat: usize, index: usize) {
        if self.seats[seat].place == Place::Nowhere {
            self.seats[seat].hops = 0;
            self.ask(seat, index, None);
        }
    }

    fn kill(&mut self, index: usize) {
        let (old, time) = (self.boxes[index].id(), self.time);
        let mut latest = BTreeMap::new();
        for Seat { room, token, .. } in &self.seats {
            let fence: &mut Fence = latest.entry(*room).or_default();
            *fence = token.unwrap_or_default().max(*fence);
        }
        for seat in &mut self.seats {
            let (room, fence) = (seat.room, seat.token.unwrap_or_default());
            // A store that was emptied may give out lower fences than tokens of before have.
            let is_known = self.store.owner(room) == Some((&old, fence)) && fence == latest[&room];
            let others = self.boxes.iter().enumerate().filter(|(other, _)| *other != index);
            let is_alone = others.into_iter().all(|(_, other)| !other.serving.contains(&room));
            match seat.place {
                Place::Sitting(place) if place == index => {
                    (seat.place, seat.guaranteed) = (Place::Nowhere, is_known && is_alone);
                }
                Place::Asking(place, _) if place == index => seat.place = Place::Nowhere,
                Place::Nowhere | Place::Sitting(_) | Place::Asking(..) => {}
            }
            // The owner that the token would have reopened the room at is gone as well.
            seat.guaranteed &= seat.place != Place::Nowhere || is_known;
        }
        let fallback = self.boxes[index].config.fallback;
        self.boxes[index] = SimBox::new(config(index, self.boots, fallback), self.boxes[index].offset, time);
        self.boots += 1;
    }

    fn lose_data(&mut self, content: MemoryStore) {
        self.sessions += 1;
        self.store = content.restarted(self.sessions);
        self.snapshots.clear();
        self.seats.iter_mut().for_each(|seat| seat.guaranteed = false);
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Run(milliseconds) => self.run(Duration::from_millis(milliseconds)),
            Step::Join(seat, index) => self.join(seat, index),
            Step::Leave(seat) => {
                if let Place::Sitting(index) = self.seats[seat].place {
                    (self.seats[seat].place, self.seats[seat].token) = (Place::Nowhere, None);
                    self.count(index, self.seats[seat].room);
                }
            }
            Step::Kill(index) => self.kill(index),
            Step::Pause(index, milliseconds) => {
                self.boxes[index].paused_until = Some(self.time + Duration::from_millis(milliseconds));
            }
            Step::ClockJump(index, milliseconds) => {
                self.boxes[index].offset += Duration::from_millis(milliseconds);
            }
            Step::Cut(index, cut) => self.boxes[index].cut = cut,
            Step::Delay(index, milliseconds) => self.boxes[index].delay = Duration::from_millis(milliseconds),
            Step::StoreUp(is_up) => self.is_up = is_up,
            Step::StoreEmptied => self.lose_data(MemoryStore::default()),
            Step::StoreFailsOver => {
                let last = self.snapshots.front().cloned().unwrap_or_default();
                self.lose_data(last);
            }
            Step::Drain(index, on) => self.boxes[index].cluster.drain(on),
            Step::Move(index, room) => {
                let (sim_box, room) = (&mut self.boxes[index], harness::room(room));
                if !sim_box.is_paused(self.time) {
                    let ticket = sim_box.cluster.move_room(room, self.time + sim_box.offset);
                    sim_box.moves.insert(ticket, room);
                }
            }
            Step::Reachable(index, other, reachable) => {
                let id = Identity::of(&self.boxes[other].config).id;
                self.boxes[index].cluster.set_reachable(&id, reachable);
            }
        }
    }

    /// Ends all faults and lets everything come to rest, while clients without a seat try again.
    fn come_to_rest(&mut self) {
        self.is_up = true;
        for index in 0..BOXES {
            let sim_box = &mut self.boxes[index];
            (sim_box.cut, sim_box.delay, sim_box.paused_until) = (false, Duration::ZERO, None);
            sim_box.cluster.drain(false);
            for other in 0..BOXES {
                self.apply(&Step::Reachable(index, other, true));
            }
        }
        let end = self.time + REST;
        while self.time < end {
            self.run(Duration::from_millis(500));
            for seat in 0..SEATS {
                self.join(seat, seat % BOXES);
            }
        }
        self.run(Duration::from_secs(2));
    }

    /// At most one owner of each room, all seats there, and every box leads there.
    fn check(&mut self) {
        for room in (0..ROOMS).map(harness::room) {
            let time = self.time;
            let owners: Vec<usize> = (0..BOXES)
                .filter(|index| {
                    let sim_box = &mut self.boxes[*index];
                    let decision = sim_box.cluster.owned(&JoinRequest::new(room), time + sim_box.offset);
                    matches!(decision, Some(Decision::Serve { .. }))
                })
                .collect();
            assert_eq!(owners.len(), 1, "owners of {room}: {owners:?}");
            let owner = self.boxes[owners[0]].id();
            assert_eq!(self.store.owner(room).map(|(id, _)| id.clone()), Some(owner));
            for seat in self.seats.iter().filter(|seat| seat.room == room) {
                assert_eq!(seat.place, Place::Sitting(owners[0]), "a seat of {room}");
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let index = || 0..BOXES;
    prop_oneof![
        6 => (50_u64..1500).prop_map(Step::Run),
        2 => (1500_u64..6000).prop_map(Step::Run),
        8 => (0..SEATS, index()).prop_map(|(seat, index)| Step::Join(seat, index)),
        1 => (0..SEATS).prop_map(Step::Leave),
        2 => index().prop_map(Step::Kill),
        2 => (index(), 500_u64..8000).prop_map(|(index, duration)| Step::Pause(index, duration)),
        1 => (index(), 500_u64..20_000).prop_map(|(index, duration)| Step::ClockJump(index, duration)),
        2 => (index(), any::<bool>()).prop_map(|(index, cut)| Step::Cut(index, cut)),
        2 => (index(), 0_u64..800).prop_map(|(index, delay)| Step::Delay(index, delay)),
        2 => any::<bool>().prop_map(Step::StoreUp),
        1 => Just(Step::StoreEmptied),
        1 => Just(Step::StoreFailsOver),
        1 => (index(), any::<bool>()).prop_map(|(index, on)| Step::Drain(index, on)),
        1 => (index(), 0..ROOMS).prop_map(|(index, room)| Step::Move(index, room)),
        1 => (index(), index(), any::<bool>()).prop_map(|(one, other, reached)| Step::Reachable(one, other, reached)),
    ]
}

proptest! {
    #[test]
    fn one_owner_remains_and_its_seats_can_resume(
        refuse in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let fallback = if refuse { Fallback::Refuse } else { Fallback::Open };
        let mut sim = Sim::new(fallback);
        sim.run(Duration::from_millis(500));
        for step in &steps {
            sim.apply(step);
            sim.run(TICK);
        }
        sim.come_to_rest();
        sim.check();
    }
}
