//! Names of channels, and the statements with them.

use crate::HubError;

/// Bytes of a name at the most: Postgres keeps 63 in the database's encoding, and what takes
/// one byte there takes four at the most in another.
const NAME_MAX: usize = 4 * 63;

/// Bytes of the name of an encoding.
const ENCODING_MAX: usize = 32;

/// What the session of a hub listens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Listen,
    Unlisten,
}

/// Refuses what no channel is named.
pub(crate) fn check_name(name: &[u8]) -> Result<(), HubError> {
    let is_name = (1..=NAME_MAX).contains(&name.len()) && !name.contains(&0);
    if is_name { Ok(()) } else { Err(HubError::ChannelName) }
}

/// The name of an encoding as the server reports it: `UTF8`, `LATIN1`, `EUC_JP`.
pub(crate) fn encoding(name: &str) -> Result<Box<str>, HubError> {
    let is_name = (1..=ENCODING_MAX).contains(&name.len())
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-'));
    if is_name { Ok(name.to_ascii_uppercase().into()) } else { Err(HubError::EncodingName) }
}

/// Appends a statement. In all encodings that Postgres takes from clients a quote is never a part
/// of another character, so doubling them is safe whatever the bytes are; a backslash means
/// nothing in a quoted identifier.
pub(crate) fn put(out: &mut Vec<u8>, verb: Verb, name: &[u8]) {
    out.extend_from_slice(match verb {
        Verb::Listen => b"LISTEN \"",
        Verb::Unlisten => b"UNLISTEN \"",
    });
    for &byte in name {
        if byte == b'"' {
            out.push(byte);
        }
        out.push(byte);
    }
    out.extend_from_slice(b"\";");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_its_quotes() {
        let mut out = Vec::new();
        put(&mut out, Verb::Listen, b"a\"; DROP TABLE t; \"\\\x81");
        put(&mut out, Verb::Unlisten, b"b");
        assert_eq!(out, b"LISTEN \"a\"\"; DROP TABLE t; \"\"\\\x81\";UNLISTEN \"b\";");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in [&b""[..], b"a\0b", &[b'a'; 253]] {
            assert_eq!(check_name(name), Err(HubError::ChannelName));
        }
        assert_eq!(check_name(&[b'a'; 63]), Ok(()));
        for name in ["", "UTF8'", "a b", &"x".repeat(33)] {
            assert_eq!(encoding(name), Err(HubError::EncodingName));
        }
        assert_eq!(encoding("utf8").as_deref(), Ok("UTF8"));
    }
}
