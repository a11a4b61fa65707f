//! The two ends of a test: a scripted client, and a server side that takes whoever comes
//! through the whole login.

#![allow(dead_code, reason = "each test file uses the part that it needs")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use auth::{ClientFirst, Login, Nonce, Password, Secret, Seed, Users, Verifier};
use frontend::{ClientAddress, Established, Handshake, PeerCall, Refused, fatal, handshake};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use transport::{Acceptor, ServerTls, TlsMode};
use wire::{CancelKey, CancelSecret, ErrorFields, Version, message, put_startup};

pub(crate) const PEER: ClientAddress =
    ClientAddress::Host(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4711));
pub(crate) const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What a connection came to.
#[derive(Debug)]
pub(crate) enum Outcome<S> {
    Cancel(CancelKey),
    Peer(PeerCall<S>),
    Session(Established<S>),
    Refused(Refused),
    /// Let in by the password and then refused, as the assembly does for what it knows better.
    NoDatabase,
}

impl<S> Outcome<S> {
    /// The refusal's label, or what there was instead.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Cancel(_) => "(cancel)",
            Self::Peer(_) => "(peer)",
            Self::Session(_) => "(session)",
            Self::Refused(refused) => refused.kind(),
            Self::NoDatabase => "(no database)",
        }
    }
}

/// `alice` with a plain password, `bob` with a verifier whose salt is not 16 bytes long.
pub(crate) fn users() -> Users {
    let verifier = Verifier::derive(&Secret::new("bobs"), b"a salt of 23 bytes, yes", 5000);
    let users = [
        ("alice".to_owned(), Password::Plain(Secret::new("secret"))),
        ("bob".to_owned(), Password::parse(verifier.format()).unwrap()),
    ];
    Users::new(users, Seed::new([7; 32])).unwrap()
}

/// An acceptor with a certificate made for it, which its clients do not check.
pub(crate) fn acceptor(mode: TlsMode) -> Acceptor {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("crt"), directory.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (Some(certificate), Some(key));
    ServerTls { mode, certificate, key, ..ServerTls::default() }.acceptor().unwrap()
}

pub(crate) fn key() -> CancelKey {
    CancelKey { pid: 4711, secret: CancelSecret::new(&[9; 4]).unwrap() }
}

/// The server side, from the first byte to the first ReadyForQuery.
pub(crate) async fn serve<S>(stream: S, acceptor: &Acceptor) -> Outcome<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    serve_from(stream, PEER, acceptor).await
}

pub(crate) async fn serve_from<S>(stream: S, from: ClientAddress, acceptor: &Acceptor) -> Outcome<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Instant::now() + LOGIN_TIMEOUT;
    let request = match handshake(stream, from, acceptor, deadline).await {
        Ok(Handshake::Client(request)) => request,
        Ok(Handshake::Cancel(call)) => {
            let key = call.key.clone();
            call.close().await;
            return Outcome::Cancel(key);
        }
        Ok(Handshake::Peer(call)) => return Outcome::Peer(call),
        Err(refused) => return Outcome::Refused(refused),
    };
    let challenge = users().challenge(&request.startup().user);
    let client = match request.authenticate(challenge).await {
        Ok(client) => client,
        Err(refused) => return Outcome::Refused(refused),
    };
    if client.startup().database == "nowhere" {
        client.refuse(&fatal::unknown_database("nowhere")).await;
        return Outcome::NoDatabase;
    }
    let statuses = [("server_version", "15.0"), ("TimeZone", "UTC")];
    match client.greet(statuses, &key()).await {
        Ok(session) => Outcome::Session(session),
        Err(refused) => Outcome::Refused(refused),
    }
}

