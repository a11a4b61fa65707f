//! One message of a client: its bounds, and what pgwire is to be given.
//!
//! pgwire decodes messages of peers without looking at their lengths first (docs/decisions/0014),
//! so its decoders get none of them: what is read here is checked here, and pgwire's values are
//! built from it.

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::PgWireFrontendMessage as Message;
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Flush, Parse, Sync};
use pgwire::messages::simplequery::Query;
use wire::message::{Named, Parse as ParseParts};
use wire::tag::frontend as tag;
use wire::{Cursor, ErrorMessage, HEADER_LEN, Header, Malformed, SqlState};

/// Bytes of the largest message, header included. The longest that a tool sends are queries of
/// the catalogue of a few KiB.
pub(super) const FRAME_MAX: usize = 64 * 1024;

/// Rows of one Execute: pgwire sets memory aside for as many as are asked for. More means all.
const ROWS_MAX: i32 = 10_000;

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) tag: u8,
    pub(super) body: Bytes,
}

/// What to do with a message.
#[derive(Debug)]
pub(super) enum Asked {
    /// Give it to pgwire.
    Message(Message),
    /// Refuse it: FunctionCall.
    FunctionCall,
    /// Nothing: a COPY that has failed on our side goes on for a while on theirs.
    Nothing,
    /// End.
    Terminate,
}

impl Frame {
    /// Takes the first message off `unread`; `None` while it is not whole. Its type and length
    /// are judged as soon as they are there.
    ///
    /// # Errors
    /// Always fatal: 08P01 for a type that there is not, or no length; 54000 for one too long.
    pub(super) fn take(unread: &mut BytesMut) -> Result<Option<Self>, ErrorMessage> {
        if let Some(&tag) = unread.first()
            && !is_known(tag)
        {
            let message = format!("invalid frontend message type {tag}");
            return Err(ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, message));
        }
        let header = Header::peek(unread).map_err(|error| {
            ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string())
        })?;
        let Some(header) = header else { return Ok(None) };
        let len = header.frame_len();
        if len > FRAME_MAX {
            let message = format!("a message of {len} bytes is too long for the console");
            return Err(ErrorMessage::fatal(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
        }
        if unread.len() < len {
            return Ok(None);
        }
        let mut frame = unread.split_to(len);
        frame.advance(HEADER_LEN);
        Ok(Some(Self { tag: header.tag, body: frame.freeze() }))
    }

    /// Whether an error in it is followed by Sync, and not by ReadyForQuery at once.
    pub(super) fn is_extended(&self) -> bool {
        matches!(
            self.tag,
            tag::BIND
                | tag::CLOSE
                | tag::DESCRIBE
                | tag::EXECUTE
                | tag::FLUSH
                | tag::PARSE
                | tag::SYNC
        )
    }

    /// Reads it.
    ///
    /// # Errors
    /// 08P01, fatal: it has not the shape that its type has. 22021: a text is not UTF-8.
    pub(super) fn read(&self) -> Result<Asked, ErrorMessage> {
        let malformed = |_| {
            let message = format!("invalid message format in message type {:#04x}", self.tag);
            ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, message)
        };
        let body = &self.body[..];
        let message = match self.tag {
            tag::BIND => bind(&self.body).map_err(malformed)??,
            tag::CLOSE => {
                let (kind, name) = named(Named::parse(body).map_err(malformed)?)?;
                Message::Close(Close::new(kind, name))
            }
            tag::DESCRIBE => {
                let (kind, name) = named(Named::parse(body).map_err(malformed)?)?;
                Message::Describe(Describe::new(kind, name))
            }
            tag::EXECUTE => execute(body).map_err(malformed)??,
            tag::FLUSH => empty(body).map(|()| Message::Flush(Flush::new())).map_err(malformed)?,
            tag::PARSE => parse(body).map_err(malformed)??,
            tag::QUERY => query(body).map_err(malformed)??,
            tag::SYNC => empty(body).map(|()| Message::Sync(Sync::new())).map_err(malformed)?,
            tag::TERMINATE => return Ok(Asked::Terminate),
            tag::FUNCTION_CALL => return Ok(Asked::FunctionCall),
            _ => return Ok(Asked::Nothing),
        };
        Ok(Asked::Message(message))
    }
}

