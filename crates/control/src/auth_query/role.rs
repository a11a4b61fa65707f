//! What is known of a role, made of what a query has returned. Pure.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth::{Error, Password, Secret, Verifier};

/// What a look-up has found.
#[derive(Clone, Debug)]
pub enum Found {
    /// A role that may log in.
    Role(Arc<Role>),
    /// No such role. The client must not be able to tell: it gets the same exchange, and the
    /// same refusal, as for a wrong password.
    Absent,
}

/// A role that may log in, if it can prove who it is.
#[derive(Debug)]
pub struct Role {
    /// What a password is checked against.
    pub password: RolePassword,
    /// Until when, by the server's clock; `None`: for ever. [`Role::password`] is
    /// [`RolePassword::Expired`] from then on.
    pub valid_until: Option<SystemTime>,
    /// The roles that it is a member of, directly or through others, and itself; sorted. Empty
    /// if nobody asked for them ([`super::Groups::Skip`]).
    pub groups: Box<[String]>,
}

/// The state of a role's password.
#[derive(Clone, Debug)]
pub enum RolePassword {
    /// It can be proven by SCRAM-SHA-256.
    Verifier(Arc<Verifier>),
    /// The role has none; it may have other ways to log in.
    Missing,
    /// `VALID UNTIL` has passed. As in Postgres, it counts for passwords only.
    Expired,
    /// An md5 hash, which SCRAM cannot be served from.
    Md5,
    /// Something else that is no verifier; the text says what is wrong.
    Unusable(&'static str),
}

/// An answer of a server: what it knows, and for how long that can be true.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) found: Found,
    /// Until the password expires.
    pub(crate) expires_in: Option<Duration>,
}

/// `VALID UNTIL`, beside the server's own clock: ours may be another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Validity {
    /// No end.
    Unlimited,
    /// Before everything.
    Never,
    /// Until then.
    Until(SystemTime),
}

impl Found {
    /// Whether both are one answer.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Role(one), Self::Role(other)) => Arc::ptr_eq(one, other),
            (Self::Absent, Self::Absent) => true,
            (Self::Role(_), Self::Absent) | (Self::Absent, Self::Role(_)) => false,
        }
    }
}

impl Role {
    /// Whether it is `group`, or a member of it.
    pub fn is_member(&self, group: &str) -> bool {
        self.groups.binary_search_by(|name| name.as_str().cmp(group)).is_ok()
    }

    pub(crate) fn has_verifier(&self) -> bool {
        matches!(self.password, RolePassword::Verifier(_))
    }

    /// The same role after its password has expired.
    pub(crate) fn expired(&self) -> Self {
        Self {
            password: RolePassword::Expired,
            valid_until: self.valid_until,
            groups: self.groups.clone(),
        }
    }
}

impl Answer {
    pub(crate) const ABSENT: Self = Self { found: Found::Absent, expires_in: None };

    /// The answer for a role whose row has `password` in it, at the server's time `now`.
    pub(crate) fn role(
        password: Option<Secret>,
        validity: Validity,
        now: SystemTime,
        mut groups: Vec<String>,
    ) -> Self {
        groups.sort_unstable();
        let (valid_until, left) = match validity {
            Validity::Unlimited => (None, None),
            Validity::Never => (None, Some(Duration::ZERO)),
            Validity::Until(end) => (Some(end), Some(end.duration_since(now).unwrap_or_default())),
        };
        let expired = left == Some(Duration::ZERO);
        let password = if expired { RolePassword::Expired } else { RolePassword::parse(password) };
        let role = Role { password, valid_until, groups: groups.into() };
        Self { found: Found::Role(Arc::new(role)), expires_in: left.filter(|_| !expired) }
    }
}

impl RolePassword {
    fn parse(text: Option<Secret>) -> Self {
        match text.map(Password::parse) {
            None => Self::Missing,
            Some(Ok(Password::Verifier(verifier))) => Self::Verifier(verifier),
            Some(Ok(Password::Plain(_))) => Self::Unusable("it does not begin with SCRAM-SHA-256$"),
            Some(Err(Error::Md5Hash)) => Self::Md5,
            Some(Err(Error::Verifier(part))) => Self::Unusable(part),
            Some(Err(_)) => Self::Unusable("it is no SCRAM-SHA-256 verifier"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn verifier() -> Secret {
        Verifier::derive(&Secret::new("pencil"), b"0123456789abcdef", 1).format()
    }

    fn role(password: Option<Secret>, validity: Validity) -> (Arc<Role>, Option<Duration>) {
        let answer = Answer::role(password, validity, at(100), vec!["b".into(), "a".into()]);
        let Found::Role(role) = answer.found else { panic!("absent") };
        (role, answer.expires_in)
    }

    #[test]
    fn a_password_is_valid_until_the_servers_clock_says_otherwise() {
        let (valid, left) = role(Some(verifier()), Validity::Until(at(130)));
        assert!(valid.has_verifier());
        assert_eq!((left, valid.valid_until), (Some(Duration::from_secs(30)), Some(at(130))));
        assert!(matches!(valid.expired().password, RolePassword::Expired));
        for past in [Validity::Until(at(99)), Validity::Until(at(100)), Validity::Never] {
            let (expired, left) = role(Some(verifier()), past);
            assert!(matches!(expired.password, RolePassword::Expired));
            assert_eq!(left, None);
            // As the default query has it.
            assert!(matches!(role(None, past).0.password, RolePassword::Expired));
        }
        let (unlimited, left) = role(Some(verifier()), Validity::Unlimited);
        assert!(unlimited.has_verifier() && left.is_none());
    }

    #[test]
    fn only_a_verifier_is_one_and_nothing_of_it_prints() {
        let md5 = format!("md5{}", "0a".repeat(16));
        let cases = [
            (None, "Missing"),
            (Some(md5.as_str()), "Md5"),
            (Some("plain"), "Unusable(\"it does not begin with SCRAM-SHA-256$\")"),
            (Some("SCRAM-SHA-256$4096:AAAA"), "Unusable(\"no keys\")"),
        ];
        for (text, expected) in cases {
            let (role, _) = role(text.map(Secret::new), Validity::Unlimited);
            assert_eq!(format!("{:?}", role.password), expected);
            assert!(!role.has_verifier());
        }
        let (role, _) = role(Some(verifier()), Validity::Unlimited);
        assert_eq!(format!("{:?}", role.password), "Verifier(Verifier(…))");
    }

    #[test]
    fn groups_are_found_in_any_order() {
        let (role, _) = role(None, Validity::Unlimited);
        assert!(role.is_member("a") && role.is_member("b") && !role.is_member("c"));
    }
}
