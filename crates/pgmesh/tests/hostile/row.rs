//! A row of the table: where a client is, what it sends, and how that ends.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use testbed::Pgmesh;
use wire::{ErrorFields, HEADER_LEN, Header};

use crate::clients::{Message, Raw};

/// Long beside what any row takes, and beside `client_login_timeout`.
const PATIENCE: Duration = Duration::from_secs(20);

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It has said nothing.
    Connected,
    /// It was asked for its password.
    Asked,
    /// It was sent the server-first-message.
    Challenged,
    /// Logged in.
    Idle,
    /// In a transaction that has written.
    InTransaction,
    /// In one that has failed.
    Failed,
    /// A statement was parsed and bound, and no Sync has come.
    InBatch,
    /// The same, and it has failed.
    Skipping,
    /// In a COPY to the server.
    InCopy,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a FATAL of this SQLSTATE, and the end of the connection.
    Fatal(&'static str),
    /// With the end of the connection, without an error.
    Closed,
    /// The same at `client_login_timeout`.
    TimedOut,
    /// The same when the client has closed its half, and not before: more might have come.
    Awaited,
    /// With an ERROR of this SQLSTATE; the connection goes on.
    Error(&'static str),
    /// With nothing; the connection goes on.
    Ignored,
}

/// What it sends; what depends on the server's nonce is made of it.
pub(crate) enum Input {
    Bytes(Vec<u8>),
    Answer(fn(&str) -> String),
}

/// One row.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) state: State,
    pub(crate) input: Input,
    /// What is answered without being an error: bytes in front of everything else.
    pub(crate) prelude: &'static [u8],
    pub(crate) end: End,
}

impl Row {
    pub(crate) fn new(what: &'static str, state: State, bytes: &[u8], end: End) -> Self {
        Self { what, state, input: Input::Bytes(bytes.to_vec()), prelude: b"", end }
    }

    /// With this answer in front.
    pub(crate) fn answered(self, prelude: &'static [u8]) -> Self {
        Self { prelude, ..self }
    }

    /// A client that is as far as the row says; `model` has logged in before.
    fn client(&self, mesh: &Pgmesh, model: &Raw) -> (Raw, String) {
        if matches!(self.state, State::Connected | State::Asked | State::Challenged) {
            return beginner(mesh, self.state);
        }
        let mut client = Raw::log_in_like(model, &mesh.app()).unwrap();
        match self.state {
            State::InTransaction | State::Failed => {
                assert_eq!(client.query("BEGIN; INSERT INTO t VALUES (1)").status, 'T');
                if self.state == State::Failed {
                    assert_eq!(client.query("SELECT nothing").status, 'E');
                }
            }
            State::InBatch | State::Skipping => {
                let sql =
                    if self.state == State::InBatch { "INSERT INTO t VALUES (1)" } else { "?" };
                let mut batch = Vec::new();
                crate::clients::parse(&mut batch, "", sql);
                batch.extend(b"H\0\0\0\x04");
                client.send(&batch);
                let answer = if self.state == State::InBatch { b'1' } else { b'E' };
                assert_eq!(client.message().tag, answer);
            }
            State::InCopy => {
                client.ask("COPY t FROM STDIN");
                assert_eq!(client.message().tag, b'G');
            }
            _ => {}
        }
        (client, String::new())
    }

    /// Sends it. The end is looked for later, so that many can be under way.
    pub(crate) fn send(&self, mesh: &Pgmesh, model: &Raw) -> Raw {
        let (client, nonce) = self.client(mesh, model);
        let bytes = match &self.input {
            Input::Bytes(bytes) => bytes.clone(),
            Input::Answer(of) => response(of(&nonce).as_bytes()),
        };
        client.socket().set_read_timeout(Some(PATIENCE)).unwrap();
        // It may be closed before all is sent.
        let _ = client.socket().write_all(&bytes);
        client
    }