fn is_known(tag: u8) -> bool {
    matches!(
        tag,
        tag::BIND
            | tag::CLOSE
            | tag::COPY_DATA
            | tag::COPY_DONE
            | tag::COPY_FAIL
            | tag::DESCRIBE
            | tag::EXECUTE
            | tag::FLUSH
            | tag::FUNCTION_CALL
            | tag::PARSE
            | tag::QUERY
            | tag::SYNC
            | tag::TERMINATE
    )
}

/// The outer error is of the shape, the inner one of a text.
type Read<T> = Result<Result<T, ErrorMessage>, Malformed>;

fn text(bytes: &[u8]) -> Result<String, ErrorMessage> {
    let not_utf8 = |_| {
        let message = "invalid byte sequence for encoding \"UTF8\"";
        ErrorMessage::error(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
    };
    std::str::from_utf8(bytes).map(str::to_owned).map_err(not_utf8)
}

/// pgwire has `None` for the one without a name.
fn name(bytes: &[u8]) -> Result<Option<String>, ErrorMessage> {
    text(bytes).map(|name| Some(name).filter(|name| !name.is_empty()))
}

fn empty(body: &[u8]) -> Result<(), Malformed> {
    Cursor::new(body).end()
}

fn named(what: Named<'_>) -> Result<(u8, Option<String>), ErrorMessage> {
    Ok(match what {
        Named::Statement(bytes) => (b'S', name(bytes)?),
        Named::Portal(bytes) => (b'P', name(bytes)?),
    })
}

fn query(body: &[u8]) -> Read<Message> {
    let mut cursor = Cursor::new(body);
    let bytes = cursor.c_bytes()?;
    cursor.end()?;
    Ok(text(bytes).map(|text| Message::Query(Query::new(text))))
}

fn parse(body: &[u8]) -> Read<Message> {
    let parts = ParseParts::read(body)?;
    let mut types = Cursor::new(parts.definition);
    types.c_bytes()?;
    let count = unsigned(&mut types)?;
    let types =
        (0..count).map(|_| types.i32().map(i32::cast_unsigned)).collect::<Result<_, _>>()?;
    Ok(name(parts.name)
        .and_then(|name| Ok(Message::Parse(Parse::new(name, text(parts.text())?, types)))))
}

fn execute(body: &[u8]) -> Read<Message> {
    let mut cursor = Cursor::new(body);
    let portal = cursor.c_bytes()?;
    // Nothing and less mean all, as for Postgres.
    let rows = Some(cursor.i32()?).filter(|rows| (1..=ROWS_MAX).contains(rows)).unwrap_or(0);
    cursor.end()?;
    Ok(name(portal).map(|name| Message::Execute(Execute::new(name, rows))))
}

fn bind(body: &Bytes) -> Read<Message> {
    let mut cursor = Cursor::new(body);
    let portal = cursor.c_bytes()?;
    let statement = cursor.c_bytes()?;
    let formats = codes(&mut cursor)?;
    let count = unsigned(&mut cursor)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let len = cursor.i32()?;
        values.push(match usize::try_from(len) {
            Ok(len) => Some(body.slice_ref(cursor.bytes(len)?)),
            Err(_) if len == -1 => None,
            Err(_) => return Err(Malformed),
        });
    }
    let results = codes(&mut cursor)?;
    cursor.end()?;
    Ok(name(portal).and_then(|portal| {
        Ok(Message::Bind(Bind::new(portal, name(statement)?, formats, values, results)))
    }))
}

/// Counts are unsigned for Postgres.
fn unsigned(cursor: &mut Cursor<'_>) -> Result<usize, Malformed> {
    Ok(usize::from(cursor.i16()?.cast_unsigned()))
}

