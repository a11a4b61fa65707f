//! Label values: fixed sets of words, counters per word, and the labels of a pool.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows. Relaxed: it orders nothing, it is only summed.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A fixed set of label values.
pub trait Words: Copy + 'static {
    /// Every member, in the order of [`Words::index`].
    const ALL: &'static [Self];

    /// The label value.
    fn as_str(self) -> &'static str;

    /// The position in [`Words::ALL`].
    fn index(self) -> usize;
}

/// A [`Counter`] per word; all of them are exposed from the start, at zero.
#[derive(Debug)]
pub struct Counts<W> {
    counters: Box<[Counter]>,
    words: PhantomData<fn(W)>,
}

impl<W: Words> Counts<W> {
    /// Counts one `word`.
    pub fn inc(&self, word: W) {
        if let Some(counter) = self.counters.get(word.index()) {
            counter.inc();
        }
    }

    /// The count of one word.
    pub fn value(&self, word: W) -> u64 {
        self.counters.get(word.index()).map_or(0, Counter::value)
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        W::ALL.iter().map(|word| (word.as_str(), self.value(*word)))
    }
}

impl<W: Words> Default for Counts<W> {
    fn default() -> Self {
        Self { counters: W::ALL.iter().map(|_| Counter::default()).collect(), words: PhantomData }
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl Words for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

words! {
    /// The part of the cluster that a pool's servers are on.
    Role {
        /// Any healthy node.
        Any = "any",
        /// The proven primary.
        Primary = "primary",
        /// A replica.
        Replica = "replica",
    }
}

words! {
    /// By what a client connects.
    Via {
        /// TCP.
        Tcp = "tcp",
        /// A Unix socket.
        Unix = "unix",
    }
}

words! {
    /// Why a client was turned away before its first query.
    Refusal {
        /// Wrong password, unknown user, or no such login.
        Authentication = "authentication",
        /// The database does not exist or may not be used (3D000).
        Database = "database",
        /// No LDAP server could say whether the password is right (57P03).
        Directory = "directory",
        /// pgmesh is shutting down (57P03).
        Draining = "draining",
        /// More logins per second than a user or an address may have (53400).
        LoginRate = "login_rate",
        /// auth_query has no answer (57P03).
        Lookup = "lookup",
        /// `max_memory` is reached (53200).
        Memory = "memory",
        /// Bytes that are no Postgres startup (08P01).
        Protocol = "protocol",
        /// No server could be had to complete the login.
        Server = "server",
        /// `client_login_timeout`.
        Timeout = "timeout",
        /// TLS was required and not used, or its handshake failed.
        Tls = "tls",
        /// More TLS handshakes than `tls_handshakes_per_second` lets through: closed.
        TlsRate = "tls_rate",
        /// `max_client_connections` or a user's `max_connections` (53300).
        TooManyClients = "too_many_clients",
        /// Something asked for that is not offered, such as `replication=` (0A000).
        Unsupported = "unsupported",
    }
}

words! {
    /// What became of a bearer token.
    Token {
        /// Let in.
        Accepted = "accepted",
        /// An algorithm that is not of the key.
        Algorithm = "algorithm",
        /// It is for somebody else.
        Audience = "audience",
        /// None: the client asked where there are some.
        Discovery = "discovery",
        /// Past its end, or without one.
        Expired = "expired",
        /// Of another issuer.
        Issuer = "issuer",
        /// No token that can be read, or one that is too long.
        Malformed = "malformed",
        /// The issuer's keys were never to be had.
        NoKeys = "no_keys",
        /// Before its beginning.
        NotYetValid = "not_yet_valid",
        /// Without a scope that is wanted.
        Scope = "scope",
        /// Not signed by its key.
        Signature = "signature",
        /// Signed with a key that the issuer does not publish.
        UnknownKey = "unknown_key",
        /// Of another user, or of none.
        User = "user",
    }
}

words! {
    /// What fetching the keys of an issuer came to.
    KeyFetch {
        /// Keys, new or the same.
        Done = "done",
        /// None: those before stay.
        Failed = "failed",
    }
}

words! {
    /// What became of a password that an LDAP server had to check.
    LdapCheck {
        /// It is the user's.
        Accepted = "accepted",
        /// Too many were being checked.
        Busy = "busy",
        /// It is not, or the user is not known, or pgmesh did not even ask.
        Refused = "refused",
        /// `auth.ldap_timeout`.
        Timeout = "timeout",
        /// No server could be asked, or none did what it was asked.
        Unavailable = "unavailable",
    }
}

words! {
    /// What became of a cancel request.
    Cancel {
        /// Sent to the server that runs the client's statement.
        Delivered = "delivered",
        /// The server, or a proxy that may have given the key, could not be reached in time.
        Failed = "failed",
        /// Another proxy gave the key, and has taken the request.
        Forwarded = "forwarded",
        /// The client was idle: there was nothing to cancel.
        Idle = "idle",
        /// Somebody who said to be one of our peers did not prove it.
        PeerRefused = "peer_refused",
        /// No client has that key.
        UnknownKey = "unknown_key",
        /// The client was waiting for a server and stopped waiting.
        Waiting = "waiting",
    }
}

words! {
    /// Why a server connection could not be made; the words of `backend`'s kinds.
    ConnectFailure {
        /// We could not answer the server's authentication request, or it proved nothing.
        Authentication = "authentication",
        /// This host is out of descriptors, ports or memory.
        Local = "local",
        /// The server said something that is no Postgres.
        Protocol = "protocol",
        /// The server refused: wrong password, unknown database, out of slots, starting up.
        Refused = "refused",
        /// `connect_timeout` or `login_timeout`.
        Timeout = "timeout",
        /// TLS is required and not offered, or its handshake failed.
        Tls = "tls",
        /// The host could not be reached, or the connection broke.
        Unreachable = "unreachable",
        /// The server is a replica where the primary is needed, or the other way round.
        WrongRole = "wrong_role",
    }
}

words! {
    /// Why a server connection was closed.
    Discard {
        /// Its client left while it was owed replies.
        ClientGone = "client_gone",
        /// Its node no longer serves its pool: a new epoch, or a replica that has gone.
        Epoch = "epoch",
        /// `server_idle_timeout`, or its place was needed for another user.
        Idle = "idle",
        /// `server_lifetime`.
        Lifetime = "lifetime",
        /// An operator has paused or killed its pool, or wanted its servers new.
        Ordered = "ordered",
        /// It said something that is no Postgres, or answered what was not asked.
        Protocol = "protocol",
        /// It could not be reset, or a cancel might still hit it.
        Reset = "reset",
        /// It closed the connection.
        ServerClosed = "server_closed",
        /// It came back with something outstanding.
        Unclean = "unclean",
        /// A client was about to drop, rename, move or copy its database.
        Vacated = "vacated",
    }
}

words! {
    /// What was taken off a server before its next client.
    Reset {
        /// Everything: `DISCARD ALL`.
        All = "all",
        /// What its client was known to have left.
        Targeted = "targeted",
    }
}

words! {
    /// What the loss of a leased server came to for its client.
    ServerLoss {
        /// Half of a message had reached the client, or the server's last word: disconnected.
        Cut = "cut",
        /// The server had state of the session's that no other has: disconnected.
        StateLost = "state_lost",
        /// An ERROR, and the client stays connected.
        Told = "told",
        /// Nothing of the client's had begun.
        Unnoticed = "unnoticed",
    }
}

words! {
    /// Why a client's connection ended after its login.
    ClientEnd {
        /// `client_idle_timeout` (57P05).
        ClientIdleTimeout = "client_idle_timeout",
        /// The client left without a Terminate.
        ClientLost = "client_lost",
        /// The client broke the protocol or the rules of its pool mode.
        ClientViolation = "client_violation",
        /// It was between two transactions when pgmesh was to end (57P01).
        Drained = "drained",
        /// The client said goodbye.
        Goodbye = "goodbye",
        /// `idle_transaction_timeout` (25P03).
        IdleTransactionTimeout = "idle_transaction_timeout",
        /// `query_timeout`, and the cancelled statement did not end (57014).
        QueryTimeout = "query_timeout",
        /// Its server went in the middle of a message, or ended the session itself.
        ServerLost = "server_lost",
        /// Its server broke the protocol.
        ServerViolation = "server_violation",
        /// Its server went, and with it state that no other has.
        StateLost = "state_lost",
        /// Another session of its user's has ended it, or an operator (57P01).
        Terminated = "terminated",
        /// `transaction_timeout` (25P04).
        TransactionTimeout = "transaction_timeout",
    }
}

words! {
    /// A limit that a client has come to after its login.
    Limit {
        /// `client_idle_timeout`: disconnected.
        ClientIdleTimeout = "client_idle_timeout",
        /// `idle_transaction_timeout`: disconnected.
        IdleTransactionTimeout = "idle_transaction_timeout",
        /// `max_packet_size`: disconnected.
        MaxPacketSize = "max_packet_size",
        /// `pool.max_pinned`: an ERROR.
        MaxPinned = "max_pinned",
        /// `query_timeout`: the statement was cancelled.
        QueryTimeout = "query_timeout",
        /// `query_wait_notify`: a NOTICE.
        QueryWaitNotify = "query_wait_notify",
        /// `query_wait_timeout`: an ERROR.
        QueryWaitTimeout = "query_wait_timeout",
        /// `pool.state`: an ERROR.
        SessionState = "session_state",
        /// More transactions per second than a user or an address may have: an ERROR.
        TransactionRate = "transaction_rate",
        /// `transaction_timeout`: disconnected.
        TransactionTimeout = "transaction_timeout",
    }
}

words! {
    /// What became of a configuration that was read again.
    ReloadOutcome {
        /// It was taken, and is another one.
        Changed = "changed",
        /// It could not be used.
        Failed = "failed",
        /// It says the same.
        Unchanged = "unchanged",
    }
}

words! {
    /// Why a statement was prepared and sent again, unseen by its client.
    Retry {
        /// "cached plan must not change result type".
        PlanChanged = "plan_changed",
        /// "prepared statement does not exist".
        StatementMissing = "statement_missing",
    }
}

/// The labels of one pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolLabels {
    /// Database name.
    pub database: String,
    /// User name.
    pub user: String,
    /// Where the servers are.
    pub role: Role,
}

impl PoolLabels {
    /// What pools beyond [`POOLS_MAX`](crate::POOLS_MAX) are counted under. No pool has this
    /// database and user: `_other` could be a name, both together with an empty user cannot.
    pub(crate) fn other(role: Role) -> Self {
        Self { database: "_other".to_owned(), user: String::new(), role }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<W: Words + std::fmt::Debug>() {
        let words: Vec<&str> = W::ALL.iter().map(|word| word.as_str()).collect();
        assert!(words.is_sorted(), "{words:?}");
        for (index, word) in W::ALL.iter().enumerate() {
            assert_eq!(word.index(), index);
            let counts = Counts::<W>::default();
            counts.inc(*word);
            assert_eq!(counts.value(*word), 1);
            assert_eq!(counts.each().map(|(_, count)| count).sum::<u64>(), 1);
        }
    }

    #[test]
    fn every_word_has_its_own_counter() {
        check::<Role>();
        check::<Refusal>();
        check::<Token>();
        check::<KeyFetch>();
        check::<Cancel>();
        check::<LdapCheck>();
        check::<ConnectFailure>();
        check::<ServerLoss>();
        check::<ClientEnd>();
        check::<Discard>();
        check::<Limit>();
        check::<ReloadOutcome>();
        check::<Retry>();
    }
}
