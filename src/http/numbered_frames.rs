//! The numbered frames of a session that is bound to no connection: which frames from its client are new, and which frames
//! for its client are not acknowledged.
//!
//! A frame counts towards the limits of its queue until the client has acknowledged it and every reply that contains it is
//! written or dropped. Nothing here knows HTTP.

use std::collections::VecDeque;

use axum::body::Bytes;
use serde_json::json;

use webrtc_box_relay::queue_budget::Charge;

use super::send_queue::Outgoing;

/// Frames of one request and of one reply at most.
pub(super) const MAX_BATCH_FRAMES: usize = 256;

/// Bytes of frames from which on no further one is added to a reply.
const BATCH_BYTES: usize = 64 * 1024;

/// The code and the reason of a close frame.
pub(super) type Close = (u16, &'static str);

/// The frames of a session in both directions. Each direction counts from 1.
#[derive(Debug, Default)]
pub(super) struct NumberedFrames {
    /// The last frame from the client.
    received: u64,
    /// The last frame that the client acknowledged.
    acknowledged: u64,
    /// The frames for the client after that one.
    unacknowledged: VecDeque<Bytes>,
    /// The end of the session, after these frames.
    pub(super) close: Option<Close>,
}

/// Frames for the client. The first one has the number `first`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    first: u64,
    frames: Vec<Bytes>,
    close: Option<Close>,
}

/// A number does not follow the frames before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap;

/// A frame that counts towards the limits of its queue as long as a reply contains it.
struct ChargedFrame {
    text: String,
    _charge: Charge,
}

impl NumberedFrames {
    /// `count` frames arrived, the first of them with the number `first`; returns how many of them were received before.
    pub(super) fn repeated(&self, first: u64, count: usize) -> Result<usize, Gap> {
        let repeated = (self.received + 1).checked_sub(first).filter(|_| first > 0).ok_or(Gap)?;
        Ok(usize::try_from(repeated).map_or(count, |repeated| repeated.min(count)))
    }

    /// The next frame is received: it is skipped when it is repeated.
    pub(super) fn receive(&mut self) {
        self.received += 1;
    }

    /// The client has all frames up to `number`; `false` if it acknowledged more before.
    pub(super) fn acknowledge(&mut self, number: u64) -> Result<bool, Gap> {
        let Some(count) = number.checked_sub(self.acknowledged) else { return Ok(false) };
        let count = usize::try_from(count).map_err(|_| Gap)?;
        if count > self.unacknowledged.len() {
            return Err(Gap);
        }
        self.unacknowledged.drain(..count);
        self.acknowledged = number;
        Ok(true)
    }

    /// The next item of the send queue; `None`: the client did not read.
    pub(super) fn push(&mut self, item: Option<(Outgoing, Charge)>) {
        match item {
            Some((Outgoing::Frame(text), charge)) => {
                self.unacknowledged.push_back(Bytes::from_owner(ChargedFrame { text, _charge: charge }));
            }
            Some((Outgoing::Close(code, reason), _)) => self.close = Some((code, reason)),
            None => self.close = Some((1008, "too slow")),
        }
    }

    pub(super) fn batch_is_empty(&self) -> bool {
        self.unacknowledged.is_empty() && self.close.is_none()
    }

    /// The first unacknowledged frames, as many as one reply contains.
    pub(super) fn batch(&self) -> Batch {
        let mut bytes = 0;
        let fits = |frame: &&Bytes| {
            let is_first_or_fits = bytes < BATCH_BYTES;
            bytes += frame.len();
            is_first_or_fits
        };
        let frames: Vec<Bytes> =
            self.unacknowledged.iter().take(MAX_BATCH_FRAMES).take_while(fits).cloned().collect();
        let close = self.close.filter(|_| frames.len() == self.unacknowledged.len());
        Batch { first: self.acknowledged + 1, frames, close }
    }
}

impl AsRef<[u8]> for ChargedFrame {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Batch {
    pub(super) fn empty(after: u64) -> Self {
        Self { first: after.saturating_add(1), frames: Vec::new(), close: None }
    }

