//! The core against a model: whatever is asked, answered, refused and lost in whatever order,
//! every client gets the notifications of its channels, all of them and in order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use wire::{ErrorMessage, SqlState};

use crate::core::{Core, Refused};
use crate::{Config, Event, HubError, Notification};

const CLIENTS: usize = 4;
const CHANNELS: u8 = 5;

/// The server refuses to listen on this one.
const REFUSED: u8 = 4;

#[derive(Debug, Clone)]
enum Step {
    Listen(usize, u8),
    Unlisten(usize, u8),
    UnlistenAll(usize),
    /// The client goes, and another comes.
    Replace(usize),
    Connect,
    Lose,
    /// The next request goes out, if there is one.
    Request,
    /// The request under way is answered.
    Answer,
    /// Somebody notifies the server.
    Notify(u8),
    /// Clients that have waited for a second are failed.
    Expire,
    /// Seconds pass.
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    let channel = 0..CHANNELS;
    prop_oneof![
        6 => (client.clone(), channel.clone()).prop_map(|(at, it)| Step::Listen(at, it)),
        3 => (client.clone(), channel.clone()).prop_map(|(at, it)| Step::Unlisten(at, it)),
        1 => client.clone().prop_map(Step::UnlistenAll),
        1 => client.prop_map(Step::Replace),
        3 => Just(Step::Connect),
        1 => Just(Step::Lose),
        6 => Just(Step::Request),
        6 => Just(Step::Answer),
        6 => channel.prop_map(Step::Notify),
        1 => Just(Step::Expire),
        2 => (0..4_u8).prop_map(Step::Pass),
    ]
}

/// What a client is owed.
#[derive(Debug, Default)]
struct Client {
    /// Channels wanted, those among them that came into effect, and since when the others wait.
    wanted: BTreeSet<u8>,
    effective: BTreeSet<u8>,
    events: VecDeque<Told>,
    id: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Number(i32),
    Resumed,
}

/// A server with one session, which may be gone.
#[derive(Debug, Default)]
struct Server {
    listens: BTreeSet<u8>,
    request: Option<Vec<String>>,
    /// Whether the request under way is the first of the session.
    restores: bool,
    is_there: bool,
}