    /// Whether it ends as it should, and otherwise how.
    pub(crate) fn check(&self, mut client: Raw) -> Result<(), String> {
        match self.end {
            End::Error(_) | End::Ignored => self.goes_on(&mut client),
            End::Awaited => {
                client.socket().set_nonblocking(true).unwrap();
                let early = client.socket().read(&mut [0; 64]);
                if !early.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                    return Err(format!("did not wait for more: {early:?}"));
                }
                client.socket().set_nonblocking(false).unwrap();
                client.socket().shutdown(Shutdown::Write).unwrap();
                self.is_over(&client)
            }
            End::Fatal(_) | End::Closed | End::TimedOut => self.is_over(&client),
        }
    }

    fn is_over(&self, client: &Raw) -> Result<(), String> {
        let mut said = Vec::new();
        match client.socket().read_to_end(&mut said) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => return Err(format!("still open: {error}: {}", said.escape_ascii())),
        }
        let said = said.strip_prefix(self.prelude).ok_or_else(|| {
            format!("{} in place of {}", said.escape_ascii(), self.prelude.escape_ascii())
        })?;
        let told = last_error(said);
        let wanted = match self.end {
            End::Fatal(code) => Some(("FATAL".to_owned(), code.to_owned())),
            _ => None,
        };
        if told == wanted { Ok(()) } else { Err(format!("{told:?}: {}", said.escape_ascii())) }
    }

    /// Brings the connection back to where every client can be, and asks something.
    fn goes_on(&self, client: &mut Raw) -> Result<(), String> {
        let mut rest = Vec::new();
        if self.state == State::InCopy {
            rest.extend(b"f\0\0\0\x05\0");
        }
        crate::clients::sync(&mut rest);
        wire::message::put_query(&mut rest, "ROLLBACK");
        wire::message::put_query(&mut rest, "SELECT 'still here'");
        let _ = client.socket().write_all(&rest);
        let mut told = None;
        let mut is_there = false;
        loop {
            let Some(Message { tag, body }) = client.next() else {
                return Err(format!("closed after {told:?}"));
            };
            match tag {
                b'E' => told = told.or_else(|| error(&body)),
                b'D' => is_there |= body.ends_with(b"still here"),
                b'Z' if is_there => break,
                _ => {}
            }
        }
        let wanted = match self.end {
            End::Error(code) => Some(("ERROR".to_owned(), code.to_owned())),
            _ => None,
        };
        if told == wanted { Ok(()) } else { Err(format!("{told:?}")) }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.what, self.state)
    }
}

fn beginner(mesh: &Pgmesh, state: State) -> (Raw, String) {
    let mut client = Raw::connect(mesh.port());
    if state == State::Connected {
        return (client, String::new());
    }
    let login = mesh.app();
    let mut startup = Vec::new();
    let parameters = [("user", login.user.as_str()), ("database", login.database.as_str())];
    wire::put_startup(&mut startup, wire::Version::V3_0, parameters);
    client.send(&startup);
    assert_eq!(client.message().tag, b'R');
    if state == State::Asked {
        return (client, String::new());
    }
    client.send(&initial_response("SCRAM-SHA-256", b"n,,n=,r=abcdefgh"));
    let Message { tag, body } = client.message();
    let first = String::from_utf8_lossy(body.get(4..).unwrap()).into_owned();
    let nonce = first.strip_prefix("r=").and_then(|rest| rest.split(',').next()).unwrap();
    assert_eq!((tag, nonce.starts_with("abcdefgh")), (b'R', true));
    (client, nonce.to_owned())
}

/// SASLInitialResponse.
pub(crate) fn initial_response(mechanism: &str, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::message::put(&mut out, b'p', |out| {
        wire::message::put_c_str(out, mechanism);
        out.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    });
    out
}

/// SASLResponse.
pub(crate) fn response(data: &[u8]) -> Vec<u8> {
    message(b'p', data)
}

/// Any message.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::message::put(&mut out, tag, |out| out.extend(body));
    out
}

/// Any message, with any length.
pub(crate) fn message_of_length(tag: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn last_error(mut said: &[u8]) -> Option<(String, String)> {
    let mut last = None;
    while let Ok(Some(header)) = Header::peek(said) {
        let (Some(frame), Some(rest)) =
            (said.get(..header.frame_len()), said.get(header.frame_len()..))
        else {
            break;
        };
        if header.tag == b'E' {
            last = error(&frame[HEADER_LEN..]);
        }
        said = rest;
    }
    last
}

fn error(body: &[u8]) -> Option<(String, String)> {
    let fields = ErrorFields::parse(body).ok()?;
    Some((fields.severity.to_owned(), fields.code.to_owned()))
}
