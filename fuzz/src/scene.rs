//! The relay without sockets: a client, a session, and a server that may be lent to it.

use std::sync::Arc;

use session::{
    Abandoned, Catalog, Disposition, Frame, Lost, Mode, Pass, ResetKind, Sent, ServerState,
    Session, Then, ToServer, Unleased, Violation, client_need,
};
use wire::{HEADER_LEN, Header};

/// What one message may make the session say: errors of its own, settings to be set.
const SAID_MAX: usize = 64 * 1024;

/// Why it is over.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said goodbye.
    Goodbye,
    /// Somebody broke the protocol.
    Broken(Violation),
    /// The server has gone, and the client cannot go on.
    ServerLost,
}

/// One direction: what is unread, and the part of a frame that is still to come.
#[derive(Debug, Default)]
struct Side {
    unread: Vec<u8>,
    rest: usize,
    passes: bool,
}

/// A client and its server.
#[derive(Debug)]
pub(crate) struct Scene {
    catalog: Arc<Catalog>,
    session: Session,
    lent: Option<ServerState>,
    idle: Option<ServerState>,
    from_client: Side,
    from_server: Side,
    /// On its way to the server.
    pub(crate) to_server: Vec<u8>,
    /// What the client has been sent.
    pub(crate) to_client: Vec<u8>,
    /// Counts the servers: those before are closed, or know nothing of what was.
    pub(crate) server_number: usize,
}

impl Scene {
    /// With a client that has set something at its login.
    pub(crate) fn new(mode: Mode) -> Self {
        let catalog = Arc::<Catalog>::default();
        let startup = catalog.parameters(LOGIN.into_iter().chain([("TimeZone", "Asia/Tokyo")]));
        Self {
            session: Session::new(Arc::clone(&catalog), startup, mode),
            catalog,
            lent: None,
            idle: None,
            from_client: Side::default(),
            from_server: Side::default(),
            to_server: Vec::new(),
            to_client: Vec::new(),
            server_number: 0,
        }
    }

    /// The client sends bytes.
    pub(crate) fn client_sends(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.from_client.unread.extend_from_slice(bytes);
        while self.client_is_read()? {}
        Ok(())
    }

    /// The server sends bytes.
    pub(crate) fn server_sends(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.from_server.unread.extend_from_slice(bytes);
        while self.server_is_read()? {}
        // What the client had to wait for may have come.
        self.client_sends(&[])
    }

    /// Whether the client has a server.
    pub(crate) fn is_lent(&self) -> bool {
        self.lent.is_some()
    }

    /// The server says something while nobody has it.
    pub(crate) fn idle_server_sends(&mut self, bytes: &[u8]) {
        if let Some(idle) = &mut self.idle
            && !idle.on_idle(&self.catalog, bytes)
        {
            self.idle = None;
            self.server_is_new();
        }
    }

    /// The server's connection breaks.
    pub(crate) fn server_is_lost(&mut self) -> Result<(), End> {
        let Some(mut server) = self.lent.take() else { return Ok(()) };
        let is_cut = self.from_server.rest > 0 && self.from_server.passes;
        let sent = Sent { last_frame_incomplete: !self.to_server.is_empty() };
        self.server_is_new();
        // The client's frame that was on its way is over.
        self.from_client.passes = false;
        if is_cut {
            return Err(End::ServerLost);
        }
        let lost = self.session.on_server_lost(&mut server, sent, &mut self.to_client);
        match lost {
            Lost::Fatal(_) => Err(End::ServerLost),
            Lost::Told | Lost::Unnoticed => self.client_sends(&[]),
        }
    }

    /// The client's connection breaks. Whether the server's answers are still waited for.
    pub(crate) fn client_leaves(&mut self) -> bool {
        let Some(server) = &mut self.lent else { return false };
        let mid_frame = self.from_client.rest > 0 && self.from_client.passes;
        self.from_client = Side::default();
        match self.session.abandon(server, mid_frame, &mut self.to_server) {
            Abandoned::Drain => true,
            Abandoned::Now(disposition) => {
                let is_whole = self.from_server.rest == 0 && self.from_server.unread.is_empty();
                self.release(if is_whole { disposition } else { Disposition::Discard });
                false
            }
        }
    }

