//! The values that boxes exchange: names, rooms, fences, and what a box does with a join.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::StoreUrl;

/// Identifies a room without its name: a digest under a key that all boxes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomTag([u8; 16]);

/// The public host name of a box, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// The text is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no host name: give the name alone as DNS has it, like b1.call.example.com")]
pub struct NodeNameError;

/// The number of one ownership of a room. A later ownership of the same room has a higher number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// One run of a box: its name and a random number of this start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoxId {
    /// The public host name.
    pub name: NodeName,
    /// Random for each start of the process.
    pub boot: u64,
}

/// How much of a box is in use, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Relay allocations of the total quota.
    pub allocations: u8,
    /// Relayed bytes of the total capacity.
    pub bandwidth: u8,
    /// File descriptors of the limit of the process.
    pub descriptors: u8,
}

/// What happens to new rooms while the store cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The box that rendezvous hashing over the last known live boxes names opens them.
    Open,
    /// They are refused.
    Refuse,
}

/// What a box needs to know about itself, and where the store is.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The public host name of this box.
    pub name: NodeName,
    /// The common name of the service. A box whose name is not below it is none of the cluster's, whatever the store says.
    pub domain: NodeName,
    /// Random for each start of the process.
    pub boot: u64,
    /// The version of the program, for other boxes to show.
    pub version: String,
    /// What happens to new rooms while the store cannot be reached.
    pub fallback: Fallback,
    /// A digest that is equal on two boxes if their room tags are.
    pub key_id: [u8; 8],
    /// The store.
    pub store: StoreUrl,
    /// Certification authorities for `rediss://`.
    pub roots: rustls::RootCertStore,
}

/// A join that this box may have to ask the store about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The room.
    pub room: RoomTag,
    /// The fence in the resume token, if there is one and its signature is right.
    pub token_fence: Option<Fence>,
    /// The fence that a redirect of another box named, if the client followed one.
    pub redirect_fence: Option<Fence>,
}

/// What a box does with a join or a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This box owns the room.
    Serve {
        /// The fence for new resume tokens.
        fence: Fence,
        /// The fence of the last owner, if the room was taken over or moved. Its tokens and those of `fence` may reopen the
        /// room. [`Fence::NONE`]: only those of `fence`.
        resumes: Fence,
    },
    /// Another box owns the room.
    Redirect {
        /// That box.
        node: NodeName,
        /// The fence of its ownership; [`Fence::NONE`] if the store could not be asked.
        fence: Fence,
    },
    /// Nobody owns the room. Only the answer to a look.
    Vacant,
    /// It cannot be decided now; the client tries again.
    TryLater,
}

/// What a box knows about one of the boxes, itself included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The box.
    pub id: BoxId,
    /// The version of its program.
    pub version: String,
    /// The highest of its loads, in percent.
    pub load: u8,
    /// The number of its rooms.
    pub rooms: u64,
    /// It gives up its rooms and takes no new ones.
    pub draining: bool,
    /// It holds no lease because most others cannot reach it.
    pub unreachable: bool,
    /// It has another cluster key or speaks another version of the protocol, so that no room goes there.
    pub foreign: bool,
    /// Time since it renewed its lease, as far as this box knows.
    pub age: Duration,
}

impl RoomTag {
    /// The tag with these bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RoomTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for RoomTag {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(if is_hex { text } else { "" }, 16).map(|number| Self(number.to_be_bytes()))
    }
}

impl NodeName {
    /// The longest name that DNS has (RFC 1035 §2.3.4).
    const MAX_LENGTH: usize = 253;

    /// The name in lower case.
    ///
    /// # Errors
    /// `text` is not one to 253 characters of labels of letters, digits and hyphens (RFC 1123 §2.1).
    pub fn parse(text: &str) -> Result<Self, NodeNameError> {
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let is_name = text.len() <= Self::MAX_LENGTH && text.split('.').all(is_label);
        is_name.then(|| Self(text.to_ascii_lowercase())).ok_or(NodeNameError)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a subdomain of `domain`.
    pub fn is_below(&self, domain: &Self) -> bool {
        self.0.strip_suffix(&domain.0).is_some_and(|rest| rest.ends_with('.'))
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Fence {
    /// No ownership.
    pub const NONE: Self = Self(0);
    /// The fence of a room that a box opened without the store. Each fence of the store is higher, so an owner that the store
    /// knows wins.
    pub const FALLBACK: Self = Self(1);
    /// The highest number that Lua represents exactly. A higher one in the store is corrupt.
    pub const MAX: Self = Self((1 << 53) - 1);
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl BoxId {
    /// Parses the form of [`Display`](fmt::Display).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, boot) = text.split_once('#')?;
        Some(Self { name: NodeName::parse(name).ok()?, boot: u64::from_str_radix(boot, 16).ok()? })
    }
}

/// `name#boot`, the boot number as 16 hexadecimal digits.
impl fmt::Display for BoxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{:016x}", self.name, self.boot)
    }
}

impl Load {
    /// The load that decides.
    pub fn highest(&self) -> u8 {
        self.allocations.max(self.bandwidth).max(self.descriptors)
    }
}

impl JoinRequest {
    /// A join without a resume token of a client that followed no redirect.
    pub fn new(room: RoomTag) -> Self {
        Self { room, token_fence: None, redirect_fence: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tags_and_boxes_are_parsed_from_the_store_or_refused() {
        assert_eq!(NodeName::parse("B1.Call.example").unwrap().as_str(), "b1.call.example");
        let long = "a".repeat(64);
        for text in ["", ".", "a.", "a..b", "-a", "a-", "a_b", "a b", "a:1", "é", &long] {
            assert_eq!(NodeName::parse(text), Err(NodeNameError), "{text}");
        }
        let domain = NodeName::parse("call.example").unwrap();
        let is_below = |name: &str| NodeName::parse(name).unwrap().is_below(&domain);
        assert!(is_below("b1.call.example") && is_below("a.b1.call.example"));
        assert!(!["call.example", "b1call.example", "call.example.evil", "x"].map(is_below).contains(&true));
        let tag = RoomTag::new([0xab; 16]);
        assert_eq!(tag.to_string().parse(), Ok(tag));
        for text in ["", "ab", "+0000000000000000000000000000000", "é0000000000000000000000000000000"] {
            assert!(text.parse::<RoomTag>().is_err(), "{text}");
        }
        let id = BoxId { name: NodeName::parse("b1.x").unwrap(), boot: 10 };
        assert_eq!(
            (id.to_string(), BoxId::parse(&id.to_string())),
            ("b1.x#000000000000000a".to_owned(), Some(id))
        );
        assert_eq!(BoxId::parse("b1.x"), None);
    }
}
