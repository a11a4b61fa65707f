//! One plain HTTP exchange with something on this machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::Error;

/// Looking at something must not hold up a wait with a deadline of its own.
const GET: Duration = Duration::from_secs(5);

/// Longer than any Patroni answer: a switchover request is answered when the switchover is over.
const POST: Duration = Duration::from_secs(60);

/// This machine either connects at once or not at all.
const CONNECT: Duration = Duration::from_secs(2);

/// More than any answer read here; a bound so that a broken peer cannot fill the memory.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Asks for `path` on a port of 127.0.0.1.
///
/// # Errors
/// [`Error::Http`] when no HTTP answer comes; any status is an answer.
pub fn get(port: u16, path: &str) -> Result<Response, Error> {
    get_at((Ipv4Addr::LOCALHOST, port).into(), path)
}

/// Asks for `path` at any address.
///
/// # Errors
/// [`Error::Http`] when no HTTP answer comes; any status is an answer.
pub fn get_at(address: SocketAddr, path: &str) -> Result<Response, Error> {
    exchange(address, "GET", path, "", GET)
}

/// Posts JSON to `path` on a port of 127.0.0.1.
///
/// # Errors
/// [`Error::Http`] when no HTTP answer comes; any status is an answer.
pub fn post(port: u16, path: &str, json: &serde_json::Value) -> Result<Response, Error> {
    post_at((Ipv4Addr::LOCALHOST, port).into(), path, json)
}

/// Posts JSON to `path` at any address.
///
/// # Errors
/// [`Error::Http`] when no HTTP answer comes; any status is an answer.
pub fn post_at(
    address: SocketAddr,
    path: &str,
    json: &serde_json::Value,
) -> Result<Response, Error> {
    exchange(address, "POST", path, &json.to_string(), POST)
}

/// HTTP/1.0, so that the body is neither chunked nor followed by anything.
fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    within: Duration,
) -> Result<Response, Error> {
    let failure =
        |reason: String| Error::Http { request: format!("{method} {address}{path}"), reason };
    let answer = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.take(BODY_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = answer().map_err(|error| failure(error.to_string()))?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| failure("not an HTTP answer".to_owned()))
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split_whitespace().nth(1)?.parse().ok()?;
    Some(Response { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split() {
        let response = parse("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nbody").unwrap();
        assert_eq!((response.status, response.body.as_str()), (503, "body"));
    }

    #[test]
    fn anything_else_is_refused() {
        for answer in ["", "N", "HTTP/1.1 200 OK\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
            assert!(parse(answer).is_none(), "{answer:?}");
        }
    }
}