    /// The parts of the reply. The frames are not copied.
    pub(super) fn into_parts(self) -> Vec<Bytes> {
        let mut parts = vec![Bytes::from(format!("{{\"seq\":{},\"frames\":[", self.first))];
        for (index, frame) in self.frames.into_iter().enumerate() {
            if index > 0 {
                parts.push(Bytes::from_static(b","));
            }
            parts.push(frame);
        }
        parts.push(match self.close {
            Some((code, reason)) => {
                Bytes::from(format!("],\"close\":{}}}", json!({ "code": code, "reason": reason })))
            }
            None => Bytes::from_static(b"]}"),
        });
        parts
    }
}

#[cfg(test)]
mod tests {
    use webrtc_box_relay::queue_budget::QueueBudget;

    use super::*;

    /// The frames "1", "2" and so on, up to `count`.
    fn with_frames(count: usize, length: usize) -> NumberedFrames {
        let share = QueueBudget::new(1 << 30).enter(None).queue(1 << 30, 0);
        let mut frames = NumberedFrames::default();
        for number in 1..=count {
            let text = format!("{number:>length$}");
            frames.push(Some((Outgoing::Frame(text), share.charge(length).unwrap())));
        }
        frames
    }

    fn texts(batch: &Batch) -> Vec<&str> {
        batch.frames.iter().map(|frame| std::str::from_utf8(frame).unwrap().trim()).collect()
    }

    #[test]
    fn repeated_frames_are_skipped_and_a_gap_is_an_error() {
        let mut frames = NumberedFrames::default();
        assert_eq!(frames.repeated(1, 3), Ok(0));
        (0..3).for_each(|_| frames.receive());
        assert_eq!(frames.repeated(1, 3), Ok(3), "a repeated request");
        assert_eq!(frames.repeated(2, 4), Ok(2), "with two new frames");
        (0..2).for_each(|_| frames.receive());
        assert_eq!(
            (frames.repeated(7, 1), frames.repeated(0, 1), frames.repeated(u64::MAX, 1)),
            (Err(Gap), Err(Gap), Err(Gap))
        );
        assert_eq!(frames.repeated(6, 0), Ok(0));
        assert_eq!(frames.repeated(6, 1), Ok(0));
    }

    #[test]
    fn frames_are_sent_again_until_they_are_acknowledged() {
        let mut frames = with_frames(3, 1);
        for _ in 0..2 {
            assert_eq!(texts(&frames.batch()), ["1", "2", "3"]);
        }
        assert_eq!(frames.acknowledge(2), Ok(true));
        let batch = frames.batch();
        assert_eq!((batch.first, texts(&batch)), (3, vec!["3"]));
        assert_eq!(frames.acknowledge(1), Ok(false), "an overtaken request");
        assert_eq!((frames.acknowledge(4), frames.acknowledge(u64::MAX)), (Err(Gap), Err(Gap)));
        assert_eq!(frames.acknowledge(3), Ok(true));
        assert!(frames.batch_is_empty());
    }

    #[test]
    fn a_batch_is_limited_and_the_close_follows_the_last_frame() {
        let mut frames = with_frames(4, BATCH_BYTES - 1);
        frames.push(None);
        assert_eq!((frames.batch().frames.len(), frames.batch().close), (2, None));
        frames.acknowledge(2).unwrap();
        assert_eq!((frames.batch().frames.len(), frames.batch().close), (2, Some((1008, "too slow"))));
        frames.acknowledge(4).unwrap();
        let reply = frames.batch().into_parts().concat();
        assert_eq!(reply, br#"{"seq":5,"frames":[],"close":{"code":1008,"reason":"too slow"}}"#);
        assert_eq!(with_frames(MAX_BATCH_FRAMES + 1, 3).batch().frames.len(), MAX_BATCH_FRAMES);
    }

    #[test]
    fn acknowledged_frames_count_until_their_reply_is_written() {
        let share = QueueBudget::new(1 << 20).enter(None).queue(1 << 20, 0);
        let mut frames = NumberedFrames::default();
        frames.push(Some((Outgoing::Frame("frame".into()), share.charge(5).unwrap())));
        let reply = frames.batch().into_parts();
        frames.acknowledge(1).unwrap();
        assert_eq!((reply.concat().as_slice(), share.queued()), (&br#"{"seq":1,"frames":[frame]}"#[..], 5));
        drop(reply);
        assert_eq!(share.queued(), 0);
    }
}
