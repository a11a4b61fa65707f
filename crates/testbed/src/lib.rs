//! A real Patroni cluster on loopback: etcd, Patroni and Postgres processes in a temporary directory.
