//! What two proxies say to each other when a CancelRequest has come to the wrong one.
//!
//! ```text
//! asks → owner   PeerHello      in the place of a startup packet: version, nonce
//! owner → asks   PeerChallenge  'p', the owner's process and number, nonce
//! asks → owner   PeerCancel     process id, proof of the key, proof of the shared secret
//! owner → asks   32 bytes       proof that the owner has taken it; nothing if it has not
//! ```
//!
//! Every message has one length, so there is none to be lied about. Both nonces go into every
//! proof: what was recorded is worth nothing in another conversation. The key's secret is never
//! sent; its owner has it, and can check the proof. How proofs are made is not known here.

use crate::{Cursor, KeyOwner, Malformed};

/// The first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerHello {
    /// Drawn by the one that asks.
    pub nonce: [u8; NONCE_LEN],
}

/// The answer to [`PeerHello`]. Proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerChallenge {
    /// Drawn once by each process: a proxy that is among its own peers knows itself by it.
    pub process: [u8; PROCESS_LEN],
    /// Whose keys are known here.
    pub owner: KeyOwner,
    /// Drawn by the one that is asked.
    pub nonce: [u8; NONCE_LEN],
}

/// A cancel key, and that the sender knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCancel {
    /// The key's process id.
    pub pid: i32,
    /// That the sender knows the key's secret.
    pub key_proof: [u8; PROOF_LEN],
    /// That the sender knows the secret of all peers.
    pub proof: [u8; PROOF_LEN],
}

impl PeerHello {
    /// Reads what follows the code of the packet.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        // Of a version that is not known, neither is the layout.
        if cursor.u8()? != VERSION {
            return Err(Malformed);
        }
        let nonce = array(&mut cursor)?;
        cursor.end().map(|()| Self { nonce })
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.nonce);
    }
}

impl PeerChallenge {
    /// Its length in bytes.
    pub const LEN: usize = 1 + PROCESS_LEN + 2 + NONCE_LEN;

    /// Reads a whole challenge.
    ///
    /// # Errors
    /// It does not begin as one, names no owner, or has another length.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        if cursor.u8()? != CHALLENGE {
            return Err(Malformed);
        }
        let process = array(&mut cursor)?;
        let owner = KeyOwner::new(cursor.i16()?.cast_unsigned()).ok_or(Malformed)?;
        let nonce = array(&mut cursor)?;
        cursor.end().map(|()| Self { process, owner, nonce })
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let owner = self.owner.get().to_be_bytes();
        [&[CHALLENGE][..], &self.process, &owner, &self.nonce].concat()
    }
}

impl PeerCancel {
    /// Its length in bytes.
    pub const LEN: usize = 4 + 2 * PROOF_LEN;

    /// Reads a whole request.
    ///
    /// # Errors
    /// It has another length.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let pid = cursor.i32()?;
        let (key_proof, proof) = (array(&mut cursor)?, array(&mut cursor)?);
        cursor.end().map(|()| Self { pid, key_proof, proof })
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.pid.to_be_bytes()[..], &self.key_proof, &self.proof].concat()
    }
}

fn array<const N: usize>(cursor: &mut Cursor<'_>) -> Result<[u8; N], Malformed> {
    cursor.bytes(N)?.try_into().map_err(|_| Malformed)
}

const VERSION: u8 = 1;
/// No message of a server is of this type, so no server is taken for a peer.
const CHALLENGE: u8 = b'p';
const NONCE_LEN: usize = 16;
const PROCESS_LEN: usize = 8;
const PROOF_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_read_back_and_at_no_other_length(
            process: [u8; 8],
            nonce: [u8; 16],
            owner in 1..=KeyOwner::MAX,
            pid: i32,
            key_proof: [u8; 32],
            proof: [u8; 32],
            len in 0..200usize,
        ) {
            let challenge = PeerChallenge { process, owner: KeyOwner::new(owner).unwrap(), nonce };
            let mut bytes = challenge.to_bytes();
            prop_assert_eq!(bytes.len(), PeerChallenge::LEN);
            prop_assert_eq!(PeerChallenge::parse(&bytes), Ok(challenge));
            bytes.resize(len, 0);
            prop_assert_eq!(PeerChallenge::parse(&bytes).is_ok(), len == PeerChallenge::LEN);

            let cancel = PeerCancel { pid, key_proof, proof };
            let mut bytes = cancel.to_bytes();
            prop_assert_eq!(bytes.len(), PeerCancel::LEN);
            prop_assert_eq!(PeerCancel::parse(&bytes), Ok(cancel));
            bytes.resize(len, 0);
            prop_assert_eq!(PeerCancel::parse(&bytes).is_ok(), len == PeerCancel::LEN);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = PeerChallenge::parse(&bytes);
            let _ = PeerCancel::parse(&bytes);
            let _ = PeerHello::parse(&bytes);
        }
    }
}
