//! Rules and map lines that are written as fields of their own, as in proxy.toml.

use core::net::IpAddr;

use super::options::Options;
use super::token::{Field, fields};
use super::{Fault, MapLine, Rule};

/// A rule whose fields are written one by one. Each is read as in a file: lists are separated
/// by commas, quotes take keywords and `+` their meaning.
#[derive(Debug, Clone, Copy)]
pub struct InlineRule<'a> {
    /// What errors and logs name it by: the line where it is written.
    pub line: usize,
    /// `local`, `host`, `hostssl` and so on.
    pub kind: &'a str,
    /// A list of databases.
    pub database: &'a str,
    /// A list of roles.
    pub user: &'a str,
    /// An address with the length of its mask or a mask; not for `local`, and `all` if not given.
    pub address: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// Names and values, the values as they are: no quotes.
    pub options: &'a [(&'a str, &'a str)],
}

/// A line of an ident map whose fields are written one by one.
#[derive(Debug, Clone, Copy)]
pub struct InlineMap<'a> {
    /// What errors and logs name it by: the line where it is written.
    pub line: usize,
    /// The map's name.
    pub map: &'a str,
    /// Who somebody is elsewhere: a name or `/regex`.
    pub system_user: &'a str,
    /// Who that may be here: a role, perhaps with `\1`, `all`, `+group` or `/regex`.
    pub database_user: &'a str,
}

impl InlineRule<'_> {
    pub(super) fn parse(self) -> Result<Rule, Fault> {
        let kind = field(self.kind, "connection type")?;
        let is_local = kind.iter().all(|kind| kind.text == "local");
        let mut fields = vec![kind, field(self.database, "database")?, field(self.user, "user")?];
        match (self.address, is_local) {
            (None, true) => {}
            (Some(_), true) => return Err(Fault::LocalAddress),
            (address, false) => fields.extend(address_fields(address.unwrap_or("all"))?),
        }
        fields.push(field(self.method, "authentication method")?);
        let mut options = Options::default();
        for (name, value) in self.options {
            options.add(name, value)?;
        }
        Rule::build(self.line, fields, |_| Ok(options))
    }
}

impl InlineMap<'_> {
    pub(super) fn parse(self) -> Result<MapLine, Fault> {
        let fields = vec![
            field(self.map, "map name")?,
            field(self.system_user, "system user")?,
            field(self.database_user, "database user")?,
        ];
        MapLine::parse(self.line, fields)
    }
}

/// The only field of a text.
fn field(text: &str, what: &'static str) -> Result<Field, Fault> {
    let mut fields = fields(text)?;
    match (fields.pop(), fields.is_empty()) {
        (Some(field), true) => Ok(field),
        _ => Err(Fault::OneField(what)),
    }
}

/// An address, and a mask if there is one.
fn address_fields(text: &str) -> Result<Vec<Field>, Fault> {
    let fields = fields(text)?;
    // What follows anything else would be taken for the method.
    let is_address = match fields.as_slice() {
        [_] => true,
        [address, _] => address.iter().all(|address| address.text.parse::<IpAddr>().is_ok()),
        _ => false,
    };
    if is_address { Ok(fields) } else { Err(Fault::OneField("address")) }
}
