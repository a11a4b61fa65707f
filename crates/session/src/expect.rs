//! What a server still owes, in order: the heart of pipelining.
//!
//! Every message that is sent to the server and will be answered has one entry. A server may
//! be lent to somebody else only when nothing is left here. No answer is ours alone: where
//! the server is not to see a message, it is sent one without effect in its place, whose
//! answer is turned into the one that is due. So order, Flush and errors are the server's.

use std::collections::VecDeque;

use crate::rules::Feature;
use crate::verb::Verb;

/// One answer that is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// A Query: anything up to ReadyForQuery. Destroys the unnamed statement.
    /// `drops` if it is a DEALLOCATE of one name.
    Query { local_set: bool, drops: bool, verb: Verb },
    /// A FunctionCall: FunctionCallResponse, ReadyForQuery.
    Function,
    /// A Query of our own, hidden from the client, up to ReadyForQuery.
    Own,
    /// A Parse of the client's unnamed statement: ParseComplete.
    ParseUnnamed,
    /// A Parse of the client's under a name: ParseComplete. Has a pending change.
    ParseNamed,
    /// A Parse of ours, hidden. Has a pending change.
    OwnParse,
    /// A Parse of ours that gives the server the client's unnamed statement again, hidden.
    Restore,
    /// A Close of nothing in place of a Parse; answered to the client with ParseComplete.
    /// Has a pending change.
    Adopt,
    /// A Bind: BindComplete. `statement` is 0 if it is not one of ours; `name` is the hash of
    /// what the client calls it.
    Bind { statement: u64, name: u32 },
    /// A Describe: RowDescription or NoData, behind ParameterDescription for a statement.
    Describe { statement: u64, name: u32 },
    /// An Execute: rows, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute { local_set: bool, verb: Verb },
    /// A Close of a portal, or of a statement that is not ours: CloseComplete.
    Close,
    /// A Close of the unnamed statement.
    CloseUnnamed,
    /// A Close of nothing in place of a Close. Has a pending change.
    Forget,
    /// A Close of ours of a named statement, hidden. Has a pending change.
    OwnClose,
    /// A Close of ours of the unnamed statement of an earlier client, hidden.
    Clear,
    /// A Close or Parse of ours, hidden, that puts an empty statement under a name of the
    /// client's; nothing can be wrong with it.
    StandIn,
    /// A message of ours, hidden, for what gives the server a name of the client's.
    Name,
    /// The one of them that does, or that takes one away. Has a pending change.
    Named,
    /// A Sync of ours behind them, hidden, in front of a Query.
    NameSync,
    /// What must fail in place of a statement that is refused: an error.
    Refused(Feature),
    /// A Sync: ReadyForQuery.
    Sync,
    /// No answer: marks where the client ended a COPY before the server asked for its data.
    /// Never in front.
    CopyEnd,
}

impl Expect {
    /// A Describe that no named statement of ours is part of.
    pub(crate) const DESCRIBE: Self = Self::Describe { statement: 0, name: 0 };

    /// What is refused, if this fails in its place.
    #[inline]
    pub(crate) fn refused(self) -> Option<Feature> {
        if let Self::Refused(feature) = self { Some(feature) } else { None }
    }

    /// Whether a change of the statement tables waits for this answer.
    pub(crate) fn has_pending(self) -> bool {
        matches!(
            self,
            Self::ParseNamed
                | Self::OwnParse
                | Self::Adopt
                | Self::Forget
                | Self::OwnClose
                | Self::Named
        )
    }

    /// Whether ReadyForQuery answers it.
    fn ends_with_ready(self) -> bool {
        matches!(
            self,
            Self::Query { .. } | Self::Function | Self::Own | Self::Sync | Self::NameSync
        )
    }

    /// Whether no message of the client's is answered by it.
    pub(crate) fn is_hidden(self) -> bool {
        matches!(
            self,
            Self::Own
                | Self::OwnParse
                | Self::Restore
                | Self::OwnClose
                | Self::Clear
                | Self::StandIn
                | Self::Name
                | Self::Named
                | Self::NameSync
                | Self::CopyEnd
        )
    }

    /// Whether it changes what the client's unnamed statement is, or whether the server has it.
    fn touches_unnamed(self) -> bool {
        matches!(self, Self::Query { .. } | Self::ParseUnnamed | Self::Restore | Self::CloseUnnamed)
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct ExpectedReplies {
    queue: VecDeque<Expect>,
    ready: usize,
    unnamed: usize,
    last: Last,
}

/// The message that was sent last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// The last entry of the queue answers it.
    #[default]
    Answered,
    /// Nothing does: a Flush, or COPY data.
    Unanswered,
}

/// What a COPY that begins takes out of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyStart {
    /// Syncs that the server ignores.
    pub(crate) syncs: u32,
    /// Whether the client has already sent the data's end.
    pub(crate) ended: bool,
}

impl ExpectedReplies {
    /// With more than this outstanding, the client waits: memory is bounded by it.
    const MAX: usize = 16 * 1024;

    #[inline]
    pub(crate) fn push(&mut self, expect: Expect) {
        self.ready += usize::from(expect.ends_with_ready());
        self.unnamed += usize::from(expect.touches_unnamed());
        self.last = Last::Answered;
        self.queue.push_back(expect);
    }

