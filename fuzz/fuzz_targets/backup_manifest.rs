//! Fuzzer of `Codec::BackupManifest`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use node::testkit::Codec;

fuzz_target!(|input: &[u8]| Codec::BackupManifest.check(input));
