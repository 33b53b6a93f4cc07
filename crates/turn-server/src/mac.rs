//! Keyed digests, of which every key length is a good one.

use hmac::Mac;
use hmac::digest::KeyInit;

/// A MAC under `key`.
pub(crate) fn keyed<M: Mac + KeyInit>(key: &[u8]) -> M {
    match <M as Mac>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}
