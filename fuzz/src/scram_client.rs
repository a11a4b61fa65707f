//! What servers say in SCRAM.

use auth::{BindingPolicy, Channel, ChannelBinding, Login, MESSAGE_MAX, Nonce, Secret};

/// PBKDF2 of more iterations takes the time of thousands of inputs; what it is given is the same.
const ITERATIONS_DIGITS_MAX: usize = 2;

/// Lines: the mechanisms, with zero bytes between them, the server-first-message and the
/// server-final-message.
///
/// # Panics
/// Something is wrong.
pub fn run(data: &[u8]) {
    let mut lines = data.splitn(3, |&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let login = Login::Password { password: Secret::new("secret"), cached: None };
    let binding = ChannelBinding::new(BindingPolicy::Prefer, Channel::Plain);
    let offered = line().split(|&byte| byte == 0);
    let Ok(first) = binding.begin(login, Nonce::new([7; 18]), offered) else { return };
    let server_first = line();
    if is_costly(server_first) {
        return;
    }
    let Ok(last) = first.receive(server_first) else { return };
    assert!(last.message().len() <= 2 * MESSAGE_MAX, "a long client-final-message");
    let _ = last.receive(line());
}

/// Whether an iteration count in it has more digits than we have time for.
fn is_costly(message: &[u8]) -> bool {
    message.split(|&byte| byte == b',').any(|attribute| {
        attribute.starts_with(b"i=") && attribute.len() > 2 + ITERATIONS_DIGITS_MAX
    })
}
