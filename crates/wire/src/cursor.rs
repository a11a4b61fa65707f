//! A bounds-checked reader over one message body.

use thiserror::Error;

/// A body that ends early, has no terminator where one must be, or has bytes left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed message")]
pub struct Malformed;

/// Reads integers and zero-terminated strings from a borrowed body; never past its end.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of `body`.
    #[inline]
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// What has not been read.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One byte.
    ///
    /// # Errors
    /// The body is at its end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = rest;
        Ok(first)
    }

    /// A big-endian 16-bit integer.
    ///
    /// # Errors
    /// Fewer than two bytes are left.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(i16::from_be_bytes(*first))
    }

    /// A big-endian 32-bit integer.
    ///
    /// # Errors
    /// Fewer than four bytes are left.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(i32::from_be_bytes(*first))
    }

    /// Exactly `len` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (first, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(first)
    }

    /// The bytes up to the next zero, which is read and not returned.
    ///
    /// # Errors
    /// No zero byte is left.
    #[inline]
    pub fn c_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.rest.iter().position(|&byte| byte == 0).ok_or(Malformed)?;
        let text = self.bytes(end)?;
        self.u8()?;
        Ok(text)
    }

    /// Like [`Cursor::c_bytes`], as UTF-8.
    ///
    /// # Errors
    /// No zero byte is left, or the text is not UTF-8.
    pub fn c_str(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.c_bytes()?).map_err(|_| Malformed)
    }

    /// Succeeds at the end of the body only.
    ///
    /// # Errors
    /// Bytes are left over.
    pub fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
