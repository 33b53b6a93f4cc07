//! The scripts and the store in memory give the same answers, and values of others have defined outcomes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::{RedisServer, config, room, until};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use webrtc_box_cluster::memory::MemoryStore;
use webrtc_box_cluster::registry::*;
use webrtc_box_cluster::*;

/// A connected registry.
async fn connect(config: &ClusterConfig) -> Arc<RedisRegistry> {
    let registry = Arc::new(RedisRegistry::new(config));
    let running = Arc::clone(&registry);
    tokio::spawn(async move { running.run().await });
    until("the store answers", async || registry.call(Request::Nodes).await.is_ok()).await;
    registry
}

fn lease(config: &ClusterConfig, load: u8, draining: bool) -> Lease {
    let key = format!("{:016x}", u64::from_be_bytes(config.key_id));
    let (version, unreachable) = (String::new(), vec!["b9.x".to_owned()]);
    Lease { v: PROTOCOL, key, version, load, rooms: 3, draining, unreachable, serial: 1 }
}

/// Ages and sessions differ.
fn comparable(reply: Reply) -> Reply {
    let age_less = |nodes: Vec<ListedLease>| {
        nodes.into_iter().map(|node| ListedLease { age: Duration::ZERO, ..node }).collect::<Vec<_>>()
    };
    match reply {
        Reply::Renewed { held, nodes, mut lost, .. } => {
            lost.sort();
            Reply::Renewed { held, session: 0, nodes: age_less(nodes), lost }
        }
        Reply::NameTaken { nodes } => Reply::NameTaken { nodes: age_less(nodes) },
        Reply::Nodes(nodes) => Reply::Nodes(age_less(nodes)),
        other => other,
    }
}

fn request(config: ClusterConfig) -> impl Strategy<Value = Request> {
    let tag = || (1_u8..4).prop_map(room);
    let fence = || (1_u64..12).prop_map(Fence);
    let serial = || 1_u64..4;
    let random = || any::<[u32; 2]>();
    let elsewhere = prop_oneof![
        3 => Just(Elsewhere::No),
        1 => random().prop_map(Elsewhere::IfAny),
        1 => (0_u8..100, random()).prop_map(|(load, random)| Elsewhere::IfLess(load, random)),
    ];
    let extend = proptest::collection::vec((tag(), fence(), 0_u64..3), 0..3);
    let assertion = (tag(), fence(), fence(), 0_u64..3, serial())
        .prop_map(|(room, fence, resumes, seats, serial)| Assertion { room, fence, resumes, seats, serial });
    prop_oneof![
        4 => (0_u8..100, any::<bool>(), proptest::bool::weighted(0.1), fence(), extend).prop_map(
            move |(load, draining, withdrawn, floor, extend)| {
                Request::Renew { lease: lease(&config, load, draining), withdrawn, floor, extend }
            }
        ),
        6 => (tag(), serial(), fence(), elsewhere)
            .prop_map(|(room, serial, floor, elsewhere)| Request::Claim { room, serial, floor, elsewhere }),
        2 => tag().prop_map(|room| Request::Look { room }),
        4 => (fence(), proptest::collection::vec(assertion, 1..3))
            .prop_map(|(floor, rooms)| Request::Reassert { floor, rooms }),
        2 => proptest::collection::vec((tag(), fence(), serial()), 1..3).prop_map(|rooms| Request::Release { rooms }),
        2 => (tag(), fence(), serial(), fence(), random())
            .prop_map(|(room, fence, serial, floor, random)| Request::Move { room, fence, serial, floor, random }),
        1 => Just(Request::Leave),
        1 => Just(Request::Nodes),
        1 => Just(Request::LockOrder),
        1 => Just(Request::UnlockOrder),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripts_and_the_store_in_memory_agree() {
    let Some(server) = RedisServer::start(&[]).await else { return };
    // Two runs of one box, two other boxes, one of them with another key.
    let names = ["b1.x", "b1.x", "b2.x", "b3.x", "b4.x"];
    let mut configs = names.map(|name| config(name, &server.url()));
    configs[4].key_id = [8; 8];
    let mut registries = Vec::new();
    for config in &configs {
        registries.push(connect(config).await);
    }
    let step = (0..names.len()).prop_flat_map({
        let configs = configs.clone();
        move |index| request(configs[index].clone()).prop_map(move |request| (index, request))
    });
    let handle = tokio::runtime::Handle::current();
    let compare = || {
        let mut runner =
            TestRunner::new(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() });
        runner.run(&proptest::collection::vec(step, 1..40), |steps| {
            handle.block_on(async {
                server.run(&["FLUSHALL"]).await.unwrap();
                let mut memory = MemoryStore::default();
                for (index, request) in steps {
                    let expected =
                        memory.answer(&Identity::of(&configs[index]), request.clone(), Instant::now());
                    let reply = registries[index].call(request).await.unwrap();
                    prop_assert_eq!(comparable(reply), comparable(expected));
                }
                Ok(())
            })
        })
    };
    tokio::task::block_in_place(compare).unwrap();
}
