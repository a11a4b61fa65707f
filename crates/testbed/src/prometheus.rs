//! A Prometheus that scrapes what a test has started.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::daemon::{Daemon, Signal};
use crate::postgres::environment;
use crate::{Bed, Error, Interrupt, Port, http, programs};

/// From start to the first answer.
const READY: Duration = Duration::from_secs(60);

/// A running Prometheus on 127.0.0.1.
#[derive(Debug)]
pub struct Prometheus {
    // Before the bed: fields are dropped in order.
    _daemon: Daemon,
    port: Port,
    _bed: Bed,
}

impl Prometheus {
    /// Runs it with `configuration`, the text of a prometheus.yml, and waits until it answers.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not installed; otherwise what failed, with the log.
    pub fn start(configuration: &str) -> Result<Self, Error> {
        let bed = Bed::new(Interrupt::default())?;
        let port = Port::reserve()?;
        let file = bed.path().join("prometheus.yml");
        bed.private_file(&file, configuration)?;
        let data = bed.private_directory("data")?;
        let mut prometheus = Command::new(programs::find("prometheus")?);
        prometheus
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        environment(&mut prometheus);
        bed.account.run(&mut prometheus);
        let mut daemon = bed.spawn("prometheus", &mut prometheus, Signal::KILL)?;
        daemon.wait_ready(READY, &bed.interrupt, || {
            http::get(port.number(), "/-/ready").is_ok_and(|answer| answer.status == 200)
        })?;
        Ok(Self { _daemon: daemon, port, _bed: bed })
    }

    /// What `expr` comes to now: the samples of its vector, or its one number. None is an empty list.
    ///
    /// # Errors
    /// [`Error::Http`] with Prometheus' own words when it does not take `expr`.
    pub fn query(&self, expr: &str) -> Result<Vec<Value>, Error> {
        let answer =
            http::get(self.port.number(), &format!("/api/v1/query?query={}", escaped(expr)))?;
        let failure = || Error::Http { request: expr.to_owned(), reason: answer.body.clone() };
        let body: Value = serde_json::from_str(&answer.body).map_err(|_| failure())?;
        let data = body.get("data").filter(|_| body["status"] == "success").ok_or_else(failure)?;
        match &data["result"] {
            // A scalar is a time and a value; else it is a list of samples.
            result if data["resultType"] == "scalar" => Ok(vec![result.clone()]),
            Value::Array(samples) => Ok(samples.clone()),
            _ => Err(failure()),
        }
    }
}

/// `text` as a value in a URL's query.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_a_url_is_escaped() {
        assert_eq!(escaped("a_b{c=~\".*\"} + 1"), "a_b%7Bc%3D%7E%22%2E%2A%22%7D%20%2B%201");
    }
}
