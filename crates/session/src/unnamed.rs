//! The unnamed statement: one per client, and one per server.
//!
//! Both change when the server has answered, like the named ones. The server's is never that
//! of another client when something uses it: a lease begins by closing what an earlier one
//! left, in front of anything that could fail.

use std::collections::VecDeque;

use wire::message;
use wire::tag::frontend as f;

use crate::catalog::text;
use crate::databases::{Databases, emptied};
use crate::deallocate::deallocated;
use crate::expect::Expect;
use crate::frame::Frame;
use crate::server::ServerState;
use crate::session::Session;
use crate::verb::Verb;

/// What the server's unnamed statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// That of an earlier client, or unknown: it must not be used.
    Foreign,
    /// There is none.
    Absent,
    /// What the client's is.
    Current,
}

/// Definitions that have been sent and not been answered, in one buffer.
#[derive(Debug, Default)]
pub(crate) struct SentTexts {
    bytes: Vec<u8>,
    start: usize,
    lens: VecDeque<usize>,
}

/// A buffer larger than this is given back when it is empty.
const KEEP_CAPACITY: usize = 16 * 1024;

impl SentTexts {
    /// With more bytes than this unanswered, the client waits.
    const MAX: usize = 1024 * 1024;

    pub(crate) fn push(&mut self, definition: &[u8]) {
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(definition);
        self.lens.push_back(definition.len());
    }

    /// Takes the oldest, copied to `to`.
    fn pop_to(&mut self, to: &mut Vec<u8>) {
        let len = self.lens.front().copied().unwrap_or_default();
        to.clear();
        to.extend_from_slice(self.bytes.get(self.start..self.start + len).unwrap_or_default());
        if to.capacity() > KEEP_CAPACITY && to.len() < to.capacity() / 4 {
            to.shrink_to_fit();
        }
        self.pop();
    }

    /// Drops the oldest.
    pub(crate) fn pop(&mut self) {
        self.start += self.lens.pop_front().unwrap_or_default();
        if self.lens.is_empty() {
            self.clear();
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() - self.start > Self::MAX
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_CAPACITY);
        self.lens.clear();
        self.start = 0;
    }
}

/// It is open what the unnamed statement, or a name, will mean: wait for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uncertain;

impl Session {
    /// Makes sure, at a point where the server owes nothing, that no unnamed statement of an
    /// earlier client is left. A message that itself destroys it does so for certain here.
    #[inline]
    pub(crate) fn clear_foreign(
        &self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) {
        if server.unnamed != Unnamed::Foreign {
            return;
        }
        let destroys = match frame.header.tag {
            f::QUERY => true,
            f::PARSE => frame.body.first() == Some(&0),
            f::CLOSE => frame.body == b"S\0",
            _ => false,
        };
        if !destroys {
            message::put_close_statement(to_server, b"");
            server.expected.push(Expect::Clear);
        }
        server.unnamed = Unnamed::Absent;
    }

    /// Makes sure that the server's unnamed statement is this client's.
    ///
    /// # Errors
    /// That depends on an answer that has not come.
    pub(crate) fn ensure_unnamed(
        &self,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<(), Uncertain> {
        // Set in this very batch: if that fails, so does what uses it.
        if server.in_batch.unnamed_set || server.reads_copy() {
            return Ok(());
        }
        if server.expected.touches_unnamed() || server.unnamed == Unnamed::Foreign {
            return Err(Uncertain);
        }
        if self.unnamed.is_empty() {
            return Ok(());
        }
        let hints = self.note_definition(&self.unnamed, server);
        self.bring_names(hints, text(&self.unnamed), server, to_server)?;
        if server.unnamed == Unnamed::Absent {
            message::put_parse(to_server, b"", &self.unnamed);
            server.expected.push(Expect::Restore);
            server.in_batch.unnamed_set = true;
            server.in_batch.unnamed_drops = deallocated(text(&self.unnamed));
            server.in_batch.unnamed_empties = emptied(text(&self.unnamed));
            server.in_batch.unnamed_verb = Verb::of_statement(text(&self.unnamed));
        }
        Ok(())
    }

    /// The name of the statement that the unnamed one drops, which was ensured before.
    pub(crate) fn unnamed_drops(&self, server: &ServerState) -> Option<Box<[u8]>> {
        if server.in_batch.unnamed_set {
            server.in_batch.unnamed_drops.clone()
        } else {
            deallocated(text(&self.unnamed))
        }
    }

    /// The databases that the unnamed statement, which was ensured before, needs empty.
    #[inline]
    pub(crate) fn unnamed_empties(&self, server: &ServerState) -> Databases {
        if server.in_batch.unnamed_set {
            server.in_batch.unnamed_empties.clone()
        } else {
            emptied(text(&self.unnamed))
        }
    }

    /// What the unnamed statement, which was ensured before, does to the transaction.
    #[inline]
    pub(crate) fn unnamed_verb(&self, server: &ServerState) -> Verb {
        if server.in_batch.unnamed_set {
            server.in_batch.unnamed_verb
        } else {
            Verb::of_statement(text(&self.unnamed))
        }
    }

    /// The server has parsed the client's unnamed statement.
    pub(crate) fn unnamed_parsed(&mut self, server: &mut ServerState) {
        server.unnamed_texts.pop_to(&mut self.unnamed);
        server.unnamed = Unnamed::Current;
    }

    /// The server has dropped its unnamed statement, and so the client's is gone.
    pub(crate) fn unnamed_dropped(&mut self, server: &mut ServerState) {
        self.unnamed.clear();
        server.unnamed = Unnamed::Absent;
    }

    /// The server has refused a new unnamed statement. The old one is gone then; but should
    /// the error have come before that, nothing is to rely on it.
    pub(crate) fn unnamed_refused(&mut self, server: &mut ServerState) {
        self.unnamed.clear();
        server.unnamed = Unnamed::Foreign;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_out_in_order_and_leave_no_growing_buffer() {
        let mut texts = SentTexts::default();
        let mut out = Vec::new();
        texts.push(b"first");
        for round in 0..1000_u32 {
            texts.push(&round.to_be_bytes());
            texts.pop_to(&mut out);
            assert!(texts.bytes.len() < 64);
        }
        assert_eq!(out, 998_u32.to_be_bytes());
        texts.pop_to(&mut out);
        assert_eq!(out, 999_u32.to_be_bytes());
        assert!(texts.bytes.is_empty());
    }
}
