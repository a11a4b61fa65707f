//! `SHOW pgmesh.session`: what is kept for a client and why, told to the client itself.
//!
//! Answered here, by the simple and by the extended protocol, with a server or without: no
//! server would know the name. Where earlier answers are outstanding it waits for them, so that
//! its own comes in order. In a failed transaction the server refuses it, as it does everything.

use std::borrow::Cow;

use wire::message::{self, BindHead, Named, Parse, TransactionStatus};
use wire::{Cursor, tag::backend as b, tag::frontend as f};

use crate::catalog::text;
use crate::classify::Leaves;
use crate::frame::Frame;
use crate::pins::Pin;
use crate::rules::Feature;
use crate::server::{ServerState, Skip};
use crate::session::{Mode, Session};
use crate::statements::key;
use crate::unnamed::Unnamed;
use crate::verdict::{ToServer, Violation};

/// The words of the statement.
const WORDS: [&[u8]; 2] = [b"show", b"pgmesh.session"];

/// No longer text is looked at, in bytes.
const TEXT_MAX: usize = 128;

/// Columns of the answer, all of type `text`.
const COLUMNS: [&str; 3] = ["kind", "name", "value"];

/// Its type's oid.
const TEXT: u32 = 25;

/// Portals of it that are open at one time; of more the oldest is forgotten.
const PORTALS_MAX: usize = 8;

/// A row of the answer.
type Row<'a> = [Cow<'a, str>; COLUMNS.len()];

/// What a client has open of it by the extended protocol.
#[derive(Debug, Default)]
pub(crate) struct Shows {
    portals: Vec<Portal>,
}

#[derive(Debug)]
struct Portal {
    name: Box<[u8]>,
    formats: [i16; COLUMNS.len()],
    /// Rows that have been fetched.
    fetched: usize,
}

/// What a frame has to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concern {
    None,
    /// It is answered here.
    Ours,
    /// It puts another statement in the place of a portal of ours, or ends all.
    Ends,
}

/// Whether the front of a text says that the rest is worth a look.
#[inline]
fn may_show(text: &[u8]) -> bool {
    match text {
        [b's' | b'S', second, ..] => matches!(second, b'h' | b'H'),
        [first, ..] => first.is_ascii_whitespace(),
        [] => false,
    }
}

/// Whether a text is this statement and nothing else.
fn is_show(text: &[u8]) -> bool {
    if text.len() > TEXT_MAX || !may_show(text) {
        return false;
    }
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text);
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.map(<[u8]>::to_ascii_lowercase).eq(WORDS)
}

/// Whether a Parse, of which the text is short, is of this statement.
#[inline]
fn is_parse_of_show(frame: &Frame<'_>) -> bool {
    let text =
        frame.body.iter().position(|&byte| byte == 0).and_then(|end| frame.body.get(end + 1..));
    text.is_some_and(may_show)
        && frame.is_whole()
        && Parse::read(frame.body).is_ok_and(|parse| is_show(parse.text()))
}

impl Session {
    /// Whether a frame may have to do with it: then [`Session::show`] says more.
    #[inline]
    pub(crate) fn may_show(&self, frame: &Frame<'_>) -> bool {
        match frame.header.tag {
            f::QUERY => may_show(frame.body) || self.shows.is_some(),
            f::PARSE => is_parse_of_show(frame),
            f::BIND | f::DESCRIBE | f::EXECUTE | f::CLOSE | f::SYNC => self.shows.is_some(),
            _ => false,
        }
    }

    /// Deals with a frame of a client's that has no server. False if it is none of this.
    ///
    /// # Errors
    /// The frame is malformed.
    #[cold]
    pub(crate) fn show_unleased(
        &mut self,
        frame: &Frame<'_>,
        to_client: &mut Vec<u8>,
    ) -> Result<bool, Violation> {
        if self.standing == TransactionStatus::Failed {
            return Ok(false);
        }
        match self.concern(frame, None)? {
            Concern::None => return Ok(false),
            Concern::Ends => {
                self.end_shows(frame, self.standing)?;
                return Ok(false);
            }
            Concern::Ours => self.answer(frame, None, to_client)?,
        }
        if frame.header.tag == f::QUERY {
            message::put_ready_for_query(to_client, self.standing);
        }
        Ok(true)
    }

