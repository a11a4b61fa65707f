//! RESET goes back to the settings of a login: on the server to those of its own, while the
//! client means those of the client's.

use std::sync::Arc;

use wire::message;

use crate::classify::has_word;
use crate::parameters::is_setting;
use crate::server::ServerState;
use crate::session::Session;

/// Which settings the texts of this lease may have reset.
#[derive(Debug, Default)]
pub(crate) enum Reset {
    #[default]
    Nothing,
    /// Those of these names.
    Named(Vec<Arc<str>>),
    All,
}

impl Reset {
    fn covers(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Named(names) => names.iter().any(|named| **named == *name),
            Self::All => true,
        }
    }

    pub(crate) fn is_some(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

impl Session {
    /// Notes which of the client's startup settings a text takes back to their defaults.
    pub(crate) fn note_reset(&self, text: &[u8], server: &mut ServerState) {
        let resets = has_word(text, b"reset") || has_word(text, b"discard");
        if resets && has_word(text, b"all") {
            server.reset = Reset::All;
        }
        if !resets && !has_word(text, b"default") {
            return;
        }
        let mut names = match std::mem::take(&mut server.reset) {
            Reset::Nothing => Vec::new(),
            Reset::Named(names) => names,
            Reset::All => {
                server.reset = Reset::All;
                return;
            }
        };
        let named = |name: &str| {
            has_word(text, name.as_bytes())
                // RESET TIME ZONE is written apart.
                || (name.eq_ignore_ascii_case("timezone") && has_word(text, b"zone"))
        };
        names.extend(
            self.startup.values.iter().map(|(name, _)| name).filter(|name| named(name)).cloned(),
        );
        if !names.is_empty() {
            server.reset = Reset::Named(names);
        }
    }

    /// Settings were reset, and are as at the server's login now. The client is told that
    /// they are as at its own; they will be before its next transaction.
    pub(crate) fn back_to_startup(&mut self, server: &mut ServerState, to_client: &mut Vec<u8>) {
        if server.in_transaction() {
            server.keep_parameters(&self.parameters);
        }
        let login = &server.login_parameters;
        let reset: Vec<(&str, &str)> = self
            .startup
            .changes_from(&self.parameters)
            .filter(|(name, _)| server.reset.covers(name))
            .filter(|(name, _)| server.parameters.get(name) == login.get(name))
            .collect();
        for (name, value) in reset.iter().filter(|(name, _)| login.get(name).is_some()) {
            message::put_parameter_status(to_client, name, value);
        }
        let wanted = self.catalog.changed(&self.parameters, reset);
        // What servers do not report has not been seen to change. Of roles and LISTEN RESET ALL takes
        // nothing.
        let is_kept = |name: &str| {
            login.get(name).is_some() || !server.reset.covers(name) || !is_setting(name)
        };
        // What the client has set in an earlier transaction must not come back in this one.
        let own = |name: &str| is_kept(name) || self.startup.get(name).is_some();
        self.parameters = self.catalog.parameters(wanted.iter().filter(|(name, _)| own(name)));
        let there = server.parameters.iter().filter(|(name, _)| is_kept(name));
        server.parameters = self.catalog.parameters(there);
        if server.is_quiet() {
            server.reset = Reset::Nothing;
        }
    }
}
