//! What statements do in the model of Postgres, and what it writes.

use wire::message;
use wire::tag::backend as b;

use super::postgres::{CopyIn, Done, Failure, Portal, Postgres, Prepared, Transaction, failure};
use super::sql::Sql;

impl Postgres {
    pub(crate) fn check_failed(&self, sql: &Sql) -> Done {
        if self.transaction == Transaction::Failed && !sql.ends_transaction() {
            return failure("25P02", "current transaction is aborted");
        }
        Ok(())
    }

    pub(crate) fn run(&mut self, portal: &mut Portal, max_rows: u32, is_alone: bool) -> Done {
        if portal.sql == Sql::Account {
            return self.run_account();
        }
        if let Sql::Execute(name) = &portal.sql {
            let (_, executed) = self.prepared(name)?;
            if !matches!(executed, Sql::Select(_) | Sql::Rows(_) | Sql::Show(_)) {
                return failure("0A000", "not in the model");
            }
            portal.sql = executed;
        }
        let (text, total) = match &portal.sql {
            Sql::Select(text) => (text.clone().into_bytes(), 1),
            Sql::Parameter => (portal.parameter.clone(), 1),
            Sql::Rows(total) => (b"row".to_vec(), *total),
            Sql::Table => (format!("columns of {}", self.database.version.get()).into_bytes(), 1),
            Sql::Show(name) => match self.settings.show(name) {
                Some(value) => (value.to_owned().into_bytes(), 1),
                None => return failure("42704", format!("unrecognized parameter \"{name}\"")),
            },
            Sql::Nextval => (self.take_value().to_string().into_bytes(), 1),
            Sql::Lastval => match self.value {
                Some(value) => (value.to_string().into_bytes(), 1),
                None => return failure("55000", "lastval is not yet defined in this session"),
            },
            Sql::SetConfig { value, .. } => {
                for pair in value.clone().lines() {
                    let (name, value) = pair.split_once('=').unwrap();
                    self.set(name, value, false)?;
                }
                (value.clone().into_bytes(), 1)
            }
            other => {
                portal.is_done = true;
                return self.run_command(&other.clone(), is_alone);
            }
        };
        let wanted = if max_rows == 0 { total } else { total.min(portal.sent + max_rows) };
        let count = wanted - portal.sent;
        for _ in 0..count {
            let len = u32::try_from(text.len()).unwrap().to_be_bytes();
            self.put(b::DATA_ROW, &[&[0, 1], &len[..], &text].concat());
        }
        portal.sent = wanted;
        if max_rows > 0 && count == max_rows {
            self.put(b::PORTAL_SUSPENDED, &[]);
        } else {
            self.put_complete(&format!("SELECT {count}"));
        }
        Ok(())
    }

    fn take_value(&mut self) -> u32 {
        let next = &self.database.next_value;
        next.set(next.get() + 1);
        *self.value.insert(next.get())
    }

    fn run_account(&mut self) -> Done {
        let mut rows = self.settings.of_session();
        for (name, prepared) in self.statements.iter().filter(|(it, _)| !it.starts_with("pgmesh:"))
        {
            rows.push(match &prepared.made_by {
                Some(sql) => (format!("prepare:{name}"), sql.clone()),
                None => (format!("parse:{name}"), String::new()),
            });
        }
        for (name, value) in rows {
            let mut body = vec![0, 2];
            for column in [name, value] {
                body.extend_from_slice(&u32::try_from(column.len()).unwrap().to_be_bytes());
                body.extend_from_slice(column.as_bytes());
            }
            self.put(b::DATA_ROW, &body);
        }
        self.put_complete("SELECT");
        Ok(())
    }

    pub(crate) fn run_command(&mut self, sql: &Sql, is_alone: bool) -> Done {
        match sql {
            Sql::Empty => self.put(b::EMPTY_QUERY_RESPONSE, &[]),
            Sql::Begin => {
                self.transaction = Transaction::Open;
                self.put_complete("BEGIN");
            }
            Sql::Commit if self.transaction != Transaction::Failed => {
                self.commit();
                self.put_complete("COMMIT");
            }
            Sql::Commit | Sql::Rollback => {
                self.roll_back();
                self.put_complete("ROLLBACK");
            }
            Sql::AlterTable => {
                self.database.version.set(self.database.version.get() + 1);
                self.put_complete("ALTER TABLE");
            }
            Sql::Insert(row) => {
                self.rows.push(*row);
                self.put_complete("INSERT 0 1");
            }
            Sql::RollbackTo if self.transaction == Transaction::Implicit => {
                return failure("25P01", "ROLLBACK TO can only be used in transaction blocks");
            }
            Sql::RollbackTo => return failure("3B001", "savepoint does not exist"),
            Sql::Fail => return failure("22012", "division by zero"),
            Sql::Notice => {
                self.put(b::NOTICE_RESPONSE, b"SNOTICE\0VNOTICE\0C00000\0Mlook\0\0");
                self.put_complete("DO");
            }
            Sql::Set { .. } | Sql::Reset(_) => return self.run_setting(sql),
            Sql::DiscardAll if self.transaction == Transaction::Open || !is_alone => {
                return failure("25001", "DISCARD ALL cannot run inside a transaction block");
            }
            Sql::DiscardAll => {
                self.settings.reset_all();
                self.statements.clear();
                self.value = None;
                self.put_complete("DISCARD ALL");
            }
            Sql::DiscardSequences => {
                self.value = None;
                self.put_complete("DISCARD SEQUENCES");
            }
            Sql::Takes => {
                self.take_value();
                self.put_complete("CALL");
            }
            Sql::DeallocateAll | Sql::Deallocate(_) | Sql::Forget | Sql::Prepare(..) => {
                return self.run_prepared(sql);
            }
            Sql::CopyIn => {
                self.put(b::COPY_IN_RESPONSE, &[0, 0, 0]);
                self.flush();
                self.copy = Some(CopyIn { is_extended: true, rest: Vec::new() });
            }
            Sql::CopyOut => {
                self.put(b::COPY_OUT_RESPONSE, &[0, 0, 0]);
                self.put(b::COPY_DATA, b"1\n");
                self.put(b::COPY_DONE, &[]);
                self.put_complete("COPY 1");
            }
            _ => unreachable!("has rows"),
        }
        Ok(())
    }

