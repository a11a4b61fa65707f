//! The bare relay: the least that any proxy of its kind costs.
//!
//! One thread, one epoll. Each client gets a server connection of its own, and bytes are copied
//! between the two without a look at them: no protocol, no pool, no TLS. When either side closes,
//! both are closed.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

const LISTENER: Token = Token(usize::MAX);

/// Holds what a transaction of pgbench sends many times over.
const BUFFER_BYTES: usize = 64 * 1024;

/// A client and its server; what each has still to be sent.
struct Pair {
    streams: [TcpStream; 2],
    unsent: [Vec<u8>; 2],
}

struct Relay {
    server: SocketAddr,
    /// Token `2 * index` is the client, `2 * index + 1` the server.
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

fn main() -> io::Result<()> {
    let mut addresses = env::args().skip(1).map(|argument| argument.parse::<SocketAddr>());
    let (Some(Ok(listen)), Some(Ok(server)), None) =
        (addresses.next(), addresses.next(), addresses.next())
    else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "usage: relay LISTEN SERVER"));
    };
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (pairs, free, buffer) = (Vec::new(), Vec::new(), vec![0; BUFFER_BYTES]);
    let mut relay = Relay { server, pairs, free, buffer };
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                relay.accept(&listener, poll.registry())?;
                continue;
            }
            let (index, side) = (event.token().0 / 2, event.token().0 % 2);
            // Events are edges: what was once said to be closed is read to its end.
            let to_end = event.is_read_closed();
            relay.turn(index, side, event.is_readable(), event.is_writable(), to_end);
        }
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener, registry: &Registry) -> io::Result<()> {
        loop {
            let client = match listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let mut streams = [client, TcpStream::connect(self.server)?];
            let index = self.free.pop().unwrap_or(self.pairs.len());
            for (side, stream) in streams.iter_mut().enumerate() {
                stream.set_nodelay(true)?;
                let both = Interest::READABLE | Interest::WRITABLE;
                registry.register(stream, Token(2 * index + side), both)?;
            }
            let pair = Some(Pair { streams, unsent: [Vec::new(), Vec::new()] });
            match self.pairs.get_mut(index) {
                Some(slot) => *slot = pair,
                None => self.pairs.push(pair),
            }
        }
    }

    fn turn(&mut self, index: usize, side: usize, readable: bool, writable: bool, to_end: bool) {
        // An earlier event of the same poll may have closed the pair.
        let Some(Some(pair)) = self.pairs.get_mut(index) else { return };
        let mut result = Ok(());
        if writable && !pair.unsent[side].is_empty() {
            result = pair.resend(side, &mut self.buffer);
        }
        if readable {
            result = result.and_then(|()| pair.copy(side, to_end, &mut self.buffer));
        }
        if result.is_err() {
            self.pairs[index] = None;
            self.free.push(index);
        }
    }
}

impl Pair {
    /// Copies what there is to read on `from`, unless the other side is slow.
    fn copy(&mut self, from: usize, to_end: bool, buffer: &mut [u8]) -> io::Result<()> {
        let to = 1 - from;
        while self.unsent[to].is_empty() {
            let read = match self.streams[from].read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let written = written(self.streams[to].write(&buffer[..read]))?;
            self.unsent[to].extend_from_slice(&buffer[written..read]);
            // A short read has emptied the socket; what comes next is another edge.
            if read < buffer.len() && !to_end {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes on where a write was short; its reading side may have been waiting for that.
    fn resend(&mut self, to: usize, buffer: &mut [u8]) -> io::Result<()> {
        let written = written(self.streams[to].write(&self.unsent[to]))?;
        self.unsent[to].drain(..written);
        self.copy(1 - to, true, buffer)
    }
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
