//! What takes off a server what its client has left, before another has it.
//!
//! Where it is known what that is nothing else is touched: the statements that clients share stay,
//! and the settings, for which the next client's are put on. Each command is one that `DISCARD ALL`
//! consists of: it does its work in any role and under any settings, or fails, and a server on which
//! one fails is closed.

use std::borrow::Cow;
use std::sync::Arc;

use wire::message::TransactionStatus;

use crate::catalog::Catalog;
use crate::classify::Leaves;
use crate::parameters::{LISTEN, is_carried};
use crate::pins::{Pin, Pins};
use crate::sequences::Values;
use crate::server::ServerState;
use crate::unnamed::Unnamed;

/// How much of a server's session is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetKind {
    /// What is known to be left.
    Targeted,
    /// Everything.
    All,
}

/// Takes the signal of a cancel that came too late, where nothing else is to be done.
const NOTHING: &str = "SELECT 1";

impl ServerState {
    /// The SQL that cleans the server after [`crate::Disposition::NeedsReset`], to be run text by
    /// text, and how much it takes away. One text at least.
    pub fn reset_sql(&self) -> (ResetKind, Vec<Cow<'static, str>>) {
        if let Some(sql) = self.targeted_sql() {
            return (ResetKind::Targeted, vec![sql]);
        }
        // Postgres takes DISCARD ALL only alone in a text.
        let rollback = self.in_transaction().then_some("ROLLBACK");
        let texts = rollback.into_iter().chain(["DISCARD ALL"]);
        (ResetKind::All, texts.map(Cow::Borrowed).collect())
    }

