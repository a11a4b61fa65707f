//! What becomes of messages that were sent to a server which was lost before it answered.
//!
//! Messages are answered in groups, each with one ReadyForQuery. What is still in the queue of
//! expected replies, and what was answered of its first group, says for each group whether it
//! may have been committed. If it cannot have been, the client is told that it was rolled
//! back; and of a transaction block what Postgres would say once the block has failed.

use wire::message::TransactionStatus;
use wire::{ErrorMessage, SqlState};

use crate::expect::Expect;
use crate::server::Front;
use crate::verb::Verb;

/// What a client is told about something that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was not committed.
    RolledBack,
    /// It is of a transaction of which the client knows that it has failed.
    Aborted,
    /// It may have been committed.
    Unknown,
}

/// Messages that are answered with one ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    kind: Kind,
    /// What those that run something do; `None` if nothing does.
    verb: Option<Verb>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A Query or FunctionCall.
    Query,
    /// Messages of the extended protocol, up to a Sync.
    Batch,
    /// A Sync alone, or what is left of a batch.
    Sync,
}

/// How much of a group was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Sent,
    /// All, but the server has not got the last message whole.
    Cut,
    /// All but its Sync, which the client has not sent either.
    Missing,
}

/// The answer to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) says: Says,
    /// For its ReadyForQuery.
    pub(crate) status: TransactionStatus,
    pub(crate) ready: Ready,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// Nothing is left to be said.
    Nothing,
    Error(Outcome),
    /// The tag of a `ROLLBACK`, for what was to be done has come to pass.
    RolledBack,
}

/// When the ReadyForQuery is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    Now,
    /// When the client sends its Sync.
    AtSync,
}

/// What is known of what was lost beside the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// The transaction's status when the first group began.
    pub(crate) status: TransactionStatus,
    /// What has been answered of the first group.
    pub(crate) front: Front,
    /// The first group's COPY has not got its end.
    pub(crate) in_copy: bool,
}

impl Outcome {
    /// Appends the ErrorResponse.
    pub(crate) fn put(self, to_client: &mut Vec<u8>) {
        let error = match self {
            Self::RolledBack => ErrorMessage::error(
                SqlState::SERIALIZATION_FAILURE,
                "the transaction was rolled back: its server was lost in a failover",
            )
            .with_hint("Retry the transaction."),
            Self::Aborted => ErrorMessage::error(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ),
            Self::Unknown => ErrorMessage::error(
                SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
                "the outcome of the transaction is unknown: the server was lost before it answered",
            )
            .with_hint("Find out whether it was committed before repeating it."),
        };
        error.put(to_client);
    }
}

/// The groups in a queue. `is_cut` says that the server has not got the message of its last
/// entry whole, and so has not acted on it.
pub(crate) fn groups(entries: impl ExactSizeIterator<Item = Expect>, is_cut: bool) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut batch: Option<Option<Verb>> = None;
    let last = entries.len().saturating_sub(1);
    for (at, expect) in entries.enumerate() {
        let end = if is_cut && at == last { End::Cut } else { End::Sent };
        let run = |verb| (end == End::Sent).then_some(verb);
        match expect {
            _ if expect.is_hidden() => {}
            Expect::Sync => groups.push(match batch.take() {
                Some(verb) => Group { kind: Kind::Batch, verb, end },
                None => Group { kind: Kind::Sync, verb: None, end },
            }),
            Expect::Query { .. } | Expect::Function => {
                let verb = if let Expect::Query { verb, .. } = expect { verb } else { Verb::Alone };
                // Behind messages of a batch it is part of that: if they fail it is skipped.
                // If not, it commits them.
                match &mut batch {
                    Some(before) => {
                        *before = add(*before, run(verb).map(|verb| verb.then(Verb::Alone)));
                    }
                    None => groups.push(Group { kind: Kind::Query, verb: Some(verb), end }),
                }
            }
            Expect::Execute { verb, .. } => batch = Some(add(batch.flatten(), run(verb))),
            _ => batch = Some(batch.flatten()),
        }
    }
    if let Some(verb) = batch {
        groups.push(Group { kind: Kind::Batch, verb, end: End::Missing });
    }
    groups
}

fn add(before: Option<Verb>, next: Option<Verb>) -> Option<Verb> {
    match (before, next) {
        (Some(before), Some(next)) => Some(before.then(next)),
        (one, None) | (None, one) => one,
    }
}

/// The answers to groups that have got none, in their order.
pub(crate) fn answers(groups: &[Group], known: Known) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(groups.len());
    let mut rest = groups;
    let mut known = Known { status: known.block(), ..known };
    while let Some((first, behind)) = rest.split_first() {
        if known.status == TransactionStatus::Idle && !first.begins_block(behind) {
            answers.push(first.answer(first.says_alone(known), known.status));
            rest = behind;
        } else {
            rest = answer_block(rest, known, &mut answers);
        }
        // What there was in front was of the first group.
        known = Known { status: TransactionStatus::Idle, front: Front::Nothing, in_copy: false };
    }
    answers
}

