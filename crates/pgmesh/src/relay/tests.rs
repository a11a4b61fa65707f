//! The relay over in-memory streams against a scripted server.

mod called;
mod deaf;
mod kept;
mod lease;
mod lost;
mod moved;
mod overdue;
mod stream;
mod waiting;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use parking_lot::Mutex;
use pool::{CheckoutError, Closed};
use session::{Catalog, Disposition, Emptying, Mode, ParameterSet};
use session::{ServerState, Session, Timeouts};
use telemetry::PoolMetrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use wire::message::{self, TransactionStatus};
use wire::{HEADER_LEN, Header, Version};

use self::lease::FakeLease;
use self::stream::FakeStream;
use self::waiting::{FakeWait, How};
use super::{Bounds, End, Lend, Relay, Run, Timer, Waiting};
use crate::alarms::Alarms;
use crate::cancel::{CancelKeys, Slot};
use crate::clients::Facts;

/// More than any other test sends in one message.
const MESSAGE_MAX: u32 = 8 << 20;

/// Servers to be lent, and what became of them.
#[derive(Clone, Default)]
struct Servers(Arc<Mutex<Inner>>, Timeouts);

#[derive(Default)]
struct Inner {
    idle: VecDeque<FakeServer>,
    /// What the cluster makes of every server there was, in the order that they came.
    places: Vec<Arc<Mutex<Place>>>,
    ends: Vec<How>,
    /// What a wait ends in.
    refusal: Option<CheckoutError>,
    /// What the client that waits has sent ahead.
    ahead: usize,
    /// Becomes idle when a wait has been refused.
    spare: Option<FakeServer>,
    /// Whether there are others for others.
    can_spare: bool,
    /// Cancels that were sent.
    cancelled: u32,
}

/// What the cluster makes of a server.
#[derive(Default)]
struct Place {
    is_recalled: bool,
    is_retired: bool,
    is_wanted: bool,
    waker: Option<Waker>,
}

struct FakeServer {
    place: Arc<Mutex<Place>>,
    stream: FakeStream,
    state: ServerState,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

impl Servers {
    /// One more that is idle.
    fn add(&self, capacity: usize, settings: &Arc<ParameterSet>) -> DuplexStream {
        let (server, stream) = duplex(capacity);
        self.add_over(FakeStream::new(stream), settings);
        server
    }

    fn add_over(&self, stream: FakeStream, settings: &Arc<ParameterSet>) {
        let state = ServerState::new(Arc::clone(settings), 10);
        let place = Arc::<Mutex<Place>>::default();
        let (unread, unsent) = (Vec::new(), Vec::new());
        let idle = FakeServer { place: Arc::clone(&place), stream, state, unread, unsent };
        let mut inner = self.0.lock();
        inner.places.push(place);
        inner.idle.push_back(idle);
    }

    /// Calls the first server back.
    fn recall(&self) {
        let place = Arc::clone(&self.0.lock().places[0]);
        let mut place = place.lock();
        place.is_recalled = true;
        place.waker.take().expect("nobody would notice").wake();
    }

    /// Another client needs the first server.
    fn want(&self) {
        let place = Arc::clone(&self.0.lock().places[0]);
        let mut place = place.lock();
        place.is_wanted = true;
        place.waker.take().expect("nobody would notice").wake();
    }

    /// Its node serves the pool no more.
    fn retire(&self) {
        self.0.lock().places[0].lock().is_retired = true;
    }
}

impl Lend for Servers {
    type Hub = Infallible;
    type Leased = FakeLease;
    type Wait = FakeWait;

    fn try_lend(&self) -> Option<FakeLease> {
        let mut inner = self.0.lock();
        let mut server = inner.idle.pop_front()?;
        server.state.lend(inner.can_spare);
        drop(inner);
        Some(FakeLease { server: Some(server), servers: self.clone(), is_resting: false })
    }

    fn wait(&self) -> Self::Wait {
        let mut inner = self.0.lock();
        let servers = self.clone();
        let Some(refusal) = inner.refusal.take() else {
            return FakeWait { end: Box::pin(pending()), servers };
        };
        let spare = inner.spare.take();
        inner.idle.extend(spare);
        FakeWait { end: Box::pin(async { Err(refusal) }), servers }
    }

