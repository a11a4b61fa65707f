//! The service over loopback, met by a plain socket: right, slow, silent and garbage clients.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use admin::{
    AdminHandle, Cluster, Config, Error, Login, Look, Page, PoolsView, Readiness, Work, spawn,
};
use auth::Secret;
use telemetry::{Build, Exposition, Metrics, POOLS_MAX, PoolLabels, Registry, Role};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

struct Admin {
    handle: AdminHandle,
    metrics: Metrics,
    draining: Arc<AtomicBool>,
    primary: Arc<AtomicBool>,
}

/// Of whom nothing is known.
struct Nobody;

impl Look for Nobody {
    fn cluster(&self) -> Cluster {
        Cluster { version: "9.9".to_owned(), ..Cluster::default() }
    }

    fn pools(&self) -> PoolsView {
        PoolsView { clients_max: 77, ..PoolsView::default() }
    }

    fn work(&self) -> Vec<Work> {
        Vec::new()
    }
}

fn config() -> Config {
    Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() }
}

fn start(config: Config) -> Admin {
    let registry = Registry::new();
    let metrics =
        Metrics::new(&registry, Build { version: "1", commit: "" }).expect("fresh registry");
    let draining = Arc::new(AtomicBool::new(false));
    let primary = Arc::new(AtomicBool::new(true));
    let (drain, proven) = (Arc::clone(&draining), Arc::clone(&primary));
    let readiness = move || Readiness {
        primary: proven.load(Ordering::SeqCst).then(|| ("n1".to_owned(), 4)),
        draining: drain.load(Ordering::SeqCst),
    };
    let handle = spawn(config, Exposition::new(registry), readiness, Arc::new(Nobody));
    let handle = handle.expect("started");
    Admin { handle, metrics, draining, primary }
}

impl Admin {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.handle.local_addr()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    /// Sends `request` and reads to the end.
    fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // A refused request may be answered before it was sent whole.
        let _ = stream.write_all(request);
        read_to_close(&mut stream)
    }

    fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        (status(head), body.to_owned())
    }
}

/// What arrives until the peer closes; a reset is a close.
fn read_to_close(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}"),
    }
    String::from_utf8(bytes).expect("text")
}

fn status(answer: &str) -> u16 {
    let code = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

#[test]
fn metrics_are_served_as_text() {
    let admin = start(config());
    let answer = admin.ask(b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
    assert!(answer.contains("\npgmesh_build_info{version=\"1\",commit=\"\"} 1\n"), "{answer}");
    assert!(answer.contains("\nprocess_resident_memory_bytes "), "{answer}");
}

#[test]
fn ready_says_why_not() {
    let admin = start(config());
    let (code, body) = admin.get("/ready");
    assert_eq!(code, 200);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&json["ready"], &json["primary"], &json["epoch"]),
        (&true.into(), &"n1".into(), &4.into())
    );

    admin.primary.store(false, Ordering::SeqCst);
    let (code, body) = admin.get("/ready");
    assert_eq!((code, body.contains("\"no_primary\"")), (503, true), "{body}");

    admin.primary.store(true, Ordering::SeqCst);
    admin.draining.store(true, Ordering::SeqCst);
    let (code, body) = admin.get("/ready");
    assert_eq!((code, body.contains("\"draining\"")), (503, true), "{body}");
    assert_eq!(admin.get("/live").0, 200, "a draining process is alive");
}

