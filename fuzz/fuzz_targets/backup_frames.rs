//! Fuzzer of `Codec::BackupFrames`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use node::testkit::Codec;

fuzz_target!(|input: &[u8]| Codec::BackupFrames.check(input));
