//! The sections of proxy.toml, each read into the configuration of its component.
//!
//! Every key is asked for whatever the others say, so that it is known wherever it stands and
//! every error of it is told at once. Defaults are the components' own, but where a comment
//! says why not.

mod access;
mod auth_query;
mod cluster;
mod console;
mod failover;
mod hba;
mod ldap;
mod limits;
mod notifications;
mod oauth;
mod operations;
mod peers;
mod pool;
mod proxy;
mod server;
mod shutdown;
mod state;
mod tcp;
mod tls;
mod unix;

pub use console::Console;
pub use peers::Peers;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::section::Section;
use crate::settings::UNENDING;
use crate::{Rotation, Settings, UNLIMITED, Values};

/// Long enough to change a role's password and a file by hand, one after the other.
const ROTATION_WINDOW: Duration = Duration::from_secs(60);

/// Limits in time that must not be off.
pub(crate) const BOUNDED: RangeInclusive<Duration> = Duration::from_millis(1)..=UNENDING;

/// Limits in time that `"0s"` switches off.
pub(crate) const OPTIONAL: RangeInclusive<Duration> = Duration::ZERO..=UNENDING;

/// Limits in numbers, and whether zero is one of them.
pub(crate) const SOME: RangeInclusive<usize> = 1..=UNLIMITED;
pub(crate) const ANY: RangeInclusive<usize> = 0..=UNLIMITED;

/// Reads everything; worth something only if no error was reported.
pub(crate) fn settings(root: &Section<'_>) -> Settings {
    let proxy = root.section("proxy");
    let (frontend, max_client_connections, client_map) = proxy::read(&proxy);
    let core_dumps = proxy::core_dumps(&proxy);
    let takeover_socket = unix::takeover(&proxy);
    let limits = limits::read(&proxy);
    drop(proxy);
    let peers = peers::read(&root.section("peers"), frontend.port);
    let cluster = root.section("cluster");
    let (discovery, routes) = (cluster::read(&cluster), failover::routes(&cluster));
    let cluster_password = cluster.file_of("password");
    drop(cluster);
    let backend = server::read(&root.section("server"));
    let mut pool = pool::read(&root.section("pool"));
    let failover = failover::read(&root.section("failover"), &mut pool);
    let notifications = notifications::read(&root.section("notifications"));
    let auth = root.section("auth");
    access::somebody(root, &auth);
    let users = access::users(root);
    let databases = access::databases(root);
    let auth_query = auth_query::read(&auth);
    let ldap = ldap::read(&auth);
    let access = hba::read(root, &auth, client_map);
    let rotation = Rotation {
        window: auth.duration("rotation_window", ROTATION_WINDOW, OPTIONAL),
        query_password: auth.file_of("query_password"),
        cluster_password,
    };
    drop(auth);
    let console = console::read(&root.section("admin"), &databases);
    let admin = operations::metrics(&root.section("metrics"), &frontend);
    let log = operations::log(&root.section("log"));
    let shutdown = shutdown::read(&root.section("shutdown"));
    Settings {
        frontend,
        max_client_connections,
        takeover_socket,
        core_dumps,
        limits,
        peers,
        discovery,
        backend,
        pool,
        failover,
        notifications,
        routes,
        rotation,
        users,
        auth_query,
        ldap,
        databases,
        access,
        console,
        admin,
        log,
        shutdown,
        warnings: Vec::new(),
        values: Values::default(),
    }
}

/// Zero switches a limit off.
pub(crate) fn unless_zero(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then_some(limit)
}
