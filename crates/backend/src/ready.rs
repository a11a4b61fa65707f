//! A session that is logged in and idle.

use std::net::SocketAddr;
use std::sync::Arc;

use auth::ScramKeys;
use tokio::net::TcpStream;
use transport::MaybeTls;
use wire::CancelKey;

use crate::CancelTarget;

/// A server connection after its first ReadyForQuery `I`. Every byte that was read from the
/// stream has been interpreted, TLS' own buffer included.
#[derive(Debug)]
pub struct Ready {
    /// The connection.
    pub stream: MaybeTls<TcpStream>,
    /// What the server reported of itself and of the session.
    pub parameters: Parameters,
    /// What cancels this session's statements; servers without it exist, and are not cancelled.
    pub key: Option<CancelKey>,
    /// The host as it was asked for, which a cancel over TLS names again.
    pub host: Arc<str>,
    /// The address that answered.
    pub address: SocketAddr,
    /// Whether the server is a standby: reported since PostgreSQL 14, asked for where the login
    /// required a role, otherwise unknown.
    pub in_hot_standby: Option<bool>,
    /// With SCRAM, what makes the next login of the same user cheap.
    pub scram_keys: Option<ScramKeys>,
}

/// Parameter statuses by name, in the order of their first report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(Box<str>, Box<str>)>);

// === impl Ready ===

impl Ready {
    /// What is needed to cancel a statement of this session, if it can be cancelled.
    pub fn cancel_target(&self) -> Option<CancelTarget> {
        let key = self.key.clone()?;
        let host = Arc::clone(&self.host);
        Some(CancelTarget { host, address: self.address, is_tls: self.stream.is_tls(), key })
    }

    /// The server's version as `server_version_num` has it (`150004` for 15.4, `90603` for
    /// 9.6.3), if it reported one that can be read.
    pub fn version_num(&self) -> Option<u32> {
        version_num(self.parameters.get("server_version")?)
    }
}

// === impl Parameters ===

impl Parameters {
    /// The value of a parameter, named as the server spells it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    }

    /// Sets a parameter, in its old place if there is one.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| &**known == name) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((name.into(), value.into())),
        }
    }

    /// Names and values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads `15.4 (Debian 15.4-2)`, `9.6.3`, `17beta1`, `16devel`.
fn version_num(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut numbers = text.get(..end)?.split('.').map(|number| number.parse::<u32>().ok());
    let major = numbers.next()??;
    let mut next = || numbers.next().flatten().unwrap_or(0);
    let rest = if major < 10 { next().checked_mul(100)?.checked_add(next())? } else { next() };
    major.checked_mul(10_000)?.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_server_numbers_them() {
        for (text, number) in [
            ("15.4 (Debian 15.4-2)", Some(150_004)),
            ("9.6.3", Some(90_603)),
            ("17beta1", Some(170_000)),
            ("16devel", Some(160_000)),
            ("", None),
            ("x", None),
            ("99999999999", None),
            ("9.99999999.1", None),
        ] {
            assert_eq!(version_num(text), number, "{text}");
        }
    }

    #[test]
    fn a_parameter_set_again_keeps_its_place() {
        let mut parameters = Parameters::default();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            parameters.set(name, value);
        }
        assert_eq!(parameters.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
        assert_eq!((parameters.get("b"), parameters.get("B")), (Some("2"), None));
    }
}
