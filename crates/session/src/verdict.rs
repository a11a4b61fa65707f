//! What the relay does with a frame that the session has seen.

use wire::{ErrorMessage, SqlState};

/// What becomes of the frame itself. Bytes that the session appended to an output come
/// before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It goes on as it is, with the rest of its body.
    Forward,
    /// What was shown of it is replaced by what was appended; the rest of its body goes on.
    Replace,
    /// It ends here, with the rest of its body.
    Swallow,
}

/// The answer to a client's frame while no server is leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unleased {
    /// It was dealt with here.
    Swallow,
    /// The same, and a rule has refused it.
    Refused,
    /// A server is needed; show the frame to [`crate::Session::on_client`] then.
    NeedServer,
    /// Terminate.
    Goodbye,
}

/// The answer to a client's frame while a server is leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToServer {
    /// The frame goes this way.
    Pass(Pass),
    /// What was appended prepares the server for this client. Show the frame again when
    /// [`crate::ServerState::is_preparing`] has become false.
    Prepare,
    /// Terminate; the server is given up through [`crate::Session::abandon`].
    Goodbye,
}

/// The answer to a server's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToClient {
    /// Which way the frame goes.
    pub pass: Pass,
    /// What follows once it has gone.
    pub then: Then,
}

/// What follows a server's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// More of the same.
    Continue,
    /// The server owes nothing and waits for a statement, the lease is kept.
    Quiet,
    /// The lease ends here.
    Release(Disposition),
    /// The server has said that it goes, which the client need not know: see
    /// [`crate::Session::on_server_lost`].
    ServerLost,
}

/// In which state a server comes back from a lease. Computed here, obeyed by the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// As it was lent: the next client may have it.
    Clean,
    /// Something was left behind, to be taken away by [`crate::ServerState::reset_sql`].
    NeedsReset,
    /// It cannot be trusted: close it.
    Discard,
}

/// What a client whose server was lost has to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Nothing: it goes on unleased, and what it sends next goes to another server.
    Unnoticed,
    /// What was appended, or what the next message is answered with: it goes on unleased.
    Told,
    /// Its session cannot be had again: its connection ends with this.
    Fatal(Box<ErrorMessage>),
}

/// What is known of what a lost server was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of the last frame have not been written: the server cannot have acted on it.
    pub last_frame_incomplete: bool,
}

/// How a lease ends when the client has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// Nothing is outstanding.
    Now(Disposition),
    /// What was appended ends what the client began. Read on, without a client, until
    /// [`Then::Release`].
    Drain,
}

/// Who broke the protocol, and what the client is told before its connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The client did.
    #[error("client: {0}")]
    Client(Box<ErrorMessage>),
    /// The server did; its connection must be closed.
    #[error("server: {0}")]
    Server(&'static str),
}

impl ToClient {
    pub(crate) const FORWARD: Self = Self { pass: Pass::Forward, then: Then::Continue };
    pub(crate) const SWALLOW: Self = Self { pass: Pass::Swallow, then: Then::Continue };
}

impl ToServer {
    pub(crate) const FORWARD: Self = Self::Pass(Pass::Forward);
    pub(crate) const REPLACE: Self = Self::Pass(Pass::Replace);
    pub(crate) const SWALLOW: Self = Self::Pass(Pass::Swallow);
}

impl Violation {
    pub(crate) fn malformed() -> Self {
        Self::client(SqlState::PROTOCOL_VIOLATION, "invalid message format")
    }

    pub(crate) fn client(
        state: SqlState,
        message: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Self {
        Self::Client(Box::new(ErrorMessage::fatal(state, message)))
    }
}

impl From<wire::Malformed> for Violation {
    fn from(_: wire::Malformed) -> Self {
        Self::malformed()
    }
}
