//! A leak hunt: random programs of several clients on fewer servers, each answered as by a session
//! of its own that runs the same program.
//!
//! The pool lends another server for every transaction (`pool.debug_shuffle`). Nothing that a
//! client of another program could see is shared but the servers, so any difference is state that
//! was left, lost or seen.
//!
//! A failure prints the seed, the smallest programs that show it, the order of their steps, and both
//! answers of the first step that differs. `PGMESH_SEED` runs the same programs again,
//! `PGMESH_SECONDS` sets how long, `PGMESH_LONG` is ten minutes in all.
//!
//! Not in the programs, because it is of the server and not of the session: whether the name of a
//! custom setting is known although it is not set; whether a schema for temporary objects exists;
//! `reset_val` and `source` in `pg_settings`.

mod program;

use std::thread;

use auth::{Secret, Verifier};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use testbed::{APP_USER, Credentials, Method, Pgmesh, Postgres, PostgresOptions, SUPERUSER};

use crate::answer::Answer;
use crate::random::{Length, hunt};
use crate::raw::{self, Chunks, Client};
use crate::stage::answer;
use crate::transcript::Transcript;
use program::{End, Program, SHOWN, Step, program};

/// Sessions of their own are in one database and the shared servers in the other: advisory locks,
/// channels and the like are a database's.
const ALONE: &str = "alone";
const SHARED: &str = "shared";

/// Servers of the pool.
const SERVERS: usize = 3;

/// What the programs call.
const PREPARED: &str = "\
    CREATE SCHEMA hidden; CREATE TABLE hidden.h (n int, m int); GRANT USAGE ON SCHEMA hidden TO PUBLIC;
    CREATE PROCEDURE tunes() LANGUAGE sql AS $$ SET work_mem = '16MB' $$;
    CREATE PROCEDURE makes_one() LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE t AS SELECT 5 AS n; END $$;
    CREATE FUNCTION takes_advisory_lock(k int) RETURNS void LANGUAGE plpgsql
        AS $$ BEGIN PERFORM pg_advisory_lock(k); END $$;";

/// Whether a session has what no other server has, after which it may keep its server.
const HOLDS: &str = "\
    SELECT EXISTS (SELECT FROM pg_catalog.pg_depend \
        WHERE refclassid = 'pg_catalog.pg_namespace'::regclass AND refobjid = pg_my_temp_schema()) \
    OR EXISTS (SELECT FROM pg_catalog.pg_locks \
        WHERE locktype = 'advisory' AND pid = pg_backend_pid()) \
    OR EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable) \
    OR EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) \
    OR EXISTS (SELECT FROM pg_catalog.pg_listening_channels()) \
    OR (pg_client_encoding() <> getdatabaseencoding() \
        AND coalesce(current_setting('my.b', true), '') <> '') \
    OR EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(pg_backend_pid()) \
        JOIN pg_catalog.pg_roles ON pg_roles.oid = usesysid WHERE rolname <> session_user)";

/// Programs, and whose turn it is.
#[derive(Clone, Debug)]
struct Case {
    user: Credentials,
    programs: Vec<Program>,
    turns: Vec<u8>,
}

fn case() -> impl Strategy<Value = Case> {
    let user = select(vec![APP_USER, SUPERUSER]);
    let turns = vec(any::<u8>(), 1..40);
    (user, vec(program(14), 1..7), turns).prop_map(|(user, programs, turns)| Case {
        user,
        programs,
        turns,
    })
}

/// The same programs every time, for half a minute; `PGMESH_LONG` is five minutes of others.
fn length() -> Length {
    if std::env::var_os("PGMESH_LONG").is_none() {
        return Length { seed: 1, seconds: 30 };
    }
    Length { seed: u64::from(std::process::id()), seconds: 300 }
}

#[test]
fn leaks_nothing_in_turns() {
    hunt(Hunt::new(), Hunt::renew, length(), &case(), |hunt, case| {
        let direct = hunt.direct(&case);
        let (through, order) = hunt.in_turns(&case, &direct);
        differences(&direct, &through, &order)
    });
}

#[test]
fn leaks_nothing_at_once() {
    hunt(Hunt::new(), Hunt::renew, length(), &case(), |hunt, case| {
        let direct = hunt.direct(&case);
        let through = hunt.at_once(&case);
        differences(&direct, &through, &[])
    });
}

fn differences(direct: &[Direct], through: &[Transcript], order: &[String]) -> Vec<String> {
    let clients = direct.iter().zip(through).enumerate();
    let mut faults: Vec<String> = clients
        .filter_map(|(client, (direct, through))| {
            let difference = direct.transcript.difference(through)?;
            Some(format!("client {client}:\n{difference}"))
        })
        .collect();
    if !faults.is_empty() {
        faults.push(order.join("\n"));
    }
    faults
}

