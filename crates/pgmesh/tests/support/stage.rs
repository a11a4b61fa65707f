//! One Postgres, one pgmesh in front of it, and the ways to run a script on them.

use auth::{Secret, Verifier};
use testbed::{APP_USER, Method, Pgmesh, Postgres, PostgresOptions, Role};

use crate::answer::Answer;
use crate::raw::{self, Chunks, Client, Read1};
use crate::script::{Act, Script, Way};
use crate::transcript::Transcript;

/// The databases, each with a pool of its own kind.
const DATABASES: [(&str, &str); 5] = [
    ("one", "pool_size = 1"),
    ("two", "pool_size = 2"),
    ("many", "pool_size = 8"),
    ("session", "pool_size = 8\npool_mode = \"session\""),
    ("statement", "pool_size = 1\npool_mode = \"statement\""),
];

/// What a run goes through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) port: u16,
    pub(crate) database: &'static str,
    way: Option<Way>,
}

/// A Postgres and a pgmesh in front of it.
#[derive(Debug)]
pub(crate) struct Stage {
    // Before what it is connected to: fields are dropped in order.
    aside: Vec<(&'static str, Client)>,
    pgmesh: Pgmesh,
    postgres: Postgres,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let postgres = Postgres::start(PostgresOptions {
            method: Method::Trust,
            databases: DATABASES
                .map(|(name, _)| (name.to_owned(), APP_USER.user.to_owned()))
                .to_vec(),
            roles: vec![Role {
                // To look at the sessions and locks of others.
                attributes: "IN ROLE pg_monitor, pg_signal_backend".to_owned(),
                ..Role::new(APP_USER.user, APP_USER.password)
            }],
            // A failed test shows this log: nearly every script fails on purpose.
            settings: vec![("log_min_messages".to_owned(), "fatal".to_owned())],
            ..PostgresOptions::default()
        })
        .unwrap();
        let binary =
            std::env::var_os("PGMESH_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_pgmesh").into());
        let pgmesh = Pgmesh::start(binary, |ports| {
            let mut toml = ports.toml_for_postgres(&postgres);
            // Hundreds of logins: one iteration in place of 4096 makes them cheap.
            let verifier = Verifier::derive(&Secret::new(APP_USER.password), b"salt", 1).format();
            toml = toml.replace(
                &format!("\"{}\"", APP_USER.password),
                &format!("\"{}\"", verifier.expose()),
            );
            for (name, settings) in DATABASES {
                toml += &format!("\n[[databases]]\nname = \"{name}\"\n{settings}\n");
            }
            // Nothing here may take turns by time.
            toml + "\n[pool]\nreserve_size = 0\nprepared_statements = 20\nmax_pinned = 8\n"
        })
        .unwrap();
        Self { postgres, pgmesh, aside: Vec::new() }
    }

    /// A route that does not lead through pgmesh.
    pub(crate) fn direct(&self, database: &'static str) -> Route {
        Route { port: self.postgres.port(), database, way: None }
    }

    /// A route through pgmesh.
    pub(crate) fn through(&self, way: Way, clients: usize) -> Route {
        let database = match way {
            Way::Alone if clients > 1 => "many",
            Way::Alone | Way::Shared => "one",
            Way::Alternating => "two",
            Way::Session => "session",
        };
        Route { port: self.pgmesh.port(), database, way: Some(way) }
    }

    /// A route through pgmesh to a pool in statement mode.
    pub(crate) fn statement_mode(&self) -> Route {
        Route { port: self.pgmesh.port(), database: "statement", way: Some(Way::Alone) }
    }

    /// A route through pgmesh to its pool of one server, however many clients there are.
    pub(crate) fn one_server(&self) -> Route {
        Route { port: self.pgmesh.port(), database: "one", way: Some(Way::Alone) }
    }

    /// Runs a script directly and in each of `ways`. What went wrong; empty if nothing did.
    pub(crate) fn compare(&mut self, script: &Script, ways: &[Way]) -> Vec<String> {
        let routes: Vec<_> = ways.iter().map(|&way| self.through(way, script.clients())).collect();
        self.compare_on(script, &routes)
    }

    /// Runs a script directly and on each of `routes`. What went wrong; empty if nothing did.
    pub(crate) fn compare_on(&mut self, script: &Script, routes: &[Route]) -> Vec<String> {
        let direct = self.run(script, self.direct("one"));
        if direct.is_stuck() {
            return vec![format!("the script waits for what a server does not say:\n{direct}")];
        }
        let mut faults: Vec<(Vec<Way>, String)> = Vec::new();
        for route in routes {
            let Some(difference) = direct.difference(&self.run(script, *route)) else { continue };
            match faults.iter_mut().find(|(_, known)| *known == difference) {
                Some((ways, _)) => ways.extend(route.way),
                None => faults.push((route.way.into_iter().collect(), difference)),
            }
        }
        faults.iter().map(|(ways, difference)| format!("{ways:?}:\n{difference}")).collect()
    }

    /// Runs a script on one route.
    pub(crate) fn run(&mut self, script: &Script, route: Route) -> Transcript {
        if !script.before.is_empty() {
            self.aside(route.database, &script.before);
        }
        let mut run = Run {
            stage: self,
            route,
            clients: (0..script.clients()).map(|_| None).collect(),
            neighbours: Neighbours::default(),
            transcript: Transcript::default(),
        };
        for (client, act) in &script.acts {
            run.act(*client, act);
            if run.transcript.is_stuck() {
                return run.transcript;
            }
        }
        run.end()
    }

    /// Runs SQL directly as the application's role.
    pub(crate) fn aside(&mut self, database: &'static str, sql: &str) {
        let at = self.aside.iter().position(|(name, _)| *name == database);
        let at = at.unwrap_or_else(|| {
            let route = self.direct(database);
            self.aside.push((database, log_in(route)));
            self.aside.len() - 1
        });
        ask(&mut self.aside[at].1, &[raw::query(sql)]);
    }
}

