//! Search filters (RFC 4515), from text to what is sent.
//!
//! The user's name is put in where the text says `$username`, after the text has been taken
//! apart: it is a value or part of one, whatever it consists of, and nothing has to be escaped.

use super::ber::{OCTET_STRING, SEQUENCE, put_bytes, try_put};

/// Stands for the user's name, as in PostgreSQL.
const USER: &str = "$username";

/// Filters inside filters. Nobody writes more, and reading recurses.
const DEPTH_MAX: u32 = 32;

/// The tags of RFC 4511, section 4.5.1.
const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUALITY: u8 = 0xa3;
const SUBSTRINGS: u8 = 0xa4;
const GREATER_OR_EQUAL: u8 = 0xa5;
const LESS_OR_EQUAL: u8 = 0xa6;
const PRESENT: u8 = 0x87;
const APPROX: u8 = 0xa8;
const EXTENSIBLE: u8 = 0xa9;

/// Of a substring: its place in the value.
const INITIAL: u8 = 0x80;
const ANY: u8 = 0x81;
const FINAL: u8 = 0x82;

/// Of an extensible match.
const RULE: u8 = 0x81;
const TYPE: u8 = 0x82;
const VALUE: u8 = 0x83;
const DN_ATTRIBUTES: u8 = 0x84;

/// What is wrong with a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterFault {
    /// No filter, or one that is not closed.
    #[error("is not a filter such as (uid=$username): check its parentheses")]
    Form,
    /// What stands before the `=`.
    #[error("has an attribute that is not a name or an OID")]
    Attribute,
    /// A backslash without two hexadecimal digits, or two asterisks in a row.
    #[error("has a value that cannot be read: write special characters as \\2a")]
    Value,
    /// Too many levels.
    #[error("has more than 32 levels of parentheses")]
    Depth,
}

/// Appends the filter that `text` is for this user.
pub(super) fn put_filter(out: &mut Vec<u8>, text: &str, user: &str) -> Result<(), FilterFault> {
    let text = text.trim();
    let mut parser = Parser { rest: text, user };
    if text.starts_with('(') {
        parser.filter(out, DEPTH_MAX)?;
    } else {
        // OpenLDAP's client takes a filter without its outer parentheses.
        let item = parser.until_parenthesis();
        parser.item(out, item)?;
    }
    if parser.rest.is_empty() { Ok(()) } else { Err(FilterFault::Form) }
}

/// Appends the filter for entries of which an attribute is the user's name.
pub(super) fn put_equality(
    out: &mut Vec<u8>,
    attribute: &str,
    user: &str,
) -> Result<(), FilterFault> {
    check_attribute(attribute)?;
    assertion(out, EQUALITY, attribute, user.as_bytes())
}

struct Parser<'a> {
    rest: &'a str,
    user: &'a str,
}

impl<'a> Parser<'a> {
    fn filter(&mut self, out: &mut Vec<u8>, depth: u32) -> Result<(), FilterFault> {
        let depth = depth.checked_sub(1).ok_or(FilterFault::Depth)?;
        self.take('(')?;
        match self.rest.chars().next() {
            Some('&') => self.list(out, AND, depth)?,
            Some('|') => self.list(out, OR, depth)?,
            Some('!') => {
                self.take('!')?;
                try_put(out, NOT, |out| self.filter(out, depth))?;
            }
            _ => {
                let item = self.until_parenthesis();
                self.item(out, item)?;
            }
        }
        self.take(')')
    }

    fn list(&mut self, out: &mut Vec<u8>, tag: u8, depth: u32) -> Result<(), FilterFault> {
        self.rest = self.rest.get(1..).unwrap_or_default().trim_start();
        try_put(out, tag, |out| {
            while !self.rest.starts_with(')') {
                self.filter(out, depth)?;
            }
            Ok(())
        })
    }

    /// Blanks around parentheses are nothing.
    fn take(&mut self, expected: char) -> Result<(), FilterFault> {
        let rest = self.rest.trim_start().strip_prefix(expected).ok_or(FilterFault::Form)?;
        self.rest = if expected == ')' { rest.trim_start() } else { rest };
        Ok(())
    }

