//! Where a node listens, and how that is read out of a connection URL.

use std::fmt;
use std::sync::Arc;

/// Longest accepted host, in bytes: a DNS name has at most 253 characters.
const HOST_MAX: usize = 255;

/// Longest accepted connection URL, in bytes.
const URL_MAX: usize = 4096;

/// The port of a URL that names none.
const DEFAULT_PORT: u16 = 5432;

/// Why a text is not an address. Never quotes the text: it may hold credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The host is missing, too long, or has characters that no host has.
    #[error("host is missing or invalid")]
    Host,
    /// A `%` is not followed by two hexadecimal digits, or the bytes are not UTF-8.
    #[error("percent-encoding is invalid")]
    PercentEncoding,
    /// The port is not a number from 1 to 65535.
    #[error("port is invalid")]
    Port,
    /// The text does not start with `postgres://` or `postgresql://`.
    #[error("not a postgres:// URL")]
    Scheme,
    /// The text is longer than 4096 bytes.
    #[error("URL is longer than {URL_MAX} bytes")]
    TooLong,
}

/// A host name or IP address (without brackets) and a port. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Arc<str>,
    port: u16,
}

impl Address {
    /// Checks a host and a port.
    ///
    /// # Errors
    /// The host is empty, longer than 255 bytes or has characters that no host has; the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        // Unix sockets (a leading slash), zone ids and multi-host lists have no place here: a
        // node is reached over TCP by one name.
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || host.len() > HOST_MAX || !host.bytes().all(valid) {
            return Err(AddressError::Host);
        }
        if port == 0 {
            return Err(AddressError::Port);
        }
        Ok(Self { host: host.into(), port })
    }

    /// Reads `host:port`, `[v6]:port` or a host alone (port 5432).
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > URL_MAX {
            return Err(AddressError::TooLong);
        }
        let (host, port) = split_port(text)?;
        Self::new(host, port)
    }

    /// Reads the address out of a libpq connection URL such as Patroni's `conn_url`. User,
    /// password, database and parameters are dropped unread.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn from_conn_url(url: &str) -> Result<Self, AddressError> {
        if url.len() > URL_MAX {
            return Err(AddressError::TooLong);
        }
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or(AddressError::Scheme)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let host_port = authority.rsplit('@').next().unwrap_or(authority);
        let (host, port) = split_port(host_port)?;
        Self::new(&percent_decode(host)?, port)
    }

    /// The host name or IP address, IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, never 0.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Splits off the port; brackets around IPv6 are required as soon as there is one and removed.
fn split_port(text: &str) -> Result<(&str, u16), AddressError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(AddressError::Host)?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':').ok_or(AddressError::Port)?),
            };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => return Err(AddressError::Host),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let Some(port) = port else { return Ok((host, DEFAULT_PORT)) };
    // `u16::from_str` takes a leading plus sign, which no URL has.
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AddressError::Port);
    }
    Ok((host, port.parse().map_err(|_| AddressError::Port)?))
}

fn percent_decode(text: &str) -> Result<String, AddressError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
            let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                return Err(AddressError::PercentEncoding);
            };
            out.push(u8::try_from(high * 16 + low).map_err(|_| AddressError::PercentEncoding)?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|_| AddressError::PercentEncoding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Result<String, AddressError> {
        Address::from_conn_url(text).map(|a| a.to_string())
    }

    #[test]
    fn conn_urls_of_patroni() {
        assert_eq!(url("postgres://127.0.0.1:25431/postgres").as_deref(), Ok("127.0.0.1:25431"));
        assert_eq!(url("postgres://pg-0.citus:5432/postgres").as_deref(), Ok("pg-0.citus:5432"));
        assert_eq!(url("postgresql://db").as_deref(), Ok("db:5432"));
        assert_eq!(url("postgres://db?target_session_attrs=read-write").as_deref(), Ok("db:5432"));
    }

    #[test]
    fn ipv6_and_percent_encoding() {
        assert_eq!(url("postgres://[fd00::1]:6432/postgres").as_deref(), Ok("[fd00::1]:6432"));
        assert_eq!(url("postgres://[::1]/postgres").as_deref(), Ok("[::1]:5432"));
        assert_eq!(url("postgres://pg%2D0:5432/").as_deref(), Ok("pg-0:5432"));
        assert_eq!(url("postgres://pg%2:5432/"), Err(AddressError::PercentEncoding));
        assert_eq!(url("postgres://pg%zz/"), Err(AddressError::PercentEncoding));
        assert_eq!(url("postgres://pg%ff/"), Err(AddressError::PercentEncoding));
    }

    #[test]
    fn credentials_are_dropped() {
        let address = Address::from_conn_url("postgres://u%40x:s3cret@db:1/x").unwrap();
        assert_eq!(address.host(), "db");
        assert!(!format!("{address:?}").contains("s3cret"));
    }

    #[test]
    fn hostile_urls_are_refused() {
        assert_eq!(url(""), Err(AddressError::Scheme));
        assert_eq!(url("http://db:5432"), Err(AddressError::Scheme));
        assert_eq!(url("postgres://"), Err(AddressError::Host));
        assert_eq!(url("postgres://:5432/"), Err(AddressError::Host));
        assert_eq!(url("postgres://%2Fvar%2Frun/postgres"), Err(AddressError::Host));
        assert_eq!(url("postgres://a,b/"), Err(AddressError::Host));
        assert_eq!(url("postgres://a b/"), Err(AddressError::Host));
        assert_eq!(url("postgres://fd00::1:5432/"), Err(AddressError::Host));
        assert_eq!(url("postgres://[::1/"), Err(AddressError::Host));
        assert_eq!(url("postgres://[::1]5432/"), Err(AddressError::Port));
        assert_eq!(url("postgres://db:/"), Err(AddressError::Port));
        assert_eq!(url("postgres://db:0/"), Err(AddressError::Port));
        assert_eq!(url("postgres://db:+1/"), Err(AddressError::Port));
        assert_eq!(url("postgres://db:65536/"), Err(AddressError::Port));
        assert_eq!(url(&format!("postgres://{}", "a".repeat(256))), Err(AddressError::Host));
        assert_eq!(url(&format!("postgres://{}", "a".repeat(5000))), Err(AddressError::TooLong));
    }

    proptest! {
        #[test]
        fn printing_round_trips(host in "[a-z0-9]([a-z0-9.-]{0,20})|::1|fd00::a", port in 1_u16..) {
            let address = Address::new(&host, port).unwrap();
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address.clone()));
            let url = format!("postgres://{address}/postgres");
            prop_assert_eq!(Address::from_conn_url(&url), Ok(address));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = Address::parse(&text);
            let _ = Address::from_conn_url(&text);
            let _ = Address::from_conn_url(&format!("postgres://{text}"));
        }
    }
}
