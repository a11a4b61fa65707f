//! The few statements that the model of Postgres knows, taken apart.

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sql {
    Empty,
    Begin,
    Commit,
    Rollback,
    /// One row with this text, or with the first parameter.
    Select(String),
    Parameter,
    /// So many rows.
    Rows(u32),
    /// All of a table whose columns the DDL changes.
    Table,
    AlterTable,
    /// A row of its own.
    Insert(u32),
    /// Fails in a transaction block, for there are no savepoints.
    RollbackTo,
    /// Fails when it runs.
    Fail,
    /// Does something with a notice.
    Notice,
    Show(String),
    Set {
        name: String,
        value: Option<String>,
        is_local: bool,
    },
    SetConfig {
        name: String,
        value: String,
    },
    Reset(Option<String>),
    DiscardAll,
    DiscardSequences,
    /// The next value of the one sequence, which the text tells or, as a function's, does not.
    Nextval,
    Takes,
    Lastval,
    DeallocateAll,
    Deallocate(String),
    /// Drops all statements, unseen in text and tag.
    Forget,
    /// Of this name, and what it runs.
    Prepare(String, String),
    /// Of this name.
    Execute(String),
    /// The session's question about what its client has left behind.
    Account,
    CopyIn,
    CopyOut,
}

/// Takes a text apart; `None` is a syntax error, which fails all of it.
pub(crate) fn read(text: &str) -> Option<Vec<Sql>> {
    if text.starts_with("SELECT name, setting FROM pg_catalog.pg_settings") {
        return Some(vec![Sql::Account]);
    }
    let parts: Vec<&str> = text.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Some(vec![Sql::Empty]);
    }
    parts.into_iter().map(read_one).collect()
}

fn read_one(text: &str) -> Option<Sql> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    Some(match words.as_slice() {
        ["begin"] => Sql::Begin,
        ["commit"] => Sql::Commit,
        ["rollback"] => Sql::Rollback,
        ["select", "$1"] => Sql::Parameter,
        ["select", "*", "from", "t"] => Sql::Table,
        ["select", call] if call.starts_with("pg_catalog.set_config(") => return configs(text),
        ["select", call, ..] if call.starts_with("pg_catalog.set_config(") => return configs(text),
        ["select", "nextval()"] => Sql::Nextval,
        ["select", "lastval()"] => Sql::Lastval,
        ["select", value] => Sql::Select((*value).to_owned()),
        ["rows", count] => Sql::Rows(count.parse().ok()?),
        ["alter", "table", "t"] => Sql::AlterTable,
        ["insert"] => Sql::Insert(0),
        ["insert", row] => Sql::Insert(row.parse().ok()?),
        ["rollback", "to", "savepoint", _] => Sql::RollbackTo,
        ["fail"] => Sql::Fail,
        ["notice"] => Sql::Notice,
        ["show", name] => Sql::Show((*name).to_owned()),
        ["set", "local", name, "=", value] => set(name, value, true),
        ["set", name, "=", value] => set(name, value, false),
        ["reset", "all"] => Sql::Reset(None),
        ["reset", name] => Sql::Reset(Some(name.trim_matches('"').to_owned())),
        ["discard", "all"] => Sql::DiscardAll,
        ["discard", "sequences"] => Sql::DiscardSequences,
        ["takes"] => Sql::Takes,
        ["deallocate", "all"] => Sql::DeallocateAll,
        ["deallocate", ..] => deallocate(text),
        ["forget"] => Sql::Forget,
        ["prepare", name, "as", "select", value] => {
            Sql::Prepare((*name).to_owned(), format!("select {value}"))
        }
        ["execute", name] => Sql::Execute((*name).to_owned()),
        ["copy", "t", "from", "stdin"] => Sql::CopyIn,
        ["copy", "t", "to", "stdout"] => Sql::CopyOut,
        _ => return None,
    })
}

fn deallocate(text: &str) -> Sql {
    let name = text["deallocate".len()..].trim();
    let name = match name.split_at_checked("prepare ".len()) {
        Some((word, rest)) if word.eq_ignore_ascii_case("prepare ") => rest.trim(),
        _ => name,
    };
    match name.strip_prefix('"') {
        Some(quoted) => Sql::Deallocate(quoted.trim_end_matches('"').to_owned()),
        None => Sql::Deallocate(name.to_lowercase()),
    }
}

fn set(name: &str, value: &str, is_local: bool) -> Sql {
    let value = (value != "default").then(|| value.to_owned());
    Sql::Set { name: name.to_owned(), value, is_local }
}

/// What the session sends to bring a server to a client's settings. Of several calls in one
/// statement the model does one after the other.
fn configs(text: &str) -> Option<Sql> {
    let quoted: Vec<String> = text
        .split("E'")
        .skip(1)
        .filter_map(|part| part.split('\'').next())
        .map(str::to_owned)
        .collect();
    let pairs: Vec<String> = quoted.chunks(2).map(|pair| pair.join("=")).collect();
    Some(Sql::SetConfig { name: String::new(), value: pairs.join("\n") })
}

impl Sql {
    /// Whether a RowDescription describes it.
    pub(crate) fn has_rows(&self) -> bool {
        matches!(
            self,
            Self::Select(_)
                | Self::Parameter
                | Self::Rows(_)
                | Self::Table
                | Self::Show(_)
                | Self::Nextval
                | Self::Lastval
                | Self::SetConfig { .. }
                | Self::Execute(_)
                | Self::Account
        )
    }

    /// Whether a failed transaction lets it through.
    pub(crate) fn ends_transaction(&self) -> bool {
        matches!(self, Self::Commit | Self::Rollback)
    }

    pub(crate) fn parameters(&self) -> usize {
        usize::from(*self == Self::Parameter)
    }
}
