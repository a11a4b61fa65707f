//! The messages of LDAP (RFC 4511) that a login takes.

use auth::hba::LdapScope;
use zeroize::Zeroizing;

use super::ber::{
    BOOLEAN, ENUMERATED, HEADER_LEN, INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE,
    message_len, put, put_bytes, put_number, try_put,
};

/// The longest message read from a server, in bytes: an entry without attributes, or a result
/// with a few sentences.
const MESSAGE_MAX: usize = 16 * 1024;

/// What a server says of a request is cut here, in characters, for the log.
const DIAGNOSTIC_MAX: usize = 200;

const VERSION: u32 = 3;
const NEVER_DEREFERENCE: u32 = 0;
/// Enough to see that there are several.
const SIZE_LIMIT: u32 = 2;
/// The list of attributes that asks for none (RFC 4511, section 4.5.1.8).
const NO_ATTRIBUTES: &[u8] = b"1.1";
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

const BIND_REQUEST: u8 = 0x60;
const SIMPLE: u8 = 0x80;
const BIND_RESPONSE: u8 = 0x61;
const UNBIND_REQUEST: u8 = 0x42;
const SEARCH_REQUEST: u8 = 0x63;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;
const EXTENDED_REQUEST: u8 = 0x77;
const REQUEST_NAME: u8 = 0x80;
const EXTENDED_RESPONSE: u8 = 0x78;

/// A message to a server. It may hold a password, and is overwritten when dropped.
pub(super) type Request = Zeroizing<Vec<u8>>;

/// Binds as `name`.
pub(super) fn bind(id: u32, name: &str, password: &str) -> Request {
    // All of it, so that it is never moved and leaves no copy of the password behind.
    let mut out = Vec::with_capacity(16 * HEADER_LEN + name.len() + password.len());
    put(&mut out, SEQUENCE, |out| {
        put_number(out, INTEGER, id);
        put(out, BIND_REQUEST, |out| {
            put_number(out, INTEGER, VERSION);
            put_bytes(out, OCTET_STRING, name.as_bytes());
            put_bytes(out, SIMPLE, password.as_bytes());
        });
    });
    Zeroizing::new(out)
}

/// Searches for the entry that the filter describes; `filter` appends it.
pub(super) fn search<E>(
    id: u32,
    base: &str,
    scope: LdapScope,
    seconds: u32,
    filter: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Request, E> {
    let scope = match scope {
        LdapScope::Base => 0,
        LdapScope::One => 1,
        LdapScope::Subtree => 2,
    };
    let mut out = Vec::new();
    try_put(&mut out, SEQUENCE, |out| {
        put_number(out, INTEGER, id);
        try_put(out, SEARCH_REQUEST, |out| {
            put_bytes(out, OCTET_STRING, base.as_bytes());
            put_number(out, ENUMERATED, scope);
            put_number(out, ENUMERATED, NEVER_DEREFERENCE);
            put_number(out, INTEGER, SIZE_LIMIT);
            put_number(out, INTEGER, seconds);
            // Names of attributes only.
            put_bytes(out, BOOLEAN, &[0xff]);
            filter(out)?;
            put(out, SEQUENCE, |out| put_bytes(out, OCTET_STRING, NO_ATTRIBUTES));
            Ok(())
        })
    })?;
    Ok(Zeroizing::new(out))
}

/// Asks for TLS.
pub(super) fn start_tls(id: u32) -> Request {
    let mut out = Vec::new();
    put(&mut out, SEQUENCE, |out| {
        put_number(out, INTEGER, id);
        put(out, EXTENDED_REQUEST, |out| put_bytes(out, REQUEST_NAME, START_TLS));
    });
    Zeroizing::new(out)
}

/// Says goodbye.
pub(super) fn unbind(id: u32) -> Request {
    let mut out = Vec::new();
    put(&mut out, SEQUENCE, |out| {
        put_number(out, INTEGER, id);
        out.extend_from_slice(&[UNBIND_REQUEST, 0]);
    });
    Zeroizing::new(out)
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// RFC 4511, appendix A.
    pub(super) code: u32,
    /// What the server says about it, for the log.
    pub(super) diagnostic: String,
}

/// A message from a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// To a bind.
    Bind(Done),
    /// An entry was found: its name.
    Entry(String),
    /// Somebody else may have more entries. Nobody asks there.
    Reference,
    /// To a search: there are no more entries.
    SearchDone(Done),
    /// To a request for TLS; or, with the id zero, the server is about to close the connection.
    Extended(Done),
}