/// A client that a script speaks for.
struct Speaker {
    client: Client,
    /// Its last step ended with a ReadyForQuery that said so.
    is_idle: bool,
    /// What it sent last waits for a Sync.
    has_open_batch: bool,
}

/// A run under way.
struct Run<'a> {
    stage: &'a mut Stage,
    route: Route,
    clients: Vec<Option<Speaker>>,
    neighbours: Neighbours,
    transcript: Transcript,
}

impl Run<'_> {
    fn act(&mut self, client: usize, act: &Act) {
        let port = self.route.port;
        match act {
            Act::Open(packet) => self.open(client, packet),
            Act::LogIn(parameters) => {
                let mut all = vec![("user", APP_USER.user), ("database", self.route.database)];
                all.extend(parameters.iter().map(|(name, value)| (&**name, &**value)));
                self.open(client, &raw::startup(&all));
            }
            Act::Send(bytes, chunks) => {
                if self.clients.iter().flatten().all(|speaker| speaker.is_idle) {
                    self.neighbours.work(self.route);
                }
                let Some(speaker) = &mut self.clients[client] else { panic!("not logged in") };
                speaker.is_idle = false;
                speaker.has_open_batch = raw::leaves_batch_open(bytes, speaker.has_open_batch);
                speaker.client.write(bytes, chunks);
            }
            Act::Until(tag, count) => {
                let step = format!("until {count} of {:?}", char::from(*tag));
                self.read(client, step, |answer| answer.is(*tag), *count);
            }
            Act::Closed => self.read(client, "until the end".to_owned(), |_| false, 1),
            Act::Cancel => {
                let Some(speaker) = &self.clients[client] else { panic!("not logged in") };
                raw::cancel(port, speaker.client.key().unwrap());
            }
            Act::HangUp => self.clients[client] = None,
            Act::Aside(sql) => self.stage.aside(self.route.database, sql),
        }
    }

    fn open(&mut self, client: usize, packet: &[u8]) {
        let mut connection = Client::connect(self.route.port);
        let reads = connection.log_in(packet, &Chunks::Whole, APP_USER.password);
        let answers: Vec<_> = reads.into_iter().map(answer).collect();
        let is_idle = answers.last().is_some_and(|answer| answer.is(b'Z'));
        self.transcript.push(client, "login".to_owned(), answers);
        self.clients[client] = Some(Speaker { client: connection, is_idle, has_open_batch: false });
    }

    /// Reads until `count` answers are what is wanted, or until the end.
    fn read(
        &mut self,
        client: usize,
        step: String,
        wanted: impl Fn(&Answer) -> bool,
        count: usize,
    ) {
        let Some(speaker) = &mut self.clients[client] else { panic!("not logged in") };
        let mut answers = Vec::new();
        let mut found = 0;
        while found < count {
            let answer = answer(speaker.client.read());
            found += usize::from(wanted(&answer));
            let over = answer.tag().is_none();
            answers.push(answer);
            if over {
                break;
            }
        }
        let says_so = answers.last().and_then(Answer::status) == Some(b'I');
        speaker.is_idle = says_so && !speaker.has_open_batch;
        self.transcript.push(client, step, answers);
    }

    /// Everybody leaves; what comes after the last step comes to light.
    fn end(mut self) -> Transcript {
        for client in 0..self.clients.len() {
            let Some(speaker) = &mut self.clients[client] else { continue };
            speaker.client.write(&raw::terminate(), &Chunks::Whole);
            self.read(client, "goodbye".to_owned(), |_| false, 1);
        }
        self.transcript
    }
}

