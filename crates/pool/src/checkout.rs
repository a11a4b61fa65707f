//! Waiting for a server.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::core::Waiter;
use crate::hold::Share;
use crate::{CheckoutError, Lease, Pool, Server};
use parking_lot::Mutex;

/// A place in a pool's queue. Dropped, it leaves the queue, and a server that was given to
/// it in that moment goes to the next.
#[derive(Debug)]
pub struct Checkout {
    pool: Arc<Pool>,
    place: Arc<Place>,
    share: Share,
}

/// What the pool and the waiting client share.
#[derive(Debug)]
pub(crate) struct Place {
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Given(Box<Server>),
    Failed(CheckoutError),
    Gone,
}

/// What a place had come to when its client left it.
enum Left {
    /// A server had just come.
    Given(Box<Server>),
    /// Nothing had come: the queue still has the place in it.
    Waiting,
    /// The wait was over before.
    Over,
}

impl Checkout {
    pub(crate) fn new(pool: Arc<Pool>, place: Arc<Place>, share: Share) -> Self {
        Self { pool, place, share }
    }

    /// Notes that the client has sent so many bytes ahead. False if no more may be read from
    /// it: what waits is bounded, over all clients.
    pub fn may_buffer(&mut self, bytes: usize) -> bool {
        self.share.set(bytes)
    }
}

impl Future for Checkout {
    type Output = Result<Lease, CheckoutError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut state = this.place.state.lock();
        match std::mem::replace(&mut *state, State::Gone) {
            State::Given(server) => Poll::Ready(Ok(Lease::new(server, Arc::clone(&this.pool)))),
            State::Failed(error) => Poll::Ready(Err(error)),
            State::Waiting(_) => {
                *state = State::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
            State::Gone => Poll::Pending,
        }
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        match self.place.leave() {
            Left::Given(server) => self.pool.give_back(server),
            // Who has gone must not be counted, and hides for how long the next one has waited.
            Left::Waiting => {
                self.pool.core.lock().left();
                self.pool.wake_keeper();
            }
            Left::Over => {}
        }
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::Waiting(None)) }
    }

    /// Ends the wait without a server.
    pub(crate) fn fail(&self, error: CheckoutError) {
        let mut state = self.state.lock();
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Failed(error);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn leave(&self) -> Left {
        match std::mem::replace(&mut *self.state.lock(), State::Gone) {
            State::Given(server) => Left::Given(server),
            State::Waiting(_) => Left::Waiting,
            State::Failed(_) | State::Gone => Left::Over,
        }
    }
}

impl Waiter<Box<Server>> for Arc<Place> {
    fn give(self, server: Box<Server>) -> Result<(), Box<Server>> {
        let mut state = self.state.lock();
        let State::Waiting(waker) = &mut *state else { return Err(server) };
        let waker = waker.take();
        *state = State::Given(server);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    fn is_gone(&self) -> bool {
        matches!(&*self.state.lock(), State::Gone)
    }
}
