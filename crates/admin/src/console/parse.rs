//! The console's grammar: PgBouncer's, with the verbs and tables that are ours.

use wire::{ErrorMessage, SqlState};

use super::command::Statement;
use super::foreign::{self, Who};
use super::lexer::{self, Token};
use super::tables::Show;
use crate::order::{Command, Shutdown, Target};

/// Bytes of a name that is told back, and of the longest database name of Postgres.
const NAME_MAX: usize = 63;

/// Bytes of the longest node name.
const NODE_MAX: usize = 255;

/// Bytes of a value of `SET`.
const VALUE_MAX: usize = 4096;

/// Characters of a statement that an error repeats.
const EXCERPT: usize = 60;

/// Understands a statement. `who` asks: some answers are about that.
///
/// # Errors
/// 42601: PgBouncer's "invalid command", or an argument is missing or too long.
pub(crate) fn parse(
    statement: &lexer::Statement<'_>,
    who: &Who,
) -> Result<Statement, ErrorMessage> {
    let invalid = || {
        let mut excerpt: String = statement.source.chars().take(EXCERPT).collect();
        if excerpt.len() < statement.source.len() {
            excerpt.push('…');
        }
        syntax(format!("invalid command '{excerpt}', use SHOW HELP;"))
    };
    let Some((verb, rest)) = statement.tokens.split_first() else { return Err(invalid()) };
    let Token::Word(verb) = verb else { return Err(invalid()) };
    let verb = verb.to_ascii_uppercase();
    match verb.as_str() {
        "SHOW" | "SELECT" => {
            if let [Token::Word(word)] = rest
                && let Some(show) = Show::named(word)
            {
                return Ok(Statement::Show(show));
            }
        }
        "SUSPEND" if rest.is_empty() => return Ok(Statement::Suspend),
        _ => {
            if let Some(command) = command(&verb, rest)? {
                return Ok(Statement::Command(command));
            }
        }
    }
    foreign::parse(&verb, rest, who).map(Statement::Foreign).ok_or_else(invalid)
}

/// `None` if it is no verb of ours.
fn command(verb: &str, rest: &[Token<'_>]) -> Result<Option<Command>, ErrorMessage> {
    Ok(Some(match verb {
        "DISABLE" => Command::Disable(database(rest)?),
        "DRAIN" => Command::Drain(node(rest)?),
        "ENABLE" => Command::Enable(database(rest)?),
        "KILL" => Command::Kill(target(rest)?),
        "KILL_CLIENT" => Command::KillClient(client(rest)?),
        "LOG_LEVEL" => Command::LogLevel(
            argument(rest, VALUE_MAX)?.ok_or_else(|| syntax("a log level is required"))?,
        ),
        "PAUSE" => Command::Pause(target(rest)?),
        "RECONNECT" => Command::Reconnect(target(rest)?),
        "RELOAD" => match rest {
            [] => Command::Reload,
            _ => return Ok(None),
        },
        "RESUME" => Command::Resume(target(rest)?),
        "SET" => return set(rest),
        "SHUTDOWN" => Command::Shutdown(match rest {
            [] => Shutdown::Immediate,
            [word] if word.is("WAIT_FOR_CLIENTS") => Shutdown::WaitForClients,
            [word] if word.is("WAIT_FOR_SERVERS") => Shutdown::WaitForServers,
            _ => return Ok(None),
        }),
        "UNDRAIN" => Command::Undrain(node(rest)?),
        "WAIT_CLOSE" => Command::WaitClose(target(rest)?),
        _ => return Ok(None),
    }))
}

/// One argument or none.
fn argument(rest: &[Token<'_>], max: usize) -> Result<Option<String>, ErrorMessage> {
    let token = match rest {
        [] => return Ok(None),
        [token] => token,
        _ => return Err(syntax("one argument at most, in quotes if it has other characters")),
    };
    match token.text() {
        Some("") => Err(syntax("the argument is empty")),
        Some(text) if text.len() > max => {
            Err(syntax(format!("the argument is longer than {max} bytes")))
        }
        Some(text) if text.chars().any(char::is_control) => {
            Err(syntax("the argument has a control character"))
        }
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(syntax("put an argument with other characters in quotes")),
    }
}

fn target(rest: &[Token<'_>]) -> Result<Target, ErrorMessage> {
    Ok(argument(rest, NAME_MAX)?.map_or(Target::All, Target::Database))
}

fn database(rest: &[Token<'_>]) -> Result<String, ErrorMessage> {
    argument(rest, NAME_MAX)?.ok_or_else(|| syntax("a database is required"))
}

fn node(rest: &[Token<'_>]) -> Result<String, ErrorMessage> {
    argument(rest, NODE_MAX)?
        .ok_or_else(|| syntax("a node is required").with_hint("SHOW CLUSTER lists them."))
}

fn client(rest: &[Token<'_>]) -> Result<u64, ErrorMessage> {
    let wrong = || {
        syntax("a client's number is required").with_hint("It is the column id of SHOW CLIENTS.")
    };
    argument(rest, NAME_MAX)?.and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

/// `SET key = value` and `SET key TO value`; `None` if the key is one of Postgres', which
/// drivers set.
fn set(rest: &[Token<'_>]) -> Result<Option<Command>, ErrorMessage> {
    let [key, between, value @ ..] = rest else { return Ok(None) };
    let (Token::Word(_) | Token::Quoted(_)) = key else { return Ok(None) };
    let key = argument(std::slice::from_ref(key), NODE_MAX)?.unwrap_or_default();
    if (*between != Token::Symbol('=') && !between.is("TO")) || foreign::is_setting(&key) {
        return Ok(None);
    }
    let missing = || syntax(format!("a value for {key} is required, in quotes if it has blanks"));
    match value {
        // An empty text is a value.
        [Token::Text(text)] if text.is_empty() => {
            Ok(Some(Command::Set { key, value: text.clone() }))
        }
        value => {
            let value = argument(value, VALUE_MAX)?.ok_or_else(missing)?;
            Ok(Some(Command::Set { key, value }))
        }
    }
}

fn syntax(message: impl Into<std::borrow::Cow<'static, str>>) -> ErrorMessage {
    ErrorMessage::error(SqlState::SYNTAX_ERROR, message)
}
