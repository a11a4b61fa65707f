//! Lines, fields and tokens, cut as PostgreSQL cuts them (`next_token` and `tokenize_auth_file`
//! in hba.c).

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use super::{Fault, LineError};

/// One value of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    /// It begins with a quote, so that keywords and `+` mean nothing.
    pub(super) quoting: Quoting,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Quoting {
    #[default]
    Bare,
    Quoted,
}

/// A list of tokens, separated by commas; never empty.
pub(super) type Field = Vec<Token>;

/// A line with something on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) fields: Vec<Field>,
}

impl Token {
    pub(super) fn is_keyword(&self, word: &str) -> bool {
        self.quoting == Quoting::Bare && self.text == word
    }

    /// The group's name, if it is `+group`.
    pub(super) fn group(&self) -> Option<&str> {
        match self.quoting {
            Quoting::Bare => self.text.strip_prefix('+'),
            Quoting::Quoted => None,
        }
    }

    /// The regular expression, if it is one: quoted or not.
    pub(super) fn pattern(&self) -> Option<&str> {
        self.text.strip_prefix('/')
    }
}

/// The lines of a file that are not empty, cut into fields, and what cannot be cut.
pub(super) fn lines(text: &str) -> (Vec<Line>, Vec<LineError>) {
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    for (number, text) in logical_lines(text) {
        match fields(&text) {
            Ok(fields) if fields.is_empty() => {}
            Ok(fields) => lines.push(Line { number, fields }),
            Err(fault) => errors.push(LineError { line: number, fault }),
        }
    }
    (lines, errors)
}

/// Joins lines that end in a backslash. A comment is continued, too.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut logical = Vec::new();
    let mut start = 1;
    let mut joined = String::new();
    // Up to here the text has been joined: a backslash before this is no continuation again.
    let mut continued = 0;
    for (index, line) in text.split('\n').enumerate() {
        joined.push_str(line);
        joined.truncate(joined.trim_end_matches(['\r', '\n']).len());
        if joined.len() > continued && joined.ends_with('\\') {
            joined.pop();
            continued = joined.len();
            continue;
        }
        logical.push((start, std::mem::take(&mut joined)));
        continued = 0;
        start = index + 2;
    }
    if !joined.is_empty() {
        logical.push((start, joined));
    }
    logical
}

/// Cuts one line.
pub(super) fn fields(line: &str) -> Result<Vec<Field>, Fault> {
    if line.contains(['\0', '\n']) {
        return Err(Fault::Control);
    }
    let mut input = line.chars().peekable();
    let mut fields = Vec::new();
    while input.peek().is_some() {
        let field = field(&mut input)?;
        if !field.is_empty() {
            fields.push(field);
        }
    }
    match fields.first().and_then(|field: &Field| field.first()) {
        Some(first) if INCLUDES.contains(&first.text.as_str()) => {
            Err(Fault::Include(first.text.clone()))
        }
        _ => Ok(fields),
    }
}

fn field(input: &mut Peekable<Chars<'_>>) -> Result<Field, Fault> {
    let mut field = Field::new();
    while let Some((token, end)) = token(input) {
        let is_bare = token.quoting == Quoting::Bare;
        if is_bare && token.text.len() > 1 && token.text.starts_with('@') {
            return Err(Fault::FileList(token.text));
        }
        field.push(token);
        if end == End::Field {
            break;
        }
    }
    Ok(field)
}

/// What ended a token.
#[derive(PartialEq, Eq)]
enum End {
    /// A comma: the list goes on.
    Comma,
    Field,
}

/// Where the scanner is.
enum At {
    Outside,
    Inside,
    /// After a quote inside quotes: the end of them, unless another follows.
    Closing,
}

fn token(input: &mut Peekable<Chars<'_>>) -> Option<(Token, End)> {
    while input.next_if(|c| is_blank(*c) || *c == ',').is_some() {}
    let mut token = Token::default();
    let mut at = At::Outside;
    let mut seen = false;
    let mut end = End::Field;
    while let Some(&c) = input.peek() {
        at = match (at, c) {
            (At::Inside, '"') => At::Closing,
            (At::Inside, c) => {
                token.text.push(c);
                At::Inside
            }
            (At::Closing, '"') => {
                token.text.push('"');
                At::Inside
            }
            (At::Outside, '"') => {
                seen = true;
                if token.text.is_empty() {
                    token.quoting = Quoting::Quoted;
                }
                At::Inside
            }
            (_, '#') => {
                input.by_ref().for_each(drop);
                break;
            }
            (_, ',') => {
                end = End::Comma;
                break;
            }
            (_, c) if is_blank(c) => break,
            (_, c) => {
                token.text.push(c);
                At::Outside
            }
        };
        input.next();
    }
    (seen || !token.text.is_empty()).then_some((token, end))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

/// A text as a token of a file, in quotes unless it means the same without.
pub(super) struct Word<'a>(pub(super) &'a str);

