//! The extended protocol: pgwire's trait, with the limits that its store has not, and the checks
//! that it leaves to others.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{Sink, SinkExt};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::ExtendedQueryHandler;
use pgwire::api::results::{DescribeStatementResponse, FieldInfo, Response};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Parse, ParseComplete, Sync as SyncMessage,
};
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use wire::{ErrorMessage, SqlState};

use super::command::Statement;
use super::dialogue::{self, Dialogue};
use super::foreign::Foreign;
use super::reply;

/// Gives pgwire our grammar.
#[derive(Clone)]
pub(super) struct Parser(pub(super) Arc<Dialogue>);

#[async_trait]
impl QueryParser for Parser {
    type Statement = Arc<Statement>;

    async fn parse_sql<C>(
        &self,
        _: &C,
        text: &str,
        _: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = self.0.parse(text).map_err(reply::refused)?.into_iter();
        match (statements.next(), statements.next()) {
            (None, _) => Ok(None),
            (Some(statement), None) => Ok(Some(Arc::new(statement))),
            (Some(_), Some(_)) => Err(reply::refused(ErrorMessage::error(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            ))),
        }
    }

    fn get_parameter_types(&self, _: &Self::Statement) -> PgWireResult<Vec<Type>> {
        Ok(Vec::new())
    }

    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        Ok(reply::fields(statement, format))
    }
}

/// The handler of pgwire that is given to its dispatch.
pub(super) struct Extended(pub(super) Arc<Dialogue>);

#[async_trait]
impl ExtendedQueryHandler for Extended {
    type Statement = Arc<Statement>;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(Parser(Arc::clone(&self.0)))
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        self.0.names.lock().may_add_statement(name).map_err(reply::refused)?;
        match StoredStatement::parse(client, &message, self.query_parser()).await? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(name),
        }
        self.0.names.lock().add_statement(name);
        client.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        let of = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        self.0.names.lock().may_add_portal(name).map_err(reply::refused)?;
        let store = client.portal_store();
        let Some(entry) = store.get_statement(of) else {
            return Err(PgWireError::StatementNotFound(of.to_owned()));
        };
        let columns = entry.value().map_or(0, |stored| reply::width(&stored.statement));
        // What is the same whatever it asks for, as the catalogue, may have some.
        let takes_parameters = entry.value().is_some_and(|stored| {
            matches!(&*stored.statement, Statement::Foreign(Foreign::Rows(_)))
        });
        check_bind(&message, columns, takes_parameters).map_err(reply::refused)?;
        match entry {
            Entry::Value(stored) => {
                store.put_portal(Arc::new(Portal::try_new(&message, stored)?));
            }
            Entry::Empty => store.put_empty_portal(name),
        }
        self.0.names.lock().add_portal(name);
        client.feed(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match message.target_type {
            b'S' => {
                self.0.names.lock().remove_statement(name);
                client.portal_store().rm_statement(name);
            }
            _ => {
                self.0.names.lock().remove_portal(name);
                client.portal_store().rm_portal(name);
            }
        }
        client.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }

    /// Outside of a transaction, portals end with it.
    async fn on_sync<C>(&self, client: &mut C, _: SyncMessage) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        if matches!(status, TransactionStatus::Idle) {
            client.portal_store().clear_portals();
            self.0.names.lock().clear_portals();
        }
        client.send(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status))).await?;
        Ok(())
    }

    async fn do_describe_statement<C>(
        &self,
        _: &mut C,
        target: &StoredStatement<Self::Statement>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Ok(DescribeStatementResponse::new(Vec::new(), reply::fields(&target.statement, None)))
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        _: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.0.run(client, dialogue::statement(portal), &portal.result_column_format).await
    }
}

/// Checks what pgwire would look up without looking: formats that are missing end its task.
fn check_bind(message: &Bind, columns: usize, takes_parameters: bool) -> Result<(), ErrorMessage> {
    let violation = |text: String| Err(ErrorMessage::error(SqlState::PROTOCOL_VIOLATION, text));
    let parameters = message.parameters.len();
    if parameters != 0 && !takes_parameters {
        let name = message.statement_name.as_deref().unwrap_or_default();
        return violation(format!(
            "bind message supplies {parameters} parameters, but prepared statement \"{name}\" \
             requires 0"
        ));
    }
    let codes = &message.result_column_format_codes;
    if codes.len() > 1 && codes.len() != columns {
        return violation(format!(
            "bind message has {} result formats but query has {columns} columns",
            codes.len()
        ));
    }
    match codes.iter().find(|code| !matches!(code, 0 | 1)) {
        Some(code) => Err(ErrorMessage::error(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("unsupported format code: {code}"),
        )),
        None => Ok(()),
    }
}
