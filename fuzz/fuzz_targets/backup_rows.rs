//! Fuzzer of `Codec::BackupRows`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use node::testkit::Codec;

fuzz_target!(|input: &[u8]| Codec::BackupRows.check(input));
