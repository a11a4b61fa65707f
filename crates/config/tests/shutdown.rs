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
fn the_socket_for_a_takeover_is_a_path_that_fits() {
    let read = |value: &str| {
        let text = format!(
            "proxy.takeover_socket = '{value}'
             cluster = {{ discovery = 'static', nodes = ['a'] }}
             users = [{{ name = 'app', password = 'secret' }}]"
        );
        parse("t", &text, &Process).map(|settings| settings.takeover_socket)
    };
    let path = "/run/pgmesh/takeover.sock";
    assert_eq!(read(path).unwrap(), Some(path.into()));
    for (value, expected) in
        [("run/t.sock", "not an absolute path"), (&format!("/{}", "x".repeat(107)), "too long")]
    {
        let errors = read(value).unwrap_err().to_string();
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn the_pace_and_the_deadline_have_defaults_and_may_be_off() {
    let default = Shutdown { drain_timeout: Duration::from_secs(30), drain_rate: 1000 };
    assert_eq!(read(""), default);
    let off = Shutdown { drain_timeout: Duration::ZERO, drain_rate: 0 };
    assert_eq!(read("drain_timeout = '0s'\ndrain_rate = 0"), off);
}