struct World {
    core: Core,
    clients: Vec<Client>,
    server: Server,
    /// Who wanted what when the request under way went out.
    boarding: Vec<(usize, u8)>,
    now: Instant,
    notified: i32,
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn name(channel: u8) -> Vec<u8> {
    vec![b'a' + channel]
}

fn notification(channel: u8, pid: i32) -> Notification {
    let mut frame = Vec::new();
    wire::message::put(&mut frame, wire::tag::backend::NOTIFICATION_RESPONSE, |out| {
        out.extend(pid.to_be_bytes());
        wire::message::put_c_bytes(out, &name(channel));
        wire::message::put_c_bytes(out, b"");
    });
    Notification::read(&frame).unwrap()
}

fn config() -> Config {
    Config { unlisten_delay: Duration::from_secs(2), ..Config::default() }
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut core = Core::new(config(), now);
        let client = |_| Client { id: core.join(), ..Client::default() };
        let clients = (0..CLIENTS).map(client).collect();
        let (server, boarding) = (Server::default(), Vec::new());
        Self { core, clients, server, boarding, now, notified: 0 }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Listen(at, channel) => {
                self.core.listen(self.clients[at].id, &name(channel), self.now).unwrap();
                self.clients[at].wanted.insert(channel);
            }
            Step::Unlisten(at, channel) => {
                self.core.unlisten(self.clients[at].id, &name(channel), self.now);
                self.clients[at].forget(channel);
                self.boarding.retain(|seat| *seat != (at, channel));
            }
            Step::UnlistenAll(at) => {
                self.core.unlisten_all(self.clients[at].id, self.now);
                self.clients[at].forget_all();
                self.boarding.retain(|seat| seat.0 != at);
            }
            Step::Replace(at) => {
                self.read();
                self.core.leave(self.clients[at].id, self.now);
                self.clients[at] = Client { id: self.core.join(), ..Client::default() };
                self.boarding.retain(|seat| seat.0 != at);
            }
            Step::Connect if !self.server.is_there => self.connect(),
            Step::Lose if self.server.is_there => {
                self.core.lost();
                self.server = Server::default();
                self.boarding.clear();
            }
            Step::Request if self.server.is_there => self.request(),
            Step::Answer if self.server.request.is_some() => self.answer(),
            Step::Notify(channel) => self.notify(channel),
            Step::Expire => self.expire(),
            Step::Pass(seconds) => self.now += Duration::from_secs(seconds.into()),
            Step::Connect | Step::Lose | Step::Request | Step::Answer => {}
        }
        self.read();
    }

    fn connect(&mut self) {
        self.server.is_there = true;
        let effective: BTreeSet<u8> =
            self.clients.iter().flat_map(|it| it.effective.clone()).collect();
        let text = self.core.connected();
        assert_eq!(text.is_some(), !effective.is_empty());
        self.server.restores = text.is_some();
        self.server.request = text.map(statements);
    }

    fn request(&mut self) {
        let text = self.core.request(self.now);
        assert!(text.is_none() || self.server.request.is_none(), "one at a time");
        let Some(text) = text else { return };
        let request = statements(text);
        for (at, client) in self.clients.iter().enumerate() {
            for &channel in client.wanted.difference(&client.effective) {
                if self.core.is_boarding(client.id, &name(channel)) {
                    let asked = format!("LISTEN \"{}\"", char::from(b'a' + channel));
                    assert!(self.server.listens.contains(&channel) || request.contains(&asked));
                    self.boarding.push((at, channel));
                }
            }
        }
        self.server.request = Some(request);
    }

    fn answer(&mut self) {
        let request = self.server.request.take().unwrap();
        let refused = format!("LISTEN \"{}\"", char::from(b'a' + REFUSED));
        if request.contains(&refused) {
            return self.refuse(&request);
        }
        for statement in &request {
            let channel = statement.as_bytes()[statement.len() - 2] - b'a';
            if statement.starts_with("LISTEN") {
                self.server.listens.insert(channel);
            } else {
                assert!(self.server.listens.remove(&channel));
                let wants = |it: &Client| it.effective.contains(&channel);
                assert!(!self.clients.iter().any(wants), "nobody's channel is given up");
            }
        }
        self.core.answered(self.now);
        for (at, channel) in self.boarding.drain(..) {
            self.clients[at].effective.insert(channel);
        }
        if std::mem::take(&mut self.server.restores) {
            for client in &mut self.clients {
                if !client.effective.is_empty() && client.events.back() != Some(&Told::Resumed) {
                    client.events.push_back(Told::Resumed);
                }
            }
        }
    }

    fn refuse(&mut self, request: &[String]) {
        let error = Arc::new(ErrorMessage::error(SqlState::SYNTAX_ERROR, "no"));
        let refused = self.core.refused(&HubError::Refused(error), self.now);
        assert!(matches!(refused, Refused::Settled(_)));
        if request.len() == 1 {
            for at in 0..CLIENTS {
                if self.boarding.contains(&(at, REFUSED)) {
                    self.clients[at].withdraw();
                    self.assert_failed(at);
                }
            }
        }
        self.boarding.clear();
    }

    fn notify(&mut self, channel: u8) {
        self.notified += 1;
        let is_sent = self.server.is_there && self.server.listens.contains(&channel);
        if !is_sent {
            return;
        }
        self.core.notified(&notification(channel, self.notified), self.now);
        for client in &mut self.clients {
            if client.effective.contains(&channel) {
                client.events.push_back(Told::Number(self.notified));
            }
        }
    }

    fn expire(&mut self) {
        let asked: Vec<usize> = (0..CLIENTS)
            .filter(|at| {
                let client = &self.clients[*at];
                client
                    .wanted
                    .difference(&client.effective)
                    .any(|channel| self.core.waits_since(client.id, &name(*channel)).is_some())
            })
            .collect();
        self.core.expire(self.now, &HubError::Timeout, self.now);
        for at in asked {
            self.clients[at].withdraw();
            self.boarding.retain(|seat| seat.0 != at);
            self.assert_failed(at);
        }
    }

    fn assert_failed(&mut self, at: usize) {
        let cx = Context::from_waker(Waker::noop());
        let ready = self.core.poll_ready(self.clients[at].id, &cx);
        assert!(matches!(ready, Poll::Ready(Err(_))), "{ready:?}");
    }

    /// Every client has what it is owed, and nothing else; and knows whether it listens.
    fn read(&mut self) {
        let cx = Context::from_waker(Waker::noop());
        let is_live = self.server.is_there && !self.server.restores;
        for client in &mut self.clients {
            while let Poll::Ready(event) = self.core.poll_next(client.id, &cx) {
                let told = match event {
                    Event::Notification(it) => Told::Number(it.pid()),
                    Event::Resumed => Told::Resumed,
                    Event::Lagged => panic!("nobody is slow here"),
                };
                assert_eq!(Some(told), client.events.pop_front());
            }
            assert!(client.events.is_empty(), "{client:?}");
            let is_ready = client.wanted.is_empty()
                || (is_live && client.wanted.len() == client.effective.len());
            let ready = self.core.poll_ready(client.id, &cx);
            assert_eq!(ready.is_ready(), is_ready, "{ready:?} {client:?}");
            let names: BTreeSet<u8> =
                self.core.channels_of(client.id).iter().map(|it| it[0] - b'a').collect();
            assert_eq!(names, client.wanted);
        }
    }

    /// Without further steps of clients all that they want comes into effect.
    fn settle(&mut self) {
        for _ in 0..20 {
            for step in [Step::Connect, Step::Answer, Step::Request, Step::Answer] {
                self.take(step);
            }
        }
        for client in &self.clients {
            assert_eq!(client.wanted, client.effective);
        }
        let wanted: BTreeSet<u8> = self.clients.iter().flat_map(|it| it.wanted.clone()).collect();
        self.take(Step::Pass(3));
        self.take(Step::Request);
        self.take(Step::Answer);
        assert_eq!(self.server.listens, wanted, "what nobody wants is given up");
        self.core.assert_empty_but(&wanted.iter().map(|it| name(*it)).collect::<Vec<_>>());
    }
}

