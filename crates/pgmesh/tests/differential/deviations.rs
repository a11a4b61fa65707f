//! Where pgmesh answers otherwise than the server on purpose, each with the reason.

use crate::raw::{close, message, packet, parse, query, run, run_unnamed, startup, sync};
use crate::script::Script;
use crate::stage::Stage;
use crate::transcript::Transcript;

/// A script that is answered otherwise, and what is the same nevertheless.
struct Deviation {
    name: &'static str,
    reason: &'static str,
    script: fn(&mut Script),
    /// Directly and through pgmesh: whether they differ as announced and no further.
    check: fn(&Transcript, &Transcript) -> bool,
}

const DEVIATIONS: [Deviation; 14] = [
    Deviation {
        name: "a statement whose result type has changed is parsed again",
        reason: "a client cannot know on which servers its statement was parsed before the table \
                 changed, so outside of a transaction pgmesh parses it again and tries once more \
                 if that tells the client of its new result",
        script: |s| {
            s.before("DROP TABLE IF EXISTS changed; CREATE TABLE changed (n int4)");
            s.say(&[parse("s", "TABLE changed"), run("s", &[]), sync()]);
            s.aside("ALTER TABLE changed ADD COLUMN m int4").say(&[run("s", &[]), sync()]);
        },
        check: |direct, through| direct.errors() == ["0A000"] && through.errors() == [""; 0],
    },
    Deviation {
        name: "a statement is parsed under the settings of its next use",
        reason: "another server has not seen the statement and parses it now; a server that has \
                 keeps one for each set of settings under which it was parsed",
        script: |s| {
            s.query("SET DateStyle = 'German'");
            s.say(&[parse("s", "SELECT '1.2.2003'::date = DATE '2003-02-01'"), sync()]);
            // A neighbour keeps that server.
            s.on(1).query("BEGIN").on(0);
            s.query("SET DateStyle = 'ISO, MDY'").say(&[run("s", &[]), sync()]);
        },
        check: |direct, through| {
            (direct.row(b"t"), direct.row(b"f")) == (1, 0)
                && (through.row(b"t"), through.row(b"f")) == (0, 1)
        },
    },
    Deviation {
        name: "a name is cut at 63 bytes in an error",
        reason: "that is as much of a name as counts, to the server too",
        script: |s| {
            let [a, b] = ["a", "b"].map(|end| format!("{}{end}", "long".repeat(40)));
            s.say(&[parse(&a, "SELECT 1"), run(&a, &[]), sync()])
                .say(&[parse(&b, "SELECT 2"), sync()]);
            s.say(&[run(&b, &[]), sync()]).say(&[close(&a), sync()]).say(&[run(&b, &[]), sync()]);
        },
        check: |direct, through| {
            direct.errors() == ["42P05", "26000"] && same_tags_and_errors(direct, through)
        },
    },
    Deviation {
        name: "a name need not be text of the encoding",
        reason: "no server ever sees the client's name",
        script: |s| {
            s.say(&[message(b'P', b"\xff\0SELECT 1\0\0\0"), sync()]);
        },
        check: |direct, through| direct.errors() == ["22021"] && through.errors() == [""; 0],
    },
    Deviation {
        name: "a Parse, Describe or Close that cannot be read ends the connection",
        reason: "pgmesh has to understand them, and trusts no client that sends what is none; the \
                 server forgives it",
        script: |s| {
            let broken: [(u8, &[u8]); 9] = [
                (b'P', b"\0SELECT 1\0"),
                (b'P', b"s\0SELECT 1\0\0"),
                (b'P', b"s\0SELECT 1\0\0\x01\0\0"),
                (b'P', b"\0SELECT 1\0\0\0more"),
                (b'D', b"X\0"),
                (b'D', b"S"),
                (b'C', b""),
                (b'C', b"X\0"),
                (b'C', b"Ss\0more"),
            ];
            for (client, (tag, body)) in broken.into_iter().enumerate() {
                s.on(client).send(&[message(tag, body)]).until(b'E', 1);
            }
        },
        check: |direct, through| {
            direct.errors() == ["08P01"; 9] && through.errors() == ["08P01"; 9]
        },
    },
    Deviation {
        name: "a Sync with a body is one where no server is needed",
        reason: "pgmesh answers it itself",
        script: |s| {
            s.say(&[message(b'S', b"body")]);
        },
        check: |direct, through| direct.errors() == ["08P01"] && through.errors() == [""; 0],
    },
    Deviation {
        name: "answers that are outstanding when the client breaks the protocol may be lost",
        reason: "pgmesh does not wait for a server on behalf of such a client",
        script: |s| {
            s.send(&[run_unnamed("SELECT 1", &[]), message(0, b""), query("SELECT 2")]).closed();
        },
        check: |direct, through| direct.errors() == ["08P01"] && through.errors() == ["08P01"],
    },
    Deviation {
        name: "a length that cannot be is answered before the connection is closed",
        reason: "the server closes it without a word",
        script: |s| {
            for (client, length) in [0, 3, u32::MAX, 1 << 31].into_iter().enumerate() {
                s.on(client)
                    .send(&[crate::raw::message_of_length(b'Q', length, b"SELECT 1\0")])
                    .closed();
            }
        },
        check: |direct, through| direct.errors() == [""; 0] && through.errors() == ["08P01"; 4],
    },
    Deviation {
        name: "options that are none are refused before the password is asked for",
        reason: "pgmesh reads the startup packet first",
        script: |s| {
            s.log_in(&[("options", "-c geqo")]).closed();
        },
        check: |direct, through| direct.errors() == ["42601"] && through.errors() == ["42601"],
    },
    Deviation {
        name: "protocol 2.0 is refused in the words of 3.0",
        reason: "the server still writes the error of a protocol that nobody reads any more",
        script: |s| {
            s.open(packet(2 << 16, &[0; 288])).closed();
        },
        check: |_, through| through.errors() == ["0A000"],
    },
    Deviation {
        name: "protocol 4.0 is refused with another range",
        reason: "pgmesh speaks 3.2, Postgres 15 does not",
        script: |s| {
            s.open(packet(4 << 16, b"user\0app_user\0\0")).closed();
        },
        check: |direct, through| {
            direct.errors() == ["0A000"] && same_tags_and_errors(direct, through)
        },
    },
    Deviation {
        name: "a notice about a setting of the startup packet is not passed on",
        reason: "it was raised once, at another client's login with the same settings",
        script: |s| {
            s.log_in(&[("application_name", &"x".repeat(100))]).query("SHOW application_name");
        },
        check: |direct, through| {
            let cut = "x".repeat(63);
            direct.row(cut.as_bytes()) == 1 && through.row(cut.as_bytes()) == 1
        },
    },
    Deviation {
        name: "an unknown role is told that its password is wrong",
        reason: "who may log in must not be found out by asking; the server here asks for none",
        script: |s| {
            s.open(startup(&[("user", "nobody"), ("database", "one")])).closed();
        },
        check: |direct, through| direct.errors() == ["28000"] && through.errors() == ["28P01"],
    },
    Deviation {
        name: "replication is refused",
        reason: "it would need a server of its own",
        script: |s| {
            s.log_in(&[("replication", "database")]).closed();
        },
        check: |_, through| through.errors() == ["0A000"],
    },
];

#[test]
fn what_differs_differs_as_announced() {
    let mut stage = Stage::new();
    let mut faults = String::new();
    for Deviation { name, reason, script: write, check } in DEVIATIONS {
        let mut script = Script::new();
        write(&mut script);
        let direct = stage.run(&script, stage.direct("many"));
        let through = stage.run(&script, stage.through(crate::Way::Alone, script.clients()));
        if direct.is_stuck() || through.is_stuck() || !check(&direct, &through) {
            faults += &format!("{name} ({reason}):\ndirect:\n{direct}through:\n{through}\n");
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

fn same_tags_and_errors(direct: &Transcript, through: &Transcript) -> bool {
    direct.tags() == through.tags() && direct.errors() == through.errors()
}
