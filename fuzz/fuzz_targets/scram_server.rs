//! See `fuzz::scram_server`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::scram_server::run(data));
