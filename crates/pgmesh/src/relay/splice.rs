//! What is passed on of a chunk: usually one run of it as it is, written from where it was
//! read. Only when something is inserted, replaced or left out is it put together anew.

/// Puts together what goes on.
pub(super) struct Splice<'a> {
    chunk: &'a [u8],
    /// Start and end of the run that goes on as it is and has not been copied.
    start: usize,
    end: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Splice<'a> {
    /// Begins with nothing; `out` is empty.
    pub(super) fn new(chunk: &'a [u8], out: &'a mut Vec<u8>) -> Self {
        Self { chunk, start: 0, end: 0, out }
    }

    /// `chunk[from..to]` goes on.
    #[inline]
    pub(super) fn pass(&mut self, from: usize, to: usize) {
        if self.end != from {
            self.flush();
            self.start = from;
        }
        self.end = to;
    }

    /// `bytes` go on here; they are taken out of it.
    #[inline]
    pub(super) fn insert(&mut self, bytes: &mut Vec<u8>) {
        if !bytes.is_empty() {
            self.flush();
            self.out.append(bytes);
        }
    }

    /// All that goes on.
    #[inline]
    pub(super) fn finish(mut self) -> &'a [u8] {
        if self.out.is_empty() {
            return self.chunk.get(self.start..self.end).unwrap_or_default();
        }
        self.flush();
        self.out
    }

    fn flush(&mut self) {
        self.out.extend_from_slice(self.chunk.get(self.start..self.end).unwrap_or_default());
        self.start = self.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_passed_where_it_lies_and_put_together_only_when_changed() {
        let chunk = b"abcdef";
        let mut out = Vec::new();
        let mut splice = Splice::new(chunk, &mut out);
        splice.pass(1, 3);
        splice.pass(3, 5);
        assert_eq!(splice.finish().as_ptr(), chunk[1..].as_ptr());
        let mut splice = Splice::new(chunk, &mut out);
        splice.pass(0, 2);
        splice.insert(&mut b"-".to_vec());
        splice.pass(3, 4);
        splice.pass(5, 6);
        assert_eq!(splice.finish(), b"ab-df");
    }

    #[test]
    fn what_is_left_out_at_the_front_needs_no_copy() {
        let mut out = Vec::new();
        let mut splice = Splice::new(b"abc", &mut out);
        splice.pass(2, 3);
        assert_eq!(splice.finish(), b"c");
        assert!(out.is_empty());
    }
}
