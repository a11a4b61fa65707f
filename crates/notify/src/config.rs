//! What listening may take.

use std::time::Duration;

/// What listening may take. The limits protect this process and the servers from clients; a
/// client that meets one is told which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Server connections that listen, over all databases, users and encodings. They count
    /// towards no limit of the pools.
    pub max_connections: usize,
    /// Channels of one such connection: the server looks through all of them for each
    /// notification, and for each LISTEN.
    pub max_channels: usize,
    /// Subscriptions to channels of one such connection, over all its clients.
    pub max_subscriptions: usize,
    /// Notifications that may wait for one client to read.
    pub max_queue: usize,
    /// The same in bytes.
    pub max_queue_size: usize,
    /// How long the server goes on listening on a channel that nobody wants: a client that
    /// comes back costs nothing then.
    pub unlisten_delay: Duration,
    /// How long a connection stays on which nobody wants any channel.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 50,
            // All of them are asked for again at once after a failover: a third of a second.
            max_channels: 10_000,
            // Some 2.5 MB.
            max_subscriptions: 100_000,
            max_queue: 10_000,
            // A thousand of the longest ones.
            max_queue_size: 8 * 1024 * 1024,
            unlisten_delay: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
        }
    }
}
