//! A client that says exactly what the test says, message by message, and waits for nothing
//! that it was not told to wait for.

use std::collections::HashMap;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use auth::{ClientFirst, Nonce, ScramKeys, Secret};
use testbed::Login;
use wire::{CancelKey, CancelSecret, ErrorFields, Version, message, put_cancel_request};

/// A peer that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message: its type and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

/// An error that a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) severity: String,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// All up to a ReadyForQuery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The types of its messages, in order.
    pub(crate) tags: String,
    /// Rows; NULL reads as `NULL`.
    pub(crate) rows: Vec<Vec<String>>,
    /// What each CommandComplete said.
    pub(crate) commands: Vec<String>,
    pub(crate) errors: Vec<Told>,
    /// `I`, `T` or `E`.
    pub(crate) status: char,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: BufReader<TcpStream>,
    pub(crate) key: Option<CancelKey>,
    /// What the server reported, as it is now.
    pub(crate) reported: HashMap<String, String>,
    keys: Option<ScramKeys>,
}

impl Raw {
    /// Connects, and says nothing.
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = BufReader::with_capacity(1024, stream);
        Self { stream, key: None, reported: HashMap::new(), keys: None }
    }

    /// Connects and logs in.
    pub(crate) fn log_in(login: &Login) -> Self {
        Self::log_in_with(login, Version::V3_0, &[]).unwrap()
    }

    /// Connects and logs in as this version and with more startup parameters, or is refused.
    pub(crate) fn log_in_with(
        login: &Login,
        version: Version,
        parameters: &[(&str, &str)],
    ) -> Result<Self, Told> {
        let secret = auth::Login::Password { password: Secret::new(&login.password), cached: None };
        Self::log_in_by(login, secret, version, parameters)
    }

    /// As one that logged in before, and without what that cost.
    pub(crate) fn log_in_like(other: &Self, login: &Login) -> Result<Self, Told> {
        let keys = auth::Login::Keys(other.keys.clone().unwrap());
        Self::log_in_by(login, keys, Version::V3_0, &[])
    }

    fn log_in_by(
        login: &Login,
        secret: auth::Login,
        version: Version,
        parameters: &[(&str, &str)],
    ) -> Result<Self, Told> {
        let mut client = Self::connect(login.port);
        let mut startup = Vec::new();
        let named = [("user", login.user.as_str()), ("database", login.database.as_str())];
        wire::put_startup(&mut startup, version, named.iter().chain(parameters).copied());
        client.send(&startup);
        client.prove(secret)?;
        client.answer_of_login().map(|()| client)
    }

    /// The SCRAM exchange, up to the server's proof.
    fn prove(&mut self, secret: auth::Login) -> Result<(), Told> {
        let first = ClientFirst::new(secret, Nonce::new([1; 18]));
        self.authentication(10)?;
        self.say(b'p', |out| {
            message::put_c_str(out, auth::SCRAM_SHA_256);
            out.extend(u32::try_from(first.message().len()).unwrap().to_be_bytes());
            out.extend(first.message().as_bytes());
        });
        let last = first.receive(&self.authentication(11)?).unwrap();
        self.say(b'p', |out| out.extend(last.message().as_bytes()));
        self.keys = Some(last.receive(&self.authentication(12)?).unwrap());
        Ok(())
    }

    fn authentication(&mut self, kind: u32) -> Result<Vec<u8>, Told> {
        let Message { tag, body } = self.message();
        match tag {
            b'E' => Err(told(&body)),
            // A version negotiated, or an option refused.
            b'v' => self.authentication(kind),
            _ => {
                assert_eq!((tag, &body[..4]), (b'R', &kind.to_be_bytes()[..]), "{body:?}");
                Ok(body[4..].to_vec())
            }
        }
    }

    fn answer_of_login(&mut self) -> Result<(), Told> {
        self.authentication(0)?;
        loop {
            let Message { tag, body } = self.message();
            match tag {
                b'S' => self.report(&body),
                b'K' => {
                    let pid = i32::from_be_bytes(body[..4].try_into().unwrap());
                    let secret = CancelSecret::new(&body[4..]).unwrap();
                    self.key = Some(CancelKey { pid, secret });
                }
                b'E' => return Err(told(&body)),
                b'Z' => return Ok(()),
                _ => panic!("unexpected {} at login", char::from(tag)),
            }
        }
    }

    fn report(&mut self, body: &[u8]) {
        let (name, value) = message::parameter_status(body).unwrap();
        self.reported.insert(name.to_owned(), value.to_owned());
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a message.
    pub(crate) fn say(&mut self, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        message::put(&mut out, tag, body);
        self.send(&out);
    }

    /// Sends a query and does not wait for its answer.
    pub(crate) fn ask(&mut self, sql: &str) {
        self.say(b'Q', |out| message::put_c_str(out, sql));
    }

    /// Runs a query.
    pub(crate) fn query(&mut self, sql: &str) -> Answer {
        self.ask(sql);
        self.answer()
    }

    /// Runs queries that must succeed; the first value of the last one's first row.
    pub(crate) fn value(&mut self, sql: &str) -> String {
        let answer = self.query(sql);
        assert!(answer.errors.is_empty(), "{sql}: {:?}", answer.errors);
        answer.rows.first().and_then(|row| row.first()).cloned().unwrap_or_default()
    }

    /// Sends messages and a Sync behind them, and waits for their answer.
    pub(crate) fn batch(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Answer {
        let mut batch = Vec::new();
        put(&mut batch);
        sync(&mut batch);
        self.send(&batch);
        self.answer()
    }

    /// Parse, as a batch.
    pub(crate) fn prepare(&mut self, name: &str, sql: &str) -> Answer {
        self.batch(|out| parse(out, name, sql))
    }

    /// Bind of a statement, with values in text, and Execute, as a batch.
    pub(crate) fn execute(&mut self, name: &str, values: &[&str]) -> Answer {
        self.batch(|out| run(out, name, values))
    }

    /// Bind of a statement without parameters, Describe and Execute, as a batch.
    pub(crate) fn describe_and_execute(&mut self, name: &str) -> Answer {
        self.batch(|out| run_described(out, name, &[]))
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Message {
        self.next().expect("the connection has ended")
    }

    /// The next message, or `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if is_end(error.kind()) => return None,
            Err(error) => panic!("no message: {error}"),
        }
        let len = u32::from_be_bytes(head[1..].try_into().unwrap());
        let mut body = vec![0; len as usize - 4];
        self.stream.read_exact(&mut body).unwrap();
        Some(Message { tag: head[0], body })
    }

    /// All up to the next ReadyForQuery.
    pub(crate) fn answer(&mut self) -> Answer {
        self.whole_answer().expect("the connection has ended")
    }

    /// All up to the next ReadyForQuery, or `None` if the connection ends before.
    pub(crate) fn whole_answer(&mut self) -> Option<Answer> {
        let mut answer = Answer::default();
        loop {
            let Message { tag, body } = self.next()?;
            match tag {
                b'S' => {
                    self.report(&body);
                    // When a setting is told is not part of an answer.
                    continue;
                }
                b'D' => answer.rows.push(row(&body)),
                b'C' => answer.commands.push(text(&body)),
                b'E' => answer.errors.push(told(&body)),
                b'Z' => answer.status = char::from(body[0]),
                _ => {}
            }
            answer.tags.push(char::from(tag));
            if tag == b'Z' {
                return Some(answer);
            }
        }
    }

    /// All until the connection ends: the last error, if there was one.
    pub(crate) fn last_words(&mut self) -> Option<Told> {
        let mut last = None;
        while let Some(Message { tag, body }) = self.next() {
            if tag == b'E' {
                last = Some(told(&body));
            }
        }
        last
    }

    /// Sends the request that cancels what this client has running, and waits for its end.
    pub(crate) fn cancel(&self) {
        cancel(self.port(), self.key.as_ref().unwrap());
    }

    /// The socket, for what no client does.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    fn port(&self) -> u16 {
        self.socket().peer_addr().unwrap().port()
    }
}

