//! The frontend's messages byte by byte, and a connection that sends them in chunks of any size.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use auth::{ClientFirst, Login, Nonce, Secret};

/// Nothing that a script does takes the server this long: who waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message that the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

/// What reading came to.
#[derive(Debug)]
pub(crate) enum Read1 {
    Frame(Frame),
    /// The peer closed the connection.
    Closed,
    /// It closed it in the middle of a message.
    Torn,
    /// Nothing came.
    Stuck,
}

/// How a write is cut into pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chunks {
    Whole,
    /// Pieces of these sizes, again and again.
    Sizes(Vec<usize>),
}

/// A connection. A thread of its own reads, so that writing never waits for reading.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    frames: Receiver<Result<Frame, Read1>>,
    /// Process id and secret, once BackendKeyData has come.
    key: Option<Vec<u8>>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, frames) = channel();
        let reader = stream.try_clone().unwrap();
        std::thread::spawn(move || read_frames(reader, &sender));
        Self { stream, frames, key: None }
    }

    /// Writes, and does not mind a peer that has closed: what it said then is read later.
    pub(crate) fn write(&mut self, bytes: &[u8], chunks: &Chunks) {
        let mut rest = bytes;
        let mut sizes = match chunks {
            Chunks::Whole => vec![bytes.len()],
            Chunks::Sizes(sizes) => sizes.clone(),
        }
        .into_iter()
        .cycle();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
            if self.stream.write_all(chunk).is_err() {
                return;
            }
            rest = after;
        }
    }

    pub(crate) fn read(&mut self) -> Read1 {
        match self.frames.recv_timeout(PATIENCE) {
            Ok(Ok(frame)) => {
                if frame.tag == b'K' {
                    self.key = Some(frame.body.clone());
                }
                Read1::Frame(frame)
            }
            Ok(Err(end)) => end,
            Err(RecvTimeoutError::Disconnected) => Read1::Closed,
            Err(RecvTimeoutError::Timeout) => Read1::Stuck,
        }
    }

    /// Sends a startup packet and answers the challenges that follow. Gives what came behind
    /// them up to `Z`, `E` or the end; AuthenticationOk is part of it.
    pub(crate) fn log_in(&mut self, packet: &[u8], chunks: &Chunks, password: &str) -> Vec<Read1> {
        self.write(packet, chunks);
        let mut scram = Scram::Idle(password);
        let mut seen = Vec::new();
        loop {
            let read = self.read();
            if let Read1::Frame(frame) = &read
                && frame.tag == b'R'
                && frame.body.get(..4) != Some(&[0; 4])
            {
                if let Some(answer) = scram.answer(&frame.body) {
                    self.write(&message(b'p', &answer), chunks);
                }
                continue;
            }
            let over = !matches!(&read, Read1::Frame(frame) if !matches!(frame.tag, b'Z' | b'E'));
            seen.push(read);
            if over {
                return seen;
            }
        }
    }

    /// The body of its BackendKeyData.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Sends a CancelRequest with the body of a BackendKeyData, and waits until the peer has dealt
/// with it: it closes the connection then.
pub(crate) fn cancel(port: u16, key: &[u8]) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&packet(80_877_102, key)).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"", "a cancel request is not answered");
}

fn read_frames(mut stream: TcpStream, frames: &Sender<Result<Frame, Read1>>) {
    let mut header = [0; 5];
    loop {
        match stream.read(&mut header[..1]) {
            Ok(1) => {}
            _ => {
                let _ = frames.send(Err(Read1::Closed));
                return;
            }
        }
        let frame = stream.read_exact(&mut header[1..]).and_then(|()| {
            let length = u32::from_be_bytes(header[1..].try_into().unwrap());
            let mut body = vec![0; usize::try_from(length).unwrap() - 4];
            stream.read_exact(&mut body).map(|()| Frame { tag: header[0], body })
        });
        let torn = frame.is_err();
        if frames.send(frame.map_err(|_| Read1::Torn)).is_err() || torn {
            return;
        }
    }
}

/// The client's half of a SCRAM exchange.
enum Scram<'a> {
    Idle(&'a str),
    First(ClientFirst),
    Final(auth::ClientFinal),
    Done,
}

impl Scram<'_> {
    /// The answer to an authentication request, if it wants one.
    fn answer(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let (kind, data) = request.split_at(4);
        let (next, answer) = match (kind, std::mem::replace(self, Scram::Done)) {
            ([0, 0, 0, 10], Scram::Idle(password)) => {
                let login = Login::Password { password: Secret::new(password), cached: None };
                let first = ClientFirst::new(login, Nonce::new([7; 18]));
                let mut answer = b"SCRAM-SHA-256\0".to_vec();
                answer.extend(u32::try_from(first.message().len()).unwrap().to_be_bytes());
                answer.extend(first.message().bytes());
                (Scram::First(first), Some(answer))
            }
            ([0, 0, 0, 11], Scram::First(first)) => {
                let last = first.receive(data).unwrap();
                let answer = last.message().as_bytes().to_vec();
                (Scram::Final(last), Some(answer))
            }
            ([0, 0, 0, 12], Scram::Final(last)) => {
                last.receive(data).unwrap();
                (Scram::Done, None)
            }
            (kind, _) => panic!("unexpected authentication request {kind:?}"),
        };
        *self = next;
        answer
    }
}

