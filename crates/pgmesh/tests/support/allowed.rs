//! All that may differ between a direct connection and one through pgmesh, each with its reason.

use std::collections::HashMap;

use crate::answer::Answer;

/// Object identifiers from here on are given out by the server while it runs.
const FIRST_NORMAL_OID: u32 = 16_384;

/// A part of a message that is made equal before two are compared.
pub(crate) struct Rule {
    /// What it is, and why it may differ.
    pub(crate) reason: &'static str,
    pub(crate) apply: fn(&mut Answer),
}

/// Where two runs of one script may differ wherever they are made.
pub(crate) const RULES: [Rule; 6] = [
    Rule {
        reason: "BackendKeyData names a server process directly and a client of pgmesh through it; \
                 its layout and its length are compared",
        apply: |answer| {
            if let Answer::Key { process, secret } = answer {
                process.fill(0);
                secret.fill(0);
            }
        },
    },
    Rule {
        reason: "the process id in a notification is that of whichever server sent NOTIFY",
        apply: |answer| {
            if let Answer::Notification { process, .. } = answer {
                *process = 0;
            }
        },
    },
    Rule {
        reason: "servers are logged in to by the name of pgmesh, which is that of a client without \
                 a name of its own too",
        apply: |answer| {
            if let Answer::Parameter { name, value } = answer
                && name == "application_name"
                && value == "pgmesh"
            {
                value.clear();
            }
        },
    },
    Rule {
        reason: "how far a function had come when it was cancelled is chance",
        apply: |answer| {
            let is_cancel = answer.field(b'C') == Some("57014");
            if let Answer::Report { fields, .. } = answer
                && is_cancel
            {
                fields.retain(|(code, _)| *code != b'W');
            }
        },
    },
    Rule {
        reason: "a message that interrupts a COPY may be one of pgmesh's, in front of the client's",
        apply: |answer| {
            const TYPE: &str = "unexpected message type 0x";
            let Answer::Report { fields, .. } = answer else { return };
            for (_, text) in fields {
                if let Some(rest) = text.strip_prefix(TYPE) {
                    *text = format!("{TYPE}??{}", rest.get(2..).unwrap_or_default());
                }
            }
        },
    },
    Rule {
        reason: "tables and types that a script makes get a new object identifier in every run",
        apply: |answer| {
            let normal = |oid: &mut u32| *oid = (*oid).min(FIRST_NORMAL_OID);
            match answer {
                Answer::Columns(columns) => {
                    for column in columns {
                        normal(&mut column.table);
                        normal(&mut column.kind);
                    }
                }
                Answer::Types(types) => types.iter_mut().for_each(normal),
                _ => {}
            }
        },
    },
];

/// Whether `through` may stand where a direct connection has `direct`, both altered by [`RULES`].
///
/// - An error that pgmesh itself gives in Postgres' stead names no file, line and routine of
///   Postgres' source: these three are compared where both have them.
/// - In a failed transaction a Parse of ours, on a server that has not seen the statement, is
///   refused in front of whatever the server would have refused: the client's Bind, the number of
///   its values, its own Parse.
/// - A refusal of settings at login comes from a server that pgmesh asked: the code and the
///   message are the server's, its DETAIL and HINT are not passed on.
pub(crate) fn equal(direct: &Answer, through: &Answer) -> bool {
    let (
        Answer::Report { tag: direct_tag, fields: direct_fields },
        Answer::Report { tag: through_tag, fields: through_fields },
    ) = (direct, through)
    else {
        return direct == through;
    };
    let is_own = !through_fields.iter().any(|(code, _)| *code == b'F');
    let is_fatal = direct.field(b'V') == Some("FATAL");
    let is_compared = |code: u8| match code {
        b'F' | b'L' | b'R' => !is_own,
        b'D' | b'H' => !(is_own && is_fatal),
        _ => true,
    };
    let compared = |fields: &[(u8, String)]| -> Vec<_> {
        fields.iter().filter(|(code, _)| is_compared(*code)).cloned().collect()
    };
    if through.field(b'C') == Some("25P02") && direct.field(b'V') == Some("ERROR") {
        return true;
    }
    direct_tag == through_tag && compared(direct_fields) == compared(through_fields)
}

/// Whether two runs go apart here for a reason that is allowed: in a failed transaction a statement
/// without rows may be described, but on a server that has not seen it, it can no longer be parsed.
pub(crate) fn part_ways(direct: Option<&Answer>, through: Option<&Answer>) -> bool {
    direct.is_some_and(|answer| answer.is(b't'))
        && through.and_then(|answer| answer.field(b'C')) == Some("25P02")
}

/// Puts settings that are reported one after another into one order, and of several reports of
/// one setting keeps the last.
///
/// In which order a server reports several that changed at once means nothing, and pgmesh reports
/// those of a login from a sorted set. A RESET goes back to the login of the server, and behind
/// that to the login of the client, who may hear of both.
pub(crate) fn sort_parameters(answers: &mut Vec<Answer>) {
    for run in answers.chunk_by_mut(|a, b| a.is(b'S') && b.is(b'S')) {
        run.sort_by(|a, b| name(a).cmp(name(b)));
    }
    answers.dedup_by(|later, earlier| {
        let same = later.is(b'S') && earlier.is(b'S') && name(later) == name(earlier);
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
}

/// Settings by name, as a client was told last.
pub(crate) type Told = HashMap<String, String>;

/// Drops reports of what the client has been told already: such a report says nothing, and a RESET
/// through pgmesh may cause one.
pub(crate) fn drop_repeated_parameters(answers: &mut Vec<Answer>, told: &mut Told) {
    // A login begins anew.
    if answers.iter().any(|answer| answer.is(b'R')) {
        told.clear();
    }
    answers.retain(|answer| match answer {
        Answer::Parameter { name, value } => {
            told.insert(name.clone(), value.clone()).as_ref() != Some(value)
        }
        _ => true,
    });
}

fn name(answer: &Answer) -> &str {
    match answer {
        Answer::Parameter { name, .. } => name,
        _ => "",
    }
}
