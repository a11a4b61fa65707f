//! See `fuzz::scram_client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::scram_client::run(data));
