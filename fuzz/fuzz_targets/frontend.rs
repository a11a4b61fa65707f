//! See `fuzz::frontend`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::frontend::run(data));
