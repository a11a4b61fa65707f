//! What a StartupMessage asks for, as `ProcessStartupPacket` in Postgres reads it.

use std::fmt;

use wire::{ErrorMessage, StartupMessage, Version, message, tag::backend};

use crate::{Refused, options};

/// What a client asked for when it connected.
#[derive(Clone, PartialEq, Eq)]
pub struct Startup {
    /// The user's name, cut to the length of a Postgres name.
    pub user: String,
    /// The database's name, cut likewise; the user's name if none was given.
    pub database: String,
    /// Every setting for the session, in the order in which Postgres applies them, so that a
    /// later one wins: first those in `options`, then the other startup parameters. Names
    /// are as sent: Postgres compares them without case.
    pub parameters: Vec<(String, String)>,
    /// The protocol version that is spoken from here on: 3.0 or 3.2.
    pub version: Version,
}

/// A refusal whose text for the client repeats what the client sent, which the reason for
/// the log must not.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) refused: Refused,
    pub(crate) fatal: Option<ErrorMessage>,
}

impl Startup {
    /// Reads a StartupMessage. A NegotiateProtocolVersion, if one is due, is appended to
    /// `out` even when the message is then refused: Postgres sends it first, too.
    ///
    /// # Errors
    /// Another major version, no user, replication, or options that cannot be followed.
    pub(crate) fn read(startup: StartupMessage, out: &mut Vec<u8>) -> Result<Self, Box<Rejection>> {
        if startup.version.major != 3 {
            return Err(Refused::Version(startup.version).into());
        }
        let (mut user, mut database, mut options) = (String::new(), String::new(), String::new());
        let mut replication = None;
        let (mut parameters, mut extensions) = (Vec::new(), Vec::new());
        for (name, value) in startup.parameters {
            match name.as_str() {
                "database" => database = value,
                "options" => options = value,
                "replication" => replication = Some(value),
                "user" => user = value,
                _ if name.starts_with("_pq_.") => extensions.push(name),
                _ => parameters.push((name, value)),
            }
        }

        let version = negotiate(startup.version);
        if version != startup.version || !extensions.is_empty() {
            put_negotiate_protocol_version(out, version, &extensions);
        }
        if let Some(value) = replication {
            refuse_replication(&value)?;
        }
        if user.is_empty() {
            return Err(Refused::NoUser.into());
        }
        if database.is_empty() {
            database.clone_from(&user);
        }
        truncate_name(&mut user);
        truncate_name(&mut database);
        let mut settings = options::parse(&options).map_err(|fatal| {
            Box::new(Rejection { refused: Refused::Options, fatal: Some(fatal) })
        })?;
        settings.append(&mut parameters);
        Ok(Self { user, database, parameters: settings, version })
    }

    /// The value of a setting, by a name in lower case, if the client gave one.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut last_first = self.parameters.iter().rev();
        last_first
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Settings can hold anything, so only their number is shown.
impl fmt::Debug for Startup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Startup")
            .field("user", &self.user)
            .field("database", &self.database)
            .field("parameters", &self.parameters.len())
            .field("version", &self.version)
            .finish()
    }
}

impl From<Refused> for Box<Rejection> {
    fn from(refused: Refused) -> Self {
        Self::new(Rejection { fatal: refused.fatal(""), refused })
    }
}

/// The newest version of ours that is not newer than the client's. 3.1 was skipped: poolers
/// once claimed it by mistake, so nobody speaks it.
fn negotiate(asked: Version) -> Version {
    if asked >= Version::V3_2 { Version::V3_2 } else { Version::V3_0 }
}