/// The same, always in quotes: a name that may be taken for a keyword.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let special = |c| is_blank(c) || matches!(c, ',' | '#' | '"');
        let text = self.0;
        let begins_or_ends = text.starts_with('@') || text.ends_with('\\');
        if text.is_empty() || begins_or_ends || text.contains(special) {
            Quoted(text).fmt(f)
        } else {
            f.write_str(text)
        }
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

const INCLUDES: [&str; 3] = ["include", "include_if_exists", "include_dir"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bare(text: &str) -> Token {
        Token { text: text.to_owned(), quoting: Quoting::Bare }
    }

    fn quoted(text: &str) -> Token {
        Token { text: text.to_owned(), quoting: Quoting::Quoted }
    }

    #[test]
    fn lines_are_cut_as_postgres_cuts_them() {
        let cases = [
            ("a b\tc", vec![vec![bare("a")], vec![bare("b")], vec![bare("c")]]),
            ("  a,b , c", vec![vec![bare("a"), bare("b")], vec![bare("c")]]),
            ("a, b c", vec![vec![bare("a"), bare("b")], vec![bare("c")]]),
            ("a,,b", vec![vec![bare("a"), bare("b")]]),
            ("a,", vec![vec![bare("a")]]),
            (",a", vec![vec![bare("a")]]),
            ("a#b c", vec![vec![bare("a")]]),
            ("# all", vec![]),
            (r#""a b" "c#d,e""#, vec![vec![quoted("a b")], vec![quoted("c#d,e")]]),
            (r#""say ""hi""""#, vec![vec![quoted(r#"say "hi""#)]]),
            (r#""" x"#, vec![vec![quoted("")], vec![bare("x")]]),
            (r#"+"my group",al"l""#, vec![vec![bare("+my group"), bare("all")]]),
            (r#"a="b c" d"#, vec![vec![bare("a=b c")], vec![bare("d")]]),
            (r#""never closed # , "#, vec![vec![quoted("never closed # , ")]]),
            (r#""@file""#, vec![vec![quoted("@file")]]),
            ("@", vec![vec![bare("@")]]),
        ];
        for (text, expected) in cases {
            assert_eq!(fields(text), Ok(expected), "{text}");
        }
        assert_eq!(fields("a,@file"), Err(Fault::FileList("@file".to_owned())));
        assert_eq!(fields("include x"), Err(Fault::Include("include".to_owned())));
        assert_eq!(fields("a\0b"), Err(Fault::Control));
    }

    #[test]
    fn a_backslash_at_the_end_continues_a_line_once() {
        let cases = [
            ("a\nb\n", vec![(1, "a"), (2, "b"), (3, "")]),
            ("a\\\nb\nc", vec![(1, "ab"), (3, "c")]),
            ("a\\\r\nb\r\nc", vec![(1, "ab"), (3, "c")]),
            ("a\\\\\n\nc", vec![(1, "a\\"), (3, "c")]),
            ("a\\\n\\\nb", vec![(1, "ab")]),
            ("# a\\\nb", vec![(1, "# ab")]),
            ("a\\", vec![(1, "a")]),
        ];
        for (text, expected) in cases {
            let lines = logical_lines(text);
            let mut lines: Vec<_> =
                lines.iter().map(|(number, text)| (*number, text.as_str())).collect();
            lines.truncate(expected.len());
            assert_eq!(lines, expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_token_is_read_as_it_was(text in "[^\0\n]{0,12}|[\"a \\\\,#@+/\r]{0,8}") {
            let line = format!("{} {} x", Quoted(&text), Word(&text));
            let fields = fields(&line).unwrap();
            prop_assert_eq!(&fields[0], &vec![quoted(&text)]);
            prop_assert_eq!(&fields[1][0].text, &text);
            prop_assert_eq!(fields.len(), 3);
            prop_assert_eq!(logical_lines(&format!("{}\n\n", Word(&text))).len(), 3);
        }
    }
}
