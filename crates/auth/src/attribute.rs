//! The `x=value,y=value` syntax of SCRAM messages (RFC 5802, section 7).

use crate::{Error, MESSAGE_MAX};

/// Checks a message as a whole: bounded, UTF-8, no NUL.
pub(crate) fn text(message: &[u8]) -> Result<&str, Error> {
    if message.len() > MESSAGE_MAX {
        return Err(Error::TooLong);
    }
    let text = std::str::from_utf8(message).map_err(|_| Error::Malformed("not UTF-8"))?;
    if text.contains('\0') {
        return Err(Error::Malformed("NUL byte"));
    }
    Ok(text)
}

/// Splits the attribute `name` off the front: its value and what follows the comma
/// (`None` when nothing follows).
pub(crate) fn take(input: &str, name: char) -> Result<(&str, Option<&str>), Error> {
    let (found, value, rest) = take_any(input)?;
    if found == name { Ok((value, rest)) } else { Err(Error::Malformed("unexpected attribute")) }
}

/// Splits any attribute off the front: its name, its value and what follows the comma.
pub(crate) fn take_any(input: &str) -> Result<(char, &str, Option<&str>), Error> {
    let (attribute, rest) = match input.split_once(',') {
        Some((attribute, rest)) => (attribute, Some(rest)),
        None => (input, None),
    };
    let mut chars = attribute.chars();
    match (chars.next(), chars.next()) {
        (Some(name), Some('=')) if name.is_ascii_alphabetic() => Ok((name, chars.as_str(), rest)),
        _ => Err(Error::Malformed("attribute expected")),
    }
}

/// RFC 5802 `printable`: visible ASCII without the comma; never empty.
pub(crate) fn is_printable(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Checks the optional attributes that may end a message; their values are ignored.
pub(crate) fn skip_extensions(rest: Option<&str>) -> Result<(), Error> {
    let mut rest = rest;
    while let Some(input) = rest {
        (_, _, rest) = take_any(input)?;
    }
    Ok(())
}
