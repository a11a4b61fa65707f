//! A model of one Postgres server session: what `PostgresMain` does with each message, as far
//! as the protocol shows it. Checked by hand against PostgreSQL 15.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;

use wire::message::Named;
use wire::tag::{backend as b, frontend as f};
use wire::{Cursor, HEADER_LEN, Header};

use super::settings::Settings;
use super::sql::{self, Sql};

/// What all sessions of one database share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Of its one sequence.
    pub(crate) next_value: Cell<u32>,
    /// How often its table was altered.
    pub(crate) version: Cell<u32>,
    /// What was inserted and committed.
    pub(crate) rows: RefCell<Vec<u32>>,
}

pub(crate) type Database = Rc<Shared>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transaction {
    Idle,
    /// One that ends with the Sync or Query.
    Implicit,
    Open,
    Failed,
}

#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// The PREPARE that made it, if one did.
    pub(crate) made_by: Option<String>,
    pub(crate) text: String,
    /// The table's version that it was parsed for.
    pub(crate) version: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Portal {
    pub(crate) sql: Sql,
    pub(crate) parameter: Vec<u8>,
    pub(crate) sent: u32,
    pub(crate) is_done: bool,
}

/// A COPY that reads from the client, and what of a simple query's text comes behind it.
#[derive(Debug)]
pub(crate) struct CopyIn {
    pub(crate) is_extended: bool,
    pub(crate) rest: Vec<Sql>,
}

#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) database: Database,
    pub(crate) settings: Settings,
    pub(crate) statements: BTreeMap<String, Prepared>,
    unnamed: Option<Prepared>,
    pub(crate) portals: BTreeMap<String, Portal>,
    pub(crate) transaction: Transaction,
    /// What it has had of the sequence last.
    pub(crate) value: Option<u32>,
    /// Inserted and not committed.
    pub(crate) rows: Vec<u32>,
    skips: bool,
    pub(crate) copy: Option<CopyIn>,
    input: Vec<u8>,
    /// Written, but not flushed.
    pub(crate) buffer: Vec<u8>,
    pub(crate) output: Vec<u8>,
    pub(crate) is_closed: bool,
    /// The tags of all that it was sent.
    pub(crate) received: String,
}

/// SQLSTATE, message, and the function that reports it.
pub(crate) type Failure = (&'static str, String, &'static str);
pub(crate) type Done = Result<(), Failure>;

pub(crate) fn failure<T>(state: &'static str, message: impl Into<String>) -> Result<T, Failure> {
    Err((state, message.into(), "model"))
}

fn plan_changed() -> Failure {
    ("0A000", "cached plan must not change result type".to_owned(), "RevalidateCachedQuery")
}

fn key(name: &str) -> String {
    name.chars().take(63).collect()
}

impl Postgres {
    pub(crate) fn new(database: &Database, login: &[(&str, &str)]) -> Self {
        Self {
            database: Rc::clone(database),
            settings: Settings::new(login),
            statements: BTreeMap::new(),
            unnamed: None,
            portals: BTreeMap::new(),
            transaction: Transaction::Idle,
            value: None,
            rows: Vec::new(),
            skips: false,
            copy: None,
            input: Vec::new(),
            buffer: Vec::new(),
            output: Vec::new(),
            is_closed: false,
            received: String::new(),
        }
    }

