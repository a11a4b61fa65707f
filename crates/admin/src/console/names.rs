//! The names that a client has given to statements and portals: pgwire's store has no limit.

use std::collections::BTreeSet;

use pgwire::api::DEFAULT_NAME;
use wire::{ErrorMessage, SqlState};

/// Named statements of a client. Drivers' caches hold at most a hundred, and say what is in them.
const STATEMENTS_MAX: usize = 64;

/// Named portals: each may hold the rows of an answer.
const PORTALS_MAX: usize = 16;

/// What is in the store under a name of its own.
#[derive(Debug, Default)]
pub(super) struct Names {
    statements: BTreeSet<String>,
    portals: BTreeSet<String>,
}

impl Names {
    /// Whether a statement of this name may be stored. The one without a name always may.
    ///
    /// # Errors
    /// 42P05: the name is taken. 53400: there are too many.
    pub(super) fn may_add_statement(&self, name: &str) -> Result<(), ErrorMessage> {
        may_add(
            &self.statements,
            name,
            (SqlState::DUPLICATE_PREPARED_STATEMENT, "prepared statement"),
            STATEMENTS_MAX,
        )
    }

    /// Whether a portal of this name may be stored.
    ///
    /// # Errors
    /// 42P03: the name is taken. 53400: there are too many.
    pub(super) fn may_add_portal(&self, name: &str) -> Result<(), ErrorMessage> {
        may_add(&self.portals, name, (SqlState::DUPLICATE_CURSOR, "portal"), PORTALS_MAX)
    }

    pub(super) fn add_statement(&mut self, name: &str) {
        add(&mut self.statements, name);
    }

    pub(super) fn add_portal(&mut self, name: &str) {
        add(&mut self.portals, name);
    }

    pub(super) fn remove_statement(&mut self, name: &str) {
        self.statements.remove(name);
    }

    pub(super) fn remove_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    pub(super) fn clear_portals(&mut self) {
        self.portals.clear();
    }

    /// Takes all statements out.
    pub(super) fn take_statements(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.statements)
    }
}

fn add(names: &mut BTreeSet<String>, name: &str) {
    if name != DEFAULT_NAME {
        names.insert(name.to_owned());
    }
}

fn may_add(
    names: &BTreeSet<String>,
    name: &str,
    (taken, what): (SqlState, &'static str),
    max: usize,
) -> Result<(), ErrorMessage> {
    if name == DEFAULT_NAME {
        return Ok(());
    }
    if names.contains(name) {
        return Err(ErrorMessage::error(taken, format!("{what} \"{name}\" already exists")));
    }
    if names.len() >= max {
        let message = format!("the console keeps at most {max} named {what}s");
        return Err(ErrorMessage::error(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message)
            .with_hint("Close one, or use the one without a name."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_few_and_different() {
        let mut names = Names::default();
        for index in 0..STATEMENTS_MAX {
            let name = format!("s{index}");
            assert_eq!(names.may_add_statement(&name), Ok(()));
            names.add_statement(&name);
        }
        let state = |result: Result<(), ErrorMessage>| result.unwrap_err().state;
        assert_eq!(state(names.may_add_statement("more")), SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        assert_eq!(state(names.may_add_statement("s1")), SqlState::DUPLICATE_PREPARED_STATEMENT);
        assert_eq!(names.may_add_statement(DEFAULT_NAME), Ok(()));
        names.remove_statement("s1");
        assert_eq!(names.may_add_statement("s1"), Ok(()));
        assert_eq!(names.take_statements().len(), STATEMENTS_MAX - 1);
        names.add_portal("p");
        assert_eq!(state(names.may_add_portal("p")), SqlState::DUPLICATE_CURSOR);
        names.clear_portals();
        assert_eq!(names.may_add_portal("p"), Ok(()));
    }
}
