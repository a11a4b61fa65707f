//! One client of the console: what each statement does, and pgwire's two traits of queries.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, Sink, SinkExt};
use parking_lot::Mutex;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{send_execution_response, send_query_response, send_ready_for_query};
use pgwire::api::results::{Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wire::{ErrorMessage, Severity, SqlState};

use super::answers::{self, View};
use super::command::{Statement, authorise};
use super::foreign::{Foreign, Who};
use super::names::Names;
use super::tables::Show;
use super::{Desk, help, lexer, parse, reply};
use crate::facts::{Done, Operator, Outcome, Right};
use crate::order::{Command, Target};

/// The longest that an order is waited for.
const ORDER_MAX: Duration = Duration::from_secs(3600);

/// A client and what it has.
pub(super) struct Dialogue {
    pub(super) desk: Arc<Desk>,
    pub(super) who: Who,
    pub(super) operator: Operator,
    pub(super) right: Right,
    /// Woken by cancel requests.
    pub(super) cancelled: Arc<Notify>,
    /// Cancelled when the client has closed its end.
    pub(super) gone: CancellationToken,
    pub(super) names: Mutex<Names>,
}

/// What pgwire asks of a client's connection.
pub(super) trait Client:
    ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync
{
}

impl<C> Client for C where
    C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync
{
}

impl Dialogue {
    /// Understands each statement of a text, so that none runs if one is broken.
    pub(super) fn parse(&self, text: &str) -> Result<Vec<Statement>, ErrorMessage> {
        let statements = lexer::statements(text)?;
        statements.iter().map(|statement| parse::parse(statement, &self.who)).collect()
    }

    /// Does what a statement says, if it may. Notices go out at once.
    pub(super) async fn run<C>(
        &self,
        client: &mut C,
        statement: &Statement,
        format: &Format,
    ) -> PgWireResult<Response>
    where
        C: Client,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let is_failed = matches!(client.transaction_status(), TransactionStatus::Error);
        let ends = matches!(statement, Statement::Foreign(Foreign::Commit | Foreign::Rollback));
        if is_failed && !ends {
            return Err(reply::refused(ErrorMessage::error(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            )));
        }
        if let Err(error) = authorise(statement, self.right) {
            self.forbidden(statement);
            return Err(reply::refused(error));
        }
        let fields = || reply::fields(statement, Some(format));
        match statement {
            Statement::Show(Show::Help) => {
                notify(client, help::usage()).await?;
                Ok(Response::Execution(Tag::new("SHOW")))
            }
            Statement::Show(Show::Fds) => Err(reply::refused(help::no_fds())),
            Statement::Show(show) => Ok(reply::response("SHOW", fields(), self.rows(*show))),
            Statement::Suspend => Err(reply::refused(help::no_suspend())),
            Statement::Command(command) => {
                let done = self.order(command).await.map_err(reply::refused)?;
                for notice in done.notices {
                    notify(client, notice_of(notice)).await?;
                }
                Ok(Response::Execution(Tag::new(command.verb())))
            }
            Statement::Foreign(Foreign::Rows(rows)) => {
                let made = Box::new(rows.rows.clone().into_iter());
                Ok(reply::response(rows.tag, fields(), made))
            }
            Statement::Foreign(Foreign::Begin(tag)) => {
                Ok(Response::TransactionStart(Tag::new(tag)))
            }
            Statement::Foreign(Foreign::Commit) if !is_failed => {
                Ok(Response::TransactionEnd(Tag::new("COMMIT")))
            }
            Statement::Foreign(Foreign::Commit | Foreign::Rollback) => {
                Ok(Response::TransactionEnd(Tag::new("ROLLBACK")))
            }
            Statement::Foreign(Foreign::Deallocate(name)) => {
                Ok(Response::Execution(self.deallocate(client.portal_store(), name.as_deref())))
            }
            Statement::Foreign(Foreign::Noted { tag, notice }) => {
                if let Some(notice) = notice {
                    notify(client, notice_of((*notice).to_owned())).await?;
                }
                Ok(Response::Execution(Tag::new(tag)))
            }
        }
    }

    fn rows(&self, show: Show) -> answers::Rows {
        let averages = self.desk.averages.lock().clone();
        let view = View {
            facts: &*self.desk.facts,
            averages: &averages,
            consoles: self.desk.clients.lock().values().cloned().collect(),
            database: &self.desk.config.database,
            version: self.desk.config.version,
            right: self.right,
        };
        answers::rows(show, &view)
    }

    fn deallocate(&self, store: &impl PortalStore, name: Option<&str>) -> Tag {
        let mut names = self.names.lock();
        match name {
            Some(name) => {
                names.remove_statement(name);
                store.rm_statement(name);
                Tag::new("DEALLOCATE")
            }
            None => {
                for name in names.take_statements() {
                    store.rm_statement(&name);
                }
                Tag::new("DEALLOCATE ALL")
            }
        }
    }

    fn forbidden(&self, statement: &Statement) {
        match statement {
            Statement::Command(command) => {
                self.ended(command.verb(), &command.to_string(), Outcome::Forbidden);
            }
            Statement::Suspend => self.ended("SUSPEND", "SUSPEND", Outcome::Forbidden),
            Statement::Show(_) | Statement::Foreign(_) => {}
        }
    }

    /// Gives an order and waits for it, unless the client does not want to any more.
    async fn order(&self, command: &Command) -> Result<Done, ErrorMessage> {
        if let Err(error) = self.refuse_own(command) {
            self.ended(command.verb(), &command.to_string(), Outcome::Refused);
            return Err(error);
        }
        // A cancel that came when nothing was waited for means nothing.
        while self.cancelled.notified().now_or_never().is_some() {}
        let given_up = |state, message: &'static str| {
            let error = ErrorMessage::error(state, message);
            Err(error.with_detail("The order stands: only the waiting for it has ended."))
        };
        let user_request = "canceling statement due to user request";
        let carried_out = self.desk.operate.carry_out(command.clone(), &self.operator);
        let (result, abandoned) = tokio::select! {
            biased;
            result = carried_out => (result, false),
            () = self.cancelled.notified() => {
                (given_up(SqlState::QUERY_CANCELED, user_request), true)
            }
            () = self.gone.cancelled() => (given_up(SqlState::QUERY_CANCELED, user_request), true),
            () = self.desk.stop.cancelled() => {
                (given_up(SqlState::ADMIN_SHUTDOWN, "pgmesh is shutting down"), true)
            }
            () = sleep(ORDER_MAX) => {
                (given_up(SqlState::QUERY_CANCELED, "canceling statement after an hour"), true)
            }
        };
        let outcome = match (&result, abandoned) {
            (Ok(_), _) => Outcome::Done,
            (Err(_), true) => Outcome::Abandoned,
            (Err(_), false) => Outcome::Refused,
        };
        self.ended(command.verb(), &command.to_string(), outcome);
        result
    }

    /// The console itself is not paused, and so on.
    fn refuse_own(&self, command: &Command) -> Result<(), ErrorMessage> {
        let (Command::Disable(name)
        | Command::Enable(name)
        | Command::Kill(Target::Database(name))
        | Command::Pause(Target::Database(name))
        | Command::Reconnect(Target::Database(name))
        | Command::Resume(Target::Database(name))
        | Command::WaitClose(Target::Database(name))) = command
        else {
            return Ok(());
        };
        if *name != self.desk.config.database && *name != self.who.database {
            return Ok(());
        }
        let verb = command.verb().to_lowercase();
        Err(ErrorMessage::error(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("cannot {verb} admin db: {name}"),
        ))
    }

    /// The audit log: who wanted what, and whether it was done.
    fn ended(&self, verb: &'static str, command: &str, outcome: Outcome) {
        let Operator { user, client, peer } = &self.operator;
        let outcome_word = outcome.as_str();
        tracing::info!(
            target: "audit",
            event = "console_command",
            %user, client, %peer, %command, outcome = outcome_word,
            "console command"
        );
        self.desk.operate.ended(verb, outcome);
    }
}