/// Other clients of the same pool.
#[derive(Default)]
struct Neighbours {
    clients: Vec<Client>,
    turns: usize,
}

impl Neighbours {
    /// Does what a neighbour does between two steps of the script.
    fn work(&mut self, route: Route) {
        match route.way {
            Some(Way::Shared) => self.disturb(route),
            Some(Way::Alternating) => self.alternate(route),
            Some(Way::Alone | Way::Session) | None => {}
        }
        self.turns += 1;
    }

    /// Uses the one server for a statement of its own, by the names that scripts use.
    fn disturb(&mut self, route: Route) {
        if self.clients.is_empty() {
            self.clients.push(log_in(route));
        }
        let statements = if self.turns.is_multiple_of(2) {
            vec![
                raw::close("s"),
                raw::parse("s", "SELECT 'of the neighbour''s statement'"),
                raw::run("s", &[]),
                raw::run_unnamed("SELECT 'of the neighbour''s unnamed'", &[]),
                raw::sync(),
            ]
        } else {
            vec![raw::query("SET TimeZone = 'Asia/Tokyo'; SET search_path = nowhere")]
        };
        ask(&mut self.clients[0], &statements);
    }

    /// Keeps the one server busy on even turns and the other on odd ones.
    fn alternate(&mut self, route: Route) {
        if self.clients.is_empty() {
            self.clients = vec![log_in(route), log_in(route)];
        }
        ask(&mut self.clients[self.turns % 2], &[raw::query("BEGIN")]);
        if self.turns > 0 {
            ask(&mut self.clients[(self.turns + 1) % 2], &[raw::query("COMMIT")]);
        }
    }
}

/// A client of the harness itself, in which nothing may fail.
fn log_in(route: Route) -> Client {
    let mut client = Client::connect(route.port);
    let startup = raw::startup(&[("user", APP_USER.user), ("database", route.database)]);
    let reads = client.log_in(&startup, &Chunks::Whole, APP_USER.password);
    assert!(matches!(reads.last(), Some(Read1::Frame(frame)) if frame.tag == b'Z'), "{reads:?}");
    client
}

fn ask(client: &mut Client, messages: &[Vec<u8>]) {
    client.write(&messages.concat(), &Chunks::Whole);
    loop {
        match client.read() {
            Read1::Frame(frame) if frame.tag == b'Z' => return,
            Read1::Frame(frame) if frame.tag != b'E' => {}
            other => panic!("{} was answered {other:?}", messages.concat().escape_ascii()),
        }
    }
}

pub(crate) fn answer(read: Read1) -> Answer {
    match read {
        Read1::Frame(frame) => frame.into(),
        Read1::Closed => Answer::Closed,
        Read1::Torn => Answer::Torn,
        Read1::Stuck => Answer::Stuck,
    }
}
