//! A server that keeps to the protocol, whatever it is sent.

use wire::message::{self, TransactionStatus};
use wire::tag::{backend as b, frontend as f};
use wire::{HEADER_LEN, Header};

/// Answers what it is sent. Its SQL is known by its first word: BEGIN, COMMIT, ROLLBACK, COPY, SET
/// and ERROR, and a block by its last, too; anything else has no rows.
#[derive(Debug)]
pub(crate) struct Server {
    unread: Vec<u8>,
    status: TransactionStatus,
    state: State,
    /// What Execute runs.
    prepared: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// An error in the extended protocol: nothing counts until Sync.
    Skipping,
    /// It reads the data of a COPY that this message began.
    Copying(u8),
    /// It has closed the connection.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Begin,
    /// A transaction block in one text.
    Block,
    Commit,
    Copy,
    Doom,
    Error,
    Other,
    Rollback,
    Set,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            unread: Vec::new(),
            status: TransactionStatus::Idle,
            state: State::Ready,
            prepared: Word::Other,
        }
    }

    /// Whether it has closed the connection.
    pub(crate) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// The answer to bytes, of which a frame at the end may be incomplete.
    ///
    /// # Panics
    /// They are not frames.
    pub(crate) fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.unread.extend_from_slice(bytes);
        let mut out = Vec::new();
        loop {
            let header = Header::peek(&self.unread).expect("a server is sent nothing but frames");
            let Some(header) = header.filter(|it| it.frame_len() <= self.unread.len()) else {
                return out;
            };
            let frame: Vec<u8> = self.unread.drain(..header.frame_len()).collect();
            self.on_frame(header.tag, frame.get(HEADER_LEN..).unwrap_or_default(), &mut out);
        }
    }

    fn on_frame(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) {
        match self.state {
            State::Copying(begun_by) => return self.on_copy(tag, begun_by, out),
            State::Skipping if tag == f::SYNC => self.state = State::Ready,
            State::Skipping | State::Gone => return,
            State::Ready => {}
        }
        match tag {
            f::QUERY => {
                self.run(f::QUERY, Word::of(body), out);
                if self.state == State::Ready {
                    message::put_ready_for_query(out, self.status);
                }
            }
            f::PARSE => {
                let text = body.splitn(2, |&byte| byte == 0).nth(1).unwrap_or_default();
                self.prepared = Word::of(text);
                out.extend_from_slice(message::PARSE_COMPLETE);
            }
            f::BIND => put_empty(out, b::BIND_COMPLETE),
            f::DESCRIBE => {
                if body.first() == Some(&b'S') {
                    message::put(out, b::PARAMETER_DESCRIPTION, |out| out.extend([0, 0]));
                }
                put_empty(out, b::NO_DATA);
            }
            f::EXECUTE => self.run(f::EXECUTE, self.prepared, out),
            f::CLOSE => out.extend_from_slice(message::CLOSE_COMPLETE),
            f::SYNC => message::put_ready_for_query(out, self.status),
            f::FUNCTION_CALL => {
                message::put(out, b::FUNCTION_CALL_RESPONSE, |out| out.extend([0xff; 4]));
                message::put_ready_for_query(out, self.status);
            }
            _ => {}
        }
    }

    fn run(&mut self, tag: u8, word: Word, out: &mut Vec<u8>) {
        use TransactionStatus::{Failed, Idle, Open};
        if self.status == Failed && !matches!(word, Word::Commit | Word::Rollback) {
            return self.fail(tag, "25P02", out);
        }
        let command = match word {
            Word::Begin => {
                self.status = Open;
                "BEGIN"
            }
            Word::Commit if self.status == Open => {
                self.status = Idle;
                "COMMIT"
            }
            Word::Block => {
                message::put_command_complete(out, "BEGIN");
                self.status = Idle;
                "COMMIT"
            }
            Word::Commit | Word::Rollback => {
                self.status = Idle;
                "ROLLBACK"
            }
            Word::Copy => {
                message::put(out, b::COPY_IN_RESPONSE, |out| out.extend([0, 0, 0]));
                self.state = State::Copying(tag);
                return;
            }
            Word::Doom => {
                message::put_command_complete(out, "BEGIN");
                self.status = Open;
                return self.fail(tag, "3B001", out);
            }
            Word::Error => return self.fail(tag, "42601", out),
            Word::Other => "SELECT 0",
            Word::Set => "SET",
        };
        message::put_command_complete(out, command);
    }

    fn on_copy(&mut self, tag: u8, begun_by: u8, out: &mut Vec<u8>) {
        match tag {
            f::COPY_DATA | f::FLUSH | f::SYNC => return,
            f::COPY_DONE => {
                self.state = State::Ready;
                message::put_command_complete(out, "COPY 0");
            }
            f::COPY_FAIL => self.fail(begun_by, "57014", out),
            // It has read the type only, and cannot tell where the next message begins
            // (`pq_is_reading_msg` in PostgresMain).
            _ => {
                self.fail(begun_by, "08P01", out);
                put_error(out, "FATAL", "08P01");
                self.state = State::Gone;
                return;
            }
        }
        if begun_by == f::QUERY {
            message::put_ready_for_query(out, self.status);
        }
    }

    fn fail(&mut self, tag: u8, code: &str, out: &mut Vec<u8>) {
        put_error(out, "ERROR", code);
        if self.status == TransactionStatus::Open {
            self.status = TransactionStatus::Failed;
        }
        self.state = if tag == f::QUERY { State::Ready } else { State::Skipping };
    }
}

impl Word {
    fn of(text: &[u8]) -> Self {
        let is = |word: &str| {
            text.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
        };
        if text.windows(DOOM.len()).any(|it| it == DOOM) {
            return Self::Doom;
        }
        if is("BEGIN; ") && text.strip_suffix(b"; COMMIT\0").is_some() {
            return Self::Block;
        }
        let words = [
            ("BEGIN", Self::Begin),
            ("COMMIT", Self::Commit),
            ("COPY", Self::Copy),
            ("ERROR", Self::Error),
            ("ROLLBACK", Self::Rollback),
            ("SET", Self::Set),
        ];
        words.into_iter().find(|(word, _)| is(word)).map_or(Self::Other, |(_, word)| word)
    }
}

fn put_error(out: &mut Vec<u8>, severity: &str, code: &str) {
    message::put(out, b::ERROR_RESPONSE, |out| {
        let fields = format!("S{severity}\0V{severity}\0C{code}\0Mno\0\0");
        out.extend_from_slice(fields.as_bytes());
    });
}

fn put_empty(out: &mut Vec<u8>, tag: u8) {
    message::put(out, tag, |_| ());
}

/// With what the session takes a server to a failed transaction.
const DOOM: &[u8] = b"pgmesh_failover";
