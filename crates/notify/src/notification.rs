//! One NotificationResponse, shared by all who get it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use wire::{Cursor, HEADER_LEN, Malformed};

/// One NotificationResponse as the server sent it. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    frame: Arc<[u8]>,
}

/// The process id, behind the header.
const PID: Range<usize> = HEADER_LEN..HEADER_LEN + 4;

impl Notification {
    /// Keeps a whole frame.
    ///
    /// # Errors
    /// The body is not that of a NotificationResponse.
    pub(crate) fn read(frame: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(frame.get(HEADER_LEN..).unwrap_or_default());
        cursor.i32()?;
        cursor.c_bytes()?;
        cursor.c_bytes()?;
        cursor.end()?;
        Ok(Self { frame: frame.into() })
    }

    /// The whole message, header included: fit to be sent to a client as it is.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The process id of the server that notified.
    pub fn pid(&self) -> i32 {
        let bytes = self.frame.get(PID).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, i32::from_be_bytes)
    }

    /// The channel, in the client encoding of those who get it.
    pub fn channel(&self) -> &[u8] {
        self.texts().next().unwrap_or_default()
    }

    /// The payload, which may be empty, in the client encoding of those who get it.
    pub fn payload(&self) -> &[u8] {
        self.texts().nth(1).unwrap_or_default()
    }

    fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.frame.get(PID.end..).unwrap_or_default().split(|byte| *byte == 0)
    }
}

/// Without the payload, which is the client's business.
impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("pid", &self.pid())
            .field("channel", &String::from_utf8_lossy(self.channel()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn its_parts_are_read_where_they_stand() {
        let read = Notification::read(b"A\0\0\0\x0d\0\0\x01\x02ab\0c\0").unwrap();
        assert_eq!((read.pid(), read.channel(), read.payload()), (258, &b"ab"[..], &b"c"[..]));
        let read = Notification::read(b"A\0\0\0\x0b\0\0\x01\x02a\0\0").unwrap();
        assert_eq!((read.channel(), read.payload()), (&b"a"[..], &b""[..]));
        assert!(!format!("{read:?}").contains("payload"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
            if let Ok(read) = Notification::read(&bytes) {
                prop_assert_eq!(read.channel().len() + read.payload().len() + 2 + 9, bytes.len());
            }
        }
    }
}
