//! A server that keeps to the protocol up to a point, and then says something else.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use wire::message::{self, TransactionStatus};
use wire::{CancelKey, CancelSecret, StartupPacket};

use crate::row::message;

/// Up to where it keeps to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is asked to let somebody in.
    Authentication,
    /// It has let them in, and reports its settings.
    Parameters,
    /// It has reported them, and has only to say that it is ready.
    Ready,
    /// It was sent a query.
    Rows,
}

impl Stage {
    pub(crate) const ALL: [Self; 4] =
        [Self::Authentication, Self::Parameters, Self::Ready, Self::Rows];
}

/// Whether it closes the connection behind what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Close,
    Hold,
}

/// What it says out of place.
#[derive(Clone, Debug)]
pub(crate) struct Lie {
    pub(crate) what: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) behind: Behind,
}

/// The server. Which lie it tells at which stage is told by the name of the database, as
/// [`database`] makes it; in any other it is honest.
#[derive(Debug)]
pub(crate) struct Liar {
    pub(crate) port: u16,
}

/// The database in which a lie is told.
pub(crate) fn database(lie: usize, stage: Stage) -> String {
    format!("lie_{lie}_{}", stage as usize)
}

impl Liar {
    /// Listens for as long as the test runs.
    pub(crate) fn start(lies: Arc<[Lie]>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, lies) = (stream.unwrap(), Arc::clone(&lies));
                // Whoever hangs up on a lie is right.
                thread::spawn(move || drop(serve(stream, &lies)));
            }
        });
        Self { port }
    }
}

fn serve(mut stream: TcpStream, lies: &[Lie]) -> std::io::Result<()> {
    let startup = loop {
        match StartupPacket::parse(&packet(&mut stream)?) {
            Ok(StartupPacket::Ssl | StartupPacket::GssEnc) => stream.write_all(b"N")?,
            Ok(StartupPacket::Startup(startup)) => break startup,
            _ => return Ok(()),
        }
    };
    let database = startup.parameters.iter().find(|(name, _)| name == "database");
    let lie = database.and_then(|(_, name)| {
        let (lie, stage) = name.strip_prefix("lie_")?.split_once('_')?;
        let stage = *Stage::ALL.get(stage.parse::<usize>().ok()?)?;
        Some((lies.get(lie.parse::<usize>().ok()?)?, stage))
    });
    for stage in [Stage::Authentication, Stage::Parameters, Stage::Ready] {
        if let Some((lie, at)) = lie
            && at == stage
        {
            return tell(stream, lie, lie.behind);
        }
        stream.write_all(&welcome(stage))?;
    }
    loop {
        let query = query(&mut stream)?;
        match lie {
            // Nobody but the client can tell how long a statement may take.
            Some((lie, _)) => return tell(stream, lie, Behind::Close),
            None => stream.write_all(&answer(&query))?,
        }
    }
}

fn tell(mut stream: TcpStream, lie: &Lie, behind: Behind) -> std::io::Result<()> {
    stream.write_all(&lie.bytes)?;
    if behind == Behind::Close {
        stream.shutdown(Shutdown::Write)?;
    }
    // Until the other side has had enough.
    std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
}

/// What belongs to a stage of the login.
fn welcome(stage: Stage) -> Vec<u8> {
    let mut out = Vec::new();
    match stage {
        Stage::Authentication => out.extend_from_slice(message::AUTHENTICATION_OK),
        Stage::Parameters => {
            message::put_parameter_status(&mut out, "server_version", "15.4");
            message::put_parameter_status(&mut out, "in_hot_standby", "off");
            message::put_parameter_status(&mut out, "client_encoding", "UTF8");
            let secret = CancelSecret::new(&[1, 2, 3, 4]).unwrap();
            message::put_backend_key_data(&mut out, &CancelKey { pid: 7, secret });
        }
        Stage::Ready => message::put_ready_for_query(&mut out, TransactionStatus::Idle),
        Stage::Rows => {}
    }
    out
}

/// One row, or none for a setting.
fn answer(query: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if query.starts_with(b"SELECT") {
        let column = [&b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"[..]].concat();
        out.extend(message(b'T', &column));
        out.extend(message(b'D', b"\0\x01\0\0\0\x06honest"));
        message::put_command_complete(&mut out, "SELECT 1");
    } else {
        message::put_command_complete(&mut out, "SET");
    }
    message::put_ready_for_query(&mut out, TransactionStatus::Idle);
    out
}

fn packet(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn query(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    stream.read_exact(&mut [0])?;
    packet(stream)
}
