//! Both ends against each other over a stream in memory, and somebody in between.

use super::*;
use proptest::prelude::*;
use tokio::io::{DuplexStream, duplex};
use wire::CancelSecret;

const US: [u8; 8] = [1; 8];
const THEM: [u8; 8] = [2; 8];
const HELLO: PeerHello = PeerHello { nonce: [3; 16] };
/// What a hello takes on the wire.
const HELLO_LEN: usize = 25;

fn key(owner: u16, secret: &[u8]) -> CancelKey {
    let pid = KeyOwner::new(owner).unwrap().pid(77);
    CancelKey { pid, secret: CancelSecret::new(secret).unwrap() }
}

fn challenge(owner: u16) -> PeerChallenge {
    PeerChallenge { process: THEM, owner: KeyOwner::new(owner).unwrap(), nonce: [4; 16] }
}

fn secret() -> Secret {
    Secret::new("known to all peers")
}

/// Hears one peer as the owner of `own`.
async fn listen(
    mut stream: DuplexStream,
    owner: u16,
    secret: &Secret,
    own: &CancelKey,
) -> io::Result<Heard<()>> {
    let mut hello = [0; HELLO_LEN];
    stream.read_exact(&mut hello).await?;
    let find =
        |pid, knows: &dyn Fn(&CancelKey) -> bool| (pid == own.pid && knows(own)).then_some(());
    hear(&mut stream, HELLO, challenge(owner), secret, find).await
}

/// One who asks with `theirs`, and one numbered 5 who has `own`.
async fn meet(
    theirs: &CancelKey,
    own: &CancelKey,
    secrets: [&Secret; 2],
) -> (io::Result<Asked>, io::Result<Heard<()>>) {
    let (near, far) = duplex(1024);
    tokio::join!(ask(near, HELLO, theirs, US, secrets[0]), listen(far, 5, secrets[1], own))
}

#[tokio::test]
async fn a_key_of_either_protocol_finds_its_owner() {
    for secret_bytes in [vec![9; 4], vec![9; 32], vec![9; 256]] {
        let key = key(5, &secret_bytes);
        let (asked, heard) = meet(&key, &key, [&secret(), &secret()]).await;
        assert_eq!((asked.unwrap(), heard.unwrap()), (Asked::Taken, Heard::Taken(())));
    }
}

#[tokio::test]
async fn a_wrong_key_is_unknown_and_a_wrong_secret_is_refused() {
    let own = key(5, &[9; 4]);
    let mut other_pid = own.clone();
    other_pid.pid += 1;
    for theirs in [key(5, &[8; 4]), key(5, &[9; 5]), other_pid] {
        let (asked, heard) = meet(&theirs, &own, [&secret(), &secret()]).await;
        assert_eq!((asked.unwrap(), heard.unwrap()), (Asked::NotTaken, Heard::Unknown));
    }
    let (asked, heard) = meet(&own, &own, [&Secret::new("known to none"), &secret()]).await;
    assert_eq!((asked.unwrap(), heard.unwrap()), (Asked::NotTaken, Heard::Refused));
}

#[tokio::test]
async fn who_is_not_the_owner_sees_a_hello_and_nothing_else() {
    let (asked, heard) = meet(&key(6, &[9; 4]), &key(6, &[9; 4]), [&secret(), &secret()]).await;
    assert_eq!((asked.unwrap(), heard.unwrap()), (Asked::NotTaken, Heard::Left));
}

#[tokio::test]
async fn one_who_asks_itself_knows_itself() {
    let (near, far) = duplex(1024);
    let (key, secret) = (key(5, &[9; 4]), secret());
    let both = tokio::join!(ask(near, HELLO, &key, THEM, &secret), listen(far, 5, &secret, &key));
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (Asked::Ourselves, Heard::Left));
}

#[tokio::test]
async fn a_server_is_no_peer() {
    for answer in [&b"E\0\0\0\x2dSFATAL\0VFATAL\0C0A000\0Munsupported\0\0"[..], b"", b"p"] {
        let (near, mut far) = duplex(1024);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        assert!(ask(near, HELLO, &key(5, &[9; 4]), US, &secret()).await.is_err());
    }
}