fn notice_of(text: String) -> ErrorMessage {
    let message = ErrorMessage::error(SqlState::SUCCESSFUL_COMPLETION, text);
    ErrorMessage { severity: Severity::Notice, ..message }
}

async fn notify<C>(client: &mut C, notice: ErrorMessage) -> PgWireResult<()>
where
    C: Client,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let notice = PgWireBackendMessage::NoticeResponse(reply::info(notice).into());
    client.feed(notice).await?;
    Ok(())
}

#[async_trait]
impl pgwire::api::query::SimpleQueryHandler for Dialogue {
    /// Answers each statement before the next one runs: what is kept at a time is one answer.
    async fn on_query<C>(
        &self,
        client: &mut C,
        query: pgwire::messages::simplequery::Query,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = self.parse(&query.query).map_err(reply::refused)?;
        if statements.is_empty() {
            client
                .feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
                .await?;
        }
        for statement in &statements {
            let status = client.transaction_status();
            match self.run(client, statement, &Format::UnifiedText).await? {
                Response::Query(rows) => send_query_response(client, rows, true).await?,
                Response::TransactionStart(tag) => {
                    send_execution_response(client, tag).await?;
                    client.set_transaction_status(status.to_in_transaction_state());
                }
                Response::TransactionEnd(tag) => {
                    send_execution_response(client, tag).await?;
                    client.set_transaction_status(status.to_idle_state());
                }
                Response::Execution(tag) => send_execution_response(client, tag).await?,
                // Not made here.
                _ => return Err(PgWireError::ApiError("unexpected response".into())),
            }
        }
        send_ready_for_query(client, client.transaction_status()).await
    }

    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // on_query does all of it.
        Ok(Vec::new())
    }
}

/// The statement that a portal runs.
pub(super) fn statement(portal: &Portal<Arc<Statement>>) -> &Statement {
    &portal.statement.statement
}
