//! A deterministic mutator of byte strings for fuzzing.

/// Flips bits, replaces bytes, splices, truncates, removes, repeats, and writes wrong lengths; the seed decides.
pub struct Mutator(u64);

/// Values at the limits of lengths, channel numbers and attributes.
const EDGES: [u16; 12] = [0, 1, 3, 4, 8, 20, 0x3fff, 0x4000, 0x7fff, 0x8000, 0xfffc, 0xffff];

impl Mutator {
    /// `seed` must not be 0.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, which is not 0 (xorshift64).
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    /// A copy of one of `corpus` with one to four changes, at most `limit` bytes long.
    pub fn next(&mut self, corpus: &[Vec<u8>], limit: usize) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, corpus);
        }
        bytes.truncate(limit);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let count = self.below(24) + 1;
        match self.below(8) {
            0 | 1 => self.change_byte(bytes, at, |byte, random| byte ^ (1 << (random % 8))),
            2 => self.change_byte(bytes, at, |_, random| random as u8),
            3 => self.write_length(bytes, at & !1),
            4 => bytes.truncate(at),
            5 => self.splice(bytes, at, corpus),
            6 => drop(bytes.drain(at..bytes.len().min(at + count))),
            _ => {
                let copy = bytes[at..bytes.len().min(at + count)].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }

    fn change_byte(&mut self, bytes: &mut [u8], at: usize, change: impl Fn(u8, usize) -> u8) {
        let random = self.below(256);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = change(*byte, random);
        }
    }

    /// Writes a 16-bit length: one of [`EDGES`], or the length of what follows.
    fn write_length(&mut self, bytes: &mut [u8], at: usize) {
        let left = bytes.len().saturating_sub(at + 2) as u16;
        let values = [EDGES[self.below(EDGES.len())], left, left.saturating_sub(18)];
        let value = values[self.below(3)].to_be_bytes();
        if let Some(length) = bytes.get_mut(at..at + 2) {
            length.copy_from_slice(&value);
        }
    }

    fn splice(&mut self, bytes: &mut Vec<u8>, at: usize, corpus: &[Vec<u8>]) {
        let other = &corpus[self.below(corpus.len())];
        let from = self.below(other.len() + 1);
        bytes.splice(at.., other[from..].iter().copied());
    }
}
