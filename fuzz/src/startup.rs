//! A client's bytes from the first one to its first ReadyForQuery.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::frontend::{ClientAddress, Handshake, handshake};
use auth::{Password, Secret, Seed, Users, Verifier};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use transport::Acceptor;
use wire::{CancelKey, CancelSecret, StartupPacket};

/// More than any client is told at login.
const SAID_MAX: usize = 64 * 1024;

/// The first byte says into how large pieces the others are cut; 0 leaves them whole.
///
/// # Panics
/// Something is wrong.
pub fn run(data: &[u8]) {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let _ = StartupPacket::parse(bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without a reactor");
    let mut said = 0;
    runtime.block_on(log_in(Wire { unread: bytes, piece: usize::from(piece), said: &mut said }));
    assert!(said <= SAID_MAX, "{said} bytes for a login");
}

async fn log_in(wire: Wire<'_>) {
    let from = ClientAddress::Host(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let deadline = Instant::now() + Duration::from_secs(60);
    let Ok(shaken) = handshake(wire, from, &Acceptor::disabled(), deadline).await else { return };
    let Handshake::Client(request) = shaken else { return };
    let challenge = users().challenge(&request.startup().user);
    let Ok(client) = request.authenticate(challenge).await else { return };
    let secret = CancelSecret::new(&[0; 4]).expect("a legal length");
    let key = CancelKey { pid: 1, secret };
    let _ = client.greet([("server_version", "15.4")], &key).await;
}

fn users() -> Users {
    let verifier = Verifier::derive(&Secret::new("secret"), b"salt", 1);
    let user = ("bob".to_owned(), Password::Verifier(Arc::new(verifier)));
    Users::new([user], Seed::new([7; 32])).expect("one user")
}

/// Gives bytes in pieces, and counts what is said to it.
struct Wire<'a> {
    unread: &'a [u8],
    piece: usize,
    said: &'a mut usize,
}

impl AsyncRead for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = if self.piece == 0 { usize::MAX } else { self.piece };
        let len = buf.remaining().min(piece).min(self.unread.len());
        let (now, later) = self.unread.split_at(len);
        buf.put_slice(now);
        self.unread = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        *self.get_mut().said += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