    /// Takes bytes of the client's and acts on the whole messages.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some(header) = Header::peek(&self.input).unwrap() {
            if self.input.len() < header.frame_len() || self.is_closed {
                return;
            }
            let frame: Vec<u8> = self.input.drain(..header.frame_len()).collect();
            self.on_message(header.tag, &frame[HEADER_LEN..]);
        }
    }

    /// What the server has sent; at most `limit` bytes.
    pub(crate) fn take_output(&mut self, limit: usize) -> Vec<u8> {
        self.output.drain(..limit.min(self.output.len())).collect()
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Statements under names of the proxy's.
    pub(crate) fn statement_count(&self) -> usize {
        self.statements.keys().filter(|name| name.starts_with("pgmesh:")).count()
    }

    /// Whether nothing is under way: what must hold when another client gets the server.
    pub(crate) fn is_idle(&self) -> bool {
        self.transaction == Transaction::Idle
            && !self.skips
            && self.copy.is_none()
            && self.input.is_empty()
            && self.buffer.is_empty()
            && self.output.is_empty()
            && !self.is_closed
    }

    fn on_message(&mut self, tag: u8, body: &[u8]) {
        self.received.push(char::from(tag));
        if self.copy.is_some() {
            return self.on_copy_message(tag, body);
        }
        if tag == f::SYNC {
            self.skips = false;
            if self.transaction == Transaction::Implicit {
                self.commit();
            }
            return self.ready();
        }
        if self.skips {
            return;
        }
        let (done, is_extended) = match tag {
            f::QUERY => (self.on_query(body), false),
            f::FUNCTION_CALL => (self.on_function_call(), false),
            f::PARSE => (self.on_parse(body), true),
            f::BIND => (self.on_bind(body), true),
            f::DESCRIBE => (self.on_describe(body), true),
            f::EXECUTE => (self.on_execute(body), true),
            f::CLOSE => (self.on_close(body), true),
            f::FLUSH => return self.flush(),
            f::COPY_DATA | f::COPY_DONE | f::COPY_FAIL => return,
            _ => return self.fatal("invalid frontend message type"),
        };
        match done {
            Ok(()) => {}
            Err(failure) if is_extended => {
                self.fail(&failure);
                self.skips = true;
            }
            Err(failure) => {
                self.fail(&failure);
                self.ready();
            }
        }
    }

    fn on_query(&mut self, body: &[u8]) -> Done {
        self.begin_implicit();
        self.unnamed = None;
        self.portals.remove("");
        let text = String::from_utf8_lossy(Cursor::new(body).c_bytes().unwrap()).into_owned();
        let Some(statements) = sql::read(&text) else {
            return failure("42601", format!("syntax error in {text}"));
        };
        self.run_all(statements)
    }

    fn run_all(&mut self, statements: Vec<Sql>) -> Done {
        let is_alone = statements.len() == 1;
        let mut rest = statements.into_iter();
        while let Some(one) = rest.next() {
            self.begin_implicit();
            self.check_failed(&one)?;
            if one.has_rows() {
                self.put_row_description(&one);
            }
            let mut portal = Portal { sql: one, parameter: Vec::new(), sent: 0, is_done: false };
            self.run(&mut portal, 0, is_alone)?;
            if self.copy.is_some() {
                self.copy = Some(CopyIn { is_extended: false, rest: rest.collect() });
                return Ok(());
            }
        }
        if self.transaction == Transaction::Implicit {
            self.commit();
        }
        self.ready();
        Ok(())
    }

    fn on_function_call(&mut self) -> Done {
        self.begin_implicit();
        self.check_failed(&Sql::Insert(0))?;
        self.put(b::FUNCTION_CALL_RESPONSE, &[255, 255, 255, 255]);
        if self.transaction == Transaction::Implicit {
            self.commit();
        }
        self.ready();
        Ok(())
    }

    fn on_parse(&mut self, body: &[u8]) -> Done {
        self.begin_implicit();
        let mut cursor = Cursor::new(body);
        let name = cursor.c_str().unwrap().to_owned();
        let text = cursor.c_str().unwrap().to_owned();
        if name.is_empty() {
            self.unnamed = None;
        }
        if self.transaction == Transaction::Failed && self.statements.contains_key(&key(&name)) {
            // Postgres looks at the text first; see on_describe.
            return failure("25P02", "current transaction is aborted");
        }
        let parsed = match sql::read(&text).as_deref() {
            Some([one]) => one.clone(),
            Some(_) => return failure("42601", "cannot insert multiple commands"),
            None => return failure("42601", format!("syntax error in {text}")),
        };
        self.check_failed(&parsed)?;
        let prepared = Prepared { text, version: self.database.version.get(), made_by: None };
        if name.is_empty() {
            self.unnamed = Some(prepared);
        } else {
            match self.statements.entry(key(&name)) {
                Entry::Vacant(vacant) => vacant.insert(prepared),
                Entry::Occupied(_) => {
                    let message = format!("prepared statement \"{name}\" already exists");
                    return failure("42P05", message);
                }
            };
        }
        self.put(b::PARSE_COMPLETE, &[]);
        Ok(())
    }

    pub(crate) fn prepared(&self, name: &str) -> Result<(Prepared, Sql), Failure> {
        let found =
            if name.is_empty() { self.unnamed.as_ref() } else { self.statements.get(&key(name)) };
        match found {
            Some(prepared) => {
                let parsed = sql::read(&prepared.text).unwrap();
                Ok((prepared.clone(), parsed[0].clone()))
            }
            None if name.is_empty() => {
                failure("26000", "unnamed prepared statement does not exist")
            }
            None => failure("26000", format!("prepared statement \"{name}\" does not exist")),
        }
    }

    fn on_bind(&mut self, body: &[u8]) -> Done {
        self.begin_implicit();
        let mut cursor = Cursor::new(body);
        let portal = cursor.c_str().unwrap().to_owned();
        let name = cursor.c_str().unwrap().to_owned();
        let formats = cursor.i16().unwrap();
        assert_eq!(formats, 0);
        let count = usize::try_from(cursor.i16().unwrap()).unwrap();
        let (prepared, parsed) = self.prepared(&name)?;
        // Postgres counts the parameters first; see on_describe.
        self.check_failed(&parsed)?;
        if count != parsed.parameters() {
            let wanted = parsed.parameters();
            return failure(
                "08P01",
                format!(
                    "bind message supplies {count} parameters, but prepared statement \"{name}\" requires {wanted}"
                ),
            );
        }
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return failure("42P03", format!("cursor \"{portal}\" already exists"));
        }
        if parsed == Sql::Table && prepared.version != self.database.version.get() {
            return Err(plan_changed());
        }
        let mut parameter = Vec::new();
        if count == 1 {
            let len = usize::try_from(cursor.i32().unwrap()).unwrap();
            parameter = cursor.bytes(len).unwrap().to_vec();
        }
        self.portals.insert(portal, Portal { sql: parsed, parameter, sent: 0, is_done: false });
        self.put(b::BIND_COMPLETE, &[]);
        Ok(())
    }

    fn on_describe(&mut self, body: &[u8]) -> Done {
        self.begin_implicit();
        let described = match Named::parse(body).unwrap() {
            Named::Statement(name) => {
                let (prepared, parsed) = self.prepared(std::str::from_utf8(name).unwrap())?;
                // Postgres lets one without rows pass. Through us it does not if the statement
                // has to be parsed on this server first, so the model is as strict.
                self.check_failed(&parsed)?;
                self.put(
                    b::PARAMETER_DESCRIPTION,
                    &[0, u8::try_from(parsed.parameters()).unwrap()],
                );
                if parsed == Sql::Table && prepared.version != self.database.version.get() {
                    return Err(plan_changed());
                }
                parsed
            }
            Named::Portal(name) => {
                let name = String::from_utf8_lossy(name).into_owned();
                let Some(portal) = self.portals.get(&name).cloned() else {
                    return failure("34000", format!("portal \"{name}\" does not exist"));
                };
                if portal.sql.has_rows() {
                    self.check_failed(&portal.sql)?;
                }
                portal.sql
            }
        };
        if described.has_rows() {
            self.put_row_description(&described);
        } else {
            self.put(b::NO_DATA, &[]);
        }
        Ok(())
    }

    fn on_execute(&mut self, body: &[u8]) -> Done {
        self.begin_implicit();
        let mut cursor = Cursor::new(body);
        let name = cursor.c_str().unwrap().to_owned();
        let max_rows = u32::try_from(cursor.i32().unwrap()).unwrap();
        let Some(mut portal) = self.portals.get(&name).cloned() else {
            return failure("34000", format!("portal \"{name}\" does not exist"));
        };
        self.check_failed(&portal.sql)?;
        if portal.is_done && !portal.sql.has_rows() {
            return failure("55000", format!("portal \"{name}\" cannot be run"));
        }
        self.run(&mut portal, max_rows, true)?;
        if let Some(kept) = self.portals.get_mut(&name) {
            *kept = portal;
        }
        Ok(())
    }

    fn on_close(&mut self, body: &[u8]) -> Done {
        match Named::parse(body).unwrap() {
            Named::Statement(b"") => self.unnamed = None,
            Named::Statement(name) => {
                self.statements.remove(&key(std::str::from_utf8(name).unwrap()));
            }
            Named::Portal(name) => {
                self.portals.remove(std::str::from_utf8(name).unwrap());
            }
        }
        self.put(b::CLOSE_COMPLETE, &[]);
        Ok(())
    }

    /// `CopyGetData`: Flush and Sync are ignored here.
    fn on_copy_message(&mut self, tag: u8, body: &[u8]) {
        let is_extended = self.copy.as_ref().unwrap().is_extended;
        let done = match tag {
            f::FLUSH | f::SYNC => return,
            f::COPY_DATA if body.contains(&b'!') => failure("22P02", "invalid input syntax"),
            f::COPY_DATA => return,
            f::COPY_FAIL => failure("57014", "COPY from stdin failed"),
            f::COPY_DONE => {
                let copy = self.copy.take().unwrap();
                self.put_complete("COPY 1");
                if copy.is_extended { Ok(()) } else { self.run_all(copy.rest) }
            }
            _ => return self.fatal("unexpected message type during COPY from stdin"),
        };
        if let Err(failure) = done {
            self.copy = None;
            self.fail(&failure);
            if is_extended {
                self.skips = true;
            } else {
                self.ready();
            }
        }
    }
}
