//! What pgbench and Postgres say to each other for one `SELECT :aid`.

use wire::message::{self, TransactionStatus};
use wire::tag::{backend, frontend};

/// The name that pgbench gives its first prepared statement.
const STATEMENT: &str = "P_0";

/// Both directions of one transaction, each as it arrives: in one piece.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// From the client.
    pub request: Vec<u8>,
    /// From the server.
    pub reply: Vec<u8>,
}

impl Transaction {
    /// With one Query.
    pub fn simple() -> Self {
        let mut request = Vec::new();
        message::put_query(&mut request, "SELECT 4711;");
        Self { request, reply: reply(&[]) }
    }

    /// With an unnamed statement.
    pub fn extended() -> Self {
        let mut request = Vec::new();
        message::put_parse(&mut request, b"", b"SELECT $1;\0\0\0");
        bind_to_sync(&mut request, "");
        Self { request, reply: reply(&[backend::PARSE_COMPLETE, backend::BIND_COMPLETE]) }
    }

    /// With a statement that [`Transaction::preparation`] has made.
    pub fn prepared() -> Self {
        let mut request = Vec::new();
        bind_to_sync(&mut request, STATEMENT);
        Self { request, reply: reply(&[backend::BIND_COMPLETE]) }
    }

    /// The Parse of a named statement, before its first use.
    pub fn preparation() -> Self {
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        message::put_parse(&mut request, STATEMENT.as_bytes(), b"SELECT $1;\0\0\0");
        request.extend_from_slice(message::SYNC);
        reply.extend_from_slice(message::PARSE_COMPLETE);
        message::put_ready_for_query(&mut reply, TransactionStatus::Idle);
        Self { request, reply }
    }

    /// A Query that returns many rows; the reply is a chunk from the middle of the answer that
    /// begins and ends with a row.
    pub fn rows(count: usize) -> Self {
        let mut transaction = Self::simple();
        transaction.reply.clear();
        for _ in 0..count {
            put_row(&mut transaction.reply);
        }
        transaction
    }
}

fn bind_to_sync(out: &mut Vec<u8>, statement: &str) {
    message::put(out, frontend::BIND, |out| {
        message::put_c_str(out, "");
        message::put_c_str(out, statement);
        // No formats, one parameter of four bytes, one format for the results: text.
        out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 4]);
        out.extend_from_slice(b"4711");
        out.extend_from_slice(&[0, 1, 0, 0]);
    });
    message::put(out, frontend::DESCRIBE, |out| {
        out.push(b'P');
        message::put_c_str(out, "");
    });
    message::put(out, frontend::EXECUTE, |out| {
        message::put_c_str(out, "");
        out.extend_from_slice(&0_u32.to_be_bytes());
    });
    out.extend_from_slice(message::SYNC);
}

/// Empty messages with these tags, one row and its end.
fn reply(tags: &[u8]) -> Vec<u8> {
    let mut reply = Vec::new();
    for &tag in tags {
        message::put(&mut reply, tag, |_| {});
    }
    message::put(&mut reply, backend::ROW_DESCRIPTION, |out| {
        out.extend_from_slice(&[0, 1]);
        message::put_c_str(out, "?column?");
        // No table, no column, int4 of four bytes without modifier, as text.
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]);
    });
    put_row(&mut reply);
    message::put_command_complete(&mut reply, "SELECT 1");
    message::put_ready_for_query(&mut reply, TransactionStatus::Idle);
    reply
}

fn put_row(out: &mut Vec<u8>) {
    message::put(out, backend::DATA_ROW, |out| {
        out.extend_from_slice(&[0, 1, 0, 0, 0, 4]);
        out.extend_from_slice(b"4711");
    });
}