    fn may_begin(&self, on: &FakeLease) -> bool {
        !on.place().lock().is_retired
    }

    fn may_pin(&self) -> bool {
        true
    }

    fn hub(&self, _: &str) -> Option<Infallible> {
        None
    }

    fn vacate(&self, _: &mut FakeLease, _: Emptying) {}

    fn timeouts(&self) -> &Timeouts {
        &self.1
    }

    fn max_packet_size(&self) -> u32 {
        MESSAGE_MAX
    }

    fn cancel(&self, _: &Slot) {
        self.0.lock().cancelled += 1;
    }
}

/// A client and a server, with the relay between them.
struct Scene {
    client: DuplexStream,
    server: DuplexStream,
    servers: Servers,
    settings: Arc<ParameterSet>,
    slot: Arc<Slot>,
    alarms: Arc<Alarms>,
    relay: JoinHandle<End>,
}

impl Scene {
    /// Streams that hold `capacity` bytes.
    fn start(capacity: usize, mode: Mode) -> Self {
        Self::start_with(capacity, mode, overdue::LIMITS)
    }

    /// The same, with other limits in time.
    fn start_with(capacity: usize, mode: Mode, limits: Timeouts) -> Self {
        let servers = Servers(Arc::default(), limits);
        let catalog = Arc::new(Catalog::default());
        let settings = catalog.parameters([("TimeZone", "UTC")]);
        let server = servers.add(capacity, &settings);
        let (client, near) = duplex(capacity);
        let slot = Arc::new(CancelKeys::default()).issue(Version::V3_0, Facts::for_test("app"));
        let session = Session::new(catalog, Arc::clone(&settings), mode);
        let metrics = Arc::<PoolMetrics>::default();
        let now = Instant::now();
        let alarms = Arc::new(Alarms::new(now));
        let timer = Some(Box::new(Timer::new(&alarms, servers.timeouts(), 1, now)));
        let (lender, key) = (servers.clone(), Arc::clone(&slot));
        let bounds = Bounds { timer, ..Bounds::default() };
        let relay = Relay::new(near, Vec::new(), session, lender, key, metrics, bounds);
        let relay = tokio::spawn(Run::Relaying(relay));
        Self { client, server, servers, settings, slot, alarms, relay }
    }

    /// Another server, for when the first is gone.
    fn spare(&self) -> DuplexStream {
        self.servers.add(4096, &self.settings)
    }

    async fn client_sends(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.unwrap();
    }

    async fn server_sends(&mut self, bytes: &[u8]) {
        self.server.write_all(bytes).await.unwrap();
    }

    async fn client_gets(&mut self, bytes: &[u8]) {
        expect(&mut self.client, bytes).await;
    }

    async fn server_gets(&mut self, bytes: &[u8]) {
        expect(&mut self.server, bytes).await;
    }

    async fn end(self) -> (End, Vec<How>) {
        let end = self.relay.await.unwrap();
        (end, std::mem::take(&mut self.servers.0.lock().ends))
    }
}

async fn expect(stream: &mut DuplexStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes));
}

/// The next message; its tag and body.
async fn read_message(stream: &mut DuplexStream) -> (u8, Vec<u8>) {
    let mut head = [0; HEADER_LEN];
    stream.read_exact(&mut head).await.unwrap();
    let header = Header::peek(&head).unwrap().unwrap();
    let mut body = vec![0; header.body_len as usize];
    stream.read_exact(&mut body).await.unwrap();
    (header.tag, body)
}

fn query(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    message::put_query(&mut out, text);
    out
}

/// CommandComplete and ReadyForQuery.
fn done(tag: &str, status: TransactionStatus) -> Vec<u8> {
    let mut out = Vec::new();
    message::put_command_complete(&mut out, tag);
    message::put_ready_for_query(&mut out, status);
    out
}

/// The answer to a Sync.
fn ready() -> Vec<u8> {
    let mut out = Vec::new();
    message::put_ready_for_query(&mut out, TransactionStatus::Idle);
    out
}

fn code(body: &[u8]) -> &str {
    wire::ErrorFields::parse(body).unwrap().code
}

