//! A server's bytes behind its login, with a client that keeps to the protocol.

use session::Mode;
use wire::message::{self, TransactionStatus};
use wire::{ErrorFields, Header};

use super::scene::Scene;

/// Three bytes choose: the mode, what the client sends, and into how large pieces the rest is cut,
/// which is what the server says, asked or not.
///
/// # Panics
/// Something is wrong.
pub fn run(data: &[u8]) {
    let Some((&[mode, script, piece], bytes)) = data.split_first_chunk() else { return };
    decode(bytes);
    let mode = [Mode::Transaction, Mode::Session, Mode::Statement][usize::from(mode % 3)];
    let mut scene = Scene::new(mode);
    let script = scripts(script);
    let mut lines = script.iter().cycle();
    for piece in bytes.chunks(if piece == 0 { usize::MAX } else { usize::from(piece) }) {
        if !scene.is_lent() {
            scene.idle_server_sends(piece);
            let line = lines.next().map(Vec::as_slice).unwrap_or_default();
            if scene.client_sends(line).is_err() {
                return;
            }
        }
        if scene.server_sends(piece).is_err() {
            return;
        }
        scene.to_server.clear();
        scene.to_client.clear();
    }
    if scene.client_leaves() {
        let _ = scene.server_sends(bytes);
    }
}

/// What is read outside the session.
fn decode(bytes: &[u8]) {
    let body = bytes.get(5..).unwrap_or_default();
    let _ = Header::peek(bytes);
    let _ = message::parameter_status(body);
    let _ = TransactionStatus::parse(body);
    if let Ok(fields) = ErrorFields::parse(body) {
        assert!(fields.message.len() <= body.len());
    }
}

/// What a client may send, line by line.
fn scripts(number: u8) -> Vec<Vec<u8>> {
    let query = |sql: &str| {
        let mut out = Vec::new();
        message::put_query(&mut out, sql);
        out
    };
    let batch = |name: &[u8], sql: &str| {
        let mut out = Vec::new();
        message::put_parse(&mut out, name, &[sql.as_bytes(), b"\0\0\0"].concat());
        message::put(&mut out, b'B', |out| {
            message::put_c_bytes(out, b"");
            message::put_c_bytes(out, name);
            out.extend([0; 6]);
        });
        message::put_describe_statement(&mut out, name);
        message::put(&mut out, b'E', |out| out.extend([0; 5]));
        out
    };
    match number % 6 {
        0 => vec![query("SELECT 1")],
        1 => vec![query("BEGIN; SET TimeZone = 'UTC'"), query("COMMIT")],
        2 => vec![[batch(b"", "SELECT 1"), message::SYNC.to_vec()].concat()],
        3 => vec![[batch(b"s", "SELECT 1"), message::SYNC.to_vec()].concat(), query("DISCARD ALL")],
        4 => vec![
            query("COPY t FROM STDIN"),
            [batch(b"t", "COPY t FROM STDIN"), message::SYNC.to_vec()].concat(),
        ],
        _ => vec![
            [batch(b"a", "SELECT 1"), message::FLUSH.to_vec()].concat(),
            [query("DEALLOCATE a"), b"F\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0".to_vec()].concat(),
        ],
    }
}
