//! The answer to a server's AuthenticationMD5Password. Only towards servers: clients are
//! never asked for md5.

use std::fmt::Write as _;

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use crate::Secret;

/// `"md5" ‖ md5(md5(password ‖ user) ‖ salt)` in hexadecimal, for a PasswordMessage.
pub fn md5_response(user: &str, password: &Secret, salt: [u8; 4]) -> Secret {
    let inner = hex("", &[password.expose().as_bytes(), user.as_bytes()]);
    hex("md5", &[inner.expose().as_bytes(), &salt])
}

/// A digest behind a prefix. The inner one is as good as the password.
fn hex(prefix: &str, parts: &[&[u8]]) -> Secret {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    let digest = Zeroizing::new(<[u8; 16]>::from(digest.finalize()));
    let mut text = String::with_capacity(prefix.len() + 2 * digest.len());
    text.push_str(prefix);
    for byte in *digest {
        // Into a String it cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_answer_is_what_libpq_sends() {
        // PQencryptPasswordConn("password", "md5_user", "md5") and salt 2a 3d 8f e0.
        let answer = md5_response("md5_user", &Secret::new("password"), [0x2a, 0x3d, 0x8f, 0xe0]);
        assert_eq!(answer.expose(), "md562af4dd09bbb41884907a838a3233294");
    }
}
