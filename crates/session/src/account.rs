//! What a client has left on its server, as the server itself says.
//!
//! Asked between two transactions, hidden from the client, when a text or a command tag says
//! that something may have been left. The answer does not depend on what the client sent:
//! functions, DO blocks and rolled back savepoints are all accounted for. It runs as the client's
//! role and under its settings, so every name says which schema it is from.

use std::sync::Arc;

use wire::{Cursor, Malformed, message};

use crate::classify::{self, Leaves};
use crate::expect::Expect;
use crate::frame::Frame;
use crate::names::Told;
use crate::parameters::{LISTEN, ParameterSet, is_accounted, put_literal};
use crate::pins::{Pin, Pins};
use crate::server::{OwnQuery, ServerState};
use crate::session::{Mode, Session};
use crate::unnamed::Unnamed;

/// Settings of the session with their values, and under an empty name why the session must stay.
/// Temporary is what depends on the temporary schema: of whatever kind, the server itself drops that
/// when the session ends.
/// `pg_settings` has neither the roles nor what no module has defined.
const SQL: &str = "\
    SELECT name, setting FROM pg_catalog.pg_settings \
      WHERE source OPERATOR(pg_catalog.=) 'session' \
      AND pg_catalog.left(name, 12) OPERATOR(pg_catalog.<>) 'transaction_' \
    UNION ALL SELECT 'role', pg_catalog.current_setting('role') \
      WHERE pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none' \
    UNION ALL SELECT '', 'converted' \
      WHERE pg_catalog.pg_client_encoding() OPERATOR(pg_catalog.<>) pg_catalog.getdatabaseencoding() \
    UNION ALL SELECT '', 'temporary_objects' \
      WHERE EXISTS (SELECT FROM pg_catalog.pg_depend \
        WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass \
        AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
    UNION ALL SELECT '', 'advisory_locks' \
      WHERE EXISTS (SELECT FROM pg_catalog.pg_locks \
        WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
        AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) \
    UNION ALL SELECT '', 'holdable_cursors' \
      WHERE EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable) \
    UNION ALL SELECT CASE WHEN from_sql THEN 'prepare:' ELSE 'parse:' END \
        OPERATOR(pg_catalog.||) name, \
        CASE WHEN from_sql THEN statement ELSE '' END FROM pg_catalog.pg_prepared_statements \
      WHERE from_sql OR pg_catalog.left(name, 7) OPERATOR(pg_catalog.<>) 'pgmesh:' \
    UNION ALL SELECT 'listen', pg_catalog.pg_listening_channels() \
    UNION ALL SELECT 'session_authorization', SESSION_USER \
      FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) \
      WHERE usesysid OPERATOR(pg_catalog.<>) \
        (SELECT oid FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) SESSION_USER)";

/// More than a session has set by hand, in bytes; it is kept for each client.
const SETTINGS_MAX: usize = 64 * 1024;

/// Names of settings that no module has defined, noted in one lease.
const CUSTOM_MAX: usize = 32;

/// As long as Postgres reads an identifier.
const NAME_MAX: usize = 63;

/// The answer so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    settings: Vec<(String, String)>,
    channels: Vec<String>,
    told: Told,
    carries: Carries,
    bytes: usize,
    pins: Pins,
    text: Text,
}

/// Whether what `PREPARE` has made can be given to another server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Carries {
    #[default]
    Nothing,
    Prepared,
}

/// In front of the name of a statement that `PREPARE` has made, and of one that Parse has.
const PREPARE: &str = "prepare:";
const PARSE: &str = "parse:";

/// How the values of settings come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Text {
    /// As the server has them.
    #[default]
    AsKept,
    /// In an encoding of the client's that is not the server's.
    Converted,
}

/// The row that says so.
const CONVERTED: &str = "converted";

impl Account {
    /// An answer to come: what no server can be asked about is known before.
    fn of(leaves: Leaves, carries: Carries) -> Self {
        let known = (leaves == Leaves::Unaccountable).then_some(Pin::Unaccountable);
        Self { pins: known.into_iter().collect(), carries, ..Self::default() }
    }

    /// Whether another server can be given the values as they are here: literals are written in
    /// the encoding of the server.
    pub(crate) fn can_be_replayed(&self) -> bool {
        let is_plain = |(name, value): &(String, String)| name.is_ascii() && value.is_ascii();
        self.text == Text::AsKept || self.settings.iter().chain(&self.told.sql).all(is_plain)
    }

    /// Takes a row.
    fn read(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(body);
        if cursor.i16()? != 2 {
            return Err(Malformed);
        }
        let (name, value) = (column(&mut cursor)?, column(&mut cursor)?);
        cursor.end()?;
        let (Some(name), Some(value)) = (name, value) else {
            // A custom setting that nobody has set.
            return Ok(());
        };
        if name.is_empty() && value == CONVERTED {
            self.text = Text::Converted;
            return Ok(());
        }
        if name.is_empty() {
            let pin = Pin::ALL.into_iter().find(|pin| pin.as_str() == value).ok_or(Malformed)?;
            self.pins.insert(pin);
            return Ok(());
        }
        self.bytes += name.len() + value.len();
        if let Some(name) = name.strip_prefix(PARSE) {
            self.told.parsed.push(name.to_owned());
        } else if let Some(name) = name.strip_prefix(PREPARE) {
            if self.carries == Carries::Prepared && self.bytes <= SETTINGS_MAX {
                self.told.sql.push((name.to_owned(), value.to_owned()));
            } else {
                self.pins.insert(Pin::PreparedStatements);
            }
        } else if self.bytes > SETTINGS_MAX {
            return Err(Malformed);
        } else if name == LISTEN {
            self.channels.push(value.to_owned());
        } else {
            self.settings.push((name.to_owned(), value.to_owned()));
        }
        Ok(())
    }
}

