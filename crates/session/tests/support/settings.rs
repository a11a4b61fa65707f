//! The settings of a model session: values, what a transaction takes back, what is reported.

use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Values = BTreeMap<String, String>;

/// The names that the model reports, as servers spell them.
pub(crate) const REPORTED: [&str; 3] = ["DateStyle", "TimeZone", "application_name"];

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    login: Values,
    now: Values,
    /// As they were when the transaction began.
    before: Option<Values>,
    /// What the commit goes back to for what was set for the transaction only.
    after_local: Values,
    reported: Values,
    /// Those that were set by the session, now and when the transaction began.
    session: BTreeSet<String>,
    session_before: BTreeSet<String>,
}

fn spell(name: &str) -> String {
    let known = REPORTED.iter().find(|known| known.eq_ignore_ascii_case(name));
    known.map_or_else(|| name.to_lowercase(), |known| (*known).to_owned())
}

impl Settings {
    pub(crate) fn new(login: &[(&str, &str)]) -> Self {
        let mut all = Values::new();
        for name in REPORTED.into_iter().chain(["lock_timeout", "statement_timeout"]) {
            all.insert(spell(name), "default".to_owned());
        }
        all.extend(login.iter().map(|(name, value)| (spell(name), (*value).to_owned())));
        Self {
            login: all.clone(),
            reported: all.clone(),
            now: all,
            before: None,
            after_local: Values::new(),
            session: BTreeSet::new(),
            session_before: BTreeSet::new(),
        }
    }

    pub(crate) fn show(&self, name: &str) -> Option<&str> {
        self.now.get(&spell(name)).map(String::as_str)
    }

    /// What the session has set, with its values.
    pub(crate) fn of_session(&self) -> Vec<(String, String)> {
        self.session.iter().map(|name| (name.clone(), self.now[name].clone())).collect()
    }

    /// Names of settings that are not as at login and are not reported.
    pub(crate) fn left_behind(&self) -> Vec<&str> {
        let changed = self.now.iter().filter(|(name, value)| self.login.get(*name) != Some(value));
        changed.map(|(name, _)| name.as_str()).filter(|name| !REPORTED.contains(name)).collect()
    }

    pub(crate) fn begin(&mut self) {
        if self.before.is_none() {
            self.before = Some(self.now.clone());
            self.session_before = self.session.clone();
        }
    }

    pub(crate) fn commit(&mut self) {
        self.before = None;
        self.now.append(&mut self.after_local);
    }

    pub(crate) fn rollback(&mut self) {
        if let Some(before) = self.before.take() {
            self.now = before;
            self.session = self.session_before.clone();
        }
        self.after_local.clear();
    }

    /// False if there is no such setting.
    pub(crate) fn set(&mut self, name: &str, value: &str, is_local: bool) -> bool {
        let name = spell(name);
        let Some(old) = self.now.get(&name).cloned() else { return false };
        if is_local {
            self.after_local.entry(name.clone()).or_insert(old);
        } else {
            self.after_local.remove(&name);
            self.session.insert(name.clone());
        }
        self.now.insert(name, value.to_owned());
        true
    }

    pub(crate) fn reset(&mut self, name: &str) -> bool {
        match self.login.get(&spell(name)).cloned() {
            Some(value) => {
                let is_known = self.set(name, &value, false);
                self.session.remove(&spell(name));
                is_known
            }
            None => false,
        }
    }

    pub(crate) fn reset_all(&mut self) {
        self.now = self.login.clone();
        self.session.clear();
        self.after_local.clear();
    }

    /// What has to be reported, as before a ReadyForQuery.
    pub(crate) fn take_reports(&mut self) -> Values {
        let mut changed = Values::new();
        for name in REPORTED {
            let value = &self.now[name];
            if self.reported[name] != *value {
                changed.insert(name.to_owned(), value.clone());
                self.reported.insert(name.to_owned(), value.clone());
            }
        }
        changed
    }
}
