//! What pgmesh is measured with and against.
//!
//! The binaries are for `cargo xtask bench`; the library has pgbench's traffic for the criterion
//! benches, and shows it to a session as the relay would.

pub mod exchange;
pub mod traffic;