fn column<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a str>, Malformed> {
    let Ok(len) = usize::try_from(cursor.i32()?) else { return Ok(None) };
    str::from_utf8(cursor.bytes(len)?).map(Some).map_err(|_| Malformed)
}

impl Session {
    /// Whether a frame of a client's that has no server begins what may keep it one for good, as
    /// far as its text tells.
    pub fn may_pin(&self, frame: &Frame<'_>) -> bool {
        let also = [
            (!self.shares_channels).then_some(Pin::Listen),
            (!self.carries_prepared()).then_some(Pin::PreparedStatements),
            self.pins_values().then_some(Pin::Sequences),
        ];
        let also: Pins = also.into_iter().flatten().collect();
        self.mode != Mode::Session && classify::may_pin(frame, also)
    }

    /// Asks `server` what this client has left there.
    pub(crate) fn ask(&self, server: &mut ServerState, to_server: &mut Vec<u8>) {
        let mut sql = SQL.to_owned();
        let known = self.parameters.iter().map(|(name, _)| name).filter(|name| name.contains('.'));
        let mut names: Vec<&str> = known.chain(server.custom.iter().map(|name| &**name)).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            sql.push_str(" UNION ALL SELECT ");
            put_literal(&mut sql, name);
            sql.push_str(", pg_catalog.current_setting(");
            put_literal(&mut sql, name);
            sql.push_str(", true)");
        }
        message::put_query(to_server, &sql);
        server.expected.push(Expect::Own);
        let carries = if self.carries_prepared() { Carries::Prepared } else { Carries::Nothing };
        server.own = OwnQuery::Account(Box::new(Account::of(server.leaves, carries)));
        // As any simple query does, this one destroys the unnamed statement.
        server.unnamed = Unnamed::Absent;
        server.counters.accounts += 1;
    }

    /// The whole answer has come.
    pub(crate) fn settle(&mut self, account: &Account, server: &mut ServerState) {
        let (listens, hears_others) = self.settle_channels(&account.channels);
        let is_reported = |name: &str| server.login_parameters.get(name).is_some();
        // Of what servers report by themselves their word counts, and was heard before.
        let accounted = |set: &ParameterSet| {
            let reported = set.iter().filter(|(name, _)| is_reported(name));
            let told = account.settings.iter().map(|(name, value)| (&**name, &**value));
            let told = told.filter(|(name, _)| is_accounted(name) && !is_reported(name));
            let listens = listens.iter().map(|sql| (LISTEN, &**sql));
            self.catalog.parameters(reported.chain(told).chain(listens))
        };
        let there = accounted(&server.parameters);
        let is_same = Arc::ptr_eq(&self.parameters, &server.parameters);
        let wanted = if is_same { Arc::clone(&there) } else { accounted(&self.parameters) };
        // What its login had set and is not there has been reset, to what its login had set.
        // One that no module has defined is then an empty text.
        let is_missing = |name: &str| {
            wanted.get(name).is_none_or(|value| value.is_empty() && name.contains('.'))
        };
        let missing = self.startup.iter().filter(|(name, _)| is_missing(name));
        self.parameters = self.catalog.changed(&wanted, missing);
        server.parameters = there;
        let keeps_values = server.pins.has(Pin::Sequences);
        server.pins = account.pins;
        if !self.settle_names(&account.told, server) {
            server.pins.insert(Pin::PreparedStatements);
        }
        if keeps_values {
            server.pins.insert(Pin::Sequences);
        }
        if hears_others {
            server.pins.insert(Pin::Listen);
        }
        server.leaves = Leaves::Nothing;
        server.may_have_names = false;
        server.deallocates = false;
        server.custom.clear();
    }
}

impl ServerState {
    /// Takes a frame of the answer.
    pub(crate) fn on_account(&mut self, frame: &Frame<'_>) {
        let OwnQuery::Account(account) = &mut self.own else { return };
        if !frame.is_whole() || account.read(frame.body).is_err() {
            self.own = OwnQuery::NoAccount;
        }
    }

    /// Notes settings of a text that a server tells of only when asked by name.
    pub(crate) fn note_custom(&mut self, text: &[u8]) {
        for name in custom_names(text) {
            if self.custom.len() < CUSTOM_MAX && !self.custom.iter().any(|known| **known == *name) {
                self.custom.push(name.into());
            }
        }
    }
}

/// Whatever in a text might be the name of a setting of two parts, in lower case, which a name of
/// a table might be as well: who asks about it learns that it is none.
fn custom_names(text: &[u8]) -> impl Iterator<Item = String> {
    let is_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.' | b'"');
    text.split(move |&byte| !is_name(byte))
        .filter(|word| word.len() <= NAME_MAX)
        .filter(|word| word.split(|&byte| byte == b'.').count() > 1)
        .filter_map(|word| str::from_utf8(word).ok())
        .map(|word| word.replace('"', "").to_ascii_lowercase())
        .filter(|word| {
            word.split('.')
                .all(|part| part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        })
}
