//! How often one source is handed something: a few at once, then one every few seconds.
//!
//! Pure but for its lock; `now` comes in with every call. Who has rested is forgotten, and where too
//! many have not, newcomers wait: the memory is bounded whoever asks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::source;

/// Between two in the long run.
const EVERY: Duration = Duration::from_secs(6);

/// How many may be had at once.
const BURST: u32 = 10;

/// Sources remembered at a time.
const MOST: usize = 4096;

/// Who was handed what, and until when that counts.
#[derive(Debug, Default)]
pub(super) struct Ration {
    /// When each source will have rested wholly.
    rested: Mutex<HashMap<IpAddr, Instant>>,
}

impl Ration {
    /// Hands one to `address`; where that is too many, how long to wait.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut rested = self.rested.lock().unwrap_or_else(PoisonError::into_inner);
        if rested.len() >= MOST {
            rested.retain(|_, at| *at > now);
        }
        let source = source::of(address);
        if rested.len() >= MOST && !rested.contains_key(&source) {
            return Err(EVERY);
        }
        let at = rested.entry(source).or_insert(now);
        let next = (*at).max(now) + EVERY;
        let early = next.saturating_duration_since(now + EVERY * BURST);
        if !early.is_zero() {
            return Err(early);
        }
        *at = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn taken(ration: &Ration, address: &str, now: Instant, asked: usize) -> usize {
        (0..asked).filter(|_| ration.take(address.parse().unwrap(), now).is_ok()).count()
    }

    #[test]
    fn a_few_at_once_then_one_every_few_seconds() {
        let (ration, start) = (Ration::default(), Instant::now());
        assert_eq!(taken(&ration, "45.0.0.1", start, 100), 10);
        assert_eq!(ration.take("45.0.0.1".parse().unwrap(), start), Err(EVERY));
        assert_eq!(taken(&ration, "45.0.0.1", start + EVERY * 3, 100), 3);
        assert_eq!(taken(&ration, "45.0.0.2", start, 100), 10, "others are not concerned");
    }

    #[test]
    fn a_v6_customer_is_one_source() {
        let (ration, start) = (Ration::default(), Instant::now());
        assert_eq!(taken(&ration, "2a00::1", start, 100), 10);
        assert_eq!(taken(&ration, "2a00::2", start, 100), 0);
    }

    #[test]
    fn a_crowd_fills_a_bounded_book_and_leaves_it_again() {
        let (ration, start) = (Ration::default(), Instant::now());
        let crowd = |n: usize| Ipv4Addr::from_bits(n as u32).to_string();
        assert!((0..MOST).all(|n| taken(&ration, &crowd(n), start, 1) == 1));
        assert_eq!(taken(&ration, &crowd(MOST), start, 1), 0);
        assert_eq!(taken(&ration, &crowd(7), start, 1), 1, "who is in the book is served");
        assert_eq!(taken(&ration, &crowd(MOST), start + EVERY * 2, 1), 1);
        assert_eq!(ration.rested.lock().unwrap().len(), 1);
    }
}