/// A client that says exactly what the test says.
pub(crate) struct Peer<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn byte(&mut self) -> u8 {
        self.0.read_u8().await.unwrap()
    }

    /// The next message: its type and body.
    pub(crate) async fn message(&mut self) -> (u8, Vec<u8>) {
        let tag = self.0.read_u8().await.unwrap();
        let len = self.0.read_u32().await.unwrap();
        let mut body = vec![0; len as usize - 4];
        self.0.read_exact(&mut body).await.unwrap();
        (tag, body)
    }

    /// The next message must be an Authentication* of this kind; gives what follows.
    pub(crate) async fn authentication(&mut self, kind: u32) -> Vec<u8> {
        let (tag, body) = self.message().await;
        assert_eq!((tag, &body[..4]), (b'R', &kind.to_be_bytes()[..]), "{body:?}");
        body[4..].to_vec()
    }

    /// The connection must end with this FATAL; gives its text.
    pub(crate) async fn fatal(&mut self, code: &str) -> String {
        let (tag, body) = self.message().await;
        assert_eq!(tag, b'E');
        let fields = ErrorFields::parse(&body).unwrap();
        assert_eq!((fields.severity, fields.code), ("FATAL", code), "{}", fields.message);
        let message = fields.message.to_owned();
        self.end().await;
        message
    }

    /// The connection must end here, without another byte.
    pub(crate) async fn end(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    }

    /// Answers the SASL request with the first message of an exchange.
    pub(crate) async fn scram_first(&mut self, password: &str) -> ClientFirst {
        let mechanisms = self.authentication(10).await;
        let mechanisms = mechanisms.strip_prefix(b"SCRAM-SHA-256-PLUS\0").unwrap_or(&mechanisms);
        assert_eq!(mechanisms, b"SCRAM-SHA-256\0\0");
        let login = Login::Password { password: Secret::new(password), cached: None };
        let first = ClientFirst::new(login, Nonce::new([1; 18]));
        self.send(&initial_response("SCRAM-SHA-256", Some(first.message().as_bytes()))).await;
        first
    }

    /// The whole exchange up to the proof, which is returned and not sent.
    pub(crate) async fn scram_proof(&mut self, password: &str) -> (auth::ClientFinal, Vec<u8>) {
        let first = self.scram_first(password).await;
        let server_first = self.authentication(11).await;
        let last = first.receive(&server_first).unwrap();
        let proof = sasl_response(last.message().as_bytes());
        (last, proof)
    }

    /// Proves the password, and reads all up to the first ReadyForQuery.
    pub(crate) async fn log_in(&mut self, password: &str) {
        let (last, proof) = self.scram_proof(password).await;
        self.send(&proof).await;
        self.welcomed(last).await;
    }

    pub(crate) async fn welcomed(&mut self, last: auth::ClientFinal) {
        last.receive(&self.authentication(12).await).unwrap();
        assert_eq!(self.authentication(0).await, b"");
        assert_eq!(self.message().await, (b'S', b"server_version\x0015.0\0".to_vec()));
        assert_eq!(self.message().await, (b'S', b"TimeZone\0UTC\0".to_vec()));
        let mut backend_key = 4711_i32.to_be_bytes().to_vec();
        backend_key.extend([9; 4]);
        assert_eq!(self.message().await, (b'K', backend_key));
        assert_eq!(self.message().await, (b'Z', b"I".to_vec()));
    }
}

pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    startup_as(Version::V3_0, parameters)
}

pub(crate) fn startup_as(version: Version, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_startup(&mut out, version, parameters.iter().copied());
    out
}

/// An untagged packet: its length, and these bytes.
pub(crate) fn packet(body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32 + 4).to_be_bytes().to_vec();
    out.extend(body);
    out
}

pub(crate) fn ssl_request() -> Vec<u8> {
    packet(&(1234_u32 << 16 | 5679).to_be_bytes())
}

pub(crate) fn gssenc_request() -> Vec<u8> {
    packet(&(1234_u32 << 16 | 5680).to_be_bytes())
}

pub(crate) fn cancel_request(secret: &[u8]) -> Vec<u8> {
    let mut body = (1234_u32 << 16 | 5678).to_be_bytes().to_vec();
    body.extend(4711_i32.to_be_bytes());
    body.extend(secret);
    packet(&body)
}

pub(crate) fn initial_response(mechanism: &str, response: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    message::put(&mut out, b'p', |out| {
        message::put_c_str(out, mechanism);
        match response {
            Some(response) => {
                out.extend((response.len() as u32).to_be_bytes());
                out.extend(response);
            }
            None => out.extend((-1_i32).to_be_bytes()),
        }
    });
    out
}

pub(crate) fn sasl_response(response: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message::put(&mut out, b'p', |out| out.extend(response));
    out
}