/// A session of its own, and after which of its steps it held what no other server has.
struct Direct {
    transcript: Transcript,
    holds: Vec<bool>,
}

/// A Postgres, and a pgmesh that shuffles its servers.
struct Hunt {
    // Before what it is connected to: fields are dropped in order.
    pgmesh: Pgmesh,
    postgres: Postgres,
    run: u32,
}

impl Hunt {
    fn new() -> Self {
        let owned = |name: &str| (name.to_owned(), APP_USER.user.to_owned());
        let postgres = Postgres::start(PostgresOptions {
            method: Method::Trust,
            hba: vec!["host all all 127.0.0.1/32 trust".to_owned()],
            databases: [ALONE, SHARED].map(owned).to_vec(),
            settings: vec![("log_min_messages".to_owned(), "fatal".to_owned())],
            ..PostgresOptions::default()
        })
        .unwrap();
        let roles = format!(
            "CREATE ROLE reader; CREATE ROLE writer; GRANT reader, writer TO {}",
            APP_USER.user
        );
        postgres.psql(&roles).unwrap();
        for database in [ALONE, SHARED] {
            let place = Place { port: postgres.port(), database };
            let mut session = Session::log_in(place, SUPERUSER, &[]);
            session.step(&Step::new(&[raw::query(PREPARED)], 1), 0, 0);
            assert_eq!(session.transcript.errors(), [""; 0]);
        }
        let pgmesh = pgmesh(&postgres);
        Self { pgmesh, postgres, run: 0 }
    }

    /// With servers that no program has used.
    fn renew(&mut self) {
        self.pgmesh = pgmesh(&self.postgres);
    }

    /// Each program in a session of its own; and one more client, that only looks.
    fn direct(&mut self, case: &Case) -> Vec<Direct> {
        self.run += 1;
        let place = Place { port: self.postgres.port(), database: ALONE };
        let programs = case.programs.iter().enumerate();
        let mut direct: Vec<_> = programs
            .map(|(client, program)| {
                let mut session = Session::log_in(place, case.user, &program.login);
                let mut holds = vec![false];
                for step in &program.steps {
                    session.step(step, self.run, client);
                    holds.push(session.holds());
                }
                session.leave(program.end);
                Direct { transcript: session.transcript, holds }
            })
            .collect();
        let transcript = witness(place, case.user);
        direct.push(Direct { transcript, holds: Vec::new() });
        direct
    }

    fn shared(&self) -> Place {
        Place { port: self.pgmesh.port(), database: SHARED }
    }

    /// The programs step by step, never more than [`SERVERS`] of them holding one. Tells the order.
    fn in_turns(&self, case: &Case, direct: &[Direct]) -> (Vec<Transcript>, Vec<String>) {
        let mut sessions: Vec<Option<Session>> = case.programs.iter().map(|_| None).collect();
        let mut done = vec![0; case.programs.len()];
        let mut order = Vec::new();
        for turn in case.turns.iter().cycle() {
            let holds = |client: usize| {
                let steps: usize = done[client];
                steps > 0 && direct[client].holds.get(steps - 1) == Some(&true)
            };
            let holders = (0..done.len()).filter(|&client| holds(client)).count();
            let may_act = |client: &usize| {
                // Login, steps, end.
                done[*client] < case.programs[*client].steps.len() + 2
                    && (holds(*client) || holders < SERVERS)
            };
            let ready: Vec<usize> = (0..done.len()).filter(may_act).collect();
            if ready.is_empty() {
                break;
            }
            let client = ready[usize::from(*turn) % ready.len()];
            let program = &case.programs[client];
            match (&mut sessions[client], done[client].checked_sub(1)) {
                (Some(session), Some(at)) => match program.steps.get(at) {
                    Some(step) => {
                        order.push(format!("  client {client}: {step:?}"));
                        session.step(step, self.run, client);
                    }
                    None => {
                        order.push(format!("  client {client}: {:?}", program.end));
                        session.leave(program.end);
                    }
                },
                (session, _) => {
                    order.push(format!("  client {client}: login {:?}", program.login));
                    *session = Some(Session::log_in(self.shared(), case.user, &program.login));
                }
            }
            done[client] += 1;
            if sessions[client].as_ref().is_some_and(|session| session.transcript.is_stuck()) {
                break;
            }
        }
        let mut transcripts: Vec<_> =
            sessions.into_iter().map(|it| it.map(|it| it.transcript).unwrap_or_default()).collect();
        transcripts.push(witness(self.shared(), case.user));
        (transcripts, order)
    }