    /// Deals with a frame of a client's that has `server`. `None` if it is none of this.
    ///
    /// # Errors
    /// The frame is malformed.
    #[cold]
    pub(crate) fn show(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
        to_client: &mut Vec<u8>,
    ) -> Result<Option<ToServer>, Violation> {
        let is_quiet = server.is_quiet();
        if server.skip == Skip::ToSync || server.reads_copy() {
            return Ok(None);
        }
        match self.concern(frame, Some(server))? {
            Concern::None => return Ok(None),
            Concern::Ends => {
                let status = if is_quiet { server.status } else { TransactionStatus::Idle };
                self.end_shows(frame, status)?;
                return Ok(None);
            }
            Concern::Ours if !is_quiet => return Ok(Some(server.hold(to_server))),
            Concern::Ours if server.status == TransactionStatus::Failed => return Ok(None),
            Concern::Ours => self.answer(frame, Some(server), to_client)?,
        }
        match frame.header.tag {
            f::QUERY => {
                message::put_ready_for_query(to_client, server.status);
                // A lease that may end here ends when the relay has dealt with the frame.
                server.set_client_mid_frame(true);
            }
            f::PARSE if server.unnamed == Unnamed::Current => server.unnamed = Unnamed::Foreign,
            _ => {}
        }
        Ok(Some(ToServer::SWALLOW))
    }

    fn concern(
        &self,
        frame: &Frame<'_>,
        server: Option<&ServerState>,
    ) -> Result<Concern, Violation> {
        let ours_if = |ours| if ours { Concern::Ours } else { Concern::None };
        let shows = self.shows.as_deref();
        let has_portal = |name: &[u8]| shows.is_some_and(|shows| shows.find(name).is_some());
        Ok(match frame.header.tag {
            f::QUERY if frame.is_whole() && is_show(text(frame.body)) => Concern::Ours,
            f::QUERY | f::SYNC => Concern::Ends,
            f::PARSE => {
                let name = Parse::read(frame.body)?.name;
                // The server says that the name is taken.
                ours_if(name.is_empty() || self.known(name).is_none())
            }
            f::BIND => {
                let head = BindHead::parse(frame.body)?;
                match self.is_statement_of_show(head.statement, server) {
                    true => Concern::Ours,
                    false if has_portal(head.portal) => Concern::Ends,
                    false => Concern::None,
                }
            }
            f::DESCRIBE => match Named::parse(frame.body)? {
                Named::Statement(name) => ours_if(self.is_statement_of_show(name, server)),
                Named::Portal(name) => ours_if(has_portal(name)),
            },
            f::CLOSE => match Named::parse(frame.body)? {
                Named::Statement(_) => Concern::None,
                Named::Portal(name) => ours_if(has_portal(name)),
            },
            f::EXECUTE => ours_if(has_portal(Cursor::new(frame.body).c_bytes()?)),
            _ => Concern::None,
        })
    }

    fn is_statement_of_show(&self, name: &[u8], server: Option<&ServerState>) -> bool {
        if name.is_empty() {
            // What is outstanding was sent later than ours was answered.
            let is_replaced = server.is_some_and(|server| server.expected.touches_unnamed());
            return !is_replaced && is_show(text(&self.unnamed));
        }
        self.known(name).is_some_and(|statement| is_show(statement.text()))
    }

    /// Portals end with their transaction, or are replaced.
    fn end_shows(&mut self, frame: &Frame<'_>, status: TransactionStatus) -> Result<(), Violation> {
        let Some(shows) = &mut self.shows else { return Ok(()) };
        match frame.header.tag {
            f::BIND => shows.forget(BindHead::parse(frame.body)?.portal),
            _ if status == TransactionStatus::Idle => shows.portals.clear(),
            _ => {}
        }
        Ok(())
    }

