//! What a server still owes, in order: the heart of pipelining.
//!
//! Every message that is sent to the server and will be answered has one entry, and so has
//! every answer that we owe ourselves at that place. A server may be lent to somebody else
//! only when nothing is left here.

use std::collections::VecDeque;

/// One answer that is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// A Query: anything up to ReadyForQuery.
    Query,
    /// A FunctionCall: FunctionCallResponse, ReadyForQuery.
    Function,
    /// A Query of our own, hidden from the client, up to ReadyForQuery.
    Own,
    /// A Parse of the client's: ParseComplete. `named` ones have a [`crate::pending::Pending`].
    Parse { named: bool },
    /// A Parse of ours, hidden. `named` ones have a pending change.
    OwnParse { named: bool },
    /// A Bind: BindComplete.
    Bind,
    /// A Describe: RowDescription or NoData, behind ParameterDescription for a statement.
    Describe,
    /// An Execute: rows, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// A Close that the server sees: CloseComplete.
    Close,
    /// A Close of ours, hidden; has a pending change if `named`.
    OwnClose { named: bool },
    /// A Sync: ReadyForQuery.
    Sync,
    /// A ParseComplete that we send; has a pending change.
    LocalParse,
    /// A CloseComplete that we send; has a pending change.
    LocalClose,
    /// No answer: marks where the client ended a COPY before the server asked for its data.
    CopyEnd,
}

impl Expect {
    /// Whether a change of the statement tables waits for this answer.
    pub(crate) fn has_pending(self) -> bool {
        match self {
            Self::Parse { named } | Self::OwnParse { named } | Self::OwnClose { named } => named,
            Self::LocalParse | Self::LocalClose => true,
            Self::Query
            | Self::Function
            | Self::Own
            | Self::Bind
            | Self::Describe
            | Self::Execute
            | Self::Close
            | Self::Sync
            | Self::CopyEnd => false,
        }
    }

    /// Whether the entry is answered without the server.
    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::LocalParse | Self::LocalClose | Self::CopyEnd)
    }

    /// Whether ReadyForQuery answers it.
    pub(crate) fn ends_with_ready(self) -> bool {
        matches!(self, Self::Query | Self::Function | Self::Own | Self::Sync)
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct ExpectedReplies {
    queue: VecDeque<Expect>,
}

impl ExpectedReplies {
    #[inline]
    pub(crate) fn push(&mut self, expect: Expect) {
        self.queue.push_back(expect);
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<Expect> {
        self.queue.front().copied()
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Expect> {
        self.queue.pop_front()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether an answer of ours is owed anywhere.
    pub(crate) fn has_local(&self) -> bool {
        self.queue.iter().any(|expect| expect.is_local())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many ReadyForQuery are outstanding.
    pub(crate) fn ready_outstanding(&self) -> usize {
        self.queue.iter().filter(|expect| expect.ends_with_ready()).count()
    }

    /// Whether the last thing sent will be answered with ReadyForQuery.
    pub(crate) fn back_ends_with_ready(&self) -> bool {
        self.queue.back().is_some_and(|expect| expect.ends_with_ready())
    }

    /// After an error in the extended protocol the server skips to the next Sync: takes the
    /// entries in front of it, each shown to `dropped`. True if a Sync is there, false if it
    /// has not been sent yet.
    pub(crate) fn skip_to_sync(&mut self, mut dropped: impl FnMut(Expect)) -> bool {
        while let Some(expect) = self.front() {
            if expect == Expect::Sync {
                return true;
            }
            dropped(expect);
            self.queue.pop_front();
        }
        false
    }

    /// The server has begun to read COPY data for the front entry. It ignores every Sync
    /// that comes before the data's end (`CopyGetData` in Postgres), so no ReadyForQuery
    /// will answer those. True if the client has already sent the end.
    pub(crate) fn start_copy_in(&mut self) -> bool {
        while let Some(next) = self.queue.get(1).copied() {
            match next {
                Expect::Sync => {
                    self.queue.remove(1);
                }
                Expect::CopyEnd => {
                    self.queue.remove(1);
                    return true;
                }
                _ => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_inside_copy_data_is_not_waited_for() {
        let mut expected = ExpectedReplies::default();
        for expect in [Expect::Execute, Expect::Sync, Expect::CopyEnd, Expect::Sync] {
            expected.push(expect);
        }
        assert!(expected.start_copy_in());
        assert_eq!((expected.pop(), expected.pop()), (Some(Expect::Execute), Some(Expect::Sync)));
        assert!(expected.is_empty());
    }

    #[test]
    fn an_error_drops_what_comes_before_the_next_sync_and_no_more() {
        let mut expected = ExpectedReplies::default();
        for expect in [Expect::Bind, Expect::Execute, Expect::Sync, Expect::Bind] {
            expected.push(expect);
        }
        let mut dropped = Vec::new();
        assert!(expected.skip_to_sync(|expect| dropped.push(expect)));
        assert_eq!(dropped, [Expect::Bind, Expect::Execute]);
        assert_eq!(expected.len(), 2);
    }
}
