//! Cuts a chunk into frames, of which the last may be unfinished.

use session::{Frame, Pass};
use wire::{FrameError, HEADER_LEN, Header};

/// The part of a frame that has not arrived, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    len: u32,
    pass: Pass,
}

/// What comes next in a chunk.
#[derive(Debug)]
pub(super) enum Next<'a> {
    /// A frame, shown to the extent that was asked for.
    Frame(Frame<'a>),
    /// Too little to show; this many bytes, from here on, are needed.
    Short(usize),
}

impl Rest {
    /// No frame is unfinished.
    pub(super) const NONE: Self = Self { len: 0, pass: Pass::Swallow };

    /// What is missing of `frame`, which goes the way of `pass`.
    #[inline]
    pub(super) fn of(frame: &Frame<'_>, pass: Pass) -> Self {
        let missing = frame.header.body_len as usize - frame.body.len();
        // No more than body_len, which is an u32.
        Self { len: u32::try_from(missing).unwrap_or(u32::MAX), pass }
    }

    /// The same, of which nothing goes on.
    pub(super) fn swallowed(self) -> Self {
        Self { len: self.len, pass: Pass::Swallow }
    }

    /// Whether a frame is unfinished.
    pub(super) fn is_unfinished(&self) -> bool {
        self.len > 0
    }

    /// Whether a frame that goes on is unfinished.
    #[inline]
    pub(super) fn is_passing(&self) -> bool {
        self.len > 0 && self.pass != Pass::Swallow
    }

    /// Takes what belongs to the unfinished frame from `available` bytes: how many, and
    /// whether they go on.
    #[inline]
    pub(super) fn take(&mut self, available: usize) -> (usize, bool) {
        let take = available.min(self.len as usize);
        self.len -= u32::try_from(take).unwrap_or(self.len);
        (take, self.pass != Pass::Swallow)
    }
}

/// Looks at the front of `chunk`. `need` says how much of a frame must be shown.
#[inline]
pub(super) fn next(
    chunk: &[u8],
    need: impl FnOnce(Header) -> usize,
) -> Result<Next<'_>, FrameError> {
    let Some(header) = Header::peek(chunk)? else { return Ok(Next::Short(HEADER_LEN)) };
    let needed = need(header);
    if chunk.len() < needed {
        return Ok(Next::Short(needed));
    }
    let shown = header.frame_len().min(chunk.len());
    Ok(Next::Frame(Frame { header, body: chunk.get(HEADER_LEN..shown).unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_shown_when_enough_of_it_is_there() {
        let chunk = b"d\0\0\0\x0aabc";
        let Ok(Next::Frame(frame)) = next(chunk, |_| HEADER_LEN) else { panic!() };
        assert_eq!((frame.body, frame.is_whole()), (&b"abc"[..], false));
        let mut rest = Rest::of(&frame, Pass::Forward);
        assert_eq!(rest.take(2), (2, true));
        assert!(rest.is_passing());
        assert_eq!(rest.take(9), (1, true));
        assert!(!rest.is_passing());
        assert!(matches!(next(chunk, Header::frame_len), Ok(Next::Short(11))));
        assert!(matches!(next(b"d\0\0", Header::frame_len), Ok(Next::Short(5))));
        assert!(next(b"d\0\0\0\x03", Header::frame_len).is_err());
    }
}