fn put_negotiate_protocol_version(out: &mut Vec<u8>, version: Version, extensions: &[String]) {
    message::put(out, backend::NEGOTIATE_PROTOCOL_VERSION, |out| {
        out.extend_from_slice(&version.code().to_be_bytes());
        // Cannot saturate: the packet they came in has at most 10,000 bytes.
        let count = u32::try_from(extensions.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for extension in extensions {
            message::put_c_str(out, extension);
        }
    });
}

/// Passes only if the value means no. Like Postgres' `parse_bool` it takes any unambiguous
/// prefix, in any case.
fn refuse_replication(value: &str) -> Result<(), Refused> {
    let value = value.to_ascii_lowercase();
    let ambiguous = value.is_empty() || value == "o";
    let means = |words: [&str; 3]| !ambiguous && words.iter().any(|word| word.starts_with(&value));
    if means(["false", "no", "off"]) || value == "0" {
        Ok(())
    } else if value == "database" || means(["true", "yes", "on"]) || value == "1" {
        Err(Refused::Replication)
    } else {
        Err(Refused::ReplicationValue)
    }
}

/// Cuts to at most [`NAME_LEN_MAX`] bytes, never inside a character.
fn truncate_name(name: &mut String) {
    let mut len = name.len().min(NAME_LEN_MAX);
    // Ends at 0 at the latest, which is a boundary.
    while !name.is_char_boundary(len) {
        len -= 1;
    }
    name.truncate(len);
}

/// `NAMEDATALEN` - 1, in bytes.
const NAME_LEN_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    type Parameters = [(&'static str, &'static str)];

    fn read(
        version: Version,
        parameters: &Parameters,
    ) -> (Result<Startup, Box<Rejection>>, Vec<u8>) {
        let parameters =
            parameters.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>();
        let mut out = Vec::new();
        (Startup::read(StartupMessage { version, parameters }, &mut out), out)
    }

    #[test]
    fn the_database_defaults_to_the_user_and_the_rest_are_settings() {
        let (startup, out) = read(
            Version::V3_0,
            &[
                ("application_name", "x"),
                ("user", "bob"),
                ("Search_Path", "a"),
                ("options", "-c search_path=b --geqo=off"),
                ("database", ""),
                ("replication", "Off"),
            ],
        );
        let startup = startup.unwrap();
        assert_eq!((startup.user.as_str(), startup.database.as_str()), ("bob", "bob"));
        let names: Vec<_> = startup.parameters.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["search_path", "geqo", "application_name", "Search_Path"]);
        assert_eq!(startup.parameter("search_path"), Some("a"));
        assert_eq!(startup.parameter("datestyle"), None);
        assert!(out.is_empty());
        assert!(!format!("{startup:?}").contains("geqo"));
    }

    #[test]
    fn names_are_cut_to_63_bytes_and_never_inside_a_character() {
        let (mut name, mut umlauts) = ("x".repeat(64), "ä".repeat(40));
        truncate_name(&mut name);
        truncate_name(&mut umlauts);
        assert_eq!((name.len(), umlauts.len()), (63, 62));
        let mut short = "x".repeat(63);
        truncate_name(&mut short);
        assert_eq!(short.len(), 63);
    }

    #[test]
    fn versions_are_negotiated_once_as_postgres_18_does() {
        let user = ("user", "bob");
        let extension = ("_pq_.x", "1");
        let minor = |minor| Version { major: 3, minor };
        let cases: [(Version, &Parameters, Version, Option<&[u8]>); 6] = [
            (minor(0), &[user], Version::V3_0, None),
            (minor(2), &[user], Version::V3_2, None),
            (minor(1), &[user], Version::V3_0, Some(b"\0\x03\0\0\0\0\0\0")),
            (minor(9999), &[user], Version::V3_2, Some(b"\0\x03\0\x02\0\0\0\0")),
            (minor(0), &[extension, user], Version::V3_0, Some(b"\0\x03\0\0\0\0\0\x01_pq_.x\0")),
            (minor(3), &[user, extension], Version::V3_2, Some(b"\0\x03\0\x02\0\0\0\x01_pq_.x\0")),
        ];
        for (asked, parameters, spoken, answer) in cases {
            let (startup, out) = read(asked, parameters);
            let startup = startup.unwrap();
            assert_eq!(startup.version, spoken);
            assert!(startup.parameters.is_empty());
            let expected = answer.map(|body| {
                let mut message = vec![b'v'];
                message.extend((body.len() as u32 + 4).to_be_bytes());
                message.extend(body);
                message
            });
            assert_eq!(out, expected.unwrap_or_default());
        }
    }

    #[test]
    fn what_is_refused_and_with_which_code() {
        let cases: [(Version, &Parameters, &str); 8] = [
            (Version { major: 2, minor: 0 }, &[], "0A000"),
            (Version { major: 4, minor: 0 }, &[("user", "x")], "0A000"),
            (Version::V3_0, &[], "28000"),
            (Version::V3_0, &[("user", "")], "28000"),
            (Version::V3_0, &[("user", "x"), ("replication", "TRUE")], "0A000"),
            (Version::V3_0, &[("user", "x"), ("replication", "database")], "0A000"),
            (Version::V3_0, &[("user", "x"), ("replication", "maybe")], "22023"),
            (Version::V3_0, &[("user", "x"), ("options", "-s")], "42601"),
        ];
        for (version, parameters, state) in cases {
            let fatal = read(version, parameters).0.unwrap_err().fatal.unwrap();
            assert_eq!((fatal.severity.as_str(), fatal.state.as_str()), ("FATAL", state));
        }
    }

    #[test]
    fn replication_values_read_as_postgres_reads_booleans() {
        for value in ["0", "f", "FALSE", "n", "no", "of", "off"] {
            assert!(refuse_replication(value).is_ok(), "{value}");
        }
        for value in ["1", "t", "tr", "Yes", "on", "database"] {
            assert!(matches!(refuse_replication(value), Err(Refused::Replication)), "{value}");
        }
        for value in ["", "o", "x", "databas", "01", "truee"] {
            assert!(matches!(refuse_replication(value), Err(Refused::ReplicationValue)), "{value}");
        }
    }
}