impl Client {
    fn forget(&mut self, channel: u8) {
        self.wanted.remove(&channel);
        self.effective.remove(&channel);
    }

    fn forget_all(&mut self) {
        self.wanted.clear();
        self.effective.clear();
    }

    fn withdraw(&mut self) {
        self.wanted = self.effective.clone();
    }
}

fn statements(text: Vec<u8>) -> Vec<String> {
    let text = String::from_utf8(text).unwrap();
    text.split_terminator(';').map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn everybody_gets_what_was_notified_on_its_channels_in_order(
        steps in prop::collection::vec(step(), 0..80)
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.settle();
    }
}

fn live(core: &mut Core, id: usize, channel: u8, now: Instant) {
    core.listen(id, &name(channel), now).unwrap();
    core.request(now).unwrap();
    core.answered(now);
}

#[test]
fn a_channel_that_is_there_is_still_asked_about_so_that_nothing_older_comes() {
    let now = Instant::now();
    let mut core = Core::new(config(), now);
    let (first, second) = (core.join(), core.join());
    assert_eq!(core.connected(), None);
    live(&mut core, first, 0, now);
    assert_eq!(core.listen(second, &name(0), now), Ok(true));
    assert_eq!(core.request(now), Some(Vec::new()));
    core.notified(&notification(0, 1), now);
    core.answered(now);
    core.notified(&notification(0, 2), now);
    let cx = Context::from_waker(Waker::noop());
    let mut pids = |id| {
        let next = || core.poll_next(id, &cx);
        let events: Vec<_> = std::iter::repeat_with(next).map_while(ready).collect();
        events.iter().map(Notification::pid).collect::<Vec<_>>()
    };
    assert_eq!((pids(first), pids(second)), (vec![1, 2], vec![2]));
}

fn ready(event: Poll<Event>) -> Option<Notification> {
    match event {
        Poll::Ready(Event::Notification(it)) => Some(it),
        _ => None,
    }
}

#[test]
fn who_waits_is_woken() {
    let now = Instant::now();
    let mut core = Core::new(config(), now);
    let id = core.join();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let cx = Context::from_waker(&waker);
    let wake = |wakers: Vec<Waker>| wakers.into_iter().for_each(Waker::wake);

    core.listen(id, &name(0), now).unwrap();
    assert!(core.poll_ready(id, &cx).is_pending());
    core.connected();
    core.request(now).unwrap();
    wake(core.answered(now).wakers);
    assert_eq!(count.0.load(SeqCst), 1, "in effect");

    assert!(core.poll_next(id, &cx).is_pending());
    wake(core.notified(&notification(0, 1), now).wakers);
    assert_eq!(count.0.load(SeqCst), 2, "notified");

    while core.poll_next(id, &cx).is_ready() {}
    core.lost();
    core.connected().unwrap();
    wake(core.answered(now).wakers);
    assert_eq!(count.0.load(SeqCst), 3, "resumed");
}

#[test]
fn a_client_that_does_not_read_is_told_so_and_nothing_else() {
    let now = Instant::now();
    let mut core = Core::new(Config { max_queue: 3, ..config() }, now);
    let (slow, quick) = (core.join(), core.join());
    core.connected();
    live(&mut core, slow, 0, now);
    live(&mut core, quick, 0, now);
    let cx = Context::from_waker(Waker::noop());
    let mut lagged = 0;
    for pid in 0..10 {
        lagged += core.notified(&notification(0, pid), now).lagged;
        assert!(core.poll_next(quick, &cx).is_ready());
    }
    assert_eq!(lagged, 1);
    assert_eq!(core.poll_next(slow, &cx), Poll::Ready(Event::Lagged));
    assert!(core.poll_next(slow, &cx).is_pending());
    assert_eq!(core.listen(slow, &name(1), now), Err(HubError::Lagged));
}

#[test]
fn limits_are_kept() {
    let now = Instant::now();
    let limits = Config { max_channels: 2, max_subscriptions: 3, ..config() };
    let mut core = Core::new(limits, now);
    let (one, two) = (core.join(), core.join());
    core.listen(one, b"a", now).unwrap();
    core.listen(one, b"b", now).unwrap();
    assert_eq!(core.listen(one, b"c", now), Err(HubError::TooManyChannels));
    assert_eq!(core.listen(one, b"a", now), Ok(false));
    core.listen(two, b"a", now).unwrap();
    assert_eq!(core.listen(two, b"b", now), Err(HubError::TooManySubscriptions));
    core.unlisten(one, b"b", now);
    core.listen(two, b"c", now).unwrap();
}

#[test]
fn a_client_that_changes_its_mind_for_ever_costs_nothing() {
    let now = Instant::now();
    let mut core = Core::new(config(), now);
    let id = core.join();
    for _ in 0..10_000 {
        core.listen(id, b"a", now).unwrap();
        core.unlisten(id, b"a", now);
    }
    assert!(core.waiting_len() < 100, "{}", core.waiting_len());
}
