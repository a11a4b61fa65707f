//! `SHOW CONFIG`: PgBouncer's names for what is the same thing.

use std::time::Duration;

use admin::rows::{ConfigRow, Flag};
use config::{Settings, UNENDING, UNLIMITED};

/// A name of PgBouncer's, and what it is here.
type Key = (&'static str, fn(&Settings) -> String);

/// Every limit that is off is 0, as with PgBouncer; times are in seconds.
const KEYS: &[Key] = &[
    ("admin_users", |it| names(it.console.as_ref().map(|console| &console.users))),
    ("client_login_timeout", |it| seconds(it.frontend.login_timeout)),
    ("default_pool_size", |it| number(it.pool.config.size)),
    ("listen_port", |it| it.frontend.port.to_string()),
    ("log_pooler_errors", |_| "1".to_owned()),
    ("max_client_conn", |it| it.max_client_connections.to_string()),
    ("max_db_client_connections", |it| {
        it.limits.max_db_client_connections.unwrap_or(0).to_string()
    }),
    ("max_db_connections", |it| number(it.pool.config.max_db_connections)),
    ("max_prepared_statements", |it| number(it.pool.config.prepared_statements)),
    ("max_user_client_connections", |it| {
        it.limits.max_user_client_connections.unwrap_or(0).to_string()
    }),
    ("max_user_connections", |it| number(it.pool.config.max_user_connections.unwrap_or(0))),
    ("min_pool_size", |it| number(it.pool.config.min_size)),
    ("query_wait_timeout", |it| seconds(it.pool.config.query_wait_timeout)),
    ("reserve_pool_size", |it| number(it.pool.config.reserve_size)),
    ("reserve_pool_timeout", |it| seconds(it.pool.config.reserve_timeout)),
    ("server_connect_timeout", |it| seconds(it.backend.connect_timeout)),
    ("server_idle_timeout", |it| seconds(it.pool.config.server_idle_timeout)),
    ("server_lifetime", |it| seconds(it.pool.config.server_lifetime)),
    ("server_login_timeout", |it| seconds(it.backend.login_timeout)),
    ("stats_users", |it| names(it.console.as_ref().map(|console| &console.stats_users))),
];

pub(super) fn rows(settings: &Settings) -> Vec<ConfigRow> {
    let row = |(key, value): &Key| ConfigRow {
        key: (*key).to_owned(),
        value: value(settings),
        default: None,
        changeable: Flag::No,
    };
    KEYS.iter().map(row).collect()
}

fn number(limit: usize) -> String {
    if limit >= UNLIMITED { "0".to_owned() } else { limit.to_string() }
}

fn seconds(limit: Duration) -> String {
    if limit >= UNENDING { "0".to_owned() } else { limit.as_secs_f64().to_string() }
}

fn names<'n>(names: Option<impl IntoIterator<Item = &'n String>>) -> String {
    let names: Vec<_> = names.into_iter().flatten().map(String::as_str).collect();
    names.join(", ")
}
