//! A text cut into the words that Postgres would see: literals and comments are not looked into.

use crate::verb::skip_blanks;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A keyword, a name without quotes, or a number.
    Word(&'a [u8]),
    /// A name in quotes, without them.
    Quoted(&'a [u8]),
    /// A literal of any kind, without its quotes.
    Literal(&'a [u8]),
    /// Anything else, byte by byte.
    Symbol(u8),
}

/// The tokens of a text. A literal or comment without an end is the last one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// What is in quotes, of which the first has been read; doubled they stand for themselves,
    /// as does one behind a backslash where `escapes`.
    fn quoted(&mut self, quote: u8, escapes: bool) -> &'a [u8] {
        let text = self.rest;
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            if byte == b'\\' && escapes {
                at += 2;
            } else if byte != quote {
                at += 1;
            } else if text.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                self.rest = text.get(at + 1..).unwrap_or_default();
                return text.get(..at).unwrap_or_default();
            }
        }
        self.rest = &[];
        text
    }

    /// A literal between two `$tag$`, if there is one.
    fn dollar_quoted(&mut self) -> Option<&'a [u8]> {
        let behind = self.rest.get(1..)?;
        let tag = behind.iter().take_while(|&&byte| is_in_word(byte) && byte != b'$').count();
        if behind.get(tag) != Some(&b'$') || behind.first().is_some_and(u8::is_ascii_digit) {
            return None;
        }
        let (delimiter, body) = self.rest.split_at_checked(tag + 2)?;
        let end = body.windows(delimiter.len()).position(|window| window == delimiter);
        let (literal, rest) = body.split_at_checked(end.unwrap_or(body.len()))?;
        self.rest = rest.get(delimiter.len()..).unwrap_or_default();
        Some(literal)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.rest = skip_blanks(self.rest)?;
        let (&first, behind) = self.rest.split_first()?;
        match first {
            b'\'' | b'"' => {
                self.rest = behind;
                let inside = self.quoted(first, false);
                Some(if first == b'"' { Token::Quoted(inside) } else { Token::Literal(inside) })
            }
            b'$' => match self.dollar_quoted() {
                Some(literal) => Some(Token::Literal(literal)),
                None => {
                    self.rest = behind;
                    Some(Token::Symbol(first))
                }
            },
            _ if is_in_word(first) => {
                let len = self.rest.iter().take_while(|&&byte| is_in_word(byte)).count();
                let (word, rest) = self.rest.split_at_checked(len)?;
                self.rest = rest;
                if let ([b'e' | b'E'], [b'\'', literal @ ..]) = (word, rest) {
                    self.rest = literal;
                    return Some(Token::Literal(self.quoted(b'\'', true)));
                }
                Some(Token::Word(word))
            }
            _ => {
                self.rest = behind;
                Some(Token::Symbol(first))
            }
        }
    }
}

/// A name in quotes as it is meant.
fn undouble(quoted: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(quoted.len());
    let mut was_quote = false;
    for &byte in quoted {
        was_quote = byte == b'"' && !was_quote;
        if !was_quote {
            name.push(byte);
        }
    }
    name
}

/// Whether a byte goes on with a word; those of other alphabets do.
pub(crate) fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

impl Token<'_> {
    /// Whether it is this word without quotes; `word` is in small letters.
    pub(crate) fn is(&self, word: &[u8]) -> bool {
        matches!(self, Self::Word(text) if text.eq_ignore_ascii_case(word))
    }

    /// The name that it is: folded to small letters unless it is quoted.
    pub(crate) fn identifier(&self) -> Option<Vec<u8>> {
        match self {
            Self::Word(word) => Some(word.to_ascii_lowercase()),
            Self::Quoted(quoted) => Some(undouble(quoted)),
            Self::Literal(_) | Self::Symbol(_) => None,
        }
    }

    /// Whether it is this name, with quotes or without.
    pub(crate) fn is_name(&self, name: &[u8]) -> bool {
        self.is(name) || *self == Token::Quoted(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(sql: &str) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Tokens::of(sql.as_bytes())
            .map(|token| match token {
                Token::Word(word) => text(word),
                Token::Quoted(name) => format!("\"{}\"", text(name)),
                Token::Literal(literal) => format!("'{}'", text(literal)),
                Token::Symbol(symbol) => char::from(symbol).to_string(),
            })
            .collect()
    }

    #[test]
    fn literals_and_comments_are_not_looked_into() {
        assert_eq!(words("a /* b ' */ c -- d\n e"), ["a", "c", "e"]);
        assert_eq!(words("x='it''s;' y"), ["x", "=", "'it''s;'", "y"]);
        assert_eq!(words(r"E'a\' b' c"), [r"'a\' b'", "c"]);
        assert_eq!(words(r"'a\' b"), [r"'a\'", "b"]);
        assert_eq!(words("do $x$ listen $$ ; $x$ z"), ["do", "' listen $$ ; '", "z"]);
        assert_eq!(words("$1 + a$b$c"), ["$", "1", "+", "a$b$c"]);
        assert_eq!(words("\"a\"\"b\".\"c\""), ["\"a\"\"b\"", ".", "\"c\""]);
        assert_eq!(words("select 'no end; listen"), ["select", "'no end; listen'"]);
        assert_eq!(words("select $$ no end"), ["select", "' no end'"]);
    }

    proptest! {
        #[test]
        fn every_text_has_an_end(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Tokens::of(&text).count() <= text.len());
        }

        #[test]
        fn what_is_in_a_literal_stays_there(text in "[a-z ;$'\"/*-]{0,40}") {
            let quoted = text.replace('\'', "''");
            let sql = format!("a '{quoted}' b");
            let tokens: Vec<_> = Tokens::of(sql.as_bytes()).collect();
            prop_assert_eq!(tokens.len(), 3, "{}", sql);
        }
    }
}
