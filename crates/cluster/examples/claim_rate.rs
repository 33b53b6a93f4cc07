//! How many rooms a second one box claims in a store, and how long a claim takes.
//!
//! `cargo run --release -p webrtc-box-cluster --example claim_rate -- redis://127.0.0.1 [CLAIMS] [CONCURRENT]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use webrtc_box_cluster::{
    ClusterConfig, ClusterHandle, Decision, Event, Fallback, JoinRequest, NodeName, Observer, RoomTag,
    StoreUrl, start,
};

struct Silent;

impl Observer for Silent {
    fn handle(&self, event: Event) {
        if let Event::StoreLost { reason, .. } = event {
            println!("{reason}");
        }
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://127.0.0.1".to_owned());
    let claims: u64 = arguments.next().map_or(20_000, |text| text.parse().unwrap());
    let concurrent: u64 = arguments.next().map_or(64, |text| text.parse().unwrap());
    let boot = u64::from(std::process::id());
    let config = ClusterConfig {
        name: NodeName::parse("b1.call.example.com").unwrap(),
        domain: NodeName::parse("call.example.com").unwrap(),
        boot,
        version: String::new(),
        fallback: Fallback::Refuse,
        key_id: [0; 8],
        store: StoreUrl::parse(&url).unwrap(),
        roots: rustls::RootCertStore::empty(),
    };
    let (handle, driver) = start(config, Arc::new(Silent));
    tokio::spawn(driver);

    let next = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let workers: Vec<_> =
        (0..concurrent).map(|_| tokio::spawn(claim(handle.clone(), Arc::clone(&next), claims))).collect();
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await.unwrap());
    }
    let elapsed = begin.elapsed();
    times.sort();
    let percentile = |percent: usize| {
        times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    };
    println!(
        "{} of {claims} claims, {concurrent} at a time: {:.0} claims/s, p50 {:?}, p99 {:?}",
        times.len(),
        times.len() as f64 / elapsed.as_secs_f64(),
        percentile(50),
        percentile(99),
    );
    handle.shutdown().await;
}

/// Claims rooms until all are taken; the time of each.
async fn claim(handle: ClusterHandle, next: Arc<AtomicU64>, claims: u64) -> Vec<Duration> {
    let mut times = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= claims {
            return times;
        }
        let room = RoomTag::new((u128::from(std::process::id()) << 64 | u128::from(number)).to_be_bytes());
        let start = Instant::now();
        if let Decision::Serve { .. } = handle.join(JoinRequest::new(room)).await {
            times.push(start.elapsed());
        }
    }
}
