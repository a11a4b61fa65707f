//! The messages that pgmesh builds, and the heads of those it rewrites.

use crate::{
    CancelKey, Cursor, HEADER_LEN, Malformed,
    tag::{backend, frontend},
};

/// What a Describe or Close names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// A prepared statement; empty for the unnamed one.
    Statement(&'a [u8]),
    /// A portal; empty for the unnamed one.
    Portal(&'a [u8]),
}

/// A Parse, apart into its name and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty for the unnamed one.
    pub name: &'a [u8],
    /// Text, its terminator, and the parameter types, as sent.
    pub definition: &'a [u8],
}

/// The head of a Bind: the two names. What follows is forwarded as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindHead<'a> {
    /// The portal's name.
    pub portal: &'a [u8],
    /// The statement's name.
    pub statement: &'a [u8],
}

/// A transaction's state, as ReadyForQuery tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`: not in a transaction.
    Idle,
    /// `T`: in a transaction.
    Open,
    /// `E`: in a failed transaction.
    Failed,
}

impl<'a> Parse<'a> {
    /// Reads a whole Parse body, and checks that the definition has the shape it must.
    ///
    /// # Errors
    /// A terminator is missing, or the count of types is not what follows it.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let name = cursor.c_bytes()?;
        let definition = cursor.rest();
        cursor.c_bytes()?;
        // Postgres reads the count as unsigned: up to 65,535 parameters.
        let types = usize::from(cursor.i16()?.cast_unsigned());
        cursor.bytes(types * 4)?;
        cursor.end()?;
        Ok(Self { name, definition })
    }

    /// The statement's text, without its terminator.
    pub fn text(&self) -> &'a [u8] {
        Cursor::new(self.definition).c_bytes().unwrap_or_default()
    }
}

impl<'a> BindHead<'a> {
    /// Reads the two names from the front of a Bind body, of which the rest may be missing.
    ///
    /// # Errors
    /// A terminator is missing.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        Ok(Self { portal: cursor.c_bytes()?, statement: cursor.c_bytes()? })
    }

    /// Bytes that the head takes, both terminators included.
    #[inline]
    pub fn len(&self) -> usize {
        self.portal.len() + self.statement.len() + 2
    }

    /// Never true: the terminators are there.
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl<'a> Named<'a> {
    /// Reads the body of a Describe or Close.
    ///
    /// # Errors
    /// The kind is neither `S` nor `P`, the terminator is missing, or bytes follow it.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let kind = cursor.u8()?;
        let name = cursor.c_bytes()?;
        cursor.end()?;
        match kind {
            b'S' => Ok(Self::Statement(name)),
            b'P' => Ok(Self::Portal(name)),
            _ => Err(Malformed),
        }
    }
}

impl TransactionStatus {
    /// Reads the body of a ReadyForQuery.
    ///
    /// # Errors
    /// It is not one of `I`, `T` and `E` alone.
    #[inline]
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        match body {
            b"I" => Ok(Self::Idle),
            b"T" => Ok(Self::Open),
            b"E" => Ok(Self::Failed),
            _ => Err(Malformed),
        }
    }

    /// The byte that tells it.
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Open => b'T',
            Self::Failed => b'E',
        }
    }
}

/// Reads the two texts of a ParameterStatus.
///
/// # Errors
/// A terminator is missing, bytes follow, or a text is not UTF-8.
pub fn parameter_status(body: &[u8]) -> Result<(&str, &str), Malformed> {
    let mut cursor = Cursor::new(body);
    let pair = (cursor.c_str()?, cursor.c_str()?);
    cursor.end().map(|()| pair)
}

/// Appends one message whose body `write` appends; the length is filled in after it.
#[inline]
pub fn put(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    write(out);
    // Our own messages are far below 4 GiB: their parts are bounded by what was read.
    let len = u32::try_from(out.len() - start - 1).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start + 1..start + HEADER_LEN) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