    /// The next frame of the client's, or more of the one that is under way.
    fn client_is_read(&mut self) -> Result<bool, End> {
        if self.from_client.pass_rest(self.lent.is_some().then_some(&mut self.to_server)) {
            self.end_frame();
            return Ok(true);
        }
        let header = match Header::peek(&self.from_client.unread) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(false),
            // The relay's own violation.
            Err(_) => return Err(End::Goodbye),
        };
        let Some(bytes) = self.from_client.front(header, client_need(header)) else {
            return Ok(false);
        };
        let frame = Frame { header, body: bytes.get(HEADER_LEN..).unwrap_or_default() };
        let before = self.to_client.len() + self.to_server.len();
        let pass = match &mut self.lent {
            None => match self.session.on_client_unleased(&frame, &mut self.to_client) {
                Ok(Unleased::Swallow | Unleased::Refused) => Pass::Swallow,
                Ok(Unleased::NeedServer) => {
                    self.lend();
                    return Ok(true);
                }
                Ok(Unleased::Goodbye) => return Err(End::Goodbye),
                Err(violation) => return Err(End::Broken(violation)),
            },
            Some(server) => {
                let (to_server, to_client) = (&mut self.to_server, &mut self.to_client);
                match self.session.on_client(&frame, server, to_server, to_client) {
                    Ok(ToServer::Pass(pass)) => pass,
                    // To be shown again when the server has answered.
                    Ok(ToServer::Prepare) => return Ok(false),
                    Ok(ToServer::Goodbye) => return Err(End::Goodbye),
                    Err(violation) => return Err(End::Broken(violation)),
                }
            }
        };
        let said = self.to_client.len() + self.to_server.len() - before;
        assert!(said <= SAID_MAX + 2 * bytes.len(), "{said} bytes for {}", bytes.len());
        if pass == Pass::Forward {
            self.to_server.extend_from_slice(&bytes);
        }
        self.from_client.take(header, bytes.len(), pass);
        self.end_frame();
        Ok(true)
    }

    fn end_frame(&mut self) {
        let Some(server) = &mut self.lent else { return };
        let mid_frame = self.from_client.rest > 0 && self.from_client.passes;
        if server.set_client_mid_frame(mid_frame)
            && !mid_frame
            && let Some(disposition) = self.session.release_if_quiet(server, &mut self.to_server)
        {
            self.release(disposition);
        }
    }

    /// The next frame of the server's, or more of the one that is under way.
    fn server_is_read(&mut self) -> Result<bool, End> {
        let Some(server) = &mut self.lent else { return Ok(false) };
        if self.from_server.pass_rest(Some(&mut self.to_client)) {
            return Ok(true);
        }
        let header = match Header::peek(&self.from_server.unread) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(false),
            Err(_) => return Err(End::ServerLost),
        };
        let Some(bytes) = self.from_server.front(header, server.need(header)) else {
            return Ok(false);
        };
        let frame = Frame { header, body: bytes.get(HEADER_LEN..).unwrap_or_default() };
        let before = self.to_client.len() + self.to_server.len();
        let (to_client, to_server) = (&mut self.to_client, &mut self.to_server);
        let verdict = self.session.on_server(&frame, server, to_client, to_server);
        let verdict = verdict.map_err(End::Broken)?;
        let said = self.to_client.len() + self.to_server.len() - before;
        assert!(said <= SAID_MAX + 2 * bytes.len(), "{said} bytes for {}", bytes.len());
        if verdict.pass == Pass::Forward {
            self.to_client.extend_from_slice(&bytes);
        }
        self.from_server.take(header, bytes.len(), verdict.pass);
        match verdict.then {
            Then::Release(disposition) => self.release(disposition),
            Then::ServerLost => self.server_is_lost()?,
            Then::Continue | Then::Quiet => self.check_preparation(),
        }
        Ok(true)
    }

    /// The statement that waits fails if its server could not be prepared for it.
    fn check_preparation(&mut self) {
        let Some(server) = &mut self.lent else { return };
        if !server.is_preparing() || !server.is_quiet() {
            return;
        }
        let tag = self.from_client.drop_frame();
        let failed = self.session.take_preparation_failure(tag, server, &mut self.to_client);
        self.release(failed.unwrap_or(Disposition::Discard));
    }

    fn lend(&mut self) {
        self.lent =
            Some(self.idle.take().unwrap_or_else(|| {
                ServerState::new(self.catalog.parameters(LOGIN), STATEMENTS_MAX)
            }));
    }

    fn release(&mut self, disposition: Disposition) {
        let Some(mut server) = self.lent.take() else { return };
        let is_whole = self.from_server.rest == 0 && self.from_server.unread.is_empty();
        match disposition {
            Disposition::Clean if is_whole => self.idle = Some(server),
            Disposition::NeedsReset if is_whole => {
                server.after_reset(ResetKind::All);
                self.idle = Some(server);
                // Whoever answers for it has nothing of this client's either.
                self.server_is_new();
            }
            Disposition::Clean | Disposition::NeedsReset | Disposition::Discard => {
                self.server_is_new();
            }
        }
    }

    fn server_is_new(&mut self) {
        self.from_server = Side::default();
        self.to_server.clear();
        self.server_number += 1;
    }
}

impl Side {
    /// Passes on what has come of a frame that was shown before.
    fn pass_rest(&mut self, to: Option<&mut Vec<u8>>) -> bool {
        let len = self.rest.min(self.unread.len());
        self.rest -= len;
        let bytes = self.unread.drain(..len);
        match to {
            Some(to) if self.passes => to.extend(bytes),
            _ => drop(bytes),
        }
        len > 0
    }

    /// What is shown of the frame in front, if enough of it has come.
    fn front(&self, header: Header, needed: usize) -> Option<Vec<u8>> {
        let shown = header.frame_len().min(self.unread.len());
        (self.unread.len() >= needed).then(|| self.unread.iter().take(shown).copied().collect())
    }

    fn take(&mut self, header: Header, shown: usize, pass: Pass) {
        self.unread.drain(..shown);
        self.rest = header.frame_len() - shown;
        self.passes = pass != Pass::Swallow;
    }

    /// Drops the frame in front. Its type.
    fn drop_frame(&mut self) -> u8 {
        let Ok(Some(header)) = Header::peek(&self.unread) else { return 0 };
        self.take(header, header.frame_len().min(self.unread.len()), Pass::Swallow);
        header.tag
    }
}

/// What a server reports at its login.
const LOGIN: [(&str, &str); 3] =
    [("client_encoding", "UTF8"), ("DateStyle", "ISO, MDY"), ("TimeZone", "Etc/UTC")];

/// Few, so that room has to be made.
const STATEMENTS_MAX: usize = 3;