/// What the two say to each other, each direction whole.
async fn overheard(key: &CancelKey) -> [Vec<u8>; 2] {
    let asks = async {
        let (near, mut far) = duplex(1024);
        let read = async {
            let mut said = vec![0; HELLO_LEN];
            far.read_exact(&mut said).await.unwrap();
            far.write_all(&challenge(5).to_bytes()).await.unwrap();
            let mut request = [0; PeerCancel::LEN];
            far.read_exact(&mut request).await.unwrap();
            said.extend(request);
            drop(far);
            said
        };
        let secret = secret();
        tokio::join!(ask(near, HELLO, key, US, &secret), read).1
    };
    let asks = asks.await;
    let answer = [&challenge(5).to_bytes()[..], &taking(key)].concat();
    [asks, answer]
}

/// The answer to [`HELLO`] and `challenge(5)`.
fn taking(key: &CancelKey) -> [u8; Proof::LEN] {
    let secret = secret();
    Terms { secret: &secret, hello: HELLO, challenge: challenge(5), pid: key.pid }.of_taking()
}

#[tokio::test]
async fn the_keys_secret_is_never_sent() {
    let key = key(5, b"open sesame");
    for said in overheard(&key).await {
        assert!(!said.windows(4).any(|window| key.secret.expose().starts_with(window)));
    }
}

#[tokio::test]
async fn what_was_recorded_is_refused_in_another_conversation() {
    let key = key(5, &[9; 4]);
    let [asks, _] = overheard(&key).await;
    let request = &asks[HELLO_LEN..];
    let nonces = [([3; 16], [5; 16]), ([6; 16], [4; 16])];
    for (hello, nonce) in nonces {
        let (mut near, mut far) = duplex(1024);
        near.write_all(request).await.unwrap();
        let (hello, challenge) =
            (PeerHello { nonce: hello }, PeerChallenge { nonce, ..challenge(5) });
        let heard = hear(&mut far, hello, challenge, &secret(), |_, _| Some(())).await;
        assert_eq!(heard.unwrap(), Heard::Refused);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn a_request_in_which_a_bit_was_changed_is_refused(bit in 0..PeerCancel::LEN * 8) {
        block_on(async {
            let key = key(5, &[9; 4]);
            let [asks, _] = overheard(&key).await;
            let mut request = asks[HELLO_LEN..].to_vec();
            request[bit / 8] ^= 1 << (bit % 8);
            let (mut near, mut far) = duplex(1024);
            near.write_all(&request).await.unwrap();
            let heard = hear(&mut far, HELLO, challenge(5), &secret(), |_, _| Some(())).await;
            assert_eq!(heard.unwrap(), Heard::Refused);
        });
    }

    #[test]
    fn an_answer_in_which_a_bit_was_changed_is_none(bit in 0..Proof::LEN * 8) {
        block_on(async {
            let key = key(5, &[9; 4]);
            let mut taken = taking(&key);
            taken[bit / 8] ^= 1 << (bit % 8);
            let (near, mut far) = duplex(1024);
            far.write_all(&[&challenge(5).to_bytes()[..], &taken].concat()).await.unwrap();
            let asked = ask(near, HELLO, &key, US, &secret()).await;
            assert_eq!(asked.unwrap(), Asked::NotTaken);
        });
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        block_on(async {
            let (mut near, mut far) = duplex(1024);
            near.write_all(&bytes).await.unwrap();
            near.shutdown().await.unwrap();
            let heard = hear(&mut far, HELLO, challenge(5), &secret(), |_, _| Some(())).await;
            let expected = if bytes.is_empty() { Heard::Left } else { Heard::Refused };
            assert_eq!(heard.unwrap(), expected);
            let (near, mut far) = duplex(1024);
            far.write_all(&bytes).await.unwrap();
            far.shutdown().await.unwrap();
            let asked = ask(near, HELLO, &key(5, &[9; 4]), US, &secret()).await;
            assert!(!matches!(asked, Ok(Asked::Taken)));
        });
    }
}