    fn answer(
        &mut self,
        frame: &Frame<'_>,
        server: Option<&ServerState>,
        to_client: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        match frame.header.tag {
            f::QUERY => {
                put_row_description(to_client, [0; COLUMNS.len()]);
                self.session_rows(server).iter().for_each(|row| put_row(to_client, row));
                message::put_command_complete(to_client, "SHOW");
            }
            f::PARSE => {
                let parse = Parse::read(frame.body)?;
                if parse.name.is_empty() {
                    self.unnamed.clear();
                    self.unnamed.extend_from_slice(parse.definition);
                } else {
                    let statement = self.catalog.statement(&self.parameters, 0, parse.definition);
                    let name = Box::from(key(parse.name));
                    self.statements.get_or_insert_default().insert(name, statement);
                }
                self.shows.get_or_insert_default();
                to_client.extend_from_slice(message::PARSE_COMPLETE);
            }
            f::BIND => {
                let portal = Portal::read(frame.body)?;
                self.shows.get_or_insert_default().open(portal);
                message::put(to_client, b::BIND_COMPLETE, |_| ());
            }
            f::DESCRIBE => match Named::parse(frame.body)? {
                Named::Statement(_) => {
                    let no_parameters = |out: &mut Vec<u8>| out.extend_from_slice(&[0, 0]);
                    message::put(to_client, b::PARAMETER_DESCRIPTION, no_parameters);
                    put_row_description(to_client, [0; COLUMNS.len()]);
                }
                Named::Portal(name) => {
                    let shows = self.shows.as_deref();
                    let portal = shows.and_then(|shows| shows.portals.get(shows.find(name)?));
                    put_row_description(to_client, portal.map_or([0; 3], |portal| portal.formats));
                }
            },
            f::CLOSE => {
                if let (Some(shows), Named::Portal(name)) =
                    (&mut self.shows, Named::parse(frame.body)?)
                {
                    shows.forget(name);
                }
                to_client.extend_from_slice(message::CLOSE_COMPLETE);
            }
            _ => self.fetch(frame, server, to_client)?,
        }
        Ok(())
    }

    /// Executes a portal.
    fn fetch(
        &mut self,
        frame: &Frame<'_>,
        server: Option<&ServerState>,
        to_client: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let mut cursor = Cursor::new(frame.body);
        let (name, limit) = (cursor.c_bytes()?, cursor.i32()?);
        // As in Postgres, zero and less is no limit.
        let limit = usize::try_from(limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX);
        let rows = self.session_rows(server);
        let find = |shows: &Shows| shows.portals.get(shows.find(name)?).map(|it| it.fetched);
        let fetched = self.shows.as_deref().and_then(find).unwrap_or_default();
        let mut count = 0;
        for row in rows.iter().skip(fetched).take(limit) {
            put_row(to_client, row);
            count += 1;
        }
        if count == limit {
            message::put(to_client, b::PORTAL_SUSPENDED, |_| ());
        } else {
            message::put_command_complete(to_client, "SHOW");
        }
        drop(rows);
        if let Some(shows) = self.shows.as_deref_mut()
            && let Some(at) = shows.find(name)
            && let Some(portal) = shows.portals.get_mut(at)
        {
            portal.fetched += count;
        }
        Ok(())
    }

    /// What there is to tell.
    fn session_rows<'a>(&'a self, server: Option<&'a ServerState>) -> Vec<Row<'a>> {
        let mode = match self.mode {
            Mode::Transaction => "transaction",
            Mode::Session => "session",
            Mode::Statement => "statement",
        };
        let pins = server.map(ServerState::pins).unwrap_or_default();
        let held = match (server, self.mode) {
            (None, _) => "none",
            (Some(_), Mode::Session) => "until the client disconnects",
            (Some(_), _) if !pins.is_empty() => "until nothing of what pins it is left",
            (Some(_), _) => "until the transaction ends",
        };
        let may_be_left = server.is_some_and(|server| server.leaves != Leaves::Nothing);
        let pinned = match self.mode {
            Mode::Session => "no",
            _ if !pins.is_empty() => "yes",
            _ if may_be_left => "known when the transaction ends",
            _ => "no",
        };
        let mut rows: Vec<Row<'a>> = vec![
            row("session", "pool_mode", mode),
            row("session", "server", held),
            row("session", "pinned", pinned),
        ];
        if let Some(pid) = server.and_then(|server| server.pid) {
            rows.push(row("session", "server_pid", pid.to_string()));
        }
        rows.extend(pins.iter().map(|pin| row("pin", pin.as_str(), ends(pin))));
        if server.is_some_and(ServerState::is_spare) {
            let sequences = Feature::Sequences.as_str();
            rows.push(row("keep", sequences, "until another client needs the server"));
        }
        let rejected = Feature::ALL.into_iter().filter(|feature| self.rules.rejects(*feature));
        rows.extend(rejected.map(|it| row("reject", it.as_str(), "not allowed")));
        let is_utf8 = self.parameters.get("client_encoding").is_none_or(|it| it == "UTF8");
        rows.extend(self.parameters.changes_from(&self.startup).map(|(name, value)| {
            let value = if is_utf8 { value.into() } else { ascii(value) };
            row("replay", name, value)
        }));
        let prepared = self.prepared.iter().flat_map(|them| them.iter());
        rows.extend(prepared.map(|(name, sql)| {
            let name = String::from_utf8_lossy(name);
            row("prepared", name, if is_utf8 { (&**sql).into() } else { ascii(sql) })
        }));
        rows
    }
}

