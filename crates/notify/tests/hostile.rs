//! Servers that do not speak the protocol as they must.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test file needs a part of it")]
mod world;

use std::time::Duration;

use notify::{Config, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use world::{World, next, ready, within};

const HOLD: Duration = Duration::from_secs(60);

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::message::put(&mut out, tag, |out| out.extend_from_slice(body));
    out
}

fn honest() -> Vec<u8> {
    [
        frame(b'C', b"LISTEN\0"),
        frame(b'Z', b"I"),
        frame(b'A', b"\0\0\0\x07c\0payload\0"),
        frame(b'A', b"\0\0\0\x07other\0\0"),
    ]
    .concat()
}

/// What must end a session, each in the place of the answer to its first request.
fn lies() -> Vec<Vec<u8>> {
    let ready = || frame(b'Z', b"I");
    let done = || frame(b'C', b"LISTEN\0");
    vec![
        ready(),
        [done(), frame(b'Z', b"T")].concat(),
        [done(), frame(b'Z', b"")].concat(),
        [done(), ready(), ready()].concat(),
        [done(), ready(), done()].concat(),
        frame(b'D', b"\0\0"),
        frame(b'T', b"\0\0"),
        frame(b'G', b"\0\0\0"),
        frame(b'E', b"SFATAL\0VFATAL\0C57P01\0Mbye\0\0"),
        frame(b'E', b"SERROR"),
        frame(b'A', b"\0\0"),
        frame(b'A', b"\0\0\0\x07c\0payload"),
        frame(b'A', b"\0\0\0\x07c\0payload\0more\0"),
        b"A\x7f\xff\xff\xff".to_vec(),
        b"A\0\x01\xff\xff".to_vec(),
        b"A\0\0\0\x03".to_vec(),
        b"\0\0\0\0\0".to_vec(),
        Vec::new(),
    ]
}

/// Takes a login without a password, waits for a request, and answers it with `answer`.
async fn serve(mut stream: TcpStream, answer: Vec<u8>) {
    let mut len = [0; 4];
    loop {
        stream.read_exact(&mut len).await.unwrap();
        let mut packet = vec![0; u32::from_be_bytes(len) as usize - 4];
        stream.read_exact(&mut packet).await.unwrap();
        if !packet.starts_with(&80_877_103_u32.to_be_bytes()) {
            break;
        }
        stream.write_all(b"N").await.unwrap();
    }
    let welcome = [frame(b'R', &[0; 4]), frame(b'S', b"in_hot_standby\0off\0"), frame(b'Z', b"I")];
    stream.write_all(&welcome.concat()).await.unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[0], b'Q');
    stream.write_all(&answer).await.unwrap();
    if !answer.is_empty() {
        // Until it is left.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

#[tokio::test]
async fn a_server_that_lies_is_left_and_the_next_one_is_asked() {
    for lie in lies() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut world = World::new(Config::default(), HOLD);
        world.promote("n1", listener.local_addr().unwrap().port());
        let mut subscriber = world.subscriber();
        subscriber.listen(b"c").unwrap();
        let (stream, _) = within(listener.accept()).await.unwrap();
        within(serve(stream, lie)).await;
        let (stream, _) = within(listener.accept()).await.unwrap();
        let server = tokio::spawn(serve(stream, honest()));
        loop {
            // The first session may have come to listen before it was found out.
            if let Event::Notification(told) = next(&mut subscriber).await {
                assert_eq!(told.payload(), b"payload");
                break;
            }
        }
        ready(&mut subscriber).await.unwrap();
        server.abort();
    }
}