/// Answers the groups of a transaction block. What comes behind it.
fn answer_block<'a>(groups: &'a [Group], known: Known, answers: &mut Vec<Answer>) -> &'a [Group] {
    let end = groups.iter().position(|group| group.ends_block());
    let (inside, behind) = groups.split_at(end.unwrap_or(groups.len()));
    let ending = behind.first();
    let mut is_told = matches!(known.front, Front::Failed | Front::FailedAlone);
    let mut has_failed = is_told || known.status == TransactionStatus::Failed;
    let is_unknown = ending.is_some_and(|ending| ending.may_commit(has_failed));
    if is_unknown && !has_failed {
        let lost = inside.iter().chain(ending);
        let says = Says::Error(Outcome::Unknown);
        answers.extend(lost.map(|group| group.answer(says, TransactionStatus::Idle)));
        return behind.get(1..).unwrap_or_default();
    }
    for group in inside {
        let says = match group.kind {
            _ if is_told => Says::Nothing,
            Kind::Sync if has_failed => Says::Nothing,
            _ if has_failed => Says::Error(Outcome::Aborted),
            _ => Says::Error(Outcome::RolledBack),
        };
        answers.push(group.answer(says, TransactionStatus::Failed));
        (has_failed, is_told) = (true, false);
    }
    if let Some(ending) = ending {
        let says = match (ending.kind, ending.verb) {
            _ if is_told => Says::Nothing,
            _ if is_unknown => Says::Error(Outcome::Unknown),
            (Kind::Query, Some(Verb::Rollback)) => Says::RolledBack,
            (Kind::Query, _) if has_failed => Says::RolledBack,
            _ => Says::Error(Outcome::RolledBack),
        };
        answers.push(ending.answer(says, TransactionStatus::Idle));
    }
    behind.get(1..).unwrap_or_default()
}

impl Known {
    /// The transaction block as it was after what has been answered.
    pub(crate) fn block(self) -> TransactionStatus {
        match self.front {
            Front::Nothing | Front::Ran => self.status,
            Front::Began => TransactionStatus::Open,
            Front::Failed => TransactionStatus::Failed,
            Front::Ended | Front::FailedAlone => TransactionStatus::Idle,
        }
    }
}

impl Group {
    /// A batch of which nothing has run.
    pub(crate) fn not_run(is_complete: bool) -> Self {
        let end = if is_complete { End::Sent } else { End::Missing };
        Self { kind: Kind::Batch, verb: None, end }
    }

    fn answer(&self, says: Says, status: TransactionStatus) -> Answer {
        let ready = match self.end {
            End::Sent | End::Cut => Ready::Now,
            End::Missing => Ready::AtSync,
        };
        Answer { says, status, ready }
    }

    /// Whether a transaction block began here, with something in it.
    fn begins_block(&self, behind: &[Self]) -> bool {
        let has_begun = self.kind != Kind::Query || self.end == End::Sent;
        match self.verb {
            Some(Verb::Opens) => has_begun,
            Some(Verb::Begin) => has_begun && !behind.is_empty(),
            _ => false,
        }
    }

    /// Whether the client takes its block to be over after this.
    fn ends_block(&self) -> bool {
        match (self.kind, self.end, self.verb) {
            (Kind::Query, End::Cut, verb) => {
                matches!(verb, Some(Verb::Commit | Verb::Rollback))
            }
            (_, _, verb) => verb.is_some_and(Verb::ends),
        }
    }

    /// Whether this end of a block may have committed it, or something behind it.
    fn may_commit(&self, has_failed: bool) -> bool {
        match self.verb {
            Some(Verb::Commit) => {
                !has_failed && (self.kind != Kind::Query || self.end == End::Sent)
            }
            Some(Verb::Any) => true,
            _ => false,
        }
    }

    /// What is said to a group outside any transaction block.
    fn says_alone(&self, known: Known) -> Says {
        match known.front {
            Front::Failed | Front::FailedAlone => return Says::Nothing,
            Front::Ended if self.kind == Kind::Query => return Says::Nothing,
            Front::Ended => return Says::Error(Outcome::Unknown),
            Front::Nothing | Front::Ran | Front::Began => {}
        }
        let is_not_run = self.verb.is_none() && known.front == Front::Nothing;
        let is_rolled_back = match (self.kind, self.end) {
            (Kind::Sync, _) if is_not_run => return Says::Nothing,
            (Kind::Query, End::Sent) if self.verb == Some(Verb::Rollback) => {
                return Says::RolledBack;
            }
            (Kind::Query, End::Cut) => true,
            (Kind::Query, _) => {
                self.verb == Some(Verb::Begin) || (known.in_copy && self.verb == Some(Verb::Plain))
            }
            // Without its Sync nothing is committed, unless it commits itself.
            (Kind::Batch | Kind::Sync, End::Cut | End::Missing) => {
                matches!(self.verb, None | Some(Verb::Plain | Verb::Begin | Verb::Opens))
            }
            (Kind::Batch | Kind::Sync, End::Sent) => is_not_run || self.verb == Some(Verb::Begin),
        };
        Says::Error(if is_rolled_back { Outcome::RolledBack } else { Outcome::Unknown })
    }
}