impl Shows {
    fn find(&self, name: &[u8]) -> Option<usize> {
        self.portals.iter().position(|portal| *portal.name == *key(name))
    }

    fn forget(&mut self, name: &[u8]) {
        self.portals.retain(|portal| *portal.name != *key(name));
    }

    fn open(&mut self, portal: Portal) {
        self.forget(&portal.name);
        if self.portals.len() >= PORTALS_MAX {
            self.portals.remove(0);
        }
        self.portals.push(portal);
    }
}

impl Portal {
    /// Reads a Bind. Parameters, of which there should be none, are passed over.
    fn read(body: &[u8]) -> Result<Self, Violation> {
        let mut cursor = Cursor::new(body);
        let name = cursor.c_bytes()?;
        cursor.c_bytes()?;
        let formats = usize::from(cursor.i16()?.cast_unsigned());
        cursor.bytes(formats * 2)?;
        for _ in 0..cursor.i16()?.cast_unsigned() {
            let len = cursor.i32()?;
            cursor.bytes(usize::try_from(len).unwrap_or_default())?;
        }
        let mut formats = [0; COLUMNS.len()];
        match cursor.i16()? {
            0 => {}
            1 => formats = [cursor.i16()?; COLUMNS.len()],
            _ => {
                for format in &mut formats {
                    *format = cursor.i16()?;
                }
            }
        }
        Ok(Self { name: key(name).into(), formats, fetched: 0 })
    }
}

fn row<'a>(
    kind: &'a str,
    name: impl Into<Cow<'a, str>>,
    value: impl Into<Cow<'a, str>>,
) -> Row<'a> {
    [kind.into(), name.into(), value.into()]
}

/// A text for a client whose encoding is not ours.
fn ascii(text: &str) -> Cow<'_, str> {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect::<String>().into()
}

/// How a pin ends.
fn ends(pin: Pin) -> &'static str {
    match pin {
        Pin::TemporaryObjects => "until they are dropped, or DISCARD TEMP",
        Pin::AdvisoryLocks => "until they are unlocked",
        Pin::HoldableCursors => "until they are closed",
        Pin::PreparedStatements => "until they are deallocated",
        Pin::Listen => "until UNLISTEN",
        Pin::Sequences => "until DISCARD SEQUENCES",
        Pin::Unknown => "until the server has answered what is left",
        Pin::Unaccountable => "until DISCARD ALL",
    }
}

fn put_row_description(out: &mut Vec<u8>, formats: [i16; COLUMNS.len()]) {
    message::put(out, b::ROW_DESCRIPTION, |out| {
        out.extend_from_slice(&[0, 3]);
        for (name, format) in COLUMNS.into_iter().zip(formats) {
            message::put_c_str(out, name);
            // No column of a table; of variable length, and without a modifier.
            out.extend_from_slice(&[0; 6]);
            out.extend_from_slice(&TEXT.to_be_bytes());
            out.extend_from_slice(&(-1_i16).to_be_bytes());
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            out.extend_from_slice(&format.to_be_bytes());
        }
    });
}

fn put_row(out: &mut Vec<u8>, row: &Row<'_>) {
    message::put(out, b::DATA_ROW, |out| {
        out.extend_from_slice(&[0, 3]);
        for value in row {
            // Bounded by what was read from a server.
            let len = i32::try_from(value.len()).unwrap_or_default();
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(value.as_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_statement_and_nothing_else() {
        for (sql, is) in [
            ("SHOW pgmesh.session", true),
            ("show PGMESH.Session;", true),
            (" \n show\tpgmesh.session ; ", true),
            ("SHOW pgmesh.session; SELECT 1", false),
            ("SHOW pgmesh.sessions", false),
            ("SHOW search_path", false),
            ("SELECT 'SHOW pgmesh.session'", false),
            ("SHOWpgmesh.session", false),
            ("SHOW", false),
            ("", false),
        ] {
            assert_eq!(is_show(sql.as_bytes()), is, "{sql}");
        }
    }
}
