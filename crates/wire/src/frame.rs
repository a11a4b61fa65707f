//! The five bytes in front of every message after startup.

use thiserror::Error;

/// Tag (1 byte) and length (4 bytes).
pub const HEADER_LEN: usize = 5;

/// The largest message either side may send, header's length field included. Postgres
/// refuses more than `MaxAllocSize - 1` (1 GiB − 2).
pub const MAX_MESSAGE_LEN: u32 = 0x3fff_fffe;

/// A frame's tag and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message type byte.
    pub tag: u8,
    /// Bytes that follow the header.
    pub body_len: u32,
}

/// A length that no honest peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("invalid message length {len} for message type {tag:#04x}")]
pub struct FrameError {
    /// The message type byte.
    pub tag: u8,
    /// The length field as sent; it counts itself, so the least legal value is 4.
    pub len: i32,
}

impl Header {
    /// Reads a header from the front of `buf`; `None` while fewer than five bytes are there.
    ///
    /// # Errors
    /// The length field is below 4, negative, or over [`MAX_MESSAGE_LEN`].
    #[inline]
    pub fn peek(buf: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(&[tag, a, b, c, d]) = buf.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([a, b, c, d]);
        if !(4..=MAX_MESSAGE_LEN).contains(&len) {
            return Err(FrameError { tag, len: len.cast_signed() });
        }
        Ok(Some(Self { tag, body_len: len - 4 }))
    }

    /// Header and body together, in bytes.
    #[inline]
    pub fn frame_len(self) -> usize {
        HEADER_LEN + self.body_len as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_below_four_negative_or_giant_is_refused() {
        for len in [0_i32, 1, 3, -1, i32::MIN, i32::MAX, 0x3fff_ffff] {
            let mut frame = vec![b'Q'];
            frame.extend(len.to_be_bytes());
            assert_eq!(Header::peek(&frame), Err(FrameError { tag: b'Q', len }));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_header_an_error_or_a_wait(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            match Header::peek(&bytes) {
                Ok(None) => prop_assert!(bytes.len() < HEADER_LEN),
                Ok(Some(header)) => {
                    prop_assert_eq!(header.tag, bytes[0]);
                    prop_assert!(header.frame_len() >= HEADER_LEN);
                }
                Err(_) => prop_assert!(bytes.len() >= HEADER_LEN),
            }
        }
    }
}
