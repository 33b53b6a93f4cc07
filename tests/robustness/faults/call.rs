//! A call as the box sees it: two seats at their WebSockets, two allocations, and what passes between.

use std::net::UdpSocket;

use serde_json::json;

use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TurnClient, Wire as _, channel_data, socket};

pub struct Call {
    pub seats: [Participant; 2],
    pub clients: [TurnClient<UdpSocket>; 2],
    rounds: u32,
}

const CHANNEL: u16 = 0x4000;

impl Call {
    /// Two come to `room` and reach each other through the relay.
    pub fn begin(server: &ServerProcess, room: &str) -> Self {
        let seats = [(); 2].map(|()| Participant::join_room(server, room));
        let mut relayed = Vec::new();
        let mut clients = seats.each_ref().map(|seat| {
            let mut client = TurnClient::holding(seat.credential.clone(), socket([0, 11, 1], server.turn));
            relayed.push(client.allocate());
            client
        });
        clients[0].bind(CHANNEL, relayed[1]);
        clients[1].bind(CHANNEL, relayed[0]);
        let mut call = Self { seats, clients, rounds: 0 };
        call.goes_on();
        call
    }

    /// Signaling and media come through both ways.
    pub fn goes_on(&mut self) {
        self.rounds += 1;
        for (from, to) in [(0, 1), (1, 0)] {
            self.signals(from, to);
            let data = channel_data(CHANNEL, &self.rounds.to_be_bytes());
            self.clients[from].wire.say(&data);
            assert_eq!(self.clients[to].wire.receive().expect("the other's packet"), data);
        }
    }

    fn signals(&mut self, from: usize, to: usize) {
        let candidate = json!({ "candidate": self.rounds });
        let target = self.seats[to].id.clone();
        self.seats[from].say(&json!({ "type": "candidate", "target": target, "candidate": candidate }));
        assert_eq!(self.seats[to].hear("candidate")["candidate"], candidate);
    }
}
