//! What the two processes say to each other, over any stream.
//!
//! The newer one asks, the older one answers each question with one byte, in order. Keys cross
//! whole: both ends are on this machine and of one user, and the kernel has said so.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use wire::{CancelKey, CancelSecret};

/// The first word of the newer process: what it is, and how it speaks.
pub(super) const HELLO: &[u8; 16] = b"pgmesh takeover1";

/// What the newer process says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// It takes clients: the older one may leave.
    Ready,
    /// A CancelRequest has come whose key it has not given.
    Cancel(CancelKey),
}

/// What the older process says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It takes no more clients.
    Leaving,
    /// The key is one of its own, and it carries the request out.
    Taken,
    /// The key is none of its own.
    Unknown,
}

/// What comes with the descriptors of the listeners.
pub(super) const LISTENERS: u8 = b'L';

impl Question {
    pub(super) async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut out = Vec::new();
        match self {
            Self::Ready => out.push(b'R'),
            Self::Cancel(key) => {
                let secret = key.secret.expose();
                out.push(b'C');
                out.extend(key.pid.to_be_bytes());
                // Up to 256, in one byte.
                out.push(u8::try_from(secret.len() - 1).map_err(io::Error::other)?);
                out.extend(secret);
            }
        }
        to.write_all(&out).await
    }

    /// The next one; `None` if the newer process has ended.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut tag = [0];
        if from.read(&mut tag).await? == 0 {
            return Ok(None);
        }
        match tag {
            [b'R'] => Ok(Some(Self::Ready)),
            [b'C'] => {
                let pid = from.read_i32().await?;
                let mut secret = vec![0; usize::from(from.read_u8().await?) + 1];
                from.read_exact(&mut secret).await?;
                let secret = CancelSecret::new(&secret).map_err(|_| malformed())?;
                Ok(Some(Self::Cancel(CancelKey { pid, secret })))
            }
            _ => Err(malformed()),
        }
    }
}

impl Answer {
    const ALL: [(Self, u8); 3] =
        [(Self::Leaving, b'D'), (Self::Taken, b'T'), (Self::Unknown, b'U')];

    pub(super) async fn write(self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let byte = Self::ALL.iter().find(|(it, _)| *it == self).map(|(_, byte)| *byte);
        to.write_all(byte.as_slice()).await
    }

    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let said = from.read_u8().await?;
        let answer = Self::ALL.iter().find(|(_, byte)| *byte == said).map(|(it, _)| *it);
        answer.ok_or_else(malformed)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the other process speaks another protocol")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_said_is_heard() {
        let (mut one, mut other) = tokio::io::duplex(1024);
        for len in [4, 32, 256] {
            let secret = CancelSecret::new(&vec![7; len]).unwrap();
            let question = Question::Cancel(CancelKey { pid: -5, secret });
            question.write(&mut one).await.unwrap();
            assert_eq!(Question::read(&mut other).await.unwrap(), Some(question));
        }
        Question::Ready.write(&mut one).await.unwrap();
        assert_eq!(Question::read(&mut other).await.unwrap(), Some(Question::Ready));
        for (answer, _) in Answer::ALL {
            answer.write(&mut other).await.unwrap();
            assert_eq!(Answer::read(&mut one).await.unwrap(), answer);
        }
    }

    #[tokio::test]
    async fn what_is_not_said_is_an_error_and_the_end_is_an_end() {
        for said in [&b"x"[..], b"C\0\0\0\x01\x02abc", b"C\0\0", b"C\0\0\0\x01\x05abc"] {
            assert!(Question::read(&mut &*said).await.is_err(), "{said:?}");
        }
        assert_eq!(Question::read(&mut &b""[..]).await.unwrap(), None);
        assert!(Answer::read(&mut &b"?"[..]).await.is_err());
    }
}
