//! Which source to follow, and how.

use std::path::PathBuf;
use std::time::Duration;

use auth::Rotating;
use topology::{Address, Authority};

/// Where the cluster's state comes from.
#[derive(Clone, Debug)]
pub enum Config {
    /// Patroni's keys in etcd v3.
    Etcd(EtcdConfig),
    /// A fixed list of nodes. One node is the primary; of several, the one that probes find.
    Fixed(FixedConfig),
    /// Patroni's REST interface, polled.
    Rest(RestConfig),
}

/// How to follow etcd.
#[derive(Clone, Debug)]
pub struct EtcdConfig {
    /// Base URLs (`http://host:2379`), used one at a time, the next when one fails.
    pub endpoints: Vec<String>,
    /// Patroni's `scope`.
    pub scope: String,
    /// Patroni's `namespace`, such as `/service/`.
    pub namespace: String,
    /// The Citus group to follow.
    pub group: Option<u32>,
    /// User and password, where etcd's authentication is on.
    pub credentials: Option<(String, Rotating)>,
    /// For `https` endpoints.
    pub tls: Tls,
    /// Longest wait for a connection or an answer.
    pub request_timeout: Duration,
    /// The whole state is read this often beside the watch, which catches one that fell silent.
    pub refresh_interval: Duration,
    /// Patroni's base URLs, asked while nothing was heard of etcd for longer than
    /// `refresh_interval` and `request_timeout` together. `tls` is theirs too.
    pub patroni_fallback: Vec<String>,
}

/// How to poll Patroni.
#[derive(Clone, Debug)]
pub struct RestConfig {
    /// Base URLs (`http://host:8008`). One that answers is kept.
    pub endpoints: Vec<String>,
    /// For `https` endpoints.
    pub tls: Tls,
    /// Longest wait for one endpoint's answer.
    pub request_timeout: Duration,
    /// From one answer to the next question.
    pub poll_interval: Duration,
}

/// Nodes that are given. Their names are their addresses.
#[derive(Clone, Debug)]
pub struct FixedConfig {
    /// The nodes.
    pub nodes: Vec<Address>,
}

/// PEM files for `https` endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authority of the endpoints' certificates; the system's when absent.
    pub ca: Option<PathBuf>,
    /// Our certificate chain and its key, for endpoints that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the endpoints' certificates, where it is not the host.
    pub server_name: Option<String>,
}

/// Why a configuration cannot work. Names options, files and positions, never their contents.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An endpoint is not `http://host:port` or `https://host:port`.
    #[error("endpoint {number} is not a base URL such as \"http://etcd-1:2379\"")]
    Endpoint {
        /// Counted from 1.
        number: usize,
    },
    /// A TLS file cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The namespace or the scope is empty or has a slash where none belongs.
    #[error("namespace and scope must name something; the scope has no slash")]
    Keyspace,
    /// No endpoint is given.
    #[error("no endpoint is given")]
    NoEndpoint,
    /// The system's certificate store has no usable certificate.
    #[error("the system has no certificate authorities; name one with tls.ca")]
    NoRoots,
    /// A TLS file is no PEM, or certificate and key do not fit.
    #[error("TLS files are unfit")]
    Tls(#[source] rustls::Error),
    /// A file has no PEM of the kind it should have.
    #[error("no usable PEM in {path}", path = .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
    },
    /// The server name is no DNS name or IP address.
    #[error("tls.server_name is not a host name")]
    ServerName,
}

impl Config {
    pub(crate) fn authority(&self) -> Authority {
        match self {
            Self::Fixed(fixed) if fixed.nodes.len() > 1 => Authority::Probes,
            Self::Etcd(_) | Self::Fixed(_) | Self::Rest(_) => Authority::LeaderKey,
        }
    }
}

impl EtcdConfig {
    /// Long enough for an etcd that is busy electing.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
    /// Patroni's own `loop_wait`.
    pub const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

    /// Plain, without a user or a Citus group, in Patroni's default namespace.
    pub fn new(endpoints: Vec<String>, scope: impl Into<String>) -> Self {
        Self {
            endpoints,
            scope: scope.into(),
            namespace: "/service/".into(),
            group: None,
            credentials: None,
            tls: Tls::default(),
            request_timeout: Self::REQUEST_TIMEOUT,
            refresh_interval: Self::REFRESH_INTERVAL,
            patroni_fallback: Vec::new(),
        }
    }

    /// How to poll Patroni while etcd is away.
    pub(crate) fn fallback(&self) -> Option<RestConfig> {
        (!self.patroni_fallback.is_empty()).then(|| RestConfig {
            tls: self.tls.clone(),
            request_timeout: self.request_timeout,
            ..RestConfig::new(self.patroni_fallback.clone())
        })
    }

    /// `/<namespace>/<scope>/`. With Citus every group is below it, as `<group>/`.
    pub(crate) fn prefix(&self) -> Result<String, Error> {
        let namespace = self.namespace.trim_matches('/');
        if namespace.is_empty() || self.scope.is_empty() || self.scope.contains('/') {
            return Err(Error::Keyspace);
        }
        Ok(format!("/{namespace}/{}/", self.scope))
    }
}

impl RestConfig {
    /// Longer than Patroni takes to ask its own store.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
    /// Polling is the slow source: one request a second is what a load balancer asks too.
    pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

    /// Plain.
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            tls: Tls::default(),
            request_timeout: Self::REQUEST_TIMEOUT,
            poll_interval: Self::POLL_INTERVAL,
        }
    }
}

/// Parses base URLs. A user or password in one is refused, for it would end in logs.
pub(crate) fn endpoints(texts: &[String]) -> Result<Vec<hyper::Uri>, Error> {
    if texts.is_empty() {
        return Err(Error::NoEndpoint);
    }
    let parse = |(at, text): (usize, &String)| {
        let error = || Error::Endpoint { number: at + 1 };
        let uri: hyper::Uri = text.parse().map_err(|_| error())?;
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().is_some_and(|a| !a.as_str().contains('@'));
        if !scheme || !authority || uri.host().is_none_or(str::is_empty) || uri.path() != "/" {
            return Err(error());
        }
        Ok(uri)
    };
    texts.iter().enumerate().map(parse).collect()
}

pub(crate) fn is_https(uri: &hyper::Uri) -> bool {
    uri.scheme_str() == Some("https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let mut config = EtcdConfig::new(Vec::new(), "demo");
        assert_eq!(config.prefix().unwrap(), "/service/demo/");
        config.namespace = "db/eu".into();
        assert_eq!(config.prefix().unwrap(), "/db/eu/demo/");
        config.scope = "a/b".into();
        assert!(matches!(config.prefix(), Err(Error::Keyspace)));
    }

    #[test]
    fn endpoints_are_base_urls_without_credentials() {
        let parse = |text: &str| endpoints(&[text.to_owned()]);
        assert!(parse("http://etcd-1:2379").is_ok());
        assert!(parse("https://[::1]:2379/").is_ok());
        for bad in ["etcd:2379", "ftp://etcd", "http://u:p@etcd", "http://etcd/x", "", "http://"] {
            let error = parse(bad).unwrap_err();
            assert!(matches!(error, Error::Endpoint { number: 1 }), "{bad}");
        }
        assert!(matches!(endpoints(&[]), Err(Error::NoEndpoint)));
    }
}
