//! The conversation about one cancel key, from both ends, over any stream.
//!
//! wire's `PeerHello` has the messages. Whoever listens learns a process id and nothing to use
//! it with; what was recorded fits no other conversation, for each end draws a nonce. Neither
//! end waits for more than the bytes of the next message; limits of time are the caller's.

use std::io;

use auth::{Proof, Secret};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use wire::{CancelKey, KeyOwner, PeerCancel, PeerChallenge, PeerHello, put_peer_hello};

/// What asking came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The peer gave the key, and will carry the request out.
    Taken,
    /// It did not, or does not know our secret.
    NotTaken,
    /// It is ourselves.
    Ourselves,
}

/// What being asked came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<T> {
    /// The key is ours, and the peer knows that we have taken it.
    Taken(T),
    /// The key is not ours, or no more.
    Unknown,
    /// The peer does not know the secret.
    Refused,
    /// The peer asks somebody else.
    Left,
}

/// Asks the peer at the other end of `stream` to carry out a cancel request. The key's secret
/// is not sent, and its proof to no one but who says to be its owner. `process` is what we say
/// we are when asked ourselves.
///
/// # Errors
/// The connection broke, or no peer is at its other end.
pub(super) async fn ask<S>(
    mut stream: S,
    hello: PeerHello,
    key: &CancelKey,
    process: [u8; 8],
    secret: &Secret,
) -> io::Result<Asked>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut out = Vec::new();
    put_peer_hello(&mut out, &hello);
    stream.write_all(&out).await?;
    stream.flush().await?;

    let mut challenge = [0; PeerChallenge::LEN];
    stream.read_exact(&mut challenge).await?;
    let challenge = PeerChallenge::parse(&challenge)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no pgmesh listens there"))?;
    if challenge.process == process {
        return Ok(Asked::Ourselves);
    }
    if KeyOwner::of(key.pid) != Some(challenge.owner) {
        return Ok(Asked::NotTaken);
    }

    let terms = Terms { secret, hello, challenge, pid: key.pid };
    let key_proof = terms.of_key(key);
    let cancel = PeerCancel { pid: key.pid, key_proof, proof: terms.of_request(&key_proof) };
    stream.write_all(&cancel.to_bytes()).await?;
    stream.flush().await?;
    let mut taken = [0; Proof::LEN];
    match stream.read_exact(&mut taken).await {
        Ok(_) if same(taken, terms.of_taking()) => Ok(Asked::Taken),
        Ok(_) => Ok(Asked::NotTaken),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Asked::NotTaken),
        Err(error) => Err(error),
    }
}

/// Answers a peer that has said hello. `find` has what belongs to a process id if the key
/// that it is shown is the right one. The connection is closed with the stream: that is all
/// that a peer is told which is refused.
///
/// # Errors
/// The connection broke.
pub(super) async fn hear<S, T>(
    stream: &mut S,
    hello: PeerHello,
    challenge: PeerChallenge,
    secret: &Secret,
    find: impl FnOnce(i32, &dyn Fn(&CancelKey) -> bool) -> Option<T>,
) -> io::Result<Heard<T>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&challenge.to_bytes()).await?;
    stream.flush().await?;

    let mut cancel = [0; PeerCancel::LEN];
    let mut filled = 0;
    while let Some(rest) = cancel.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest).await? {
            0 if filled == 0 => return Ok(Heard::Left),
            0 => return Ok(Heard::Refused),
            read => filled += read,
        }
    }
    let Ok(PeerCancel { pid, key_proof, proof }) = PeerCancel::parse(&cancel) else {
        return Ok(Heard::Refused);
    };

    let terms = Terms { secret, hello, challenge, pid };
    if !same(proof, terms.of_request(&key_proof)) {
        return Ok(Heard::Refused);
    }
    let Some(found) = find(pid, &|key| same(key_proof, terms.of_key(key))) else {
        return Ok(Heard::Unknown);
    };
    // Too late to care: the request is carried out whether or not the peer hears of it.
    let _ = stream.write_all(&terms.of_taking()).await;
    let _ = stream.flush().await;
    Ok(Heard::Taken(found))
}

/// What both ends know of a conversation, and what they prove with it.
struct Terms<'a> {
    secret: &'a Secret,
    hello: PeerHello,
    challenge: PeerChallenge,
    pid: i32,
}

impl Terms<'_> {
    /// That one knows the key. Only its owner can tell.
    fn of_key(&self, key: &CancelKey) -> [u8; Proof::LEN] {
        self.prove("pgmesh cancel key", key.secret.expose())
    }

    /// That one knows the secret of all peers, and asks for this.
    fn of_request(&self, key_proof: &[u8; Proof::LEN]) -> [u8; Proof::LEN] {
        self.prove("pgmesh cancel request", key_proof)
    }

    /// That the owner has taken the request.
    fn of_taking(&self) -> [u8; Proof::LEN] {
        self.prove("pgmesh cancel taken", &[])
    }

    fn prove(&self, purpose: &str, what: &[u8]) -> [u8; Proof::LEN] {
        let (challenge, pid) = (self.challenge.to_bytes(), self.pid.to_be_bytes());
        let parts: [&[u8]; 4] = [&self.hello.nonce, &challenge, &pid, what];
        Proof::new(self.secret, purpose, &parts).to_bytes()
    }
}

/// Whether two proofs are one, in a time that does not tell how much of them is.
fn same(given: [u8; Proof::LEN], expected: [u8; Proof::LEN]) -> bool {
    Proof::from(given) == Proof::from(expected)
}

#[cfg(test)]
#[path = "talk_tests.rs"]
mod tests;
