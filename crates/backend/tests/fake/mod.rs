//! A server that follows a script instead of the protocol.

#![allow(dead_code, reason = "each test binary compiles this module and uses its part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use auth::Secret;
use backend::{
    Config, ConnectError, Credentials, Dialer, Login, Ready, RequiredRole, Startup, Target,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use transport::{ClientTls, TlsMode};
use wire::message;

/// AuthenticationOk, one parameter, a key and ReadyForQuery.
pub(crate) fn welcome() -> Vec<u8> {
    [
        message::AUTHENTICATION_OK.to_vec(),
        parameter("server_version", "15.4"),
        parameter("in_hot_standby", "off"),
        frame(b'K', &[0, 0, 0, 7, 1, 2, 3, 4]),
        frame(b'Z', b"I"),
    ]
    .concat()
}

pub(crate) fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message::put(&mut out, tag, |out| out.extend_from_slice(body));
    out
}

pub(crate) fn parameter(name: &str, value: &str) -> Vec<u8> {
    frame(b'S', format!("{name}\0{value}\0").as_bytes())
}

pub(crate) fn authentication(code: i32, rest: &[u8]) -> Vec<u8> {
    frame(b'R', &[&code.to_be_bytes(), rest].concat())
}

pub(crate) fn error(code: &str, text: &str) -> Vec<u8> {
    frame(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0").as_bytes())
}

/// The scripted server. Every script runs beside the connection it serves, and whatever the
/// script leaves open stays open until the client has its result.
pub(crate) struct Fake {
    listener: TcpListener,
}

impl Fake {
    pub(crate) async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn target(&self) -> Target {
        let address = self.listener.local_addr().unwrap();
        Target::new(address.ip().to_string(), address.port())
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Takes a startup packet on a new plain connection.
    pub(crate) async fn accept_startup(&self) -> TcpStream {
        let mut stream = self.accept().await;
        read_packet(&mut stream).await;
        stream
    }
}

/// Reads an untagged packet and returns what follows its length.
pub(crate) async fn read_packet<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let length = stream.read_u32().await.unwrap();
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await.unwrap();
    body
}

/// Reads a tagged message.
pub(crate) async fn read_message<S: AsyncRead + Unpin>(stream: &mut S) -> (u8, Vec<u8>) {
    let tag = stream.read_u8().await.unwrap();
    (tag, read_packet(stream).await)
}

/// Writes, ignoring a client that has seen enough.
pub(crate) async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
}

/// Waits for the client to close.
pub(crate) async fn closed<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
}

pub(crate) fn config(mode: TlsMode) -> Config {
    Config {
        connect_timeout: Duration::from_secs(5),
        login_timeout: Duration::from_secs(5),
        tls: ClientTls { mode, ..ClientTls::default() },
        ..Config::default()
    }
}

pub(crate) fn login() -> Login {
    let password = Secret::new("secret");
    Login {
        credentials: Credentials::password("alice", password),
        startup: Startup::new("db"),
        role: RequiredRole::Any,
    }
}

/// One login without TLS against a server that sends `bytes` after the startup packet.
pub(crate) async fn login_against(bytes: &[u8]) -> Result<Ready, ConnectError> {
    let fake = Fake::bind().await;
    let dialer = Dialer::new(config(TlsMode::Disable)).unwrap();
    let target = fake.target();
    let login = login();
    let script = async {
        let mut stream = fake.accept_startup().await;
        send(&mut stream, bytes).await;
        stream
    };
    let (result, _stream) = tokio::join!(dialer.connect(&target, &login), script);
    result
}
