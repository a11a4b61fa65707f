//! Descriptors that go from one process to another over a Unix socket (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The most that goes with one message (`SCM_MAX_FD` of Linux).
pub const DESCRIPTORS_MAX: usize = 253;

const SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// Sends one byte with these descriptors. They stay open here.
///
/// # Errors
/// Too many of them, or the peer has gone.
///
/// # Cancel safety
/// All or nothing is sent.
pub async fn send_descriptors(
    line: &UnixStream,
    byte: u8,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::other("too many listeners to hand over"));
    }
    let send = || {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = sendmsg(
            line.as_fd(),
            &[IoSlice::new(&[byte])],
            &mut control,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )?;
        if sent == 1 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    };
    line.async_io(Interest::WRITABLE, send).await
}

/// Receives one byte, and the descriptors that came with it. They are closed on exec.
///
/// # Errors
/// The peer has gone, or there is no room for so many descriptors.
///
/// # Cancel safety
/// Nothing is received if the future is dropped.
pub async fn receive_descriptors(line: &UnixStream) -> io::Result<(u8, Vec<OwnedFd>)> {
    let receive = || {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            line.as_fd(),
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        )?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        match received.bytes {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ if received.flags.contains(ReturnFlags::CTRUNC) => {
                Err(io::Error::other("not all listeners arrived: too few descriptors are left"))
            }
            _ => Ok((byte[0], descriptors)),
        }
    };
    line.async_io(Interest::READABLE, receive).await
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[tokio::test]
    async fn descriptors_arrive_with_their_byte_and_work() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let many = vec![writer.as_fd(); DESCRIPTORS_MAX];
        send_descriptors(&here, b'L', &many).await.unwrap();
        send_descriptors(&here, b'M', &[]).await.unwrap();
        let too_many = vec![writer.as_fd(); DESCRIPTORS_MAX + 1];
        assert!(send_descriptors(&here, b'L', &too_many).await.is_err());
        let (byte, received) = receive_descriptors(&there).await.unwrap();
        assert_eq!((byte, received.len()), (b'L', DESCRIPTORS_MAX));
        assert_eq!(receive_descriptors(&there).await.unwrap().0, b'M');
        drop(writer);
        let last = received.into_iter().last().unwrap();
        io::Write::write_all(&mut std::fs::File::from(last), b"said").unwrap();
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "said");
        drop(here);
        let gone = receive_descriptors(&there).await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }
}
