//! A client's bytes behind its login, with a server that keeps to the protocol.

use session::{Mode, Violation};
use wire::Header;

use super::scene::{End, Scene};
use super::server::Server;

/// Three bytes choose: the mode, into how large pieces the rest is cut, and when the server
/// answers, or dies. The rest is what the client sends before it leaves.
///
/// # Panics
/// Something is wrong.
pub fn run(data: &[u8]) {
    let Some((&[mode, piece, habits], bytes)) = data.split_first_chunk() else { return };
    let mode = [Mode::Transaction, Mode::Session, Mode::Statement][usize::from(mode % 3)];
    let mut play = Play { scene: Scene::new(mode), server: Server::new(), number: 0 };
    let pieces = bytes.chunks(if piece == 0 { usize::MAX } else { usize::from(piece) });
    for (number, piece) in pieces.enumerate() {
        if let Err(end) = play.piece(piece, number, habits) {
            return play.check(&end);
        }
    }
    if let Err(end) = play.answer() {
        return play.check(&end);
    }
    if play.scene.client_leaves() {
        play.drain();
    }
}

struct Play {
    scene: Scene,
    server: Server,
    /// Of the server.
    number: usize,
}

impl Play {
    fn piece(&mut self, piece: &[u8], number: usize, habits: u8) -> Result<(), End> {
        self.scene.client_sends(piece)?;
        let (lazy, mortal) = (usize::from(habits & 3), usize::from(habits >> 2));
        if mortal > 0 && number % mortal == mortal - 1 {
            self.scene.server_is_lost()?;
        }
        if number.is_multiple_of(lazy + 1) { self.answer() } else { Ok(()) }
    }

    /// The server answers until nothing moves any more.
    fn answer(&mut self) -> Result<(), End> {
        loop {
            let answer = self.turn();
            if answer.is_empty() {
                return Ok(());
            }
            let is_last = self.server.is_gone();
            self.scene.server_sends(&answer)?;
            if is_last {
                self.scene.server_is_lost()?;
            }
        }
    }

    fn turn(&mut self) -> Vec<u8> {
        if self.number != self.scene.server_number {
            self.number = self.scene.server_number;
            self.server = Server::new();
        }
        if !self.scene.is_lent() {
            // Nobody waits for an answer to what is still on its way, such as a Flush.
            let rest = std::mem::take(&mut self.scene.to_server);
            let said = self.server.answer(&rest);
            self.scene.idle_server_sends(&said);
            return Vec::new();
        }
        self.server.answer(&std::mem::take(&mut self.scene.to_server))
    }

    /// Without the client.
    fn drain(&mut self) {
        match self.answer() {
            Ok(()) => assert!(!self.scene.is_lent(), "a server is waited for and owes nothing"),
            Err(end) => self.check(&end),
        }
    }

    /// What must hold at the end.
    fn check(&self, end: &End) {
        if let End::Broken(Violation::Server(what)) = end {
            panic!("an honest server was blamed: {what}: {:?}", self.scene);
        }
        let mut rest = &self.scene.to_client[..];
        while let Some(header) = Header::peek(rest).expect("a client is sent nothing but frames") {
            rest = rest.get(header.frame_len()..).unwrap_or_default();
        }
    }
}
