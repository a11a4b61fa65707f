//! The answer to a server's AuthenticationMD5Password. Only towards servers: clients are
//! never asked for md5.

use md5::{Digest, Md5};

use crate::Secret;

/// `"md5" ‖ md5(md5(password ‖ user) ‖ salt)` in hexadecimal, for a PasswordMessage.
pub fn md5_response(user: &str, password: &Secret, salt: [u8; 4]) -> Secret {
    let inner = hex(&[password.expose().as_bytes(), user.as_bytes()]);
    let outer = hex(&[inner.as_bytes(), &salt]);
    Secret::new(format!("md5{outer}"))
}

fn hex(parts: &[&[u8]]) -> String {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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
