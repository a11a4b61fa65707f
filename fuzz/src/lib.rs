//! What every peer and every file may say, as functions of its bytes.
//!
//! A target reads its input as the code that it is named after would, and asserts what must hold
//! for any: nothing panics, nothing grows out of proportion. `cargo xtask fuzz` runs them under
//! libFuzzer; the tests of pgmesh include these files too and run them over `corpus/`, on any
//! toolchain.
#![forbid(unsafe_code)]

pub mod backend;
pub mod config;
pub mod frontend;
pub mod hba;
pub mod ident;
pub mod oauth;
mod scene;
pub mod scram_client;
pub mod scram_server;
mod server;
pub mod startup;
