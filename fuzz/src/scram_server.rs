//! What clients say in SCRAM, and verifiers as text.

use std::sync::Arc;

use auth::{Challenge, MESSAGE_MAX, Nonce, Offer, Secret, Verifier};

/// Lines: the mechanism, the client-first-message and the client-final-message; or a verifier.
///
/// # Panics
/// Something is wrong.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(verifier) = text.parse::<Verifier>()
    {
        let again = verifier.format().expose().parse::<Verifier>();
        assert!(again.is_ok_and(|again| again == verifier), "not its own text");
    }
    let mut lines = data.splitn(3, |&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let Some(selection) = Offer::new(None).select(line()) else { return };
    let verifier = Arc::new(Verifier::derive(&Secret::new("secret"), b"salt", 1));
    let challenge = Challenge::known(verifier).over(selection);
    let Ok(first) = challenge.receive(line(), Nonce::new([7; 18])) else { return };
    assert!(first.message().len() <= 2 * MESSAGE_MAX, "a long server-first-message");
    let _ = first.receive(line());
}
