//! A call as the server sees it: two participants with WebSockets and allocations that exchange data.

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
    /// Two participants join `room` and connect through the relay.
    pub fn start(server: &ServerProcess, room: &str) -> Self {
        let seats = [(); 2].map(|()| Participant::join_room(server, room));
        let mut relayed = Vec::new();
        let mut clients = seats.each_ref().map(|seat| {
            let mut client =
                TurnClient::with_credential(seat.credential.clone(), socket([0, 11, 1], server.turn));
            relayed.push(client.allocate());
            client
        });
        clients[0].bind(CHANNEL, relayed[1]);
        clients[1].bind(CHANNEL, relayed[0]);
        let mut call = Self { seats, clients, rounds: 0 };
        call.assert_works();
        call
    }

    /// Asserts that signaling and media work in both directions.
    pub fn assert_works(&mut self) {
        self.rounds += 1;
        for (from, to) in [(0, 1), (1, 0)] {
            self.assert_signals(from, to);
            let data = channel_data(CHANNEL, &self.rounds.to_be_bytes());
            self.clients[from].wire.send_message(&data);
            assert_eq!(self.clients[to].wire.receive().expect("the packet of the peer"), data);
        }
    }

    fn assert_signals(&mut self, from: usize, to: usize) {
        let candidate = json!({ "candidate": self.rounds });
        let target = self.seats[to].id.clone();
        self.seats[from].send(&json!({ "type": "candidate", "target": target, "candidate": candidate }));
        assert_eq!(self.seats[to].wait_for("candidate")["candidate"], candidate);
    }
}
