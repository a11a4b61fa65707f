//! From when to when a client needs a database empty.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use session::{Catalog, Emptying, Frame, Mode, ServerState, Session};
use support::client::*;
use support::scene::LOGIN;
use wire::{HEADER_LEN, Header};

struct Pair {
    session: Session,
    server: ServerState,
}

impl Pair {
    fn new(mode: Mode) -> Self {
        let catalog = Arc::new(Catalog::default());
        let parameters = catalog.parameters(LOGIN);
        let server = ServerState::new(Arc::clone(&parameters), 3);
        Self { session: Session::new(catalog, parameters, mode), server }
    }

    /// The client sends this. What comes of it.
    fn say(&mut self, mut bytes: &[u8]) -> Option<Emptying> {
        while let Some(header) = Header::peek(bytes).unwrap() {
            let (frame, rest) = bytes.split_at(header.frame_len());
            let frame = Frame { header, body: &frame[HEADER_LEN..] };
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            let Self { session, server } = self;
            session.on_client(&frame, server, &mut to_server, &mut to_client).unwrap();
            bytes = rest;
        }
        self.server.take_emptying()
    }

    /// The server answers this. What comes of it.
    fn answer(&mut self, tag: u8, body: &[u8]) -> Option<Emptying> {
        let header = Header { tag, body_len: u32::try_from(body.len()).unwrap() };
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        let Self { session, server } = self;
        let frame = Frame { header, body };
        session.on_server(&frame, server, &mut to_client, &mut to_server).unwrap();
        self.server.take_emptying()
    }
}

fn begins(database: &str) -> Option<Emptying> {
    Some(Emptying::Begins([database.into()].into()))
}

const DENIED: &[u8] = b"SERROR\0VERROR\0C42501\0Mmust be owner\0\0";

#[test]
fn a_text_needs_it_until_its_transaction_is_over() {
    let mut pair = Pair::new(Mode::Session);
    assert_eq!(pair.say(&query("DROP DATABASE app")), begins("app"));
    assert_eq!(pair.answer(b'C', b"DROP DATABASE\0"), None);
    assert_eq!(pair.answer(b'Z', b"I"), Some(Emptying::Ends));
    assert_eq!(pair.say(&query("DROP DATABASE app")), begins("app"));
    assert_eq!(pair.answer(b'E', DENIED), Some(Emptying::Ends));
    assert_eq!(pair.answer(b'Z', b"I"), None);
    assert_eq!(pair.say(&query("BEGIN")), None);
    assert_eq!(pair.answer(b'C', b"BEGIN\0"), None);
    assert_eq!(pair.answer(b'Z', b"T"), None);
    assert_eq!(pair.say(&query("ALTER DATABASE app RENAME TO other")), begins("app"));
    assert_eq!(pair.answer(b'C', b"ALTER DATABASE\0"), None);
    assert_eq!(pair.answer(b'Z', b"T"), None, "nobody may come in before COMMIT");
    assert_eq!(pair.say(&query("COMMIT")), None);
    assert_eq!(pair.answer(b'C', b"COMMIT\0"), None);
    assert_eq!(pair.answer(b'Z', b"I"), Some(Emptying::Ends));
}

/// Whoever only prepares it holds nobody off, whether he may run it or not.
#[test]
fn a_prepared_statement_needs_it_from_its_execution_on() {
    for name in ["", "s1"] {
        let mut pair = Pair::new(Mode::Session);
        assert_eq!(pair.say(&[parse(name, "DROP DATABASE app"), flush()].concat()), None);
        assert_eq!(pair.answer(b'1', b""), None);
        assert_eq!(pair.say(&sync()), None);
        assert_eq!(pair.answer(b'Z', b"I"), None);
        assert_eq!(pair.say(&bind("", name)), None);
        assert_eq!(pair.say(&execute("", 0)), begins("app"), "{name}");
        assert_eq!(pair.say(&[bind("", name), parse("", "select 1"), bind("", "")].concat()), None);
        assert_eq!(pair.say(&execute("", 0)), None, "the portal is another");
        assert_eq!(pair.answer(b'2', b""), None);
        assert_eq!(pair.answer(b'E', DENIED), Some(Emptying::Ends));
    }
}
