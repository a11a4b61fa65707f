//! Developer verbs: `cargo xtask demo | test | bench | tidy`.

fn main() {}