/// Appends a header alone, for a body of `body_len` bytes that is copied from elsewhere.
#[inline]
pub fn put_header(out: &mut Vec<u8>, tag: u8, body_len: u32) {
    out.push(tag);
    out.extend_from_slice(&(body_len.saturating_add(4)).to_be_bytes());
}

/// Appends text and its terminator. A zero byte inside would end it early and let the
/// rest be read as something else, so it is left out.
pub fn put_c_str(out: &mut Vec<u8>, text: &str) {
    put_c_bytes(out, text.as_bytes());
}

/// Like [`put_c_str`] for bytes in an unknown encoding.
#[inline]
pub fn put_c_bytes(out: &mut Vec<u8>, text: &[u8]) {
    if text.contains(&0) {
        out.extend(text.iter().filter(|&&byte| byte != 0));
    } else {
        out.extend_from_slice(text);
    }
    out.push(0);
}

/// A ParseComplete, whole.
pub const PARSE_COMPLETE: &[u8] = &[backend::PARSE_COMPLETE, 0, 0, 0, 4];
/// A CloseComplete, whole.
pub const CLOSE_COMPLETE: &[u8] = &[backend::CLOSE_COMPLETE, 0, 0, 0, 4];
/// A Sync, whole.
pub const SYNC: &[u8] = &[frontend::SYNC, 0, 0, 0, 4];
/// A Flush, whole.
pub const FLUSH: &[u8] = &[frontend::FLUSH, 0, 0, 0, 4];
/// A Terminate, whole.
pub const TERMINATE: &[u8] = &[frontend::TERMINATE, 0, 0, 0, 4];
/// An AuthenticationOk, whole.
pub const AUTHENTICATION_OK: &[u8] = &[backend::AUTHENTICATION, 0, 0, 0, 8, 0, 0, 0, 0];

/// Appends a ReadyForQuery.
pub fn put_ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    out.extend_from_slice(&[backend::READY_FOR_QUERY, 0, 0, 0, 5, status.byte()]);
}

/// Appends a CommandComplete.
pub fn put_command_complete(out: &mut Vec<u8>, command_tag: &str) {
    put(out, backend::COMMAND_COMPLETE, |out| put_c_str(out, command_tag));
}

/// Appends a ParameterStatus.
pub fn put_parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    put(out, backend::PARAMETER_STATUS, |out| {
        put_c_str(out, name);
        put_c_str(out, value);
    });
}

/// Appends a BackendKeyData.
pub fn put_backend_key_data(out: &mut Vec<u8>, key: &CancelKey) {
    put(out, backend::BACKEND_KEY_DATA, |out| {
        out.extend_from_slice(&key.pid.to_be_bytes());
        out.extend_from_slice(key.secret.expose());
    });
}

/// Appends a Query.
pub fn put_query(out: &mut Vec<u8>, text: &str) {
    put(out, frontend::QUERY, |out| put_c_str(out, text));
}

/// Appends a Parse of `definition` (text, terminator, types) under `name`.
pub fn put_parse(out: &mut Vec<u8>, name: &[u8], definition: &[u8]) {
    put(out, frontend::PARSE, |out| {
        put_c_bytes(out, name);
        out.extend_from_slice(definition);
    });
}

/// Appends a Close of a statement.
pub fn put_close_statement(out: &mut Vec<u8>, name: &[u8]) {
    put(out, frontend::CLOSE, |out| {
        out.push(b'S');
        put_c_bytes(out, name);
    });
}

/// Appends a Close of a portal.
pub fn put_close_portal(out: &mut Vec<u8>, name: &[u8]) {
    put(out, frontend::CLOSE, |out| {
        out.push(b'P');
        put_c_bytes(out, name);
    });
}

/// Appends a Describe of a statement.
pub fn put_describe_statement(out: &mut Vec<u8>, name: &[u8]) {
    put(out, frontend::DESCRIBE, |out| {
        out.push(b'S');
        put_c_bytes(out, name);
    });
}
