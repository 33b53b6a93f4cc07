//! Rendezvous hashing: boxes that know the same live boxes choose the same one for a room, without a message.

use sha2::{Digest as _, Sha256};

use crate::{NodeName, RoomTag};

/// The box of `nodes` with the highest score for `room`. A box that goes or comes changes only rooms of its own.
pub(crate) fn choose<'a>(
    room: RoomTag,
    nodes: impl IntoIterator<Item = &'a NodeName>,
) -> Option<&'a NodeName> {
    nodes.into_iter().max_by_key(|node| score(room, node))
}

fn score(room: RoomTag, node: &NodeName) -> [u8; 32] {
    Sha256::new().chain_update(room.as_bytes()).chain_update(node.as_str()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_box_moves_only_its_own_rooms_and_shares_are_even() {
        let nodes = ["b1.x", "b2.x", "b3.x"].map(|name| NodeName::parse(name).unwrap());
        let mut shares = [0; 3];
        for index in 0..3000_u128 {
            let room = RoomTag::new(index.to_be_bytes());
            let chosen = choose(room, &nodes).unwrap();
            let share = nodes.iter().position(|node| node == chosen).unwrap();
            shares[share] += 1;
            if share != 2 {
                assert_eq!(choose(room, &nodes[..2]), Some(chosen));
            }
        }
        assert!(shares.iter().all(|share| (850..1150).contains(share)), "{shares:?}");
        assert_eq!(choose(RoomTag::new([0; 16]), &[]), None);
    }
}
