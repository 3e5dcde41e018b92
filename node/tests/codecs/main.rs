//! Every codec of packets that clients send, and of backups, with mutated inputs: no panic, no memory out of proportion to the input, and
//! what is decoded comes back unchanged. `fuzz/` has the same checks for a fuzzer.
//!
//! `PROPTEST_CASES` replaces the number of cases; proptest prints the smallest input that fails.
#![expect(clippy::unwrap_used, reason = "tests")]

mod mutation;

use node::testkit::Codec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use mutation::{Mutation, mutate};

/// Cases of each codec. A run takes a second or two.
const CASES: u32 = 20_000;
/// Longest input. The rest is cut.
const INPUT_BYTES: usize = 8_192;
/// Peak of the memory that a decoder may use per byte of its input, and beside that. A length that an input only states
/// would exceed it.
const MEMORY_PER_BYTE: u64 = 64;
const MEMORY: u64 = 8_192;

fn check(codec: Codec) {
    let cases = std::env::var("PROPTEST_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let examples = prop::sample::select(codec.examples());
    let mutations = prop::collection::vec(any_mutation(codec), 0..8);
    let run = TestRunner::new(config).run(&(examples, mutations), |(example, mutations)| {
        let mut input = example.to_vec();
        for mutation in &mutations {
            mutate(&mut input, mutation);
            input.truncate(INPUT_BYTES);
        }
        let used = allocation_counter::measure(|| {
            let _accepted = codec.decode(&input);
        });
        let most = MEMORY + MEMORY_PER_BYTE * input.len() as u64;
        prop_assert!(
            used.bytes_max <= most,
            "{} bytes of memory for {input:?}",
            used.bytes_max
        );
        codec.check(&input);
        Ok(())
    });
    if let Err(failure) = run {
        panic!("{codec:?}: {failure}");
    }
}

fn any_mutation(codec: Codec) -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (at(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (at(), 1_usize..64).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (at(), 1_usize..64, 1_usize..64).prop_map(|(at, count, times)| Mutation::Repeat(at, count, times)),
        (at(), prop::sample::select(codec.tokens()), 1_usize..64)
            .prop_map(|(at, token, times)| Mutation::Insert(at, token, times)),
        (at(), prop::sample::select(codec.examples()), at())
            .prop_map(|(at, other, from)| Mutation::Splice(at, other, from)),
        at().prop_map(Mutation::Cut),
    ]
}

#[test]
fn examples_are_accepted_as_they_are() {
    for codec in Codec::ALL {
        for example in codec.examples() {
            assert!(codec.decode(example), "{codec:?}: {}", example.escape_ascii());
            codec.check(example);
        }
    }
}

#[test]
fn no_engine_payload_breaks_the_codec() {
    check(Codec::EnginePayload);
}

#[test]
fn no_socket_packets_break_the_codec() {
    check(Codec::SocketPackets);
}

#[test]
fn no_cable_frame_breaks_the_codec() {
    check(Codec::CableFrame);
}

#[test]
fn no_mqtt_stream_breaks_the_codec() {
    check(Codec::MqttStream);
}

#[test]
fn no_native_request_breaks_the_codec() {
    check(Codec::NativeRequest);
}

#[test]
fn no_manifest_breaks_the_codec() {
    check(Codec::BackupManifest);
}

#[test]
fn no_frames_of_a_backup_break_the_codec() {
    check(Codec::BackupFrames);
}

#[test]
fn no_rows_of_a_backup_break_the_codec() {
    check(Codec::BackupRows);
}
