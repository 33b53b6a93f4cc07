//! Runs the scripts: a request becomes arguments, and what the script returns becomes a reply.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisResult, Script, ScriptInvocation};

use crate::registry::{Asserted, Elsewhere, Identity, ListedLease, ORDER_DURATION, Owner, Reply, Request};
use crate::{BoxId, Fence, RoomTag};

/// `$domain` is a host name, so it needs no quoting.
macro_rules! script {
    ($domain:expr, $file:literal) => {
        Script::new(&format!(
            "local DOMAIN = '{}'\n{}",
            $domain,
            concat!(include_str!("common.lua"), include_str!($file))
        ))
    };
}

/// Kinds of owners, as in `common.lua`.
const NOBODY: u8 = 0;
const MINE: u8 = 1;
const OTHER: u8 = 2;
const GONE: u8 = 3;
const FOREIGN: u8 = 4;

/// The scripts, and who runs them.
#[derive(Debug)]
pub(super) struct Scripts {
    own_id: String,
    key: String,
    renew: Script,
    claim: Script,
    look: Script,
    reassert: Script,
    release: Script,
    move_room: Script,
    leave: Script,
    nodes: Script,
    lock: Script,
    unlock: Script,
}

/// A lease as the scripts return it: box, text, whether withdrawn, age in milliseconds.
/// Box and text are bytes, since anything may be stored there.
type RawLease = (Vec<u8>, Vec<u8>, u8, u64);
/// Kind, box, fence, resumes, whether a value was replaced that cannot be read.
type RawOwner = (u8, String, u64, u64, u8);
/// Kind, box, and its fence; of a room that is kept the fence before.
type RawAsserted = (u8, String, u64, u64);

impl Scripts {
    pub(super) fn new(identity: &Identity) -> Self {
        Self {
            own_id: identity.id.to_string(),
            key: identity.key(),
            renew: script!(identity.domain, "renew.lua"),
            claim: script!(identity.domain, "claim.lua"),
            look: script!(identity.domain, "look.lua"),
            reassert: script!(identity.domain, "reassert.lua"),
            release: script!(identity.domain, "release.lua"),
            move_room: script!(identity.domain, "move.lua"),
            leave: script!(identity.domain, "leave.lua"),
            nodes: script!(identity.domain, "nodes.lua"),
            lock: script!(identity.domain, "lock.lua"),
            unlock: script!(identity.domain, "unlock.lua"),
        }
    }

    /// Runs the script of a request.
    pub(super) async fn run(
        &self,
        connection: &mut MultiplexedConnection,
        session: u64,
        request: Request,
    ) -> RedisResult<Reply> {
        let script = match &request {
            Request::Renew { .. } => &self.renew,
            Request::Claim { .. } => &self.claim,
            Request::Look { .. } => &self.look,
            Request::Reassert { .. } => &self.reassert,
            Request::Release { .. } => &self.release,
            Request::Move { .. } => &self.move_room,
            Request::Leave => &self.leave,
            Request::LockOrder => &self.lock,
            Request::UnlockOrder => &self.unlock,
            Request::Nodes | Request::PutChallenge { .. } | Request::Challenge { .. } => &self.nodes,
        };
        let mut call = script.prepare_invoke();
        call.arg(&self.own_id).arg(&self.key);
        add_arguments(&mut call, &request)?;
        match request {
            Request::Renew { .. } => {
                let (renewed, held, nodes, lost): (u8, u8, Vec<RawLease>, Vec<Vec<u8>>) =
                    call.invoke_async(connection).await?;
                let nodes = leases(nodes);
                if renewed == 0 {
                    return Ok(Reply::NameTaken { nodes });
                }
                let lost = lost.iter().filter_map(|tag| str::from_utf8(tag).ok()?.parse().ok()).collect();
                Ok(Reply::Renewed { held: held == 1, session, nodes, lost })
            }
            Request::Claim { .. } | Request::Look { .. } => owner(call.invoke_async(connection).await?),
            Request::Reassert { .. } => {
                let results: Vec<RawAsserted> = call.invoke_async(connection).await?;
                results.into_iter().map(asserted).collect::<RedisResult<_>>().map(Reply::Asserted)
            }
            Request::Move { .. } => {
                let (id, fence): (String, u64) = call.invoke_async(connection).await?;
                Ok(Reply::Moved(BoxId::parse(&id).map(|id| (id, Fence(fence)))))
            }
            Request::Nodes => call.invoke_async(connection).await.map(|nodes| Reply::Nodes(leases(nodes))),
            Request::LockOrder => {
                let may: u8 = call.invoke_async(connection).await?;
                Ok(Reply::Done(may == 1))
            }
            Request::Release { .. }
            | Request::Leave
            | Request::UnlockOrder
            | Request::PutChallenge { .. }
            | Request::Challenge { .. } => {
                call.invoke_async::<()>(connection).await.map(|()| Reply::Done(true))
            }
        }
    }
}