/// How many of `bytes` the first message has; `None` if that is not known yet.
pub(super) fn response_len(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    message_len(bytes, MESSAGE_MAX)
}

/// Reads a whole message: what it answers, and what it says.
pub(super) fn response(bytes: &[u8]) -> Result<(u32, Response), Malformed> {
    let mut message = Reader::new(Reader::new(bytes).next(SEQUENCE)?);
    let id = message.number(INTEGER)?;
    let (tag, content) = message.any()?;
    let mut content = Reader::new(content);
    // Controls may follow; none was asked for.
    let response = match tag {
        BIND_RESPONSE => Response::Bind(done(content)?),
        SEARCH_ENTRY => {
            let name = std::str::from_utf8(content.next(OCTET_STRING)?).map_err(|_| Malformed)?;
            Response::Entry(name.to_owned())
        }
        SEARCH_REFERENCE => Response::Reference,
        SEARCH_DONE => Response::SearchDone(done(content)?),
        EXTENDED_RESPONSE => Response::Extended(done(content)?),
        _ => return Err(Malformed),
    };
    Ok((id, response))
}

/// LDAPResult; a referral may follow, and is not followed.
fn done(mut content: Reader<'_>) -> Result<Done, Malformed> {
    let code = content.number(ENUMERATED)?;
    let _matched = content.next(OCTET_STRING)?;
    let diagnostic = String::from_utf8_lossy(content.next(OCTET_STRING)?);
    Ok(Done { code, diagnostic: diagnostic.chars().take(DIAGNOSTIC_MAX).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As libldap writes them, but for the form of the lengths.
    fn short(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Ok((tag, content)) = reader.any() {
            let content = if tag & 0x20 == 0 { content.to_vec() } else { short(content) };
            out.extend([tag, u8::try_from(content.len()).unwrap()]);
            out.extend(content);
        }
        out
    }

    #[test]
    fn requests_are_those_of_the_rfc() {
        let expected = b"\x30\x15\x02\x01\x07\x60\x10\x02\x01\x03\x04\x04cn=x\x80\x05hello";
        assert_eq!(short(&bind(7, "cn=x", "hello")), expected);
        let filter = |out: &mut Vec<u8>| super::super::filter::put_equality(out, "uid", "bob");
        let search = search(2, "dc=x", LdapScope::Subtree, 5, filter).unwrap();
        let expected = b"\x30\x2d\x02\x01\x02\x63\x28\x04\x04dc=x\x0a\x01\x02\x0a\x01\x00\
            \x02\x01\x02\x02\x01\x05\x01\x01\xff\xa3\x0a\x04\x03uid\x04\x03bob\x30\x05\x04\x031.1";
        assert_eq!(short(&search), expected);
        let expected = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
        assert_eq!(short(&start_tls(1)), expected);
        assert_eq!(short(&unbind(3)), b"\x30\x05\x02\x01\x03\x42\x00");
    }

    #[test]
    fn responses_are_read_with_what_may_follow() {
        let refused = b"\x30\x10\x02\x01\x01\x61\x0b\x0a\x01\x31\x04\x00\x04\x04nope";
        let done = Done { code: 49, diagnostic: "nope".to_owned() };
        assert_eq!(response(refused), Ok((1, Response::Bind(done))));
        // A referral inside, and a control behind.
        let moved = b"\x30\x1a\x02\x01\x02\x65\x0f\x0a\x01\x0a\x04\x00\x04\x00\xa3\x06\x04\x04ldap\
            \xa0\x04\x30\x02\x04\x00";
        let done = Done { code: 10, diagnostic: String::new() };
        assert_eq!(response(moved), Ok((2, Response::SearchDone(done))));
        let entry = b"\x30\x0d\x02\x01\x02\x64\x08\x04\x04cn=x\x30\x00";
        assert_eq!(response(entry), Ok((2, Response::Entry("cn=x".to_owned()))));
        for bad in [
            &b"\x30\x00"[..],
            b"\x30\x03\x02\x01\x01",
            b"\x30\x05\x02\x01\x01\x61\x00",
            b"\x30\x07\x02\x01\x02\x64\x02\x04\xff",
            b"\x30\x0a\x02\x01\x02\x64\x05\x04\x01\xff\x30\x00",
            b"\x30\x05\x02\x01\x01\x42\x00",
        ] {
            assert_eq!(response(bad), Err(Malformed), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = response(&bytes);
            let _ = response_len(&bytes);
        }
    }
}
