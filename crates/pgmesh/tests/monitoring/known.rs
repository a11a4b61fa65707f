//! What metrics there are.

use std::collections::BTreeSet;

/// What other exporters tell, as far as rules ask for it: Patroni 2.1 and later, etcd 3.4 and later,
/// postgres_exporter 0.10 and later, and Prometheus itself.
pub(crate) const OF_OTHERS: &[&str] = &[
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_server_has_leader",
    "etcd_server_quota_backend_bytes",
    "patroni_dcs_last_seen",
    "patroni_is_paused",
    "patroni_postgres_running",
    "patroni_primary",
    "patroni_standby_leader",
    "pg_settings_max_connections",
    "pg_stat_activity_count",
    "pg_stat_replication_pg_wal_lsn_diff",
    "pg_up",
    "up",
];

/// Of `names`, those that nobody tells.
pub(crate) fn unknown(names: &BTreeSet<String>) -> Vec<&String> {
    let ours: BTreeSet<String> =
        telemetry::reference().iter().flat_map(telemetry::Reference::samples).collect();
    names
        .iter()
        .filter(|name| !ours.contains(*name) && !OF_OTHERS.contains(&name.as_str()))
        .collect()
}
