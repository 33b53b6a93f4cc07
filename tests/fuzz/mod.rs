//! The fuzz targets on the stable toolchain: replays the corpus, then runs mutations of it for a while.
//!
//! `FUZZ_SECONDS` is the time per target (default 10), `FUZZ_SEED` the seed. A failing input is printed as hex;
//! save it as a file in `tests/fuzz/corpus/TARGET/` to replay it in every run.

mod bodies;
mod seeds;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use self::bodies::{Body, TARGETS};
use crate::harness::mutator::Mutator;

const DEFAULT_SEED: u64 = 3478;
/// The maximum length of an input.
const LIMIT: usize = 4096;
/// The most bytes that the process may grow while a target runs.
const GROWTH: u64 = 10 << 20;

/// Targets run one at a time, so that growth can be attributed.
static EXCLUSIVE: Mutex<()> = Mutex::new(());

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn corpus_of(target: &str) -> Vec<Vec<u8>> {
    let folder = corpus().join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Runs a body; a panic is reported with its input.
fn run(target: &str, body: Body, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| body(input))).is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{target} fails for {hex}");
    }
}

fn fuzz(target: &str) {
    let _guard = EXCLUSIVE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (_, body) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let corpus = corpus_of(target);
    corpus.iter().for_each(|input| run(target, body, input));
    let (seed, seconds) = (number("FUZZ_SEED", DEFAULT_SEED), number("FUZZ_SECONDS", 10));
    let mut mutator = Mutator::new(seed.max(1));
    // Memory that is allocated once does not count as growth.
    (0..300).for_each(|_| run(target, body, &mutator.next(&corpus, LIMIT)));
    let (start, before, mut executions) = (Instant::now(), resident(), 0_u64);
    while start.elapsed() < Duration::from_secs(seconds) {
        (0..100).for_each(|_| run(target, body, &mutator.next(&corpus, LIMIT)));
        executions += 100;
    }
    let growth = resident().saturating_sub(before);
    let rate = executions as f64 / start.elapsed().as_secs_f64();
    println!(
        "{target}: seed {seed}, {} corpus inputs, {executions} executions, {rate:.0}/s, grew {} KiB",
        corpus.len(),
        growth / 1024
    );
    assert!(growth < GROWTH, "{target} grew {growth} bytes");
}

#[test]
fn stun_parser_survives_random_datagrams() {
    fuzz("stun_bytes");
}

#[test]
fn turn_server_survives_random_sessions() {
    fuzz("turn_session");
}

#[test]
fn stream_framing_survives_random_bytes() {
    fuzz("stream_framing");
}

#[test]
fn signaling_survives_random_text() {
    fuzz("signaling_json");
}

#[test]
#[ignore = "writes seeds that are missing into tests/fuzz/corpus"]
fn seeds_are_written() {
    self::seeds::write(&corpus());
}

#[test]
fn corpus_contains_sessions_that_relay_media() {
    let session = fs::read(corpus().join("turn_session/call-0")).unwrap();
    assert!(self::bodies::relayed_packets(&session) >= 2, "the seed no longer gets as far as ChannelData");
}

#[test]
fn rfc_5769_test_vectors_match() {
    for name in ["request", "response-v4", "response-v6"] {
        let bytes = fs::read(corpus().join("stun_bytes/rfc5769-".to_owned() + name)).unwrap();
        let mut message = stun::message::Message::new();
        message.unmarshal_binary(&bytes).unwrap();
        stun::fingerprint::FINGERPRINT.check(&message).unwrap();
    }
}