    /// All programs at the same time.
    fn at_once(&self, case: &Case) -> Vec<Transcript> {
        let (place, run) = (self.shared(), self.run);
        let mut transcripts = thread::scope(|scope| {
            let programs = case.programs.iter().enumerate();
            let running: Vec<_> = programs
                .map(|(client, program)| {
                    scope.spawn(move || {
                        let mut session = Session::log_in(place, case.user, &program.login);
                        for step in &program.steps {
                            session.step(step, run, client);
                        }
                        session.leave(program.end);
                        session.transcript
                    })
                })
                .collect();
            running.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
        });
        transcripts.push(witness(place, case.user));
        transcripts
    }
}

/// A pgmesh all of whose servers take part.
fn pgmesh(postgres: &Postgres) -> Pgmesh {
    let binary =
        std::env::var_os("PGMESH_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_pgmesh").into());
    Pgmesh::start(binary, |ports| {
        let Credentials { user, password } = SUPERUSER;
        let mut toml = ports.toml_for_postgres(postgres);
        toml += &format!("\n[[users]]\nname = \"{user}\"\npassword = \"{password}\"\n");
        // Hundreds of logins: one iteration in place of 4096 makes them cheap.
        for Credentials { password, .. } in [APP_USER, SUPERUSER] {
            let verifier = Verifier::derive(&Secret::new(password), b"salt", 1).format();
            let [from, to] = [password, verifier.expose()].map(|it| format!("\"{it}\""));
            toml = toml.replace(&from, &to);
        }
        toml + &format!(
            "\n[pool]\ndebug_shuffle = true\nsize = {SERVERS}\nmin_size = {SERVERS}\n\
             reserve_size = 0\nmax_pinned = 100\n"
        )
    })
    .unwrap()
}

/// A client that looks at as many servers as there are.
fn witness(place: Place, user: Credentials) -> Transcript {
    let mut session = Session::log_in(place, user, &[]);
    // The last ones fail where there is nothing.
    let (sure, _) = SHOWN.split_at(SHOWN.len() - 3);
    for _ in 0..SERVERS {
        session.step(&Step::new(&[raw::query(&sure.join("; "))], 1), 0, 0);
    }
    session.leave(End::Goodbye);
    session.transcript
}

/// Where a session logs in.
#[derive(Clone, Copy)]
struct Place {
    port: u16,
    database: &'static str,
}

struct Session {
    /// `None` once it has hung up.
    client: Option<Client>,
    transcript: Transcript,
}

impl Session {
    fn log_in(place: Place, user: Credentials, login: &[(&str, &str)]) -> Self {
        let mut all =
            vec![("user", user.user), ("database", place.database), ("application_name", "hunted")];
        all.extend(login);
        let mut client = Client::connect(place.port);
        let reads = client.log_in(&raw::startup(&all), &Chunks::Whole, user.password);
        let mut transcript = Transcript::default();
        transcript.push(0, "login".to_owned(), reads.into_iter().map(answer).collect());
        Self { client: Some(client), transcript }
    }

    fn step(&mut self, step: &Step, run: u32, client: usize) {
        self.send(&step.bytes(run, client));
        let answers = self.read(step.ready);
        self.transcript.push(0, format!("{step:?}"), answers);
    }

    fn send(&mut self, messages: &[u8]) {
        self.client.as_mut().unwrap().write(messages, &Chunks::Whole);
    }

    /// Up to so many ReadyForQuery.
    fn read(&mut self, ready: usize) -> Vec<Answer> {
        let client = self.client.as_mut().unwrap();
        let mut answers = Vec::new();
        let mut found = 0;
        while found < ready {
            let answer = answer(client.read());
            found += usize::from(answer.is(b'Z'));
            let over = answer.tag().is_none();
            answers.push(answer);
            if over {
                break;
            }
        }
        answers
    }

    /// Whether it needs the server that it has, and no other.
    fn holds(&mut self) -> bool {
        if self.transcript.answers().last().and_then(Answer::status) != Some(b'I') {
            return true;
        }
        // By a name, so that the unnamed statement stays as it is.
        let [name, portal] = ["of_the_hunt", ""];
        let asked = [
            raw::parse(name, HOLDS),
            raw::bind(portal, name, &[]),
            raw::execute(portal, 0),
            raw::close(name),
            raw::sync(),
        ];
        self.send(&asked.concat());
        let answers = self.read(1);
        let row = answers.iter().find_map(|answer| match answer {
            Answer::Row(values) => values.first().cloned().flatten(),
            _ => None,
        });
        row.unwrap_or_else(|| panic!("{answers:?}")) == b"t"
    }

    fn leave(&mut self, how: End) {
        if how == End::Goodbye {
            self.send(&raw::terminate());
            let answers = self.read(usize::MAX);
            self.transcript.push(0, "goodbye".to_owned(), answers);
        }
        self.client = None;
    }
}
