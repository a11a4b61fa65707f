//! The table that clients write to. Each row says which life of which server took it.

use anyhow::Context;
use testbed::Cluster;

use super::record::Tenure;

/// Which life of a server this is, as [`Tenure::parse`] reads it.
const TENURE: &str = "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) || ' ' || \
     (extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint";

/// With the writer and its number of the write as parameters.
pub(crate) const INSERT: &str = "INSERT INTO writes (client, seq) VALUES ($1, $2) RETURNING tenure";

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) client: i32,
    pub(crate) seq: i32,
    /// Address and port of the server that took it.
    pub(crate) node: String,
    pub(crate) tenure: Tenure,
}

/// [`INSERT`] as a text.
pub(crate) fn insert(client: i32, seq: i32) -> String {
    INSERT.replace("$1", &client.to_string()).replace("$2", &seq.to_string())
}

/// What a transaction does besides: a row of its own, again and again.
pub(crate) fn count(client: i32) -> String {
    format!("UPDATE counters SET n = n + 1 WHERE client = {client}")
}

/// Makes the tables.
pub(crate) fn make(cluster: &Cluster) -> anyhow::Result<()> {
    let tables = format!(
        "CREATE TABLE writes (client int, seq int,
            node text DEFAULT host(inet_server_addr()) || ':' || inet_server_port(),
            tenure text DEFAULT {TENURE});
         CREATE TABLE counters (client int PRIMARY KEY, n int);
         INSERT INTO counters SELECT client, 0 FROM generate_series(0, 9999) AS client;"
    );
    cluster.app()?.psql(&tables).context("make tables").map(|_| ())
}

/// Empties the table of writes.
pub(crate) fn empty(cluster: &Cluster) -> anyhow::Result<()> {
    // A transaction that nobody ends any more must not make us wait for ever.
    let empty = "SET lock_timeout = '20s'; TRUNCATE writes";
    cluster.app()?.psql(empty).context("empty the table").map(|_| ())
}

/// Which life of which server it is that leads.
pub(crate) fn tenure(cluster: &Cluster) -> anyhow::Result<Tenure> {
    let text = cluster.app()?.psql(&format!("SELECT {TENURE}"))?;
    Tenure::parse(&text).with_context(|| format!("read '{text}'"))
}

/// Reads all rows from the leader.
pub(crate) fn read(cluster: &Cluster) -> anyhow::Result<Vec<Row>> {
    let rows = cluster.app()?.psql("SELECT client, seq, node, tenure FROM writes")?;
    rows.lines().map(|line| parse(line).with_context(|| format!("read '{line}'"))).collect()
}

fn parse(line: &str) -> Option<Row> {
    let mut words = line.split('|');
    let (client, seq) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let node = words.next()?.to_owned();
    Some(Row { client, seq, node, tenure: Tenure::parse(words.next()?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        let row = parse("7|3|127.0.0.1:5432|00000002 1700000000000").unwrap();
        assert_eq!((row.client, row.seq, row.node.as_str()), (7, 3, "127.0.0.1:5432"));
        assert_eq!(row.tenure, Tenure { timeline: 2, started: 1_700_000_000_000 });
        assert!(parse("7|3|127.0.0.1:5432").is_none());
    }

    #[test]
    fn both_inserts_are_the_same() {
        assert_eq!(insert(1, 2), "INSERT INTO writes (client, seq) VALUES (1, 2) RETURNING tenure");
    }
}
