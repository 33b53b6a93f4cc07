//! The keys in use: those of the state directory or, on one of several servers, those derived from the keys that all
//! share.
//!
//! The first shared key signs and all verify, so that keys can be replaced one server after the other. The last one names
//! the rooms: while a key is replaced that is the old one, which all servers still have, so that they agree on the names.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use webrtc_box_signaling::{ResumeTokenKey, TagKey};
use webrtc_box_turn::credential::{Secret, Secrets};

use crate::config::Settings;
use crate::state_dir::StoredKeys;

/// What a key is derived for. A key for one purpose tells nothing of the others.
const RESUME_TOKENS: &[u8] = b"webrtc-box cluster resume tokens 1";
const ROOM_TAGS: &[u8] = b"webrtc-box cluster room tags 1";
const TURN_SECRET: &[u8] = b"webrtc-box cluster TURN secret 1";
const PUBLIC_ID: &[u8] = b"webrtc-box cluster public ID 1";

/// The keys and secrets of a server.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Secrets of the relay credentials.
    pub secrets: Secrets,
    /// Turns room names into tags.
    pub tag_key: TagKey,
    /// Signs resume tokens.
    pub resume_key: ResumeTokenKey,
}

impl Keys {
    /// The keys for `settings`; `stored` are those of the state directory.
    pub fn new(settings: &Settings, stored: &StoredKeys) -> Self {
        let secrets =
            shared_secrets(settings).unwrap_or_else(|| stored.secrets(&settings.static_auth_secret));
        let shared = shared_keys(settings);
        let (Some((first, older)), Some(last)) = (shared.split_first(), shared.last()) else {
            let resume_key = ResumeTokenKey::new(stored.token_key);
            return Self { secrets, tag_key: stored.tag_key.clone(), resume_key };
        };
        let older = older.iter().map(|key| derive(key, RESUME_TOKENS)).collect();
        Self {
            secrets,
            tag_key: TagKey::new(derive(last, ROOM_TAGS)),
            resume_key: ResumeTokenKey::new(derive(first, RESUME_TOKENS)).with_older(older),
        }
    }
}

/// The secrets of relay credentials that do not come from the state directory: `static-auth-secret`, or those derived from
/// the shared keys.
pub fn shared_secrets(settings: &Settings) -> Option<Secrets> {
    let derived = || shared_keys(settings).iter().map(turn_secret).collect();
    let configured = Some(settings.static_auth_secret.clone()).filter(|given| !given.is_empty());
    let mut secrets = configured.unwrap_or_else(derived).into_iter();
    Some(Secrets::new(secrets.next()?, secrets.collect()))
}

/// Identifies the key that names the rooms of a service of several servers, without telling anything of it: servers whose
/// IDs differ do not agree on the names. `None` for a single server.
pub fn cluster_id(settings: &Settings) -> Option<[u8; 8]> {
    let digest = derive(shared_keys(settings).last()?, PUBLIC_ID);
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    Some(id)
}

/// The keys of all servers; none on a single server.
fn shared_keys(settings: &Settings) -> &[Secret] {
    if settings.cluster.is_some() { &settings.cluster_key } else { &[] }
}

/// A text, so that it can be given to other software as `static-auth-secret`.
fn turn_secret(key: &Secret) -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(derive(key, TURN_SECRET)))
}

fn derive(key: &Secret, purpose: &[u8]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_ref()) else {
        unreachable!("HMAC accepts keys of any length")
    };
    mac.update(purpose);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RawSettings, StateDirDefaults};

    /// The keys of a server whose `cluster-key` setting holds these.
    fn keys(cluster_keys: &[&str], secrets: &[&str]) -> (Keys, Option<[u8; 8]>) {
        let texts = |given: &[&str]| Some(given.iter().map(|&text| text.to_owned()).collect());
        let text = |text: &str| Some(text.to_owned());
        let raw = RawSettings {
            domain: text("call.example"),
            acme_email: text("me@call.example"),
            cluster: text("redis://127.0.0.1"),
            node_name: text("b1.call.example"),
            cluster_key: texts(cluster_keys),
            static_auth_secret: texts(secrets),
            ..RawSettings::default()
        };
        let settings = raw.validate(&StateDirDefaults::default()).unwrap();
        let stored =
            StoredKeys { secret: Secret::new("stored"), tag_key: TagKey::new([1; 32]), token_key: [2; 32] };
        (Keys::new(&settings, &stored), cluster_id(&settings))
    }

    const OLD: &str = "the old cluster key";
    const NEW: &str = "the new cluster key";

    fn passwords(keys: &Keys) -> Vec<String> {
        keys.secrets.passwords("5:x").collect()
    }

    #[test]
    fn servers_with_one_key_have_the_same_keys() {
        let ((one, id), (other, other_id)) = (keys(&[OLD], &[]), keys(&[OLD], &[]));
        assert_eq!((one.tag_key.tag("kitchen"), id), (other.tag_key.tag("kitchen"), other_id));
        assert_eq!((one.resume_key, one.secrets), (other.resume_key, other.secrets));
        let (foreign, foreign_id) = keys(&[NEW], &[]);
        assert_ne!((one.tag_key.tag("kitchen"), id), (foreign.tag_key.tag("kitchen"), foreign_id));
    }

    #[test]
    fn while_a_key_is_replaced_rooms_keep_their_tags_and_credentials_are_valid() {
        let ((before, id), (during, during_id)) = (keys(&[OLD], &[]), keys(&[NEW, OLD], &[]));
        assert_eq!((before.tag_key.tag("kitchen"), id), (during.tag_key.tag("kitchen"), during_id));
        let (after, after_id) = keys(&[NEW], &[]);
        assert_ne!((after.tag_key.tag("kitchen"), after_id), (during.tag_key.tag("kitchen"), during_id));
        let valid = passwords(&during);
        assert_eq!(valid, [passwords(&after), passwords(&before)].concat());
    }

    #[test]
    fn a_configured_turn_secret_wins_over_the_derived_one() {
        let (keys, _) = keys(&[OLD], &["shared with other software"]);
        assert_eq!(passwords(&keys), [Secret::new("shared with other software").password("5:x")]);
    }
}
