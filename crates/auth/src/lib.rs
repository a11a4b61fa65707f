//! SCRAM-SHA-256 for both sides, and secrets that do not print.

mod secret;

pub use secret::Secret;
