//! PgBouncer's `auth_file`: who may log in, and with what.

use std::collections::BTreeMap;
use std::sync::Arc;

use auth::{Password, Secret};

use super::Source;
use super::draft::{Draft, Origin};
use super::ini;

/// Postgres' NAMEDATALEN less its terminator, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// What a user proves itself with.
#[derive(Debug)]
pub(super) enum Proof {
    /// In plain text.
    Plain(Secret),
    /// A SCRAM-SHA-256 verifier.
    Verifier(Secret),
    /// Nothing that could be checked: no password, or a hash that SCRAM has no use for.
    Unusable,
}

/// A line of the file.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) origin: Origin,
    pub(super) proof: Proof,
}

/// By name. The last line of a name counts.
pub(super) type Users = BTreeMap<String, Listed>;

pub(super) fn read(source: &Source, draft: &mut Draft) -> Users {
    let file: Arc<str> = source.name.as_str().into();
    let mut users = Users::new();
    for (at, line) in source.text.expose().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        let Some((name, password)) = fields(line) else {
            let origin = Origin::new(&file, at + 1, "…");
            draft.open(Some(&origin), "not \"name\" \"password\", which PgBouncer stops at");
            continue;
        };
        let origin = Origin::new(&file, at + 1, &format!("\"{name}\" \"…\""));
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            draft.open(Some(&origin), "no role has such a name: Postgres' have 1 to 63 bytes");
            continue;
        }
        let proof = proof(password, &origin, draft);
        if let Some(before) = users.insert(name, Listed { origin, proof }) {
            draft.gone(Some(&before.origin), "the same name comes again, and the last counts");
        }
    }
    users
}

fn proof(password: String, origin: &Origin, draft: &mut Draft) -> Proof {
    if password.is_empty() {
        draft.gone(
            Some(origin),
            "has no password: it can log in where a rule of [[hba]] asks for none, and needs no \
             line in [[users]] for that",
        );
        return Proof::Unusable;
    }
    // A NUL or a line break would not survive a file.
    if password.contains(char::is_control) {
        draft.open(Some(origin), "its password has a control character: set another one");
        return Proof::Unusable;
    }
    match Password::parse(Secret::new(password.as_str())) {
        Ok(Password::Plain(secret)) => Proof::Plain(secret),
        Ok(Password::Verifier(_)) => Proof::Verifier(Secret::new(password)),
        Err(auth::Error::Md5Hash) => {
            draft.open(
                Some(origin),
                "an md5 hash, against which SCRAM can check nothing: set the password again with \
                 password_encryption = 'scram-sha-256' (\\password in psql), and put the verifier \
                 from pg_authid.rolpassword into [[users]], or let auth.query_user find it",
            );
            Proof::Unusable
        }
        Err(error) => {
            draft.open(Some(origin), format!("its verifier cannot be used: {error}"));
            Proof::Unusable
        }
    }
}

/// Two fields in double quotes, in which two quotes are one; the rest of the line says nothing.
fn fields(line: &str) -> Option<(String, String)> {
    let (name, rest) = field(line)?;
    let (password, _) = field(rest.trim_start())?;
    Some((name, password))
}

fn field(text: &str) -> Option<(String, &str)> {
    ini::quoted(text.strip_prefix('"')?, '"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_quotes() {
        let read = |line| fields(line).map(|(name, password)| format!("{name}|{password}"));
        assert_eq!(read("\"a\" \"b\" ignored").as_deref(), Some("a|b"));
        assert_eq!(read("\"a\"\"b\" \"\"\"\"").as_deref(), Some("a\"b|\""));
        for wrong in ["a b", "\"a\"", "\"a\" b", "\"a\" \"b"] {
            assert_eq!(fields(wrong), None, "{wrong}");
        }
    }
}
