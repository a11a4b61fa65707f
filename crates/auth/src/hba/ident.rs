//! Who may log in as whom: the maps of pg_ident.conf.

use std::fmt;

use super::item::put_pattern;
use super::rule::one;
use super::rules::strict;
use super::token::{Field, Line, Word, lines};
use super::{Facts, Fault, InlineMap, LineError, Pattern, Role};

/// All lines of all maps, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maps(Vec<MapLine>);

/// One line of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapLine {
    /// Where it was written, from 1.
    pub line: usize,
    /// The map that it is of.
    pub map: String,
    /// Who somebody is elsewhere.
    pub system_user: SystemUser,
    /// Who that may be here. In a name beside a regular expression the first `\1` stands for
    /// what the first group has matched, and the result is nothing but a name.
    pub database_user: Role,
}

/// Who somebody is elsewhere: in a certificate, to the operating system, to an issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemUser {
    /// `/regex`.
    Pattern(Pattern),
    /// One, by name.
    Name(String),
}

/// Why somebody may not log in as a role. For the log: the client is told that the method failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The certificate has no common name.
    #[error("client certificate contains no user name")]
    NoName,
    /// Without a map the names must be the same.
    #[error("provided user name and authenticated user name do not match")]
    Different,
    /// No line of the map lets them.
    #[error("no match in usermap \"{0}\"")]
    NoMatch(String),
    /// The group that `\1` stands for took no part in the match.
    #[error("line {line}: nothing has matched what \\1 refers to")]
    NoGroup {
        /// The map line's.
        line: usize,
    },
}

impl Maps {
    /// Reads the text of a pg_ident.conf. An empty one is good.
    ///
    /// # Errors
    /// Every line that cannot be used, in their order.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        strict(Self::read(text))
    }

    /// Reads the text of a pg_ident.conf: the lines that can be used, and every line that cannot,
    /// in their order. To say all that is wrong at once; lines beside errors must not be used.
    pub fn read(text: &str) -> (Self, Vec<LineError>) {
        let (lines, errors) = lines(text);
        let lines = lines.into_iter().map(|Line { number, fields }| {
            MapLine::parse(number, fields).map_err(|fault| LineError { line: number, fault })
        });
        Self::collect(lines, errors)
    }

    /// Takes lines that are written somewhere else.
    ///
    /// # Errors
    /// As [`Maps::parse`], with the lines that they name.
    pub fn inline<'a>(
        lines: impl IntoIterator<Item = InlineMap<'a>>,
    ) -> Result<Self, Vec<LineError>> {
        strict(Self::read_inline(lines))
    }

    /// As [`Maps::read`], with lines that are written somewhere else.
    pub fn read_inline<'a>(
        lines: impl IntoIterator<Item = InlineMap<'a>>,
    ) -> (Self, Vec<LineError>) {
        let lines = lines.into_iter().map(|inline| {
            let line = inline.line;
            inline.parse().map_err(|fault| LineError { line, fault })
        });
        Self::collect(lines, Vec::new())
    }

    /// Whether there is a line of this map.
    pub fn contains(&self, map: &str) -> bool {
        self.0.iter().any(|line| line.map == map)
    }

    /// Whether `system_user` may log in as `role`: by a line of the map, or, without a map, under
    /// the same name.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(
        &self,
        map: Option<&str>,
        system_user: &str,
        role: &str,
        facts: &dyn Facts,
    ) -> Result<(), Mismatch> {
        let Some(map) = map else {
            return if system_user == role { Ok(()) } else { Err(Mismatch::Different) };
        };
        for line in self.0.iter().filter(|line| line.map == map) {
            if line.admits(system_user, role, facts)? {
                return Ok(());
            }
        }
        Err(Mismatch::NoMatch(map.to_owned()))
    }

    /// The lines that need somebody to ask who is in which role: nobody could log in by them.
    pub fn ask_for_groups(&self) -> Vec<LineError> {
        let groups = self.0.iter().filter(|line| matches!(line.database_user, Role::Group(_)));
        groups.map(|line| LineError { line: line.line, fault: Fault::Groups }).collect()
    }

    /// All lines, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &MapLine> {
        self.0.iter()
    }

    fn collect(
        lines: impl Iterator<Item = Result<MapLine, LineError>>,
        mut errors: Vec<LineError>,
    ) -> (Self, Vec<LineError>) {
        let mut good = Vec::new();
        for line in lines {
            match line {
                Ok(line) => good.push(line),
                Err(error) => errors.push(error),
            }
        }
        errors.sort_by_key(|error| error.line);
        (Self(good), errors)
    }
}

impl MapLine {
    pub(super) fn parse(line: usize, fields: Vec<Field>) -> Result<Self, Fault> {
        let mut fields = fields.into_iter();
        let map = one(fields.next(), "map name")?.text;
        let system_user = one(fields.next(), "system user")?;
        let system_user = match system_user.pattern() {
            Some(pattern) => SystemUser::Pattern(Pattern::new(pattern)?),
            None => SystemUser::Name(system_user.text),
        };
        let database_user = Role::parse(one(fields.next(), "database user")?)?;
        if fields.next().is_some() {
            return Err(Fault::Trailing("database user"));
        }
        if let (SystemUser::Pattern(pattern), Role::Name(name)) = (&system_user, &database_user)
            && name.contains(GROUP)
            && !pattern.has_group()
        {
            return Err(Fault::NoGroup(name.clone()));
        }
        Ok(Self { line, map, system_user, database_user })
    }

    fn admits(&self, system_user: &str, role: &str, facts: &dyn Facts) -> Result<bool, Mismatch> {
        let pattern = match &self.system_user {
            SystemUser::Name(name) => {
                return Ok(name == system_user && self.database_user.matches(role, facts));
            }
            SystemUser::Pattern(pattern) => pattern,
        };
        let Some(group) = pattern.first_group(system_user) else { return Ok(false) };
        match &self.database_user {
            Role::Name(name) if name.contains(GROUP) => {
                let group = group.ok_or(Mismatch::NoGroup { line: self.line })?;
                Ok(name.replacen(GROUP, group, 1) == role)
            }
            other => Ok(other.matches(role, facts)),
        }
    }
}

/// A line that reads as the same.
impl fmt::Display for MapLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", Word(&self.map), self.system_user, self.database_user)
    }
}

impl fmt::Display for SystemUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => put_pattern(f, pattern),
            Self::Name(name) => Word(name).fmt(f),
        }
    }
}

/// What stands for the first group.
const GROUP: &str = "\\1";
