//! The untagged first packet of a connection (`ProcessStartupPacket` in Postgres).

use crate::{CancelKey, CancelSecret, Cursor, Malformed, PeerHello, message::put_c_str};

/// Postgres' `MAX_STARTUP_PACKET_LENGTH`: the length field, which counts itself, may not
/// exceed it.
pub const MAX_STARTUP_PACKET_LEN: u32 = 10_000;

const CANCEL_REQUEST: u32 = 1234 << 16 | 5678;
const SSL_REQUEST: u32 = 1234 << 16 | 5679;
const GSSENC_REQUEST: u32 = 1234 << 16 | 5680;

/// Ours. As a protocol version it would be 28775.28005, and Postgres' own request codes have
/// 1234 in front: a server that is no pgmesh refuses it as a version that it does not speak.
const PEER_HELLO: u32 = u32::from_be_bytes(*b"pgme");

/// A protocol version as the client asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3 for anything since PostgreSQL 7.4.
    pub major: u16,
    /// 0 or 2.
    pub minor: u16,
}

/// The first packet, by its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartupPacket {
    /// SSLRequest.
    Ssl,
    /// GSSENCRequest.
    GssEnc,
    /// CancelRequest.
    Cancel(CancelKey),
    /// What another pgmesh begins with.
    Peer(PeerHello),
    /// A StartupMessage.
    Startup(StartupMessage),
}

/// A StartupMessage: version and parameters in the order sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupMessage {
    /// The version asked for; its major number may be one that we do not speak.
    pub version: Version,
    /// Names and values; empty if the major version is not 3, since only then the layout
    /// is known.
    pub parameters: Vec<(String, String)>,
}

impl Version {
    /// What every client since 2003 speaks.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// Long cancel keys (PostgreSQL 18).
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    /// The number on the wire.
    pub fn code(self) -> u32 {
        u32::from(self.major) << 16 | u32::from(self.minor)
    }

    fn from_code(code: u32) -> Self {
        let [a, b, c, d] = code.to_be_bytes();
        Self { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]) }
    }
}

impl StartupPacket {
    /// Reads a first packet from what follows its length field.
    ///
    /// # Errors
    /// The packet is too short for its code, a text has no terminator or is not UTF-8, a
    /// name has no value, or bytes follow the end.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        match cursor.i32()?.cast_unsigned() {
            SSL_REQUEST => cursor.end().map(|()| Self::Ssl),
            GSSENC_REQUEST => cursor.end().map(|()| Self::GssEnc),
            CANCEL_REQUEST => {
                let pid = cursor.i32()?;
                let secret = CancelSecret::new(cursor.rest())?;
                Ok(Self::Cancel(CancelKey { pid, secret }))
            }
            PEER_HELLO => PeerHello::parse(cursor.rest()).map(Self::Peer),
            code => {
                let version = Version::from_code(code);
                let parameters = if version.major == 3 { parameters(cursor)? } else { Vec::new() };
                Ok(Self::Startup(StartupMessage { version, parameters }))
            }
        }
    }
}

/// Pairs of zero-terminated texts, ended by an empty name at the packet's last byte. The
/// packet's length bounds the loop, not the peer's good will.
fn parameters(mut cursor: Cursor<'_>) -> Result<Vec<(String, String)>, Malformed> {
    let mut parameters = Vec::new();
    loop {
        let name = cursor.c_str()?;
        if name.is_empty() {
            return cursor.end().map(|()| parameters);
        }
        parameters.push((name.to_owned(), cursor.c_str()?.to_owned()));
    }
}

fn put_packet(out: &mut Vec<u8>, code: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&code.to_be_bytes());
    write(out);
    let len = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

/// Appends an SSLRequest.
pub fn put_ssl_request(out: &mut Vec<u8>) {
    put_packet(out, SSL_REQUEST, |_| ());
}

/// Appends a CancelRequest.
pub fn put_cancel_request(out: &mut Vec<u8>, key: &CancelKey) {
    put_packet(out, CANCEL_REQUEST, |out| {
        out.extend_from_slice(&key.pid.to_be_bytes());
        out.extend_from_slice(key.secret.expose());
    });
}

/// Appends what a pgmesh says first to another.
pub fn put_peer_hello(out: &mut Vec<u8>, hello: &PeerHello) {
    put_packet(out, PEER_HELLO, |out| hello.put(out));
}

/// Appends a StartupMessage.
pub fn put_startup<'a>(
    out: &mut Vec<u8>,
    version: Version,
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    put_packet(out, version.code(), |out| {
        for (name, value) in parameters {
            put_c_str(out, name);
            put_c_str(out, value);
        }
        out.push(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_read_back() {
        let key = CancelKey { pid: 7, secret: CancelSecret::new(&[9; 32]).unwrap() };
        let mut out = Vec::new();
        put_cancel_request(&mut out, &key);
        assert_eq!(StartupPacket::parse(&out[4..]), Ok(StartupPacket::Cancel(key)));
        out.clear();
        put_ssl_request(&mut out);
        assert_eq!(StartupPacket::parse(&out[4..]), Ok(StartupPacket::Ssl));
        assert_eq!(out.len(), 8);
        out.clear();
        let hello = PeerHello { nonce: [7; 16] };
        put_peer_hello(&mut out, &hello);
        assert_eq!(StartupPacket::parse(&out[4..]), Ok(StartupPacket::Peer(hello)));
    }

    #[test]
    fn a_hello_of_another_version_or_length_is_malformed() {
        let mut out = Vec::new();
        put_peer_hello(&mut out, &PeerHello { nonce: [7; 16] });
        let whole = &out[4..];
        for len in 4..whole.len() {
            assert_eq!(StartupPacket::parse(&whole[..len]), Err(Malformed));
        }
        assert_eq!(StartupPacket::parse(&[whole, b"x"].concat()), Err(Malformed));
        let mut newer = whole.to_vec();
        newer[4] += 1;
        assert_eq!(StartupPacket::parse(&newer), Err(Malformed));
    }

    #[test]
    fn a_packet_with_no_terminator_or_bytes_after_the_end_is_malformed() {
        let mut sixteen = 196_608_u32.to_be_bytes().to_vec();
        sixteen.extend(b"userabcd");
        for body in [&sixteen[..], b"", b"\0\x03\0\0", b"\0\x03\0\0user\0", b"\0\x03\0\0\0x"] {
            assert_eq!(StartupPacket::parse(body), Err(Malformed));
        }
    }

    #[test]
    fn another_major_version_is_told_apart_without_reading_on() {
        let parsed = StartupPacket::parse(b"\0\x02\0\0anything");
        let version = Version { major: 2, minor: 0 };
        assert_eq!(
            parsed,
            Ok(StartupPacket::Startup(StartupMessage { version, parameters: vec![] }))
        );
    }

    proptest! {
        #[test]
        fn parameters_survive_the_wire(
            parameters in prop::collection::vec(("[a-z_]{1,9}", "[^\0]{0,9}"), 0..5)
        ) {
            let mut out = Vec::new();
            put_startup(&mut out, Version::V3_2, parameters.iter().map(|(n, v)| (&**n, &**v)));
            let message = StartupMessage { version: Version::V3_2, parameters };
            prop_assert_eq!(StartupPacket::parse(&out[4..]), Ok(StartupPacket::Startup(message)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = StartupPacket::parse(&body);
        }
    }
}
