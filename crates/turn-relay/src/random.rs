//! Random numbers that nobody can guess, from the operating system's generator.

/// Fills `bytes`.
///
/// # Panics
/// Where that fails, which Linux does not after boot; going on with guessable numbers would be worse.
pub fn fill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        panic!("no random numbers: {error}");
    }
}

/// One number.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Seeds for a [`SourceRateLimiter`](webrtc_box_rate_limit::SourceRateLimiter).
pub fn seeds() -> [u64; 2] {
    [number(), number()]
}
