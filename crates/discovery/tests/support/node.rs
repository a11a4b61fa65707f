//! A node's REST interface that says what it was told to say.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// Answers every request with the response that it was last given.
pub(crate) struct Node {
    pub(crate) port: u16,
    pub(crate) response: watch::Sender<String>,
    /// Connections that were answered, well or not.
    pub(crate) answered: watch::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
}

impl Node {
    pub(crate) async fn start(response: String, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (sender, receiver) = watch::channel(response);
        let (count, answered) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let response = receiver.borrow().clone();
                match tls.clone().map(TlsAcceptor::from) {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            answer(stream, &response).await;
                        }
                    }
                    None => answer(stream, &response).await,
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Self { port, response: sender, answered, _task: AbortOnDropHandle::new(task) }
    }

    /// Until it has answered twice from now on: the first may be from before.
    pub(crate) async fn asked_again(&mut self) {
        let before = *self.answered.borrow();
        let twice = self.answered.wait_for(|count| *count >= before + 2);
        tokio::time::timeout(Duration::from_secs(60), twice).await.expect("asked").expect("runs");
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, response: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    assert!(request.starts_with(b"GET /cluster HTTP/1.1\r\n"));
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// `/cluster` as Patroni 3.0.2 answers.
pub(crate) fn cluster(leader: &str, timeline: u32) -> String {
    let member = |name: &str| {
        let role = if name == leader { "leader" } else { "replica" };
        format!(
            r#"{{"name": "{name}", "role": "{role}", "state": "running", "host": "{name}",
            "port": 5432, "timeline": {timeline}, "lag": 0}}"#
        )
    };
    ok(&format!(r#"{{"members": [{}, {}]}}"#, member("n1"), member("n2")))
}
