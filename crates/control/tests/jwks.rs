//! Keys from a file and from a web server, with what goes wrong on the way.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use control::jwks::{Config, DEMAND_INTERVAL, Error, Fetch, Jwks};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use transport::{Negotiation, ServerTls, TlsMode};

const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"1",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// So many keys.
fn set(count: usize) -> String {
    format!("{{\"keys\":[{}]}}", vec![KEY; count].join(","))
}

/// What is answered, head and body, and how often.
#[derive(Default)]
struct Server {
    answer: Mutex<String>,
    asked: AtomicU32,
}

impl Server {
    async fn start(answer: &str) -> (Arc<Self>, Config) {
        let server = Arc::new(Self { answer: Mutex::new(answer.to_owned()), ..Self::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys?a=b", listener.local_addr().unwrap());
        tokio::spawn({
            let server = Arc::clone(&server);
            async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    assert!(head.starts_with(b"GET /keys?a=b HTTP/1.1\r\n"));
                    server.asked.fetch_add(1, Ordering::SeqCst);
                    let answer = server.answer.lock().clone();
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        let refresh = Duration::from_secs(3600);
        (server, Config::Url { url: url.parse().unwrap(), ca: None, refresh })
    }

    fn say(&self, answer: &str) {
        *self.answer.lock() = answer.to_owned();
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The keys, and what every fetch comes to.
fn start(config: &Config) -> Result<(Jwks, mpsc::Receiver<Fetch>), Error> {
    let (sender, receiver) = mpsc::channel(100);
    let jwks = Jwks::start(config, move |fetch| sender.try_send(fetch).unwrap())?;
    Ok((jwks, receiver))
}

/// So much later. The clock stands still in between, and goes on as it did.
async fn later(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// Waits for a fetch that comes to this, and for what it brings.
async fn until(fetches: &mut mpsc::Receiver<Fetch>, fetch: Fetch, is_so: impl Fn() -> bool) {
    while fetches.recv().await.unwrap() != fetch || !is_so() {}
}

fn count(jwks: &Jwks) -> usize {
    jwks.current().map_or(0, |keys| keys.len())
}

#[tokio::test]
async fn logins_whose_key_is_missing_share_a_fetch_and_fetches_keep_their_distance() {
    let (server, config) = Server::start(&ok(&set(1))).await;
    let (jwks, mut fetches) = start(&config).unwrap();
    assert_eq!(fetches.recv().await, Some(Fetch::Done));
    assert_eq!(count(&jwks), 1);
    server.say(&ok(&set(2)));
    // Too early to ask again.
    assert_eq!(jwks.refreshed().await.unwrap().len(), 1);
    later(DEMAND_INTERVAL).await;
    let refreshed = futures_util::future::join_all((0..50).map(|_| jwks.refreshed())).await;
    assert!(refreshed.iter().all(|keys| keys.as_ref().unwrap().len() == 2));
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn whatever_the_url_answers_the_keys_before_stay() {
    let (server, config) = Server::start(&ok(&set(1))).await;
    let (jwks, mut fetches) = start(&config).unwrap();
    assert_eq!(fetches.recv().await, Some(Fetch::Done));
    let long = format!("{{\"keys\":[{KEY}],\"x\":\"{}\"}}", "x".repeat(256 * 1024));
    for answer in [
        "".to_owned(),
        "no HTTP\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{}", set(2)),
        ok("{}"),
        ok("{\"keys\":[]}"),
        ok(&long),
        format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20)),
        ok(&set(2)).replacen("200 OK", "500 Oops", 1),
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n".to_owned(),
    ] {
        server.say(&answer);
        later(DEMAND_INTERVAL).await;
        let keys = jwks.refreshed().await.unwrap();
        let start: String = answer.chars().take(60).collect();
        assert_eq!((keys.len(), fetches.recv().await), (1, Some(Fetch::Failed)), "{start}");
    }
    // And then it is tried again by itself.
    server.say(&ok(&set(2)));
    later(DEMAND_INTERVAL).await;
    until(&mut fetches, Fetch::Done, || count(&jwks) == 2).await;
}

fn write(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

#[tokio::test]
async fn a_file_must_be_good_at_the_start_and_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let config = Config::File(path.clone());
    let error = config.check().unwrap_err().to_string();
    assert!(error.contains("jwks.json") && error.contains("may read it"), "{error}");
    write(&path, "{}");
    assert!(matches!(start(&config), Err(Error::Keys { .. })));

    write(&path, &set(1));
    let (jwks, mut fetches) = start(&config).unwrap();
    assert_eq!(count(&jwks), 1);
    for (text, fetch, expected) in
        [(set(2), Fetch::Done, 2), ("{".to_owned(), Fetch::Failed, 2), (set(3), Fetch::Done, 3)]
    {
        write(&path, &text);
        later(Duration::from_secs(10)).await;
        until(&mut fetches, fetch, || count(&jwks) == expected).await;
    }
}

/// A certificate and its key for `localhost`, in files.
fn certificate(directory: &Path) -> ServerTls {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.join("x.crt"), directory.join("x.key"));
    std::fs::write(&certificate, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (Some(certificate), Some(key));
    ServerTls { mode: TlsMode::Require, certificate, key, ..ServerTls::default() }
}

#[tokio::test]
async fn by_https_the_certificate_is_verified() {
    let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let acceptor = certificate(ours.path()).acceptor().unwrap();
    certificate(other.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream, Negotiation::Postgres, &[]).await else {
                continue;
            };
            let _ = stream.read_u8().await;
            let _ = stream.write_all(ok(&set(1)).as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    for (directory, host, fetch, keys) in [
        (ours.path(), "localhost", Fetch::Done, 1),
        (other.path(), "localhost", Fetch::Failed, 0),
        (ours.path(), "127.0.0.1", Fetch::Failed, 0),
    ] {
        let url = format!("https://{host}:{port}/").parse().unwrap();
        let ca = Some(directory.join("x.crt"));
        let config = Config::Url { url, ca, refresh: Duration::from_secs(300) };
        let (jwks, mut fetches) = start(&config).unwrap();
        assert_eq!((fetches.recv().await, count(&jwks)), (Some(fetch), keys), "{host}");
    }
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_an_error_at_the_start() {
    let url = "https://localhost/keys".parse().unwrap();
    let ca = Some("/nowhere/ca.crt".into());
    let config = Config::Url { url, ca, refresh: Duration::from_secs(300) };
    let error = config.check().unwrap_err().to_string();
    assert!(error.contains("/nowhere/ca.crt"), "{error}");
}
