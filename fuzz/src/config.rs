//! The text of a proxy.toml.

use std::io;
use std::path::Path;

use ::config::{Environment, parse};

/// Settings, or errors that do not hold a secret.
///
/// # Panics
/// Something is wrong.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse("proxy.toml", text, &Secretive) {
        Ok(settings) => {
            let shown = format!("{settings:?}");
            assert!(!shown.contains(SECRET) || text.contains(SECRET), "a secret is shown");
        }
        Err(errors) => {
            let told = errors.to_string();
            assert!(!told.is_empty(), "refused without a word");
            assert!(!told.contains(SECRET) || text.contains(SECRET), "a secret is told: {told}");
        }
    }
}

/// In every variable and every file.
const SECRET: &str = "hunter2-hunter2";

struct Secretive;

impl Environment for Secretive {
    fn var(&self, _: &str) -> Option<String> {
        Some(SECRET.to_owned())
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Ok(SECRET.to_owned())
    }
}
