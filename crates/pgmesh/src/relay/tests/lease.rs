//! A server that is lent by a script.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use parking_lot::Mutex;
use pool::{Cancels, Closed};
use session::Disposition;

use super::stream::FakeStream;
use super::waiting::How;
use super::{FakeServer, Place, Servers};
use crate::relay::Leased;
use crate::relay::lend::Parts;

pub(super) struct FakeLease {
    pub(super) server: Option<FakeServer>,
    pub(super) servers: Servers,
    pub(super) is_resting: bool,
}

impl FakeLease {
    pub(super) fn place(&self) -> &Mutex<Place> {
        &self.server.as_ref().unwrap().place
    }
}

impl Leased for FakeLease {
    type Stream = FakeStream;

    fn parts(&mut self) -> Parts<'_, FakeStream> {
        let FakeServer { stream, state, unread, unsent, .. } = self.server.as_mut().unwrap();
        Parts { stream, state, unread, unsent }
    }

    fn id(&self) -> u64 {
        1
    }

    fn note_pins(&mut self) {}

    fn rest(&mut self) -> bool {
        let is_wanted = self.place().lock().is_wanted;
        self.is_resting = !is_wanted;
        self.is_resting
    }

    fn resume(&mut self) -> bool {
        self.is_resting = false;
        !self.place().lock().is_wanted
    }

    fn is_wanted(&self) -> bool {
        self.is_resting && self.place().lock().is_wanted
    }

    fn is_tls(&self) -> bool {
        self.server.as_ref().unwrap().stream.is_tls
    }

    fn cancels(&self) -> Option<&Arc<Cancels>> {
        None
    }

    fn is_recalled(&self) -> bool {
        self.place().lock().is_recalled
    }

    fn watch_recall(&self, waker: &Waker) {
        self.place().lock().waker = Some(waker.clone());
    }

    fn suspect(&self) {}

    fn release(mut self, disposition: Disposition, _: Instant) {
        let mut inner = self.servers.0.lock();
        inner.ends.push(How::Released(disposition));
        inner.idle.extend(self.server.take());
    }

    fn close(self, why: Closed) {
        self.servers.0.lock().ends.push(How::Closed(why));
    }
}
