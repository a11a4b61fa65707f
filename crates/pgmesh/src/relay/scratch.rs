//! Buffers that belong to a thread and not to a client: an idle client owns none.

use std::cell::RefCell;

/// One read takes at most this much; a frame that does not end in it is copied aside.
const INPUT: usize = 64 * 1024;

/// An output buffer larger than this is given back after use.
const OUTPUT_KEPT: usize = 128 * 1024;

/// The buffers of one turn: nothing in them outlives it.
pub(super) struct Scratch {
    /// What is read.
    pub(super) input: Box<[u8]>,
    /// What goes in the direction in which bytes are relayed, where it is not simply a part
    /// of `input`.
    pub(super) along: Vec<u8>,
    /// What goes back to where `input` came from.
    pub(super) back: Vec<u8>,
    /// What must go before the frame at hand.
    pub(super) inserted: Vec<u8>,
}

thread_local! {
    /// Taken out while in use, so that no path can find it borrowed.
    static SCRATCH: RefCell<Option<Box<Scratch>>> = const { RefCell::new(None) };
}

/// Runs `turn` with this thread's buffers, of which the output ones are empty.
#[inline]
pub(super) fn with<R>(turn: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH.with(RefCell::take).unwrap_or_else(Scratch::new);
    let result = turn(&mut scratch);
    for output in [&mut scratch.along, &mut scratch.back, &mut scratch.inserted] {
        output.clear();
        if output.capacity() > OUTPUT_KEPT {
            output.shrink_to(OUTPUT_KEPT);
        }
    }
    SCRATCH.with(|cell| cell.replace(Some(scratch)));
    result
}

impl Scratch {
    fn new() -> Box<Self> {
        Box::new(Self {
            input: vec![0; INPUT].into_boxed_slice(),
            along: Vec::new(),
            back: Vec::new(),
            inserted: Vec::new(),
        })
    }
}