/// Whether whole messages end in the middle of a batch, if they begin there as said.
pub(crate) fn leaves_batch_open(mut messages: &[u8], was_open: bool) -> bool {
    let mut open = was_open;
    while let [tag, a, b, c, d, ..] = messages {
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        open = match tag {
            b'P' | b'B' | b'D' | b'E' | b'C' => true,
            b'S' | b'Q' | b'F' => false,
            _ => open,
        };
        let next = usize::try_from(length).unwrap().saturating_add(1);
        messages = messages.get(next..).unwrap_or_default();
    }
    open
}

/// A packet without a type byte: a startup or cancel request of this code.
pub(crate) fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A StartupMessage of protocol 3.0.
pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parameters {
        body.extend(c_str(name));
        body.extend(c_str(value));
    }
    body.push(0);
    packet(3 << 16, &body)
}

/// Any message, with its right length.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    message_of_length(tag, u32::try_from(body.len() + 4).unwrap(), body)
}

/// Any message, with any length.
pub(crate) fn message_of_length(tag: u8, length: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

fn c_str(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

fn count(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_be_bytes()
}

/// Query.
pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &c_str(sql))
}

/// Parse without parameter types.
pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    parse_typed(name, sql, &[])
}

/// Parse.
pub(crate) fn parse_typed(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = [c_str(name), c_str(sql)].concat();
    body.extend(count(types.len()));
    body.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
    message(b'P', &body)
}

/// Bind with parameters and results in text.
pub(crate) fn bind(portal: &str, statement: &str, values: &[&str]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(|value| Some(value.as_bytes())).collect();
    bind_formats(portal, statement, &[], &values, &[])
}

/// Bind; a format is 0 for text, 1 for binary.
pub(crate) fn bind_formats(
    portal: &str,
    statement: &str,
    formats: &[u16],
    values: &[Option<&[u8]>],
    results: &[u16],
) -> Vec<u8> {
    let mut body = [c_str(portal), c_str(statement)].concat();
    body.extend(count(formats.len()));
    body.extend(formats.iter().flat_map(|format| format.to_be_bytes()));
    body.extend(count(values.len()));
    for value in values {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        body.extend(length.to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    body.extend(count(results.len()));
    body.extend(results.iter().flat_map(|format| format.to_be_bytes()));
    message(b'B', &body)
}

/// Describe of a statement.
pub(crate) fn describe(statement: &str) -> Vec<u8> {
    message(b'D', &[b"S".to_vec(), c_str(statement)].concat())
}

/// Describe of a portal.
pub(crate) fn describe_portal(portal: &str) -> Vec<u8> {
    message(b'D', &[b"P".to_vec(), c_str(portal)].concat())
}

/// Execute; 0 rows are all.
pub(crate) fn execute(portal: &str, rows: u32) -> Vec<u8> {
    message(b'E', &[&c_str(portal)[..], &rows.to_be_bytes()].concat())
}

/// Close of a statement.
pub(crate) fn close(statement: &str) -> Vec<u8> {
    message(b'C', &[b"S".to_vec(), c_str(statement)].concat())
}

/// Close of a portal.
pub(crate) fn close_portal(portal: &str) -> Vec<u8> {
    message(b'C', &[b"P".to_vec(), c_str(portal)].concat())
}

/// Sync.
pub(crate) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// Flush.
pub(crate) fn flush() -> Vec<u8> {
    message(b'H', b"")
}

/// CopyData.
pub(crate) fn copy_data(data: &[u8]) -> Vec<u8> {
    message(b'd', data)
}

/// CopyDone.
pub(crate) fn copy_done() -> Vec<u8> {
    message(b'c', b"")
}

/// CopyFail.
pub(crate) fn copy_fail(why: &str) -> Vec<u8> {
    message(b'f', &c_str(why))
}

/// FunctionCall with arguments and result in text.
pub(crate) fn function_call(oid: u32, arguments: &[&str]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend(count(0));
    body.extend(count(arguments.len()));
    for argument in arguments {
        body.extend(u32::try_from(argument.len()).unwrap().to_be_bytes());
        body.extend(argument.bytes());
    }
    body.extend(count(0));
    message(b'F', &body)
}

/// Terminate.
pub(crate) fn terminate() -> Vec<u8> {
    message(b'X', b"")
}

/// The unnamed statement from text to result, without Sync.
pub(crate) fn run_unnamed(sql: &str, values: &[&str]) -> Vec<u8> {
    [parse("", sql), run("", values)].concat()
}

/// A prepared statement run through the unnamed portal, without Sync.
pub(crate) fn run(statement: &str, values: &[&str]) -> Vec<u8> {
    [bind("", statement, values), describe_portal(""), execute("", 0)].concat()
}
