//! See `fuzz::ident`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::ident::run(data));