#[tokio::test]
async fn a_statement_goes_and_its_answer_comes_in_pieces_of_any_size() {
    for capacity in [1, 7, 4096] {
        let mut scene = Scene::start(capacity, Mode::Transaction);
        let (ask, answer) = (query("SELECT 1"), done("SELECT 1", TransactionStatus::Idle));
        for _ in 0..2 {
            let (mut client, mut server) = (scene.client, scene.server);
            let ((), ()) = tokio::join!(
                async {
                    client.write_all(&ask).await.unwrap();
                    expect(&mut client, &answer).await;
                },
                async {
                    expect(&mut server, &ask).await;
                    server.write_all(&answer).await.unwrap();
                }
            );
            (scene.client, scene.server) = (client, server);
        }
        scene.client_sends(message::TERMINATE).await;
        let (end, ends) = scene.end().await;
        assert!(matches!(end, End::Goodbye));
        assert_eq!(ends, [How::Released(Disposition::Clean), How::Released(Disposition::Clean)]);
    }
}

#[tokio::test]
async fn what_is_sent_ahead_of_terminate_reaches_the_server() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    let ask = query("INSERT");
    scene.client_sends(&[&ask[..], message::TERMINATE].concat()).await;
    scene.server_gets(&[&ask[..], message::SYNC].concat()).await;
    scene.server_sends(&done("INSERT 0 1", TransactionStatus::Idle)).await;
    scene.server_sends(&ready()).await;
    let (end, ends) = scene.end().await;
    assert!(matches!(end, End::Goodbye));
    assert_eq!(ends, [How::Released(Disposition::Clean)]);
}

#[tokio::test]
async fn a_result_larger_than_any_buffer_streams_past_a_slow_client() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.client_sends(&query("COPY")).await;
    scene.server_gets(&query("COPY")).await;
    let mut answer = Vec::new();
    message::put(&mut answer, b'T', |out| out.extend([0, 0]));
    message::put(&mut answer, b'D', |out| out.resize(out.len() + 3_000_000, 7));
    answer.extend(done("SELECT 1", TransactionStatus::Idle));
    let expected = answer.clone();
    let mut server = scene.server;
    let writer = tokio::spawn(async move {
        server.write_all(&answer).await.unwrap();
        server
    });
    expect(&mut scene.client, &expected).await;
    scene.server = writer.await.unwrap();
    drop(scene.client);
    assert_eq!(scene.servers.0.lock().ends, [How::Released(Disposition::Clean)]);
}

#[tokio::test]
async fn a_client_that_is_gone_in_its_transaction_leaves_a_server_to_be_reset() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.client_sends(&query("BEGIN")).await;
    scene.server_gets(&query("BEGIN")).await;
    scene.server_sends(&done("BEGIN", TransactionStatus::Open)).await;
    scene.client_gets(&done("BEGIN", TransactionStatus::Open)).await;
    drop(std::mem::replace(&mut scene.client, duplex(1).0));
    let (end, ends) = scene.end().await;
    assert!(matches!(end, End::ClientLost));
    assert_eq!(ends, [How::Released(Disposition::NeedsReset)]);
}

#[tokio::test]
async fn a_client_that_is_gone_before_its_answer_has_it_read_to_the_end() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.client_sends(&query("SELECT 1")).await;
    scene.server_gets(&query("SELECT 1")).await;
    drop(std::mem::replace(&mut scene.client, duplex(1).0));
    scene.server_gets(message::SYNC).await;
    scene.server_sends(&done("SELECT 1", TransactionStatus::Idle)).await;
    scene.server_sends(&ready()).await;
    let (_, ends) = scene.end().await;
    assert_eq!(ends, [How::Released(Disposition::Clean)]);
}

#[tokio::test]
async fn a_client_that_is_gone_inside_a_message_has_its_server_closed() {
    let mut scene = Scene::start(1 << 20, Mode::Transaction);
    let ask = query(&"x".repeat(100_000));
    scene.client_sends(&ask[..90_000]).await;
    scene.server_gets(&ask[..90_000]).await;
    drop(std::mem::replace(&mut scene.client, duplex(1).0));
    let (_, ends) = scene.end().await;
    assert_eq!(ends, [How::Closed(Closed::ClientGone)]);
}

#[tokio::test]
async fn a_server_that_answers_what_nobody_asked_is_closed() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.client_sends(&query("SELECT 1")).await;
    scene.server_gets(&query("SELECT 1")).await;
    scene.server_sends(message::PARSE_COMPLETE).await;
    let (tag, body) = read_message(&mut scene.client).await;
    assert_eq!((tag, code(&body)), (b'E', "08P01"));
    assert_eq!(scene.end().await.1, [How::Closed(Closed::Protocol)]);
}

