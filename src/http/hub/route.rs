//! The way of a frame in a cluster: who owns its room is asked before the rooms are locked, and the answer is carried out under
//! their lock.

use webrtc_box_cluster::Decision;
use webrtc_box_signaling::{ConnectionId, Fence, Ownership, RoomOwner, RoomRequest, RoomRequestKind};

use super::HubState;
use crate::clock;
use crate::cluster::{Cluster, RedirectCause};

/// The close code of a server that restarts (RFC 6455 §7.4.1): clients return at once.
const CLOSE_RESTART: u16 = 1012;

/// What [`Hub::handle_routed`](super::Hub::handle_routed) needs to know about the room of a frame. Empty for frames that need no owner, and without a
/// cluster.
#[derive(Debug, Default)]
pub(in crate::http) struct Route(Option<Box<DecidedRequest>>);

/// A request for a room, and who owns the room.
#[derive(Debug)]
struct DecidedRequest {
    request: RoomRequest,
    decision: Decision,
    /// [`Cluster::losses`] before the decision.
    losses: u64,
}

impl Route {
    /// Asks who owns the room of `request`.
    pub(super) async fn look_up(cluster: &Cluster, request: RoomRequest) -> Self {
        let losses = cluster.losses();
        let decision = cluster.decide(&request).await;
        Self(Some(Box::new(DecidedRequest { request, decision, losses })))
    }

    /// Handles `text`, whose route this is, on a server of `cluster`.
    pub(super) fn handle(
        self,
        state: &mut HubState,
        (conn, text): (ConnectionId, &str),
        cluster: &Cluster,
    ) -> Result<(), getrandom::Error> {
        match self.0 {
            Some(decided) => decided.handle(state, (conn, text), cluster),
            None => state.handle_text(conn, text, Some(RoomOwner::Unknown)),
        }
    }
}

impl DecidedRequest {
    /// Handles `text` as the owner of its room, or redirects its sender to the owner.
    fn handle(
        self,
        state: &mut HubState,
        (conn, text): (ConnectionId, &str),
        cluster: &Cluster,
    ) -> Result<(), getrandom::Error> {
        let Self { request, decision, losses } = self;
        match decision {
            Decision::Serve { .. } if cluster.losses() != losses && !cluster.owns(&request) => {
                state.close(conn, CLOSE_RESTART, "the room has just moved to another server");
                Ok(())
            }
            Decision::Serve { fence, resumes } => {
                let (fence, resumes) = (Fence(fence.0), Fence(resumes.0));
                let owner = RoomOwner::ThisServer(Ownership { fence, resumes });
                let handled = state.handle_text(conn, text, Some(owner));
                if state.rooms.occupancy(request.room) == 0 {
                    // The join was refused before the rooms noted that they own this one.
                    cluster.set_seats(request.room, 0);
                }
                handled
            }
            Decision::Redirect { node, fence } => {
                let cause = match request.kind {
                    RoomRequestKind::Join => RedirectCause::Join,
                    RoomRequestKind::Look => RedirectCause::Look,
                };
                cluster.count_redirects(cause, 1);
                state.rooms.redirect(conn, &request, cluster.url(&node), Fence(fence.0), clock::now());
                Ok(())
            }
            Decision::Vacant | Decision::TryLater => state.handle_text(conn, text, Some(RoomOwner::Unknown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::hub::{Hub, Transport};
    use crate::http::send_queue::Outgoing;

    /// A hub of a server whose cluster knows nothing.
    fn hub() -> Arc<Hub> {
        Hub::for_tests(Some(Cluster::without_store()))
    }

    fn decided(hub: &Hub, conn: ConnectionId, text: &str) -> DecidedRequest {
        let request = hub.lock().rooms.room_request(conn, text, clock::now()).unwrap();
        let (fence, resumes) = (webrtc_box_cluster::Fence(7), webrtc_box_cluster::Fence::NONE);
        let losses = hub.cluster.as_ref().unwrap().losses();
        DecidedRequest { request, decision: Decision::Serve { fence, resumes }, losses }
    }

    const JOIN: &str = r#"{"type":"join","room":"kitchen"}"#;

    #[tokio::test]
    async fn a_room_that_is_lost_before_the_join_gets_no_seat() {
        let hub = hub();
        let connect = || hub.connect(Transport::WebSocket, "h".into(), [127, 0, 0, 1].into());
        let ((first, mut queue), (second, mut late)) = (connect(), connect());
        let (before, after) = (decided(&hub, first, JOIN), decided(&hub, second, JOIN));
        hub.handle_routed(first, JOIN, Route(Some(Box::new(before)))).unwrap();
        assert!(matches!(queue.next().await, Some(Outgoing::Frame(frame)) if frame.contains(r#""fence":7"#)));
        hub.cluster.as_ref().unwrap().count_loss();
        hub.handle_routed(second, JOIN, Route(Some(Box::new(after)))).unwrap();
        assert!(matches!(late.next().await, Some(Outgoing::Close(1012, _))));
        assert_eq!(hub.count(), (1, 1));
    }

    #[tokio::test]
    async fn a_join_whose_owner_was_not_asked_for_is_refused() {
        let hub = hub();
        let (conn, mut queue) = hub.connect(Transport::WebSocket, "h".into(), [127, 0, 0, 1].into());
        hub.handle_routed(conn, JOIN, Route::default()).unwrap();
        assert!(matches!(queue.next().await, Some(Outgoing::Frame(frame)) if frame.contains("try-later")));
    }
}
