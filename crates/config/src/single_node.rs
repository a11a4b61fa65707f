//! `pgmesh --upstream host:port`: one existing server, no file.

use discovery::FixedConfig;
use topology::Address;

use crate::environment::Environment;
use crate::error::{Error, Errors, Place, Warning};
use crate::{Overrides, Settings, parse_over};

/// What errors name instead of a file.
const SOURCE: &str = "--upstream";

/// PgBouncer's port: the server itself most likely has 5432 on this host.
const PORT: u16 = 6432;

/// What is not said here is at proxy.toml's default. The user and the password are read by the
/// same code as from a file, so neither passes through TOML text. The node and the port are
/// replaced.
const TEMPLATE: &str = "
    proxy.listen = '127.0.0.1'
    proxy.tls.mode = 'disable'
    metrics.listen = '127.0.0.1:9187'
    cluster = { discovery = 'static', nodes = ['127.0.0.1'] }
    users = [{ name = { env = 'PGUSER' }, password = { env = 'PGPASSWORD' } }]
";

impl Settings {
    /// The embedded default for one server at `address` (`host`, `host:port` or `[v6]:port`):
    /// listens on 127.0.0.1:6432, and `PGUSER` with `PGPASSWORD` is the one user, towards
    /// clients and towards the server. The warnings say what this cannot do.
    ///
    /// # Errors
    /// An address that is none; `PGUSER` or `PGPASSWORD` unset or unusable. All at once.
    pub fn for_single_node(address: &str, env: &dyn Environment) -> Result<Self, Errors> {
        Self::for_single_node_over(address, env, &Overrides::default())
    }

    /// As [`Settings::for_single_node`], with values over all that.
    ///
    /// # Errors
    /// As there.
    pub fn for_single_node_over(
        address: &str,
        env: &dyn Environment,
        over: &Overrides,
    ) -> Result<Self, Errors> {
        let mut errors = Vec::new();
        let node = Address::parse(address);
        if node.is_err() {
            errors.push(error(
                "address",
                "not a host and port; write host:5432, 10.0.0.1:5432 or [::1]:5432",
            ));
        }
        for name in ["PGUSER", "PGPASSWORD"] {
            if env.var(name).is_none_or(|text| text.is_empty()) {
                errors.push(error(
                    name,
                    "not set; clients log in to pgmesh, and pgmesh to the server, with PGUSER \
                     and PGPASSWORD",
                ));
            }
        }
        let (Ok(node), true) = (node, errors.is_empty()) else {
            return Err(Errors::new(SOURCE, errors));
        };
        let mut settings =
            parse_over(SOURCE, TEMPLATE, env, over).map_err(Errors::without_lines)?;
        settings.discovery = discovery::Config::Fixed(FixedConfig { nodes: vec![node] });
        settings.frontend.port = PORT;
        settings.warnings = warnings();
        Ok(settings)
    }
}

fn error(path: &str, problem: &str) -> Error {
    Error { place: Place { line: None, path: path.to_owned() }, problem: problem.to_owned() }
}

fn warnings() -> Vec<Warning> {
    [
        ("one server and no discovery: a failover to another host is not followed", "cluster"),
        ("clients are served without TLS and on 127.0.0.1 only", "proxy"),
        ("PGUSER is the only user", "users"),
    ]
    .map(|(text, path)| Warning {
        place: Place { line: None, path: path.to_owned() },
        text: format!("{text}; a proxy.toml can change that"),
    })
    .into()
}
