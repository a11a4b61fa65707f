//! Words, names, texts and symbols of the console's little language, statement by statement.
//! Quotes and comments are those of SQL.

use wire::{ErrorMessage, SqlState};

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A bare word or number: letters, digits, `_`, `.`, `-`.
    Word(&'a str),
    /// A "quoted" name, without its quotes.
    Quoted(String),
    /// A 'text', without its quotes.
    Text(String),
    /// Anything else.
    Symbol(char),
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    /// As it was written, without the semicolon.
    pub(crate) source: &'a str,
    /// Its tokens; at least one.
    pub(crate) tokens: Vec<Token<'a>>,
}

impl Token<'_> {
    /// Whether it is this word, in any case.
    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text.eq_ignore_ascii_case(word))
    }

    /// The text of a word, a name or a text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Word(text) => Some(text),
            Self::Quoted(text) | Self::Text(text) => Some(text),
            Self::Symbol(_) => None,
        }
    }
}

/// Splits a text into its statements; those that have no token are left out.
///
/// # Errors
/// 42601: a quote or a comment has no end.
pub(crate) fn statements(text: &str) -> Result<Vec<Statement<'_>>, ErrorMessage> {
    let mut found = Vec::new();
    let mut tokens = Vec::new();
    let mut lexer = Lexer { text, at: 0 };
    let mut start = 0;
    while let Some(token) = lexer.token()? {
        if token != Token::Symbol(';') {
            tokens.push(token);
            continue;
        }
        let source = text.get(start..lexer.at).unwrap_or_default();
        push(&mut found, source.strip_suffix(';').unwrap_or(source), &mut tokens);
        start = lexer.at;
    }
    push(&mut found, text.get(start..).unwrap_or_default(), &mut tokens);
    Ok(found)
}

fn push<'a>(found: &mut Vec<Statement<'a>>, source: &'a str, tokens: &mut Vec<Token<'a>>) {
    if !tokens.is_empty() {
        found.push(Statement { source: source.trim(), tokens: std::mem::take(tokens) });
    }
}

struct Lexer<'a> {
    text: &'a str,
    /// Always on a boundary of characters.
    at: usize,
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '-')
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn token(&mut self) -> Result<Option<Token<'a>>, ErrorMessage> {
        self.skip_blanks()?;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(None) };
        Ok(Some(match first {
            '"' => Token::Quoted(self.quoted('"')?),
            '\'' => Token::Text(self.quoted('\'')?),
            _ if is_word(first) => {
                let end = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
                let word = rest.get(..end).unwrap_or_default();
                // A comment may follow without a blank.
                let word = word.split_once("--").map_or(word, |(word, _)| word);
                self.at += word.len();
                Token::Word(word)
            }
            _ => {
                self.at += first.len_utf8();
                Token::Symbol(first)
            }
        }))
    }

    fn skip_blanks(&mut self) -> Result<(), ErrorMessage> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            if blank > 0 {
                self.at += blank;
            } else if rest.starts_with("--") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.at += comment_len(rest).ok_or_else(|| unterminated("/* comment"))?;
            } else {
                return Ok(());
            }
        }
    }

    /// Doubled quotes stand for one.
    fn quoted(&mut self, quote: char) -> Result<String, ErrorMessage> {
        let mut text = String::new();
        let mut rest = self.rest().char_indices().skip(1).peekable();
        while let Some((at, character)) = rest.next() {
            if character != quote {
                text.push(character);
            } else if rest.next_if(|(_, next)| *next == quote).is_some() {
                text.push(quote);
            } else {
                self.at += at + quote.len_utf8();
                return Ok(text);
            }
        }
        Err(unterminated(if quote == '"' { "quoted identifier" } else { "quoted string" }))
    }
}

/// Bytes of the comment that `text` starts with; comments nest.
fn comment_len(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let step = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth = depth.saturating_sub(1);
            2
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn unterminated(what: &str) -> ErrorMessage {
    ErrorMessage::error(SqlState::SYNTAX_ERROR, format!("unterminated {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sources(text: &str) -> Vec<&str> {
        statements(text).unwrap().iter().map(|it| it.source).collect()
    }

    #[test]
    fn semicolons_in_quotes_and_comments_do_not_split() {
        assert_eq!(sources("a ; b"), ["a", "b"]);
        assert_eq!(sources("a 'x;''y' ; \"p;\"\"q\""), ["a 'x;''y'", "\"p;\"\"q\""]);
        assert_eq!(sources(";; /* ; /* ; */ ; */ -- ;\n ;a--;\n;"), ["a--;"]);
        assert!(sources(" -- nothing").is_empty());
    }

    #[test]
    fn tokens_are_what_they_stand_for() {
        let found = statements("SET a.b-c='it''s' \"x\"\"y\" ü, 1.5").unwrap();
        let tokens = &found[0].tokens;
        assert_eq!(
            tokens[..],
            [
                Token::Word("SET"),
                Token::Word("a.b-c"),
                Token::Symbol('='),
                Token::Text("it's".into()),
                Token::Quoted("x\"y".into()),
                Token::Word("ü"),
                Token::Symbol(','),
                Token::Word("1.5"),
            ]
        );
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for text in ["'a", "\"a", "/* a", "/* /* */", "a 'b''", "/*/"] {
            let error = statements(text).unwrap_err();
            assert_eq!(error.state, SqlState::SYNTAX_ERROR, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_split_or_refused(text in "[ -~\\n;'\"/*ü-]{0,40}") {
            if let Ok(found) = statements(&text) {
                for statement in found {
                    prop_assert!(!statement.tokens.is_empty());
                    prop_assert_eq!(statements(statement.source).unwrap().len(), 1);
                }
            }
        }

        #[test]
        fn a_quoted_text_reads_back(text in any::<String>()) {
            let quoted = format!("'{}'", text.replace('\'', "''"));
            let found = statements(&quoted).unwrap();
            prop_assert_eq!(&found[0].tokens[..], &[Token::Text(text)][..]);
        }
    }
}