#[tokio::test]
async fn an_invalid_length_ends_the_client_and_not_the_server() {
    for frame in [b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", b"Q\x7f\xff\xff\xff"] {
        let mut scene = Scene::start(4096, Mode::Transaction);
        scene.client_sends(frame).await;
        let (tag, body) = read_message(&mut scene.client).await;
        assert_eq!((tag, code(&body)), (b'E', "08P01"));
        assert_eq!(scene.end().await.1, []);
    }
}

#[tokio::test]
async fn a_fault_behind_good_messages_does_not_take_them_back() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    let ask = query("INSERT");
    scene.client_sends(&[&ask[..], b"Q\0\0\0\x03"].concat()).await;
    scene.server_gets(&[&ask[..], message::SYNC].concat()).await;
    scene.server_sends(&done("INSERT 0 1", TransactionStatus::Idle)).await;
    scene.server_sends(&ready()).await;
    let (tag, body) = read_message(&mut scene.client).await;
    assert_eq!((tag, code(&body)), (b'E', "08P01"));
    assert_eq!(scene.end().await.1, [How::Released(Disposition::Clean)]);
}

#[tokio::test]
async fn a_refused_checkout_fails_its_statement_and_nothing_more() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    {
        let mut inner = scene.servers.0.lock();
        inner.spare = inner.idle.pop_front();
        inner.refusal = Some(CheckoutError::Timeout { detail: None });
    }
    // Both statements at once: only the first is refused.
    scene.client_sends(&[query("SELECT 1"), query("SELECT 2")].concat()).await;
    let (tag, body) = read_message(&mut scene.client).await;
    assert_eq!((tag, code(&body)), (b'E', "57P03"));
    assert_eq!(read_message(&mut scene.client).await, (b'Z', b"I".to_vec()));
    scene.server_gets(&query("SELECT 2")).await;
    scene.server_sends(&done("SELECT 1", TransactionStatus::Idle)).await;
    scene.client_gets(&done("SELECT 1", TransactionStatus::Idle)).await;
}

#[tokio::test]
async fn after_a_refused_checkout_a_batch_is_skipped_to_its_sync() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.servers.0.lock().idle.clear();
    scene.servers.0.lock().refusal = Some(CheckoutError::Timeout { detail: None });
    let mut batch = Vec::new();
    message::put_parse(&mut batch, b"", b"SELECT 1\0\0\0");
    message::put_describe_statement(&mut batch, b"");
    batch.extend(message::SYNC);
    scene.client_sends(&batch).await;
    assert_eq!(read_message(&mut scene.client).await.0, b'E');
    assert_eq!(read_message(&mut scene.client).await, (b'Z', b"I".to_vec()));
}

#[tokio::test]
async fn a_waiting_client_can_be_cancelled_and_can_leave() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.servers.0.lock().idle.clear();
    scene.client_sends(&query("SELECT 1")).await;
    // The relay has nothing to tell until it waits.
    while !scene.slot.cancel_wait() {
        tokio::task::yield_now().await;
    }
    let (tag, body) = read_message(&mut scene.client).await;
    assert_eq!((tag, code(&body)), (b'E', "57014"));
    assert_eq!(read_message(&mut scene.client).await.0, b'Z');
    scene.client_sends(&query("SELECT 1")).await;
    drop(std::mem::replace(&mut scene.client, duplex(1).0));
    assert!(matches!(scene.end().await.0, End::ClientLost));
}

#[tokio::test]
async fn session_mode_keeps_its_server_until_the_client_leaves() {
    let mut scene = Scene::start(4096, Mode::Session);
    scene.client_sends(&query("SELECT 1")).await;
    scene.server_gets(&query("SELECT 1")).await;
    scene.server_sends(&done("SELECT 1", TransactionStatus::Idle)).await;
    scene.client_gets(&done("SELECT 1", TransactionStatus::Idle)).await;
    assert_eq!(scene.servers.0.lock().ends, []);
    scene.client_sends(message::TERMINATE).await;
    assert_eq!(scene.end().await.1, [How::Released(Disposition::Clean)]);
}