    /// Notes that a message was sent that nothing will answer.
    #[inline]
    pub(crate) fn note_unanswered(&mut self) {
        self.last = Last::Unanswered;
    }

    /// Whether the last entry is for the message that was sent last.
    pub(crate) fn answers_last(&self) -> bool {
        self.last == Last::Answered
    }

    /// All that is outstanding, the oldest first.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Expect> {
        self.queue.iter().copied()
    }

    /// Forgets all of it.
    pub(crate) fn clear(&mut self) {
        *self = Self { queue: std::mem::take(&mut self.queue), ..Self::default() };
        self.queue.clear();
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<Expect> {
        self.queue.front().copied()
    }

    #[inline]
    pub(crate) fn pop(&mut self) {
        self.take_front();
        while self.front() == Some(Expect::CopyEnd) {
            self.take_front();
        }
    }

    #[inline]
    fn take_front(&mut self) {
        if let Some(expect) = self.queue.pop_front() {
            self.note_taken(expect);
        }
    }

    fn take(&mut self, at: usize) {
        if let Some(expect) = self.queue.remove(at) {
            self.note_taken(expect);
        }
    }

    #[inline]
    fn note_taken(&mut self, expect: Expect) {
        self.ready -= usize::from(expect.ends_with_ready());
        self.unnamed -= usize::from(expect.touches_unnamed());
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= Self::MAX
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many ReadyForQuery are outstanding.
    pub(crate) fn ready_outstanding(&self) -> usize {
        self.ready
    }

    /// Whether it is open what the unnamed statement will be.
    pub(crate) fn touches_unnamed(&self) -> bool {
        self.unnamed > 0
    }

    /// Whether the last thing sent will be answered with ReadyForQuery.
    pub(crate) fn back_ends_with_ready(&self) -> bool {
        self.queue.back().is_some_and(|expect| expect.ends_with_ready())
    }

    /// Whether the next ReadyForQuery answers a Sync of ours in front of a Query.
    pub(crate) fn is_ready_hidden(&self) -> bool {
        self.queue.iter().find(|expect| expect.ends_with_ready()) == Some(&Expect::NameSync)
    }

    /// Whether the last thing sent is a Sync.
    pub(crate) fn back_is_sync(&self) -> bool {
        self.queue.back() == Some(&Expect::Sync)
    }

    /// After an error in the extended protocol the server skips to the next Sync: takes the
    /// entries in front of it, each shown to `dropped`. True if a Sync is there, false if it
    /// has not been sent yet.
    pub(crate) fn skip_to_sync(&mut self, mut dropped: impl FnMut(Expect)) -> bool {
        while let Some(expect) = self.front() {
            if matches!(expect, Expect::Sync | Expect::NameSync) {
                return true;
            }
            dropped(expect);
            self.take_front();
        }
        false
    }

    /// The server has begun to read COPY data for the front entry. It ignores every Sync
    /// that comes before the data's end (`CopyGetData` in Postgres), so no ReadyForQuery
    /// will answer those, unless the COPY fails first.
    pub(crate) fn start_copy_in(&mut self) -> CopyStart {
        let mut start = CopyStart { syncs: 0, ended: false };
        loop {
            match self.queue.get(1) {
                Some(Expect::Sync) => start.syncs = start.syncs.saturating_add(1),
                Some(Expect::CopyEnd) => start.ended = true,
                _ => return start,
            }
            self.take(1);
            if start.ended {
                return start;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXECUTE: Expect = Expect::Execute { local_set: false, verb: Verb::Plain };

    fn queue(expects: &[Expect]) -> ExpectedReplies {
        let mut expected = ExpectedReplies::default();
        expects.iter().for_each(|&expect| expected.push(expect));
        expected
    }

    #[test]
    fn a_sync_inside_copy_data_is_not_waited_for() {
        let mut expected = queue(&[EXECUTE, Expect::Sync, Expect::CopyEnd, Expect::Sync]);
        assert_eq!(expected.start_copy_in(), CopyStart { syncs: 1, ended: true });
        expected.pop();
        assert_eq!((expected.front(), expected.ready_outstanding()), (Some(Expect::Sync), 1));
        expected.pop();
        assert!(expected.is_empty());
    }

    #[test]
    fn an_error_drops_what_comes_before_the_next_sync_and_no_more() {
        let mut expected = queue(&[Expect::ParseUnnamed, EXECUTE, Expect::Sync, Expect::Restore]);
        let mut dropped = Vec::new();
        assert!(expected.skip_to_sync(|expect| dropped.push(expect)));
        assert_eq!(dropped, [Expect::ParseUnnamed, EXECUTE]);
        assert_eq!((expected.len(), expected.ready_outstanding()), (2, 1));
        assert!(expected.touches_unnamed());
    }

    #[test]
    fn the_end_of_a_copy_that_never_began_is_not_waited_for() {
        let mut expected = queue(&[EXECUTE, Expect::Sync, Expect::CopyEnd, Expect::CopyEnd]);
        assert!(expected.skip_to_sync(|_| ()));
        expected.pop();
        assert!(expected.is_empty());
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Expect>() <= 16);
    }
}