    fn until_parenthesis(&mut self) -> &'a str {
        let end = self.rest.find(['(', ')']).unwrap_or(self.rest.len());
        let (item, rest) = self.rest.split_at(end);
        self.rest = rest;
        item
    }

    fn item(&self, out: &mut Vec<u8>, item: &str) -> Result<(), FilterFault> {
        let (left, value) = item.split_once('=').ok_or(FilterFault::Form)?;
        for (mark, tag) in [('~', APPROX), ('>', GREATER_OR_EQUAL), ('<', LESS_OR_EQUAL)] {
            if let Some(attribute) = left.strip_suffix(mark) {
                check_attribute(attribute)?;
                return assertion(out, tag, attribute, &self.value(value)?);
            }
        }
        if let Some(left) = left.strip_suffix(':') {
            return self.extensible(out, left, value);
        }
        check_attribute(left)?;
        match value {
            "*" => {
                put_bytes(out, PRESENT, left.as_bytes());
                Ok(())
            }
            value if value.contains('*') => self.substrings(out, left, value),
            value => assertion(out, EQUALITY, left, &self.value(value)?),
        }
    }

    fn substrings(&self, out: &mut Vec<u8>, left: &str, value: &str) -> Result<(), FilterFault> {
        let last = value.split('*').count() - 1;
        try_put(out, SUBSTRINGS, |out| {
            put_bytes(out, OCTET_STRING, left.as_bytes());
            try_put(out, SEQUENCE, |out| {
                for (at, part) in value.split('*').enumerate() {
                    let tag = match at {
                        0 => INITIAL,
                        at if at == last => FINAL,
                        _ => ANY,
                    };
                    match (part, tag) {
                        ("", ANY) => return Err(FilterFault::Value),
                        ("", _) => {}
                        (part, tag) => put_bytes(out, tag, &self.value(part)?),
                    }
                }
                Ok(())
            })
        })
    }

    /// `[attribute][:dn][:rule]`.
    fn extensible(&self, out: &mut Vec<u8>, left: &str, value: &str) -> Result<(), FilterFault> {
        let mut parts = left.split(':');
        let attribute = parts.next().filter(|attribute| !attribute.is_empty());
        let rest: Vec<&str> = parts.collect();
        let (with_dn, rule) = match *rest.as_slice() {
            [] => (false, None),
            ["dn"] => (true, None),
            ["dn", rule] => (true, Some(rule)),
            [rule] => (false, Some(rule)),
            _ => return Err(FilterFault::Form),
        };
        if attribute.is_none() && rule.is_none() {
            return Err(FilterFault::Attribute);
        }
        attribute.into_iter().chain(rule).try_for_each(check_attribute)?;
        let value = self.value(value)?;
        try_put(out, EXTENSIBLE, |out| {
            for (tag, text) in [(RULE, rule), (TYPE, attribute)] {
                if let Some(text) = text {
                    put_bytes(out, tag, text.as_bytes());
                }
            }
            put_bytes(out, VALUE, &value);
            if with_dn {
                put_bytes(out, DN_ATTRIBUTES, &[0xff]);
            }
            Ok(())
        })
    }

    /// A value with its escapes undone and the user's name put in.
    fn value(&self, text: &str) -> Result<Vec<u8>, FilterFault> {
        let mut value = Vec::with_capacity(text.len() + self.user.len());
        let mut rest = text;
        loop {
            if let Some(after) = rest.strip_prefix(USER) {
                value.extend_from_slice(self.user.as_bytes());
                rest = after;
            } else if let Some(after) = rest.strip_prefix('\\') {
                let digits =
                    after.get(..2).filter(|two| two.bytes().all(|it| it.is_ascii_hexdigit()));
                let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
                value.push(byte.ok_or(FilterFault::Value)?);
                rest = after.get(2..).unwrap_or_default();
            } else if let Some(next) = rest.chars().next() {
                let (this, after) = rest.split_at(next.len_utf8());
                if this == "*" {
                    return Err(FilterFault::Value);
                }
                value.extend_from_slice(this.as_bytes());
                rest = after;
            } else {
                return Ok(value);
            }
        }
    }
}

fn assertion(out: &mut Vec<u8>, tag: u8, attribute: &str, value: &[u8]) -> Result<(), FilterFault> {
    try_put(out, tag, |out| {
        put_bytes(out, OCTET_STRING, attribute.as_bytes());
        put_bytes(out, OCTET_STRING, value);
        Ok(())
    })
}

/// A name or an OID, with options behind semicolons.
fn check_attribute(text: &str) -> Result<(), FilterFault> {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';' | '_');
    let is_one = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(inside);
    if is_one { Ok(()) } else { Err(FilterFault::Attribute) }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
