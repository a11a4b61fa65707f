//! etcd, Patroni REST and static lists turned into a watch of topology snapshots.
