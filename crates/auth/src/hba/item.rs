//! Entries of the lists of databases and roles.

use std::fmt::{self, Display as _};

use super::token::{Quoted, Token, Word};
use super::{Connection, Facts, Fault, Pattern, Purpose};

/// Which databases a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// `all`.
    All,
    /// `sameuser`: the one named like the user.
    SameUser,
    /// `samerole` or `samegroup`: those named like a role that the user is a member of.
    SameRole,
    /// `replication`: physical replication, which is for no database.
    Replication,
    /// `/regex`.
    Pattern(Pattern),
    /// One, by name.
    Name(String),
}

/// Which roles a rule is for, or a map leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// `all`.
    All,
    /// `+group`: the members of a role, and itself.
    Group(String),
    /// `/regex`.
    Pattern(Pattern),
    /// One, by name.
    Name(String),
}

impl Database {
    pub(super) fn parse(token: Token) -> Result<Self, Fault> {
        if let Some((_, database)) = KEYWORDS.iter().find(|(word, _)| token.is_keyword(word)) {
            return Ok(database.clone());
        }
        match token.pattern() {
            Some(pattern) => Ok(Self::Pattern(Pattern::new(pattern)?)),
            None => Ok(Self::Name(token.text)),
        }
    }

    pub(super) fn matches(&self, connection: &Connection<'_>, facts: &dyn Facts) -> bool {
        let Connection { user, database, purpose, .. } = connection;
        match (purpose, self) {
            (Purpose::PhysicalReplication, Self::Replication) | (Purpose::Queries, Self::All) => {
                true
            }
            (Purpose::PhysicalReplication, _) | (Purpose::Queries, Self::Replication) => false,
            (Purpose::Queries, Self::SameUser) => database == user,
            (Purpose::Queries, Self::SameRole) => is_member(user, database, facts),
            (Purpose::Queries, Self::Pattern(pattern)) => pattern.matches(database),
            (Purpose::Queries, Self::Name(name)) => name == database,
        }
    }
}

impl Role {
    pub(super) fn parse(token: Token) -> Result<Self, Fault> {
        if let Some(group) = token.group() {
            return Ok(Self::Group(group.to_owned()));
        }
        if token.is_keyword("all") {
            return Ok(Self::All);
        }
        match token.pattern() {
            Some(pattern) => Ok(Self::Pattern(Pattern::new(pattern)?)),
            None => Ok(Self::Name(token.text)),
        }
    }

    pub(super) fn matches(&self, role: &str, facts: &dyn Facts) -> bool {
        match self {
            Self::All => true,
            Self::Group(group) => is_member(role, group, facts),
            Self::Pattern(pattern) => pattern.matches(role),
            Self::Name(name) => name == role,
        }
    }
}

/// A role is a member of itself. That holds for names that are no role, too, unlike in
/// PostgreSQL: they get no further than to a password that is never right, and a `reject` does
/// not depend on an answer.
fn is_member(role: &str, group: &str, facts: &dyn Facts) -> bool {
    role == group || facts.is_member(role, group)
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Name(name) = self {
            return put_name(f, name);
        }
        if let Self::Pattern(pattern) = self {
            return put_pattern(f, pattern);
        }
        let keyword = KEYWORDS.iter().find(|(_, database)| database == self);
        f.write_str(keyword.map_or("all", |(word, _)| word))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            // Quotes after the plus leave it its meaning.
            Self::Group(group) => write!(f, "+{}", Word(group)),
            Self::Pattern(pattern) => put_pattern(f, pattern),
            Self::Name(name) => put_name(f, name),
        }
    }
}

pub(super) fn put_pattern(f: &mut fmt::Formatter<'_>, pattern: &Pattern) -> fmt::Result {
    Word(&format!("/{}", pattern.as_str())).fmt(f)
}

fn put_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let is_keyword = KEYWORDS.iter().any(|(word, _)| *word == name);
    if is_keyword || name.starts_with('+') { Quoted(name).fmt(f) } else { Word(name).fmt(f) }
}

/// What the words in the place of a database mean. `samerole` before its old name: the first
/// is the one that is printed.
static KEYWORDS: [(&str, Database); 5] = [
    ("all", Database::All),
    ("sameuser", Database::SameUser),
    ("samerole", Database::SameRole),
    ("samegroup", Database::SameRole),
    ("replication", Database::Replication),
];