/// Sends a CancelRequest, which is answered by the end of the connection and nothing else.
pub(crate) fn cancel(port: u16, key: &CancelKey) {
    let mut rest = Vec::new();
    ask_to_cancel(port, key).stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

/// Sends a CancelRequest, and leaves the end of the connection to be waited for.
pub(crate) fn ask_to_cancel(port: u16, key: &CancelKey) -> Raw {
    let mut request = Vec::new();
    put_cancel_request(&mut request, key);
    let mut client = Raw::connect(port);
    client.stream.get_mut().write_all(&request).unwrap();
    client
}

/// Parse.
pub(crate) fn parse(out: &mut Vec<u8>, name: &str, sql: &str) {
    message::put(out, b'P', |out| {
        message::put_c_str(out, name);
        message::put_c_str(out, sql);
        out.extend(0_u16.to_be_bytes());
    });
}

/// Bind of the unnamed portal, with values in text, and Execute.
pub(crate) fn run(out: &mut Vec<u8>, name: &str, values: &[&str]) {
    bind(out, name, values);
    message::put(out, b'E', |out| out.extend([0; 5]));
}

/// Bind of the unnamed portal, with values in text, Describe and Execute.
pub(crate) fn run_described(out: &mut Vec<u8>, name: &str, values: &[&str]) {
    bind(out, name, values);
    message::put(out, b'D', |out| out.extend(b"P\0"));
    message::put(out, b'E', |out| out.extend([0; 5]));
}

fn bind(out: &mut Vec<u8>, name: &str, values: &[&str]) {
    message::put(out, b'B', |out| {
        message::put_c_str(out, "");
        message::put_c_str(out, name);
        out.extend(0_u16.to_be_bytes());
        out.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            out.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            out.extend(value.as_bytes());
        }
        out.extend(0_u16.to_be_bytes());
    });
}

/// Sync.
pub(crate) fn sync(out: &mut Vec<u8>) {
    out.extend(b"S\0\0\0\x04");
}

fn is_end(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim_end_matches('\0').to_owned()
}

fn told(body: &[u8]) -> Told {
    let ErrorFields { severity, code, message, .. } = ErrorFields::parse(body).unwrap();
    Told { severity: severity.to_owned(), code: code.to_owned(), message: message.to_owned() }
}

fn row(body: &[u8]) -> Vec<String> {
    let mut rest = &body[2..];
    let mut row = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk() {
        let (value, after) = match usize::try_from(i32::from_be_bytes(*len)) {
            Ok(len) => (text(&after[..len]), &after[len..]),
            Err(_) => ("NULL".to_owned(), after),
        };
        row.push(value);
        rest = after;
    }
    row
}
