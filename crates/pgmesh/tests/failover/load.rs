//! Clients that write while it happens.

use std::sync::atomic::{AtomicBool, Ordering};

use testbed::Login;

use crate::clients::{Answer, Raw};

/// How a writer writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// A statement that is a transaction of its own.
    Statement,
    /// `BEGIN`, two statements, `COMMIT`.
    Transaction,
}

/// What became of one writer's writes, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) acknowledged: Vec<u32>,
    /// Failed for certain: 40001.
    pub(crate) rolled_back: Vec<u32>,
    /// SQLSTATEs of all errors.
    pub(crate) errors: Vec<String>,
}

/// Writes that each writer still makes when told to stop.
const AFTERWARDS: u32 = 20;

/// Writes numbers from `first` on until told to stop, and a few more, by one connection.
pub(crate) fn write(
    login: &Login,
    style: Style,
    writer: u32,
    first: u32,
    stop: &AtomicBool,
) -> Record {
    let mut record = Record::default();
    let mut client = Raw::log_in(login);
    let mut after = 0;
    for seq in first.. {
        after += u32::from(stop.load(Ordering::Relaxed));
        if after > AFTERWARDS {
            break;
        }
        let insert = format!("INSERT INTO written VALUES ({writer}, {seq})");
        let answer = match style {
            Style::Statement => ask(&mut client, &insert),
            Style::Transaction => transaction(&mut client, &insert),
        };
        match answer.errors.first() {
            None => record.acknowledged.push(seq),
            Some(error) => {
                if error.code == "40001" {
                    record.rolled_back.push(seq);
                }
                record.errors.push(error.code.clone());
            }
        }
    }
    record
}

/// The first answer with an error, or that of the COMMIT. Whatever happens, no block is open after.
fn transaction(client: &mut Raw, insert: &str) -> Answer {
    for sql in ["BEGIN", insert, "SELECT count(*) FROM written WHERE writer = 0", "COMMIT"] {
        let answer = ask(client, sql);
        if !answer.errors.is_empty() || sql == "COMMIT" {
            if answer.status == 'E' {
                let rollback = ask(client, "ROLLBACK");
                assert_eq!((rollback.errors, rollback.status), (vec![], 'I'));
            }
            return answer;
        }
    }
    unreachable!("COMMIT is the last")
}

fn ask(client: &mut Raw, sql: &str) -> Answer {
    client.ask(sql);
    client.whole_answer().unwrap_or_else(|| panic!("disconnected by: {sql}"))
}