fn codes(cursor: &mut Cursor<'_>) -> Result<Vec<i16>, Malformed> {
    let count = unsigned(cursor)?;
    (0..count).map(|_| cursor.i16()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(tag: u8, body: &[u8]) -> BytesMut {
        let mut out = Vec::new();
        wire::message::put(&mut out, tag, |out| out.extend_from_slice(body));
        BytesMut::from(&out[..])
    }

    fn read(tag: u8, body: &[u8]) -> Result<Asked, ErrorMessage> {
        Frame::take(&mut frame(tag, body)).unwrap().unwrap().read()
    }

    /// pgwire's messages cannot be compared.
    fn shown(tag: u8, body: &[u8]) -> String {
        format!("{:?}", read(tag, body).unwrap())
    }

    fn message(message: Message) -> String {
        format!("{:?}", Asked::Message(message))
    }

    fn fatal(bytes: &[u8]) -> SqlState {
        let error = Frame::take(&mut BytesMut::from(bytes)).unwrap_err();
        assert_eq!(error.severity, wire::Severity::Fatal);
        error.state
    }

    #[test]
    fn types_and_lengths_are_judged_before_the_body() {
        assert_eq!(fatal(b"y"), SqlState::PROTOCOL_VIOLATION);
        assert_eq!(fatal(b"p"), SqlState::PROTOCOL_VIOLATION);
        assert_eq!(fatal(b"Q\0\0\0\x03"), SqlState::PROTOCOL_VIOLATION);
        assert_eq!(fatal(b"Q\xff\xff\xff\xff"), SqlState::PROTOCOL_VIOLATION);
        assert_eq!(fatal(b"Q\x7f\xff\xff\xff"), SqlState::PROTOCOL_VIOLATION);
        assert_eq!(fatal(b"Q\x3f\xff\xff\xf0"), SqlState::PROGRAM_LIMIT_EXCEEDED);
        assert_eq!(fatal(b"Q\0\x01\0\0"), SqlState::PROGRAM_LIMIT_EXCEEDED);
        for short in [&b""[..], b"Q", b"Q\0\0", b"Q\0\0\xff\xff"] {
            assert_eq!(Frame::take(&mut BytesMut::from(short)), Ok(None));
        }
    }

    #[test]
    fn frames_come_off_one_by_one() {
        let mut unread = frame(b'Q', b"a\0");
        unread.extend_from_slice(&frame(b'S', b""));
        assert_eq!(Frame::take(&mut unread).unwrap().unwrap().tag, b'Q');
        assert_eq!(Frame::take(&mut unread).unwrap().unwrap().tag, b'S');
        assert_eq!((Frame::take(&mut unread), unread.len()), (Ok(None), 0));
    }

    #[test]
    fn each_message_is_read() {
        let query = Message::Query(Query::new("x".into()));
        assert_eq!(shown(b'Q', b"x\0"), message(query));
        let parse = Message::Parse(Parse::new(Some("n".into()), "x".into(), vec![25]));
        assert_eq!(shown(b'P', b"n\0x\0\0\x01\0\0\0\x19"), message(parse));
        let values = vec![None, Some(Bytes::from_static(b"v"))];
        let bind = Message::Bind(Bind::new(None, Some("s".into()), vec![1], values, vec![0, 1]));
        let body = b"\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x01v\0\x02\0\0\0\x01";
        assert_eq!(shown(b'B', body), message(bind));
        let describe = Message::Describe(Describe::new(b'P', None));
        assert_eq!(shown(b'D', b"P\0"), message(describe));
        let close = Message::Close(Close::new(b'S', Some("n".into())));
        assert_eq!(shown(b'C', b"Sn\0"), message(close));
        assert!(matches!(read(b'X', b""), Ok(Asked::Terminate)));
        assert!(matches!(read(b'F', b"anything"), Ok(Asked::FunctionCall)));
        assert!(matches!(read(b'd', b"anything"), Ok(Asked::Nothing)));
    }

    #[test]
    fn no_count_of_rows_sets_memory_aside() {
        for (rows, taken) in [(0, 0), (7, 7), (-1, 0), (i32::MIN, 0), (i32::MAX, 0)] {
            let mut body = vec![0];
            body.extend(i32::to_be_bytes(rows));
            let execute = Message::Execute(Execute::new(None, taken));
            assert_eq!(shown(b'E', &body), message(execute));
        }
    }

    #[test]
    fn a_text_that_is_not_utf8_fails_its_statement_only() {
        for (tag, body) in [(b'Q', &b"\xff\0"[..]), (b'P', b"\xff\0\0\0\0"), (b'C', b"S\xff\0")] {
            let error = read(tag, body).unwrap_err();
            assert_eq!(error.severity, wire::Severity::Error);
            assert_eq!(error.state, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(
            tag in prop::sample::select(&b"BCDEFHPQSXdcf"[..]),
            body in prop::collection::vec(prop_oneof![Just(0_u8), Just(255), any::<u8>()], 0..48),
        ) {
            let _ = read(tag, &body);
        }

        #[test]
        fn a_body_cut_short_is_refused(cut in 0_usize..24) {
            let body = b"\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x01v\0\x02\0\0\0\x01";
            prop_assert!(read(b'B', &body[..cut]).is_err());
        }
    }
}
