//! `SHOW CONFIG`: PgBouncer's names for what is the same thing, and the keys of proxy.toml.

use std::collections::BTreeMap;

use admin::rows::{ConfigRow, Flag};
use config::{Reload, Row, Settings};

/// How PgBouncer writes a value.
#[derive(Clone, Copy)]
enum Form {
    /// A number, 0 where nothing is set.
    Number,
    /// Seconds without a unit, 0 where nothing is set.
    Seconds,
    /// As it is here.
    Word,
}

use Form::{Number, Seconds, Word};

/// PgBouncer's names, what they are here, and how they are written there.
const NAMES: &[(&str, &str, Form)] = &[
    ("admin_users", "admin.users", Word),
    ("cancel_wait_timeout", "pool.cancel_wait_timeout", Seconds),
    ("client_idle_timeout", "pool.client_idle_timeout", Seconds),
    ("client_login_timeout", "proxy.client_login_timeout", Seconds),
    ("client_tls_sslmode", "proxy.tls.mode", Word),
    ("default_pool_size", "pool.size", Number),
    ("idle_transaction_timeout", "pool.idle_transaction_timeout", Seconds),
    ("listen_addr", "proxy.listen", Word),
    ("listen_backlog", "proxy.backlog", Number),
    ("listen_port", "proxy.port", Number),
    ("max_client_conn", "proxy.max_client_connections", Number),
    ("max_db_client_connections", "proxy.max_db_client_connections", Number),
    ("max_db_connections", "pool.max_db_connections", Number),
    ("max_prepared_statements", "pool.prepared_statements", Number),
    ("max_user_client_connections", "proxy.max_user_client_connections", Number),
    ("max_user_connections", "pool.max_user_connections", Number),
    ("min_pool_size", "pool.min_size", Number),
    ("peer_id", "peers.id", Number),
    ("pool_mode", "pool.mode", Word),
    ("query_timeout", "pool.query_timeout", Seconds),
    ("query_wait_notify", "pool.query_wait_notify", Seconds),
    ("query_wait_timeout", "pool.query_wait_timeout", Seconds),
    ("reserve_pool_size", "pool.reserve_size", Number),
    ("reserve_pool_timeout", "pool.reserve_timeout", Seconds),
    ("server_connect_timeout", "server.connect_timeout", Seconds),
    ("server_idle_timeout", "pool.server_idle_timeout", Seconds),
    ("server_lifetime", "pool.server_lifetime", Seconds),
    ("server_tls_sslmode", "server.tls.mode", Word),
    ("stats_period", "admin.stats_period", Seconds),
    ("stats_users", "admin.stats_users", Word),
    ("transaction_timeout", "pool.transaction_timeout", Seconds),
    ("unix_socket_dir", "proxy.unix_socket_dir", Word),
    ("unix_socket_group", "proxy.unix_socket_group", Word),
    ("unix_socket_mode", "proxy.unix_socket_mode", Word),
];

pub(super) fn rows(settings: &Settings) -> Vec<ConfigRow> {
    let keys = settings.values.rows();
    let by_path: BTreeMap<_, _> = keys.iter().map(|row| (row.path.as_str(), row)).collect();
    let theirs = NAMES.iter().filter_map(|(name, path, form)| {
        let row = by_path.get(path)?;
        let write = |text: &Option<String>| form.write(text.as_deref());
        Some(shown(name, write(&row.value), Some(write(&row.default)), row))
    });
    // What PgBouncer may be told not to log is always logged here: checks look for the name.
    let fixed = ConfigRow {
        key: "log_pooler_errors".to_owned(),
        value: "1".to_owned(),
        default: Some("1".to_owned()),
        changeable: Flag::No,
    };
    let ours = keys.iter().map(|row| {
        let value = row.value.clone().unwrap_or_default();
        shown(&row.path, value, row.default.clone(), row)
    });
    theirs.chain([fixed]).chain(ours).collect()
}

fn shown(key: &str, value: String, default: Option<String>, row: &Row) -> ConfigRow {
    let changeable = Flag::from(row.reload != Reload::Restart);
    ConfigRow { key: key.to_owned(), value, default, changeable }
}

impl Form {
    fn write(self, text: Option<&str>) -> String {
        match (self, text) {
            (Word, text) => text.unwrap_or_default().to_owned(),
            (Number | Seconds, None) => "0".to_owned(),
            (Number, Some(text)) => text.to_owned(),
            (Seconds, Some(text)) => match config::seconds(text) {
                Some(seconds) => seconds.to_string(),
                None => text.to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_of_a_key() {
        let keys = config::reference();
        for (name, path, form) in NAMES {
            let key = keys.iter().find(|key| key.path == *path);
            let kind = key.unwrap_or_else(|| panic!("{name}: no key {path}")).kind;
            assert_eq!(matches!(form, Seconds), kind == config::Kind::Duration, "{name}");
            assert_eq!(matches!(form, Number), kind == config::Kind::Integer, "{name}");
        }
        assert!(NAMES.is_sorted_by_key(|(name, ..)| name));
    }

    #[test]
    fn times_have_no_unit() {
        assert_eq!(Seconds.write(Some("1m")), "60");
        assert_eq!(Seconds.write(Some("1500ms")), "1.5");
        assert_eq!((Seconds.write(None), Number.write(None)), ("0".to_owned(), "0".to_owned()));
    }
}
