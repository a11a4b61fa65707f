//! One connection to an LDAP server: requests, and the answers that belong to them.

use std::io;

use auth::hba::LdapScope;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use transport::{MaybeTls, ServiceConnector};

use super::failure::Failure;
use super::filter::FilterFault;
use super::message::{self, Done, Request, Response, response, response_len};

/// Messages that a search is listened to: two entries, its end, and references.
const RESPONSES_MAX: u32 = 64;

/// What is read at a time; most answers are far shorter.
const READ_LEN: usize = 512;

/// A search for one entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) base: &'a str,
    pub(super) scope: LdapScope,
    /// When the server may give up, in seconds.
    pub(super) seconds: u32,
}

/// What a search came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nobody,
    One(String),
    Several,
}

/// A connection on which one thing is asked at a time.
#[derive(Debug)]
pub(super) struct Conversation<S> {
    stream: MaybeTls<S>,
    unread: Vec<u8>,
    last_id: u32,
}

/// Connects to the first address of a host that answers. The caller bounds the time.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let mut failed = None;
    for address in lookup_host((host, port)).await.map_err(Failure::Connect)? {
        match transport::connect(address, &transport::Config::default()).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    Err(Failure::Connect(failed.unwrap_or_else(|| io::ErrorKind::NotFound.into())))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: MaybeTls::Plain(stream), unread: Vec::new(), last_id: 0 }
    }

    /// Makes the handshake at once (`ldaps`).
    pub(super) async fn secure(
        self,
        host: &str,
        connector: &ServiceConnector,
    ) -> Result<Self, Failure> {
        match self.stream {
            MaybeTls::Plain(stream) => {
                let stream = connector.connect(host, stream).await.map_err(Failure::Tls)?;
                Ok(Self { stream, ..self })
            }
            _ => Ok(self),
        }
    }

    /// Asks for TLS first. Nothing may have come behind the answer: it would be taken for
    /// something said inside TLS.
    pub(super) async fn start_tls(
        mut self,
        host: &str,
        connector: &ServiceConnector,
    ) -> Result<Self, Failure> {
        let id = self.next_id();
        self.send(&message::start_tls(id)).await?;
        match self.receive(id).await? {
            Response::Extended(Done { code: 0, .. }) if self.unread.is_empty() => {
                self.secure(host, connector).await
            }
            Response::Extended(Done { code: 0, .. }) => Err(Failure::Unencrypted),
            Response::Extended(done) => Err(Failure::operation("StartTLS", done)),
            _ => Err(Failure::Unexpected),
        }
    }

    pub(super) async fn bind(&mut self, name: &str, password: &str) -> Result<Done, Failure> {
        let id = self.next_id();
        self.send(&message::bind(id, name, password)).await?;
        match self.receive(id).await? {
            Response::Bind(done) => Ok(done),
            _ => Err(Failure::Unexpected),
        }
    }

    pub(super) async fn search(
        &mut self,
        wanted: &Wanted<'_>,
        filter: impl FnOnce(&mut Vec<u8>) -> Result<(), FilterFault>,
    ) -> Result<Found, Failure> {
        let id = self.next_id();
        let Wanted { base, scope, seconds } = *wanted;
        let request = message::search(id, base, scope, seconds, filter).map_err(Failure::Filter)?;
        self.send(&request).await?;
        let mut found = Found::Nobody;
        for _ in 0..RESPONSES_MAX {
            match (self.receive(id).await?, found) {
                (Response::Entry(name), Found::Nobody) => found = Found::One(name),
                (Response::Entry(_), _) => return Ok(Found::Several),
                (Response::Reference, so_far) => found = so_far,
                (Response::SearchDone(Done { code: 0, .. }), found) => return Ok(found),
                (Response::SearchDone(done), _) => {
                    return Err(Failure::operation("the search", done));
                }
                _ => return Err(Failure::Unexpected),
            }
        }
        Err(Failure::Unexpected)
    }

    /// Says goodbye, which nobody answers.
    pub(super) async fn end(mut self) {
        let id = self.next_id();
        let _ = self.send(&message::unbind(id)).await;
        let _ = self.stream.shutdown().await;
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    async fn send(&mut self, request: &Request) -> Result<(), Failure> {
        self.stream.write_all(request).await.map_err(Failure::Lost)?;
        self.stream.flush().await.map_err(Failure::Lost)
    }

    /// The next message, which must answer this request.
    async fn receive(&mut self, id: u32) -> Result<Response, Failure> {
        let len = loop {
            match response_len(&self.unread)? {
                Some(len) if self.unread.len() >= len => break len,
                Some(len) => self.unread.reserve_exact(len - self.unread.len()),
                None => self.unread.reserve(READ_LEN),
            }
            if self.stream.read_buf(&mut self.unread).await.map_err(Failure::Lost)? == 0 {
                return Err(Failure::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
        };
        let message = response(self.unread.get(..len).unwrap_or_default())?;
        self.unread.drain(..len);
        match message {
            (answered, response) if answered == id => Ok(response),
            // RFC 4511, section 4.4.1: it is about to close the connection.
            (0, Response::Extended(done)) => Err(Failure::operation("the connection", done)),
            _ => Err(Failure::Unexpected),
        }
    }
}
