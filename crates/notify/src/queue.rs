//! What waits for one client to read.

use std::collections::VecDeque;

use crate::{Config, Notification};

/// What a listening client is told, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody has notified one of its channels.
    Notification(Notification),
    /// The server that listened has gone, and another one listens on all channels now: what was
    /// notified in between is lost.
    Resumed,
    /// It has not read in time, and what waited is lost. Nothing comes after this.
    Lagged,
}

/// What waits for one client to read, bounded by number and size. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    flow: Flow,
}

/// Whether anything may still come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Flow {
    #[default]
    Open,
    Lagged,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Taken,
    /// There was no room: all that waited is lost.
    Overflown,
}

impl Queue {
    /// Adds an event. Nothing may be added after an overflow.
    pub(crate) fn push(&mut self, event: Event, limits: &Config) -> Pushed {
        let bytes = size(&event);
        if self.events.len() >= limits.max_queue || self.bytes + bytes > limits.max_queue_size {
            *self = Self { events: [Event::Lagged].into(), bytes: 0, flow: Flow::Lagged };
            return Pushed::Overflown;
        }
        // One warning says it.
        if event != Event::Resumed || self.events.back() != Some(&Event::Resumed) {
            self.bytes += bytes;
            self.events.push_back(event);
        }
        Pushed::Taken
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= size(&event);
        if self.events.is_empty() && self.events.capacity() > KEPT {
            self.events = VecDeque::new();
        }
        Some(event)
    }

    /// Whether it has overflown.
    pub(crate) fn is_lagged(&self) -> bool {
        self.flow == Flow::Lagged
    }
}

/// Room that a client keeps which reads as fast as it is told.
const KEPT: usize = 4;

fn size(event: &Event) -> usize {
    match event {
        Event::Notification(notification) => notification.frame().len(),
        Event::Resumed | Event::Lagged => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event::Notification(Notification::read(b"A\0\0\0\x0b\0\0\x01\x02a\0\0").unwrap())
    }

    #[test]
    fn it_is_bounded_by_number_and_by_size() {
        for limits in [
            Config { max_queue: 2, ..Config::default() },
            Config { max_queue_size: 24, ..Config::default() },
        ] {
            let mut queue = Queue::default();
            assert_eq!(queue.push(event(), &limits), Pushed::Taken);
            assert_eq!(queue.push(event(), &limits), Pushed::Taken);
            assert_eq!(queue.pop(), Some(event()));
            assert_eq!(queue.push(event(), &limits), Pushed::Taken);
            assert_eq!(queue.push(event(), &limits), Pushed::Overflown);
            assert_eq!((queue.pop(), queue.pop()), (Some(Event::Lagged), None));
            assert!(queue.is_lagged());
        }
    }

    #[test]
    fn one_warning_is_enough() {
        let mut queue = Queue::default();
        for _ in 0..3 {
            queue.push(Event::Resumed, &Config::default());
        }
        assert_eq!((queue.pop(), queue.pop()), (Some(Event::Resumed), None));
    }
}
