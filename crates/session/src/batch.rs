//! The client's messages since its last Sync, kept so that a batch whose prepared
//! statement has become invalid can be sent once more.
//!
//! Only a batch that is a transaction of its own is kept, and only while the client has
//! seen no answer to it. It is sent again only if a Bind or Describe has failed before any
//! Execute was answered: then nothing of it has run, and nothing is done twice.

use wire::message::{self, BindHead, Named};
use wire::tag::frontend as f;
use wire::{HEADER_LEN, Header};

use crate::frame::Frame;
use crate::statements::name_hash;

/// A batch over this size is not kept and so not tried again.
const BATCH_LIMIT: usize = 16 * 1024;

/// The batch, and whether it may be sent again.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// An answer that is kept from the client until it is known whether the batch goes out again.
    held: Vec<u8>,
    state: BatchState,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum BatchState {
    /// No batch is open, or this one cannot be repeated.
    #[default]
    Off,
    /// Being collected.
    Open,
    /// Its Sync has been sent.
    Complete,
    /// Its error is being read, up to ReadyForQuery.
    Failing,
    /// It has been sent again.
    Repeated,
}

impl Batch {
    /// Starts to keep messages, if `repeatable`.
    #[inline]
    pub(crate) fn begin(&mut self, repeatable: bool) {
        self.bytes.clear();
        self.state = if repeatable { BatchState::Open } else { BatchState::Off };
    }

    /// Keeps a message of the batch.
    #[inline]
    pub(crate) fn keep(&mut self, frame: &Frame<'_>) {
        match self.state {
            BatchState::Open => {}
            // A message behind the batch's Sync: sent again, the batch would come after it.
            BatchState::Complete => return self.give_up(),
            BatchState::Off | BatchState::Failing | BatchState::Repeated => return,
        }
        if !frame.is_whole() || self.bytes.len() + frame.header.frame_len() > BATCH_LIMIT {
            self.state = BatchState::Off;
            return;
        }
        message::put_header(&mut self.bytes, frame.header.tag, frame.header.body_len);
        self.bytes.extend_from_slice(frame.body);
    }

    /// The batch's Sync has been kept; what comes now belongs to another.
    #[inline]
    pub(crate) fn complete(&mut self) {
        if self.state == BatchState::Open {
            self.state = BatchState::Complete;
        }
    }

    /// Something of its answer, or a further message, has gone out.
    #[inline]
    pub(crate) fn give_up(&mut self) {
        if self.state != BatchState::Failing {
            self.state = BatchState::Off;
        }
    }

    /// Whether the batch can be sent again from its start, with so many ReadyForQuery
    /// outstanding: its own, if its Sync has been sent, and no other.
    pub(crate) fn is_repeatable(&self, ready_outstanding: usize) -> bool {
        match self.state {
            BatchState::Open => ready_outstanding == 0,
            BatchState::Complete => ready_outstanding == 1,
            BatchState::Off | BatchState::Failing | BatchState::Repeated => false,
        }
    }

    /// A Parse at its start has been answered, and the client has seen that: the rest can still
    /// be sent again.
    pub(crate) fn parsed(&mut self) {
        match Header::peek(&self.bytes) {
            Ok(Some(header)) if header.tag == f::PARSE && self.state != BatchState::Failing => {
                self.bytes.drain(..header.frame_len().min(self.bytes.len()));
            }
            _ => self.give_up(),
        }
    }

    /// Keeps a whole frame of the server's from the client: Postgres describes the parameters of a
    /// statement before it finds that its result has changed.
    pub(crate) fn hold(&mut self, frame: &Frame<'_>) {
        message::put_header(&mut self.held, frame.header.tag, frame.header.body_len);
        self.held.extend_from_slice(frame.body);
    }

    /// The client may see what was held.
    #[inline]
    pub(crate) fn let_go(&mut self, to_client: &mut Vec<u8>) {
        to_client.append(&mut self.held);
    }

    /// Whether the client is told anew what comes of its statement with this hash of a name, for
    /// each time that it runs it here.
    pub(crate) fn describes(&self, name: u32) -> bool {
        let mut portal: Option<&[u8]> = None;
        let mut is_described = false;
        for (tag, body) in frames(&self.bytes) {
            match (tag, portal) {
                (f::DESCRIBE, _) => match (Named::parse(body), portal) {
                    (Ok(Named::Statement(known)), _) if name_hash(known) == name => return true,
                    (Ok(Named::Portal(described)), Some(bound)) if described == bound => {
                        portal = None;
                        is_described = true;
                    }
                    _ => {}
                },
                (_, Some(_)) => return false,
                (f::BIND, None) => {
                    let head = BindHead::parse(body).ok();
                    let ours = head.filter(|head| name_hash(head.statement) == name);
                    portal = ours.map(|head| head.portal);
                }
                _ => {}
            }
        }
        is_described && portal.is_none()
    }

    /// Marks that its error is being hidden.
    pub(crate) fn fail(&mut self) {
        self.held.clear();
        self.state = BatchState::Failing;
    }

    #[inline]
    pub(crate) fn is_failing(&self) -> bool {
        self.state == BatchState::Failing
    }

    /// The bytes to send again; it cannot be had twice.
    pub(crate) fn repeat(&mut self) -> Vec<u8> {
        self.state = BatchState::Repeated;
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.held.clear();
        self.state = BatchState::Off;
    }
}

/// The tags and bodies of whole frames.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let header = Header::peek(bytes).ok()??;
        let (whole, rest) = bytes.split_at_checked(header.frame_len())?;
        bytes = rest;
        Some((header.tag, whole.get(HEADER_LEN..)?))
    })
}
