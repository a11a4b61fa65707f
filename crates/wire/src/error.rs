//! ErrorResponse and NoticeResponse: what we send, and the fields we read.

use std::borrow::Cow;
use std::fmt;

use crate::{Cursor, Malformed, SqlState, message, tag::backend};

/// How bad it is. After `Fatal` the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed; the connection lives.
    Error,
    /// The connection ends.
    Fatal,
    /// For the client's information.
    Notice,
    /// For the client's attention.
    Warning,
}

/// An error or notice of our own, for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorMessage {
    /// How bad it is.
    pub severity: Severity,
    /// The code.
    pub state: SqlState,
    /// What happened, in Postgres' style: lower case, no full stop.
    pub message: Cow<'static, str>,
    /// More about it, in whole sentences.
    pub detail: Option<Cow<'static, str>>,
    /// What to do about it, in whole sentences.
    pub hint: Option<Cow<'static, str>>,
}

/// The fields that we look at in a peer's ErrorResponse. Any of them may be missing: a
/// server that leaves the SQLSTATE out has crashed a pooler before (CVE-2026-6666).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorFields<'a> {
    /// `ERROR`, `FATAL` or `PANIC`: field `V`, or `S` from servers before 9.6.
    pub severity: &'a str,
    /// The SQLSTATE, or an empty text.
    pub code: &'a str,
    /// The primary message, or an empty text.
    pub message: &'a str,
    /// The function in the server's source that reports it: the same in every language.
    pub routine: &'a str,
}

impl Severity {
    /// The untranslated word of field `V`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
        }
    }
}

impl ErrorMessage {
    /// An error that fails the statement.
    pub fn error(state: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Error, state, message: message.into(), detail: None, hint: None }
    }

    /// An error that ends the connection.
    pub fn fatal(state: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(state, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds more about it.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Appends the ErrorResponse or NoticeResponse to `out`.
    pub fn put(&self, out: &mut Vec<u8>) {
        let tag = match self.severity {
            Severity::Error | Severity::Fatal => backend::ERROR_RESPONSE,
            Severity::Notice | Severity::Warning => backend::NOTICE_RESPONSE,
        };
        message::put(out, tag, |out| {
            let fields = [
                (b'S', Some(self.severity.as_str())),
                (b'V', Some(self.severity.as_str())),
                (b'C', Some(self.state.as_str())),
                (b'M', Some(&*self.message)),
                (b'D', self.detail.as_deref()),
                (b'H', self.hint.as_deref()),
            ];
            for (field, text) in fields {
                if let Some(text) = text {
                    out.push(field);
                    message::put_c_str(out, text);
                }
            }
            out.push(0);
        });
    }
}

impl fmt::Display for ErrorMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.severity.as_str(), self.message, self.state)
    }
}

impl std::error::Error for ErrorMessage {}

impl<'a> ErrorFields<'a> {
    /// Reads the body of an ErrorResponse or NoticeResponse. Text that is not UTF-8 reads
    /// as empty: servers speak the database's encoding here.
    ///
    /// # Errors
    /// A field has no terminator, or the list has no end.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let mut fields = Self::default();
        loop {
            let field = cursor.u8()?;
            if field == 0 {
                return cursor.end().map(|()| fields);
            }
            let text = std::str::from_utf8(cursor.c_bytes()?).unwrap_or_default();
            match field {
                b'V' => fields.severity = text,
                b'S' if fields.severity.is_empty() => fields.severity = text,
                b'C' => fields.code = text,
                b'M' => fields.message = text,
                b'R' => fields.routine = text,
                _ => {}
            }
        }
    }

    /// Whether the server ends the connection after this.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity, "FATAL" | "PANIC")
    }

    /// Whether the code is this one.
    pub fn is(&self, state: SqlState) -> bool {
        self.code == state.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_we_send_reads_back() {
        let mut out = Vec::new();
        ErrorMessage::fatal(SqlState::INVALID_PASSWORD, "no").with_hint("Try again.").put(&mut out);
        let fields = ErrorFields::parse(&out[5..]).unwrap();
        assert_eq!((fields.severity, fields.code, fields.message), ("FATAL", "28P01", "no"));
        assert!(fields.is_fatal() && fields.is(SqlState::INVALID_PASSWORD));
    }

    #[test]
    fn an_error_without_a_code_is_read() {
        assert_eq!(ErrorFields::parse(b"Mx\0\0").unwrap().code, "");
        assert_eq!(ErrorFields::parse(b"\0").unwrap(), ErrorFields::default());
        assert_eq!(ErrorFields::parse(b"").unwrap_err(), Malformed);
        assert_eq!(ErrorFields::parse(b"Mx").unwrap_err(), Malformed);
    }

    #[test]
    fn a_text_with_a_zero_inside_cannot_end_the_field_early() {
        let mut out = Vec::new();
        ErrorMessage::error(SqlState::INTERNAL_ERROR, "a\0Cxxxxx").put(&mut out);
        assert_eq!(ErrorFields::parse(&out[5..]).unwrap().code, "XX000");
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = ErrorFields::parse(&body);
        }
    }
}
