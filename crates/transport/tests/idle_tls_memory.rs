//! What an idle TLS client costs, counted in a process of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use certificates::{Authority, client, server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use transport::{MaybeTls, Negotiation, TlsMode};

const CONNECTIONS: usize = 400;
/// Measured: 8.3 KiB, of which rustls' read buffer is 4. The aim for a whole client is 12.
const BYTES_MAX: usize = 10 * 1024;

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The client half is taken apart after one exchange: its session is freed, its socket stays
/// open, so what remains of each connection is the server's half.
#[tokio::test]
async fn an_idle_tls_client_costs_under_10_kib() {
    let authority = Authority::new();
    let acceptor =
        server(TlsMode::Prefer, authority.sign("server", "db.example")).acceptor().unwrap();
    let connector = client(TlsMode::Require, None).connector().unwrap();
    let options = transport::Config::default();
    let listener = transport::listen("127.0.0.1:0".parse().unwrap(), 16, false, &options).unwrap();
    let address = listener.local_addr().unwrap();
    let mut idle: Vec<(MaybeTls<TcpStream>, TcpStream)> = Vec::with_capacity(CONNECTIONS + 20);
    let mut before = 0;
    for count in 0..CONNECTIONS + 20 {
        if count == 20 {
            before = resident_bytes();
        }
        let socket = transport::connect(address, &options).await.unwrap();
        let (taken, _) = listener.accept().await.unwrap();
        let accepted = acceptor.accept(taken, Negotiation::Postgres, &[]);
        let (accepted, connected) = tokio::join!(accepted, connector.connect("db.example", socket));
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        connected.write_all(&[b'q'; 9000]).await.unwrap();
        connected.flush().await.unwrap();
        let mut request = vec![0; 9000];
        accepted.read_exact(&mut request).await.unwrap();
        accepted.write_all(&request).await.unwrap();
        accepted.flush().await.unwrap();
        connected.read_exact(&mut request).await.unwrap();
        poll_fn(|cx| {
            let mut scratch = [0; 16];
            let mut buf = ReadBuf::new(&mut scratch);
            assert!(Pin::new(&mut accepted).poll_read(cx, &mut buf).is_pending());
            Poll::Ready(())
        })
        .await;
        let MaybeTls::Connected(tls) = connected else { panic!("TLS was required") };
        idle.push((accepted, tls.into_inner().0));
    }
    let each = resident_bytes().saturating_sub(before) / CONNECTIONS;
    assert!(each < BYTES_MAX, "{each} bytes for each idle TLS client");
    assert!(each > 1024, "{each} bytes: nothing was measured");
}