    /// `None` if it is not known what is left.
    fn targeted_sql(&self) -> Option<Cow<'static, str>> {
        // A name that stands in may have been dropped in ways that are not seen.
        if self.leaves != Leaves::Nothing || self.stand_in.is_some() {
            return None;
        }
        let mut statements = Vec::new();
        if self.in_transaction() {
            statements.push(Cow::Borrowed("ROLLBACK"));
        }
        for pin in self.pins.iter() {
            statements.push(Cow::Borrowed(match pin {
                Pin::TemporaryObjects => "DISCARD TEMP",
                Pin::AdvisoryLocks => "SELECT pg_catalog.pg_advisory_unlock_all()",
                Pin::HoldableCursors => "CLOSE ALL",
                Pin::Listen => "UNLISTEN *",
                Pin::Sequences => "DISCARD SEQUENCES",
                Pin::PreparedStatements | Pin::Unknown | Pin::Unaccountable => return None,
            }));
        }
        if self.pins.has(Pin::Listen)
            && let Some(listens) = self.parameters.get(LISTEN)
        {
            statements.push(Cow::Owned(listens.to_owned()));
        }
        Some(match statements.as_slice() {
            [] => Cow::Borrowed(NOTHING),
            _ => Cow::Owned(statements.join("; ")),
        })
    }

    /// Shows a parameter that the server reports while [`ServerState::reset_sql`] runs.
    pub fn on_reset_parameter(
        &mut self,
        kind: ResetKind,
        catalog: &Catalog,
        name: &str,
        value: &str,
    ) {
        let changed = match kind {
            // As it was before the transaction that is rolled back.
            ResetKind::Targeted => &mut self.parameters,
            // Its login's value is this now: the server's configuration may have changed.
            ResetKind::All => &mut self.login_parameters,
        };
        if is_carried(name) {
            *changed = catalog.changed(changed, [(name, value)]);
        }
    }

    /// Notes that [`ServerState::reset_sql`] has run: nothing of any client is left, but for
    /// settings, after a targeted one, which are known.
    pub fn after_reset(&mut self, kind: ResetKind) {
        self.end_lease();
        if kind == ResetKind::All || self.pins.has(Pin::Sequences) {
            self.sequences.values = Values::Own;
        }
        if kind == ResetKind::All {
            self.statements.clear();
            self.names.clear();
            self.parameters = Arc::clone(&self.login_parameters);
            self.has_foreign_role = false;
        }
        self.status = TransactionStatus::Idle;
        self.schema.on_idle();
        self.leaves = Leaves::Nothing;
        self.pins = Pins::default();
        self.stand_in = None;
        self.unnamed = Unnamed::Absent;
    }

    /// Notes that the server has been used beside the session: its next reset takes everything.
    pub fn distrust(&mut self) {
        self.note_leaves(Leaves::Unaccountable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statements::Presence;

    fn server() -> (Catalog, ServerState) {
        let catalog = Catalog::default();
        let login = catalog.parameters([("TimeZone", "UTC")]);
        (catalog, ServerState::new(login, 10))
    }

    fn texts(server: &ServerState) -> String {
        let (_, texts) = server.reset_sql();
        texts.join(" | ")
    }

    #[test]
    fn what_is_known_is_taken_away_and_nothing_else() {
        let (_, mut server) = server();
        assert_eq!(server.reset_sql(), (ResetKind::Targeted, vec![Cow::Borrowed("SELECT 1")]));
        for (pins, sql) in [
            (vec![Pin::TemporaryObjects], "DISCARD TEMP"),
            (vec![Pin::AdvisoryLocks], "SELECT pg_catalog.pg_advisory_unlock_all()"),
            (vec![Pin::HoldableCursors], "CLOSE ALL"),
            (vec![Pin::Listen], "UNLISTEN *"),
            (vec![Pin::Sequences], "DISCARD SEQUENCES"),
            (vec![Pin::HoldableCursors, Pin::TemporaryObjects], "DISCARD TEMP; CLOSE ALL"),
        ] {
            server.pins = pins.into_iter().collect();
            assert_eq!(texts(&server), sql);
            server.status = TransactionStatus::Failed;
            assert_eq!(texts(&server), format!("ROLLBACK; {sql}"));
            let forgets = server.pins.has(Pin::Sequences);
            server.after_reset(ResetKind::Targeted);
            assert_eq!(texts(&server), NOTHING);
            assert_eq!(server.sequences.values == Values::Own, forgets, "{sql}");
        }
    }

    #[test]
    fn everything_is_where_anything_is_not_known() {
        for pin in Pin::ALL {
            let (_, mut server) = server();
            server.pins = [Pin::AdvisoryLocks, pin].into_iter().collect();
            let is_unsure =
                matches!(pin, Pin::PreparedStatements | Pin::Unknown | Pin::Unaccountable);
            assert_eq!(texts(&server) == "DISCARD ALL", is_unsure, "{pin:?}");
            for leaves in [Leaves::Ask, Leaves::Unaccountable] {
                server.leaves = leaves;
                assert_eq!(texts(&server), "DISCARD ALL", "{pin:?}");
            }
            server.status = TransactionStatus::Open;
            assert_eq!(texts(&server), "ROLLBACK | DISCARD ALL", "{pin:?}");
        }
        let (_, mut server) = server();
        server.stand_in = Some(Box::from(&b"s1"[..]));
        server.end_lease();
        assert_eq!(texts(&server), "DISCARD ALL");
        server.after_reset(ResetKind::All);
        assert_eq!(texts(&server), NOTHING);
        server.distrust();
        assert_eq!(texts(&server), "DISCARD ALL");
    }

    #[test]
    fn settings_stay_known() {
        let (catalog, mut server) = server();
        let set =
            catalog.parameters([("TimeZone", "cet"), ("role", "a"), (LISTEN, "LISTEN \"x\"")]);
        server.parameters = Arc::clone(&set);
        server.pins = [Pin::Listen].into_iter().collect();
        assert_eq!(texts(&server), "UNLISTEN *; LISTEN \"x\"");
        server.after_reset(ResetKind::Targeted);
        assert_eq!(server.parameters, set);
        assert!(server.has_foreign_role, "there may be another role of that name soon");
        server.on_reset_parameter(ResetKind::Targeted, &catalog, "TimeZone", "gmt");
        assert_eq!(server.parameters.get("timezone"), Some("gmt"));
        assert_eq!(server.login_parameters.get("timezone"), Some("UTC"));
        server.on_reset_parameter(ResetKind::All, &catalog, "TimeZone", "est");
        server.after_reset(ResetKind::All);
        assert_eq!(server.parameters, catalog.parameters([("TimeZone", "est")]));
        assert!(!server.has_foreign_role);
    }

    #[test]
    fn what_a_transaction_that_is_rolled_back_has_changed_counts() {
        let (_, mut server) = server();
        server.schema.on_tag(b"ALTER TABLE");
        server.after_reset(ResetKind::Targeted);
        assert_eq!(server.schema.now(), 2);
    }

    #[test]
    fn statements_stay_but_those_that_may_mean_temporary_objects_are_parsed_again() {
        let (catalog, mut server) = server();
        let [shared, used, own] = [b"a\0\0\0", b"b\0\0\0", b"c\0\0\0"]
            .map(|definition| catalog.statement(&server.parameters, 0, definition));
        server.statements.insert(Arc::clone(&shared));
        server.statements.insert(Arc::clone(&used));
        server.end_lease();
        server.pins = [Pin::AdvisoryLocks].into_iter().collect();
        server.statements.touch(used.id);
        server.after_reset(ResetKind::Targeted);
        assert_eq!(server.statements.touch(used.id), Presence::Present);
        server.end_lease();
        server.statements.touch(used.id);
        server.statements.insert(Arc::clone(&own));
        server.pins = [Pin::TemporaryObjects].into_iter().collect();
        // A lease that ends by itself has ended when its server is reset.
        server.end_lease();
        server.after_reset(ResetKind::Targeted);
        assert_eq!(server.statements.touch(used.id), Presence::Stale);
        assert_eq!(server.statements.touch(own.id), Presence::Stale);
        assert_eq!(server.statements.touch(shared.id), Presence::Present);
        server.after_reset(ResetKind::All);
        assert_eq!(server.statement_count(), 0);
    }
}
