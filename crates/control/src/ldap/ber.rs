//! The part of BER that LDAP is written in (RFC 4511, section 5.1): tags of one byte, lengths of
//! the definite form. Nothing here recurses, and no length is believed beyond what is there.

/// Bytes that are not what was to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed LDAP message")]
pub(super) struct Malformed;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;

/// The low bits of a tag that goes on in the next byte. LDAP has none.
const LONG_TAG: u8 = 0x1f;

/// A tag, the mark of a length in four bytes, and these.
pub(super) const HEADER_LEN: usize = 6;

/// Writes an element whose content `write` appends. The length is in four bytes whatever it is,
/// so that nothing has to be moved: what is moved leaves copies.
pub(super) fn put(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let _: Result<(), std::convert::Infallible> = try_put(out, tag, |out| {
        write(out);
        Ok(())
    });
}

/// The same with a content that may not be possible; what is written then is of no use.
pub(super) fn try_put<E>(
    out: &mut Vec<u8>,
    tag: u8,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    out.extend_from_slice(&[tag, 0x84, 0, 0, 0, 0]);
    let begin = out.len();
    write(out)?;
    // Four GiB would have been refused long before: a name and a password are bounded.
    let len = u32::try_from(out.len() - begin).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(begin - len.len()..begin) {
        place.copy_from_slice(&len);
    }
    Ok(())
}

pub(super) fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    put(out, tag, |out| out.extend_from_slice(bytes));
}

/// An integer or enumerated value that is not negative.
pub(super) fn put_number(out: &mut Vec<u8>, tag: u8, number: u32) {
    let bytes = number.to_be_bytes();
    // The first bit is the sign.
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(3);
    let rest = bytes.get(zeros..).unwrap_or(&bytes);
    put(out, tag, |out| {
        if rest.first().is_some_and(|byte| *byte >= 0x80) {
            out.push(0);
        }
        out.extend_from_slice(rest);
    });
}

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next element, whatever it is: its tag and content.
    pub(super) fn any(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let (tag, begin, len) = header(self.0)?.ok_or(Malformed)?;
        let end = begin.checked_add(len).ok_or(Malformed)?;
        let content = self.0.get(begin..end).ok_or(Malformed)?;
        self.0 = self.0.get(end..).unwrap_or_default();
        Ok((tag, content))
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn next(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.any()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed),
        }
    }

    /// An integer or enumerated value from 0 to what has 31 bits.
    pub(super) fn number(&mut self, tag: u8) -> Result<u32, Malformed> {
        let bytes = self.next(tag)?;
        if bytes.is_empty() || bytes.len() > 4 || bytes.first().is_some_and(|byte| *byte >= 0x80) {
            return Err(Malformed);
        }
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }
}

/// The tag of the element that `bytes` begin with, where its content begins, and how long that
/// is; `None` if even that is not all there.
fn header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, Malformed> {
    let Some((&tag, rest)) = bytes.split_first() else { return Ok(None) };
    if tag & LONG_TAG == LONG_TAG {
        return Err(Malformed);
    }
    let Some((&first, rest)) = rest.split_first() else { return Ok(None) };
    let count = match first {
        0..=0x7f => return Ok(Some((tag, 2, usize::from(first)))),
        0x81..=0x84 => usize::from(first - 0x80),
        // The indefinite form, and lengths that nobody has.
        _ => return Err(Malformed),
    };
    let Some(bytes) = rest.get(..count) else { return Ok(None) };
    let len = bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    Ok(Some((tag, 2 + count, len)))
}

/// How long the message is that `bytes` begin with, header included; `None` if that is not known
/// yet.
///
/// # Errors
/// It is no message, or longer than `max`.
pub(super) fn message_len(bytes: &[u8], max: usize) -> Result<Option<usize>, Malformed> {
    match header(bytes)? {
        None => Ok(None),
        Some((SEQUENCE, begin, len)) => {
            let all = begin.checked_add(len).filter(|all| *all <= max);
            all.map(Some).ok_or(Malformed)
        }
        Some(_) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_ldap_uses_is_read() {
        for bad in [
            &[0x1f, 0x01, 0x00][..],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x30, 0x03, 0x02, 0x01],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(Reader::new(bad).any(), Err(Malformed), "{bad:?}");
        }
        assert_eq!(message_len(&[0x30, 0x82, 0x40], 9), Ok(None));
        assert_eq!(message_len(&[0x30, 0x82, 0x40, 0x00], 9), Err(Malformed));
        assert_eq!(message_len(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], 9), Err(Malformed));
        assert_eq!(message_len(&[0x31, 0x01], 9), Err(Malformed));
        assert_eq!(message_len(&[0x30, 0x05], 9), Ok(Some(7)));
        assert_eq!(Reader::new(&[2, 1, 0x80]).number(INTEGER), Err(Malformed), "negative");
        assert_eq!(Reader::new(&[2, 5, 0, 0, 0, 0, 1]).number(INTEGER), Err(Malformed));
        assert_eq!(Reader::new(&[2, 2, 0, 0x80]).number(INTEGER), Ok(128));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in 0..=i32::MAX.cast_unsigned(), bytes: Vec<u8>) {
            let mut out = Vec::new();
            put(&mut out, SEQUENCE, |out| {
                put_number(out, ENUMERATED, number);
                put_bytes(out, OCTET_STRING, &bytes);
            });
            prop_assert_eq!(message_len(&out, out.len()), Ok(Some(out.len())));
            let mut inside = Reader::new(Reader::new(&out).next(SEQUENCE).unwrap());
            prop_assert_eq!(inside.number(ENUMERATED), Ok(number));
            prop_assert_eq!(inside.next(OCTET_STRING), Ok(&bytes[..]));
            prop_assert_eq!(inside.any(), Err(Malformed));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = message_len(&bytes, 64);
            let mut reader = Reader::new(&bytes);
            while reader.any().is_ok() {}
        }
    }
}
