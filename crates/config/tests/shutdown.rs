//! `[shutdown]`: how the process ends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use config::{Process, Shutdown, parse};

fn read(keys: &str) -> Shutdown {
    let text = format!(
        "cluster = {{ discovery = 'static', nodes = ['a'] }}
         users = [{{ name = 'app', password = 'secret' }}]
         [shutdown]\n{keys}"
    );
    parse("t", &text, &Process).unwrap().shutdown
}

#[test]
fn the_pace_and_the_deadline_have_defaults_and_may_be_off() {
    let default = Shutdown { drain_timeout: Duration::from_secs(30), drain_rate: 1000 };
    assert_eq!(read(""), default);
    let off = Shutdown { drain_timeout: Duration::ZERO, drain_rate: 0 };
    assert_eq!(read("drain_timeout = '0s'\ndrain_rate = 0"), off);
}
