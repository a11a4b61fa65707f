//! pgwire's values from ours: errors, columns, rows.

use std::sync::Arc;

use futures_util::stream;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response};
use pgwire::error::{ErrorInfo, PgWireError};
use wire::{ErrorMessage, SqlState};

use super::answers::Rows;
use super::command::Statement;
use super::foreign::Foreign;
use super::value::{Kind, Value};

/// An error or notice, field by field.
pub(super) fn info(message: ErrorMessage) -> ErrorInfo {
    let severity = message.severity.as_str().to_owned();
    let state = message.state.as_str().to_owned();
    let mut info = ErrorInfo::new(severity.clone(), state, message.message.into_owned());
    info.severity_nonlocalized = Some(severity);
    info.detail = message.detail.map(Into::into);
    info.hint = message.hint.map(Into::into);
    info
}

/// An error to return from a query.
pub(super) fn refused(message: ErrorMessage) -> PgWireError {
    PgWireError::UserError(Box::new(info(message)))
}

/// Errors of pgwire's own, in Postgres' words and codes.
pub(super) fn in_postgres_words(error: PgWireError) -> PgWireError {
    let missing = |state, what: &str, name: &str| {
        let message = match name {
            pgwire::api::DEFAULT_NAME => format!("unnamed {what} does not exist"),
            name => format!("{what} \"{name}\" does not exist"),
        };
        refused(ErrorMessage::error(state, message))
    };
    match &error {
        PgWireError::StatementNotFound(name) => {
            missing(SqlState::INVALID_SQL_STATEMENT_NAME, "prepared statement", name)
        }
        PgWireError::PortalNotFound(name) => missing(SqlState::INVALID_CURSOR_NAME, "portal", name),
        _ => error,
    }
}

/// The columns of a statement's answer; none if it has no rows.
fn columns(statement: &Statement) -> Vec<(String, Kind)> {
    match statement {
        Statement::Show(show) => {
            show.columns().iter().map(|&(name, kind)| (name.to_owned(), kind)).collect()
        }
        Statement::Foreign(Foreign::Rows(rows)) => rows.columns.clone(),
        Statement::Foreign(_) | Statement::Command(_) | Statement::Suspend => Vec::new(),
    }
}

/// How many columns its answer has.
pub(super) fn width(statement: &Statement) -> usize {
    columns(statement).len()
}

/// The columns as RowDescription tells them. `format` has none, one, or as many codes as there
/// are columns: Bind has seen to it.
pub(super) fn fields(statement: &Statement, format: Option<&Format>) -> Vec<FieldInfo> {
    let field = |(index, (name, kind)): (usize, (String, Kind))| {
        let format = format.map_or(FieldFormat::Text, |format| format.format_for(index));
        FieldInfo::new(name, None, None, kind.to_type(), format).with_type_size(kind.size())
    };
    columns(statement).into_iter().enumerate().map(field).collect()
}

/// An answer whose rows are encoded as they are sent.
pub(super) fn response(tag: &str, fields: Vec<FieldInfo>, rows: Rows) -> Response {
    let fields = Arc::new(fields);
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    let width = fields.len();
    let encoded = rows.map(move |row: Vec<Value>| {
        if row.len() != width {
            return Err(PgWireError::ApiError("a row is not as wide as its table".into()));
        }
        row.iter().try_for_each(|value| encoder.encode_field(value))?;
        Ok(encoder.take_row())
    });
    let mut response = QueryResponse::new(fields, stream::iter(encoded));
    response.set_command_tag(tag);
    Response::Query(response)
}
