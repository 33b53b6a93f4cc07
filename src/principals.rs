//! Maps the seats of signaling to the principals of the relay, because neither crate depends on the other.

use webrtc_box_signaling::{CredentialIssuer, IceCredential, RoomTag, SeatEvent, SeatId, UnixSeconds};
use webrtc_box_turn::credential::{Credential, Principal, Secrets};
use webrtc_box_turn::principal::{IsolationGroup, PrincipalEvent, PrincipalId};

/// Issues the relay credentials of participants.
#[derive(Clone, Debug)]
pub struct SeatCredentials(pub Secrets);

impl CredentialIssuer for SeatCredentials {
    fn issue(&self, room: RoomTag, seat: SeatId, expiry: UnixSeconds) -> IceCredential {
        let (group, id) = principal(room, seat);
        ice_credential(self.0.mint(&Principal::Participant(group, id), expiry))
    }
}

/// A TURN credential as an entry of `iceServers` carries it.
pub fn ice_credential(credential: Credential) -> IceCredential {
    IceCredential { username: credential.username, password: credential.password }
}

/// The principal event for a seat event.
pub fn principal_event(event: SeatEvent) -> PrincipalEvent {
    match event {
        SeatEvent::Joined(room, seat) => {
            let (group, id) = principal(room, seat);
            PrincipalEvent::Admitted(group, id)
        }
        SeatEvent::Left(room, seat) => {
            let (group, id) = principal(room, seat);
            PrincipalEvent::Left(group, id)
        }
        SeatEvent::Expired(room, seat) => {
            let (group, id) = principal(room, seat);
            PrincipalEvent::Expired(group, id)
        }
    }
}

/// The isolation group of a room.
pub fn isolation_group(room: RoomTag) -> IsolationGroup {
    IsolationGroup::new(*room.as_bytes())
}

fn principal(room: RoomTag, seat: SeatId) -> (IsolationGroup, PrincipalId) {
    (isolation_group(room), PrincipalId::new(*seat.as_bytes()))
}