    /// What makes and drops prepared statements.
    fn run_prepared(&mut self, sql: &Sql) -> Done {
        match sql {
            Sql::DeallocateAll => {
                self.statements.clear();
                self.put_complete("DEALLOCATE ALL");
            }
            Sql::Deallocate(name) => {
                if self.statements.remove(name).is_none() {
                    let message = format!("prepared statement \"{name}\" does not exist");
                    return failure("26000", message);
                }
                self.put_complete("DEALLOCATE");
            }
            Sql::Forget => {
                self.statements.clear();
                self.put_complete("CALL");
            }
            Sql::Prepare(name, _) if self.statements.contains_key(name) => {
                let message = format!("prepared statement \"{name}\" already exists");
                return failure("42P05", message);
            }
            Sql::Prepare(name, text) => {
                let made_by = Some(format!("prepare {name} as {text}"));
                let prepared = Prepared { text: text.clone(), version: 0, made_by };
                self.statements.insert(name.clone(), prepared);
                self.put_complete("PREPARE");
            }
            _ => unreachable!("of no prepared statement"),
        }
        Ok(())
    }

    fn run_setting(&mut self, sql: &Sql) -> Done {
        match sql {
            Sql::Set { name, value: Some(value), is_local } => {
                self.set(name, value, *is_local)?;
                self.put_complete("SET");
            }
            Sql::Set { name, value: None, .. } | Sql::Reset(Some(name)) => {
                if !self.settings.reset(name) {
                    return failure("42704", format!("unrecognized parameter \"{name}\""));
                }
                self.put_complete(if matches!(sql, Sql::Reset(_)) { "RESET" } else { "SET" });
            }
            Sql::Reset(None) => {
                self.settings.reset_all();
                self.put_complete("RESET");
            }
            _ => unreachable!("sets nothing"),
        }
        Ok(())
    }

    pub(crate) fn set(&mut self, name: &str, value: &str, is_local: bool) -> Done {
        if value == "bad" || !self.settings.set(name, value, is_local) {
            return failure("22023", format!("invalid value for parameter \"{name}\""));
        }
        Ok(())
    }

    pub(crate) fn begin_implicit(&mut self) {
        if self.transaction == Transaction::Idle {
            self.transaction = Transaction::Implicit;
            self.settings.begin();
        }
    }

    pub(crate) fn commit(&mut self) {
        self.settings.commit();
        self.database.rows.borrow_mut().append(&mut self.rows);
        self.end_transaction();
    }

    pub(crate) fn roll_back(&mut self) {
        self.settings.rollback();
        self.end_transaction();
    }

    pub(crate) fn end_transaction(&mut self) {
        self.transaction = Transaction::Idle;
        self.rows.clear();
        self.portals.clear();
    }

    pub(crate) fn fail(&mut self, (state, text, routine): &Failure) {
        match self.transaction {
            Transaction::Idle | Transaction::Implicit => self.roll_back(),
            Transaction::Open | Transaction::Failed => {
                self.settings.rollback();
                self.portals.clear();
                self.transaction = Transaction::Failed;
            }
        }
        self.put_error("ERROR", state, text, routine);
        self.flush();
    }

    pub(crate) fn fatal(&mut self, text: &str) {
        self.put_error("FATAL", "08P01", text, "model");
        self.flush();
        self.is_closed = true;
    }

    pub(crate) fn ready(&mut self) {
        for (name, value) in self.settings.take_reports() {
            message::put_parameter_status(&mut self.buffer, &name, &value);
        }
        let status = match self.transaction {
            Transaction::Idle => b"I",
            Transaction::Open | Transaction::Implicit => b"T",
            Transaction::Failed => b"E",
        };
        self.put(b::READY_FOR_QUERY, status);
        self.flush();
    }

    pub(crate) fn put(&mut self, tag: u8, body: &[u8]) {
        message::put(&mut self.buffer, tag, |out| out.extend_from_slice(body));
    }

    pub(crate) fn put_complete(&mut self, tag: &str) {
        message::put_command_complete(&mut self.buffer, tag);
    }

    pub(crate) fn put_row_description(&mut self, sql: &Sql) {
        let version = if *sql == Sql::Table { self.database.version.get() } else { 0 };
        self.put(b::ROW_DESCRIPTION, format!("columns {version}").as_bytes());
    }

    pub(crate) fn put_error(&mut self, severity: &str, state: &str, text: &str, routine: &str) {
        let body = format!("S{severity}\0V{severity}\0C{state}\0M{text}\0R{routine}\0\0");
        self.put(b::ERROR_RESPONSE, body.as_bytes());
    }

    pub(crate) fn flush(&mut self) {
        self.output.append(&mut self.buffer);
    }
}
