//! A server's message in a form that can be read, altered by [`crate::allowed`] and compared.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::raw::Frame;

/// Values longer than this are shown by length and hash.
const SHOWN: usize = 120;

/// One column of a RowDescription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) table: u32,
    pub(crate) number: u16,
    pub(crate) kind: u32,
    /// Length, modifier and format, as sent.
    pub(crate) rest: Vec<u8>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Length of the secret; the process id and the secret itself are anybody's guess.
    Key {
        process: Vec<u8>,
        secret: Vec<u8>,
    },
    Columns(Vec<Column>),
    Row(Vec<Option<Vec<u8>>>),
    Types(Vec<u32>),
    Parameter {
        name: String,
        value: String,
    },
    Notification {
        process: u32,
        rest: Vec<u8>,
    },
    /// ErrorResponse or NoticeResponse: fields by their codes.
    Report {
        tag: u8,
        fields: Vec<(u8, String)>,
    },
    Other {
        tag: u8,
        body: Vec<u8>,
    },
    Closed,
    Torn,
    Stuck,
}

impl Answer {
    /// Whether it is a message of this tag.
    pub(crate) fn is(&self, wanted: u8) -> bool {
        self.tag() == Some(wanted)
    }

    /// Its tag, unless it is the end of the connection.
    pub(crate) fn tag(&self) -> Option<u8> {
        match self {
            Self::Key { .. } => Some(b'K'),
            Self::Columns(_) => Some(b'T'),
            Self::Row(_) => Some(b'D'),
            Self::Types(_) => Some(b't'),
            Self::Parameter { .. } => Some(b'S'),
            Self::Notification { .. } => Some(b'A'),
            Self::Report { tag, .. } | Self::Other { tag, .. } => Some(*tag),
            Self::Closed | Self::Torn | Self::Stuck => None,
        }
    }

    /// The status of a ReadyForQuery.
    pub(crate) fn status(&self) -> Option<u8> {
        match self {
            Self::Other { tag: b'Z', body } => body.first().copied(),
            _ => None,
        }
    }

    /// A field of an ErrorResponse or NoticeResponse.
    pub(crate) fn field(&self, wanted: u8) -> Option<&str> {
        let Self::Report { fields, .. } = self else { return None };
        fields.iter().find(|(code, _)| *code == wanted).map(|(_, value)| value.as_str())
    }
}

impl From<Frame> for Answer {
    fn from(frame: Frame) -> Self {
        decode(&frame).unwrap_or(Self::Other { tag: frame.tag, body: frame.body })
    }
}

/// `None` if the message is not modelled, or is malformed: it is compared as it is then.
fn decode(frame: &Frame) -> Option<Answer> {
    let mut body = Cursor(&frame.body);
    let answer = match frame.tag {
        b'K' => Answer::Key { process: body.take(4)?.to_vec(), secret: body.take_all() },
        b'T' => {
            let columns = body.u16()?;
            Answer::Columns((0..columns).map(|_| column(&mut body)).collect::<Option<_>>()?)
        }
        b'D' => {
            let values = body.u16()?;
            Answer::Row((0..values).map(|_| value(&mut body)).collect::<Option<_>>()?)
        }
        b't' => {
            let types = body.u16()?;
            Answer::Types((0..types).map(|_| body.u32()).collect::<Option<_>>()?)
        }
        b'S' => Answer::Parameter { name: body.c_str()?, value: body.c_str()? },
        b'A' => Answer::Notification { process: body.u32()?, rest: body.take_all() },
        b'E' | b'N' => {
            let mut fields = Vec::new();
            loop {
                match body.u8()? {
                    0 => break,
                    code => fields.push((code, body.c_str()?)),
                }
            }
            Answer::Report { tag: frame.tag, fields }
        }
        _ => return None,
    };
    body.0.is_empty().then_some(answer)
}

fn column(body: &mut Cursor<'_>) -> Option<Column> {
    Some(Column {
        name: body.c_str()?,
        table: body.u32()?,
        number: body.u16()?,
        kind: body.u32()?,
        rest: body.take(8)?.to_vec(),
    })
}

fn value(body: &mut Cursor<'_>) -> Option<Option<Vec<u8>>> {
    match body.u32()? {
        u32::MAX => Some(None),
        length => Some(Some(body.take(usize::try_from(length).ok()?)?.to_vec())),
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    fn take_all(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
    }

    fn c_str(&mut self) -> Option<String> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let text = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Some(text)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(tag) = self.tag() {
            write!(f, "{}", char::from(tag))?;
        }
        match self {
            Self::Key { process, secret } => write!(f, " {} {}", show(process), show(secret)),
            Self::Columns(columns) => columns.iter().try_for_each(|column| {
                let Column { name, table, number, kind, rest } = column;
                write!(f, " {name}:{table}.{number}:{kind}:{}", show(rest))
            }),
            Self::Row(values) => values.iter().try_for_each(|value| match value {
                Some(value) => write!(f, " {}", show(value)),
                None => write!(f, " NULL"),
            }),
            Self::Types(types) => write!(f, " {types:?}"),
            Self::Parameter { name, value } => write!(f, " {name}={value}"),
            Self::Notification { process, rest } => write!(f, " {process} {}", show(rest)),
            Self::Report { fields, .. } => fields.iter().try_for_each(|(code, value)| {
                write!(f, " {}={}", char::from(*code), show(value.as_bytes()))
            }),
            Self::Other { body, .. } => write!(f, " {}", show(body)),
            Self::Closed => write!(f, "(closed)"),
            Self::Torn => write!(f, "(closed in the middle of a message)"),
            Self::Stuck => write!(f, "(nothing came)"),
        }
    }
}

fn show(bytes: &[u8]) -> String {
    if bytes.len() > SHOWN {
        let mut hash = DefaultHasher::new();
        bytes.hash(&mut hash);
        return format!("<{} bytes, {:x}>", bytes.len(), hash.finish());
    }
    format!("\"{}\"", bytes.escape_ascii())
}