#[test]
fn what_is_not_served_is_refused() {
    let admin = start(config());
    assert_eq!(admin.get("/nothing").0, 404);
    assert_eq!(admin.get("/metrics/").0, 404);
    let posted = admin.ask(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n");
    assert_eq!(status(&posted), 405);
    let head = admin.ask(b"HEAD /live HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status(&head), 200);
    assert!(head.ends_with("\r\n\r\n"), "no body: {head:?}");
}

#[test]
fn the_page_brings_its_policy_and_the_json_is_json() {
    let admin = start(config());
    let answer = admin.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("content-type: text/html; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("content-security-policy: default-src 'none';"), "{answer}");
    assert!(answer.trim_end().ends_with("</html>"));
    for (path, key, value) in
        [("/cluster", "version", "9.9".into()), ("/pools", "clients_max", 77.into())]
    {
        let (code, body) = admin.get(path);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((code, &json[key]), (200, &value), "{path}");
        assert!(json["time"].as_f64().unwrap() > 1.7e9);
    }
}

#[test]
fn without_the_page_there_are_no_events_either() {
    let admin = start(Config { page: Page::Off, ..config() });
    let codes = ["/", "/events", "/cluster", "/metrics"].map(|path| admin.get(path).0);
    assert_eq!(codes, [404, 404, 200, 200]);
}

/// A reader of events who has had the first ones.
fn reader(admin: &Admin) -> TcpStream {
    let mut stream = admin.connect();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut seen = Vec::new();
    while !seen.windows(12).any(|it| it == b"event: state") {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).expect("read");
        assert!(count > 0, "closed: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&bytes[..count]);
    }
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(text.contains("content-type: text/event-stream\r\n"), "{text}");
    stream
}

#[test]
fn readers_of_events_take_no_seat_of_a_scrape_and_outlast_its_limit() {
    let request_timeout = Duration::from_millis(300);
    let admin = start(Config { request_timeout, connections_max: 1, ..config() });
    let mut readers: Vec<_> = (0..16).map(|_| reader(&admin)).collect();
    let (code, body) = admin.get("/events");
    assert_eq!((code, body.contains("/cluster")), (503, true), "{body}");
    assert_eq!(admin.get("/metrics").0, 200);
    // Longer than any request may take.
    admin.primary.store(false, Ordering::SeqCst);
    let mut silent = admin.connect();
    assert_eq!(read_to_close(&mut silent), "");
    let mut seen = String::new();
    while !seen.contains("no_primary") {
        let mut bytes = [0; 4096];
        let count = readers[0].read(&mut bytes).unwrap();
        assert!(count > 0, "closed: {seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    // The end of the service is theirs.
    admin.handle.shutdown();
    for reader in &mut readers {
        read_to_close(reader);
    }
}

#[test]
fn a_login_guards_what_the_page_shows_and_no_machine() {
    let login = Login { user: "ops".to_owned(), password: Secret::new("secret") };
    let admin = start(Config { login: Some(login), ..config() });
    for path in ["/", "/events", "/cluster", "/pools"] {
        let answer = admin.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), 401, "{path}");
        assert!(answer.contains("www-authenticate: Basic realm=\"pgmesh\""), "{answer}");
    }
    for path in ["/metrics", "/live", "/ready"] {
        assert_eq!(admin.get(path).0, 200, "{path}");
    }
    // ops:secret, ops:secreT
    for (given, code) in [("b3BzOnNlY3JldA==", 200), ("b3BzOnNlY3JlVA==", 401)] {
        let request =
            format!("GET /pools HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {given}\r\n\r\n");
        assert_eq!(status(&admin.ask(request.as_bytes())), code);
    }
}

#[test]
fn garbage_and_floods_of_headers_end_in_a_close() {
    let admin = start(config());
    let mut flood = b"GET /metrics HTTP/1.1\r\n".to_vec();
    for index in 0..10_000 {
        flood.extend_from_slice(format!("X-{index}: y\r\n").as_bytes());
    }
    flood.extend_from_slice(b"\r\n");
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000)).into_bytes();
    let postgres = [0, 0, 0, 8, 4, 210, 22, 47].to_vec();
    let requests = [
        flood,
        long,
        postgres,
        vec![0; 70_000],
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\r\n\r\n".to_vec(),
    ];
    for request in requests {
        let answer = {
            let mut stream = admin.connect();
            let _ = stream.write_all(&request);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            read_to_close(&mut stream)
        };
        assert!(answer.is_empty() || status(&answer) >= 400, "{answer}");
        assert_eq!(admin.get("/live").0, 200, "still there");
    }
}

#[test]
fn silent_and_slow_clients_are_cut_off_in_time() {
    let request_timeout = Duration::from_millis(300);
    let admin = start(Config { request_timeout, ..config() });
    let begun = Instant::now();
    let mut silent = admin.connect();
    let mut slow = admin.connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").unwrap();
    assert_eq!(read_to_close(&mut silent), "");
    let answer = read_to_close(&mut slow);
    assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
    assert!(begun.elapsed() >= request_timeout);
    assert_eq!(admin.get("/live").0, 200);
}

#[test]
fn a_full_house_makes_the_next_client_wait_for_a_seat() {
    let request_timeout = Duration::from_millis(300);
    let admin = start(Config { request_timeout, connections_max: 2, ..config() });
    let _silent = [admin.connect(), admin.connect()];
    // Both seats are taken until their time is up; then this one gets its answer.
    assert_eq!(admin.get("/live").0, 200);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let request_timeout = Duration::from_secs(3);
    let admin = start(Config { request_timeout, connections_max: 1, ..config() });
    // More than both sockets' buffers take, so that the answer cannot be written whole.
    let pools: Vec<_> = (0..POOLS_MAX)
        .map(|index| PoolLabels {
            database: format!("{index:0>60}"),
            user: "u".repeat(200),
            role: Role::Primary,
        })
        .map(|labels| admin.metrics.pool(labels))
        .collect();
    assert!(admin.get("/metrics").1.len() > 8 * 1024 * 1024);
    let mut deaf = admin.connect();
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(admin.get("/live").0, 200, "the only seat is free again");
    drop(pools);
}

#[test]
fn stopping_ends_the_thread_and_frees_the_address() {
    let admin = start(config());
    let address = admin.handle.local_addr();
    assert_eq!(admin.get("/live").0, 200);
    admin.handle.shutdown();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let admin = start(config());
    let mut stream = admin.connect();
    stream.write_all(b"GET /live HTTP/1.1\r\n").unwrap();
    // Answered only after the connection before it was accepted, so the slow one is inside.
    assert_eq!(admin.get("/live").0, 200);
    let stopping = std::thread::spawn(move || admin.handle.shutdown());
    stream.write_all(b"Host: x\r\n\r\n").unwrap();
    assert_eq!(status(&read_to_close(&mut stream)), 200);
    stopping.join().unwrap();
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let admin = start(config());
    let listen = admin.handle.local_addr();
    let config = Config { listen, ..config() };
    let (exposition, look) = (Exposition::new(Registry::new()), Arc::new(Nobody));
    let error = spawn(config, exposition, Readiness::default, look).unwrap_err();
    assert!(matches!(error, Error::Listen { .. }));
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}