/// The arguments after the box and its key, in the order that the scripts document.
fn add_arguments(call: &mut ScriptInvocation<'_>, request: &Request) -> RedisResult<()> {
    match request {
        Request::Renew { lease, withdrawn, floor, extend } => {
            let text = serde_json::to_string(lease);
            call.arg(text.map_err(|_| (ErrorKind::Client, "a lease cannot be written"))?);
            call.arg(u8::from(*withdrawn)).arg(floor.0);
            for (room, fence, seats) in extend {
                call.arg(tag(room)).arg(fence.0).arg(seats);
            }
        }
        Request::Claim { room, serial, floor, elsewhere } => {
            let (mode, load, [first, second]) = match *elsewhere {
                Elsewhere::No => (0, 0, [0, 0]),
                Elsewhere::IfLess(load, random) => (1, load, random),
                Elsewhere::IfAny(random) => (2, 0, random),
            };
            call.arg(tag(room)).arg(serial).arg(floor.0).arg(mode).arg(load).arg(first).arg(second);
        }
        Request::Look { room } => {
            call.arg(tag(room));
        }
        Request::Reassert { floor, rooms } => {
            call.arg(floor.0);
            for room in rooms {
                call.arg(tag(&room.room))
                    .arg(room.fence.0)
                    .arg(room.resumes.0)
                    .arg(room.seats)
                    .arg(room.serial);
            }
        }
        Request::Release { rooms } => {
            for (room, fence, serial) in rooms {
                call.arg(tag(room)).arg(fence.0).arg(serial);
            }
        }
        Request::Move { room, fence, serial, floor, random: [first, second] } => {
            call.arg(tag(room)).arg(fence.0).arg(serial).arg(floor.0).arg(first).arg(second);
        }
        Request::LockOrder => {
            call.arg(ORDER_DURATION.as_secs());
        }
        Request::Leave
        | Request::Nodes
        | Request::UnlockOrder
        | Request::PutChallenge { .. }
        | Request::Challenge { .. } => {}
    }
    Ok(())
}

fn tag(room: &RoomTag) -> String {
    room.to_string()
}

/// Those that can be read: another box, or somebody else, may write anything there.
fn leases(raw: Vec<RawLease>) -> Vec<ListedLease> {
    let lease = |(id, text, withdrawn, age): RawLease| {
        let id = BoxId::parse(str::from_utf8(&id).ok()?)?;
        let lease = serde_json::from_slice(&text).ok()?;
        Some(ListedLease { id, lease, withdrawn: withdrawn == 1, age: Duration::from_millis(age) })
    };
    raw.into_iter().filter_map(lease).collect()
}

fn box_id(text: &str) -> RedisResult<BoxId> {
    BoxId::parse(text).ok_or_else(|| (ErrorKind::UnexpectedReturnType, "no box").into())
}

fn owner((kind, id, fence, resumes, corrupt): RawOwner) -> RedisResult<Reply> {
    let fence = Fence(fence);
    let owner = match kind {
        NOBODY => Owner::Nobody,
        MINE => Owner::Me { fence, resumes: Fence(resumes), from: BoxId::parse(&id), corrupt: corrupt == 1 },
        OTHER => Owner::Other { id: box_id(&id)?, fence, alive: true },
        GONE => Owner::Other { id: box_id(&id)?, fence, alive: false },
        FOREIGN => Owner::Foreign,
        _ => return Err((ErrorKind::UnexpectedReturnType, "no kind of owner").into()),
    };
    Ok(Reply::Owner(owner))
}

fn asserted((kind, id, fence, seats): RawAsserted) -> RedisResult<Asserted> {
    match kind {
        MINE => Ok(Asserted::Kept { against: BoxId::parse(&id), resumes: Fence(fence) }),
        OTHER => Ok(Asserted::Lost { owner: box_id(&id)?, fence: Fence(fence), seats }),
        _ => Ok(Asserted::Foreign),
    }
}
