//! An issuer of bearer tokens, and a client that shows them.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use transport::{ClientTls, MaybeTls, TlsMode};

/// Nothing here takes a login this long: who waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of an issuer.
pub(crate) struct Signer {
    id: String,
    key: KeyPair,
}

impl Signer {
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), key: KeyPair::generate_for(&PKCS_ED25519).unwrap() }
    }

    fn jwk(&self) -> Value {
        let x = base64(self.key.der_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.id, "x": x})
    }

    fn message(&self, algorithm: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "typ": "at+jwt", "kid": self.id});
        format!("{}.{}", base64(header.to_string()), base64(claims.to_string()))
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        let message = self.message("EdDSA", claims);
        let signature = self.key.sign(message.as_bytes()).unwrap();
        format!("{message}.{}", base64(signature))
    }

    /// By somebody who takes the public key for a shared secret.
    pub(crate) fn forge_hs256(&self, claims: &Value) -> String {
        let message = self.message("HS256", claims);
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.der_bytes()).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", base64(mac.finalize().into_bytes()))
    }

    pub(crate) fn unsigned(&self, claims: &Value) -> String {
        format!("{}.", self.message("none", claims))
    }
}

/// A web server with nothing but a set of keys. Gone when dropped.
pub(crate) struct Issuer {
    url: String,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    keys: Mutex<String>,
    asked: AtomicU32,
    stop: AtomicBool,
}

impl Issuer {
    pub(crate) fn start(signers: &[&Signer]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://127.0.0.1:{}/keys", listener.local_addr().unwrap().port());
        let shared = Arc::new(Shared::default());
        let server = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve(&listener, &shared)
        });
        let issuer = Self { url, shared, server: Some(server) };
        issuer.publish(signers);
        issuer
    }

    /// One that is not there.
    pub(crate) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), shared: Arc::default(), server: None }
    }

    pub(crate) fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        *self.shared.keys.lock() = json!({"keys": keys}).to_string();
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// How often it was asked for its keys.
    pub(crate) fn asked(&self) -> u32 {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(server) = self.server.take() {
            let address = self.url.trim_start_matches("http://").trim_end_matches("/keys");
            let _ = std::net::TcpStream::connect(address);
            let _ = server.join();
        }
    }
}

fn serve(listener: &TcpListener, shared: &Shared) {
    loop {
        let Ok((mut stream, _)) = listener.accept() else { return };
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
            request.push(byte[0]);
        }
        shared.asked.fetch_add(1, Ordering::SeqCst);
        let keys = shared.keys.lock().clone();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", keys.len());
        let _ = stream.write_all(format!("{head}{keys}").as_bytes());
    }
}

/// How a login has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As this user.
    In(String),
    Refused {
        challenge: Option<Value>,
        state: String,
        message: String,
    },
}

/// A client inside TLS that was asked for a bearer token, and for nothing else.
pub(crate) struct Bearer {
    runtime: Runtime,
    stream: MaybeTls<TcpStream>,
}

impl Bearer {
    pub(crate) fn connect(port: u16, user: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'S');
            let tls = ClientTls { mode: TlsMode::Require, ..ClientTls::default() };
            tls.connector().unwrap().connect("localhost", stream).await.unwrap()
        });
        let mut client = Self { runtime, stream };
        let startup = format!("\0\x03\0\0user\0{user}\0database\0app\0\0");
        let length = u32::try_from(startup.len() + 4).unwrap().to_be_bytes();
        client.write(&[&length, startup.as_bytes()].concat());
        let offered = client.read().unwrap();
        assert_eq!(offered, (b'R', b"\0\0\0\x0aOAUTHBEARER\0\0".to_vec()));
        client
    }

    fn write(&mut self, bytes: &[u8]) {
        // A peer that has closed is heard of when its last words are read.
        let _ = self.runtime.block_on(async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
    }

    pub(crate) fn send(&mut self, tag: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.write(&[&[tag][..], &length, body].concat());
    }

    /// A message; `None` at the end.
    pub(crate) fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let stream = &mut self.stream;
        let message = async {
            let tag = stream.read_u8().await.ok()?;
            let length = stream.read_u32().await.ok()?;
            let mut body = vec![0; length as usize - 4];
            stream.read_exact(&mut body).await.ok()?;
            Some((tag, body))
        };
        let read = self.runtime.block_on(async { timeout(PATIENCE, message).await });
        read.expect("an answer in time")
    }

    /// Logs in with this Authorization header.
    pub(crate) fn log_in(mut self, header: &str) -> End {
        let message = format!("n,,\x01auth={header}\x01\x01");
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        self.send(b'p', &[b"OAUTHBEARER\0", &length[..], message.as_bytes()].concat());
        self.end()
    }

    /// Sends this body in the place of the next message of the exchange.
    pub(crate) fn answer(mut self, body: &[u8]) -> End {
        self.send(b'p', body);
        self.end()
    }

    fn end(mut self) -> End {
        let mut challenge = None;
        loop {
            match self.read() {
                Some((b'R', body)) if body.starts_with(&[0, 0, 0, 11]) => {
                    challenge = Some(serde_json::from_slice(&body[4..]).unwrap());
                    self.send(b'p', b"\x01");
                }
                Some((b'R', body)) => assert_eq!(body, [0; 4], "neither challenge nor ok"),
                Some((b'E', body)) => {
                    let (state, message) = (field(&body, b'C'), field(&body, b'M'));
                    return End::Refused { challenge, state, message };
                }
                Some((b'Z', _)) => return End::In(self.current_user()),
                Some(_) => {}
                None => panic!("closed without a word"),
            }
        }
    }

    fn current_user(&mut self) -> String {
        self.send(b'Q', b"SELECT current_user\0");
        loop {
            match self.read() {
                // Two bytes of columns, four of length.
                Some((b'D', body)) => return String::from_utf8(body[6..].to_vec()).unwrap(),
                Some((b'E', body)) => panic!("{}", field(&body, b'M')),
                Some(_) => {}
                None => panic!("closed"),
            }
        }
    }
}

/// A field of an ErrorResponse.
fn field(body: &[u8], kind: u8) -> String {
    let fields = body.split(|&byte| byte == 0);
    let found = fields.into_iter().find_map(|it| it.strip_prefix(&[kind]));
    String::from_utf8_lossy(found.unwrap()).into_owned()
}
