//! What all sessions share: the intern tables of statements and parameter sets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use crate::classify::{self, Hints};
use crate::databases::{Databases, emptied};
use crate::deallocate::deallocated;
use crate::parameters::{self, ParameterSet, Values};
use crate::verb::Verb;

/// In front of the names that we give to statements on a server. The colon keeps them out
/// of the way of what clients write in SQL.
pub(crate) const NAME_PREFIX: &[u8] = b"pgmesh:";

/// A prepared statement, known by what it means and not by what a client calls it.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    pub(crate) id: u64,
    /// Its name on every server; made from `id`, and ids are never used again.
    pub(crate) name: Box<[u8]>,
    /// Text, terminator and parameter types, as in Parse.
    pub(crate) definition: Box<[u8]>,
    /// What running it may do.
    pub(crate) hints: Hints,
    /// Whether it sets something for its transaction only.
    pub(crate) local_set: bool,
    /// The name of the statement that it drops.
    pub(crate) drops: Option<Box<[u8]>>,
    /// The databases that it needs empty.
    pub(crate) empties: Databases,
    /// What it does to its transaction.
    pub(crate) verb: Verb,
    /// Set, once for all servers, when one has told that its result is no longer what clients
    /// were told: then it is parsed nowhere any more, and the definition has another statement.
    retired: OnceLock<()>,
}

/// The intern tables. One per process, shared by all sessions.
#[derive(Debug, Default)]
pub struct Catalog {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next_id: u64,
    /// By planner settings, changes of the schema, and definition.
    statements: Table<(u64, u64, Box<[u8]>), Statement>,
    sets: Table<Values, ParameterSet>,
    planner: HashMap<Values, u64>,
}

/// Weak references by key; the dead ones are swept when the table has doubled.
#[derive(Debug)]
struct Table<K, V> {
    entries: HashMap<K, Weak<V>>,
    sweep_at: usize,
}

/// The text in a definition, without its terminator.
pub(crate) fn text(definition: &[u8]) -> &[u8] {
    definition.split(|&byte| byte == 0).next().unwrap_or_default()
}

impl Statement {
    /// Its name on servers.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Bytes of its text and parameter types.
    pub fn size(&self) -> usize {
        self.definition.len()
    }

    /// Its text, without the terminator.
    pub fn text(&self) -> &[u8] {
        text(&self.definition)
    }

    /// From now on its definition is a new statement.
    pub(crate) fn retire(&self) {
        let _ = self.retired.set(());
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.get().is_some()
    }

    /// Its name on every server; for a retired one, a name that no server has and in which an
    /// error is still known as its own.
    pub(crate) fn current_name(&self) -> Cow<'_, [u8]> {
        if self.is_retired() { [&*self.name, b"!"].concat().into() } else { (&*self.name).into() }
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), sweep_at: 64 }
    }
}

impl<K: Hash + Eq, V> Table<K, V> {
    fn get(&self, key: &K) -> Option<Arc<V>> {
        self.entries.get(key)?.upgrade()
    }

    fn insert(&mut self, key: K, value: &Arc<V>) {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, value| value.strong_count() > 0);
            self.sweep_at = 64.max(self.entries.len() * 2);
        }
        self.entries.insert(key, Arc::downgrade(value));
    }
}

impl Catalog {
    /// The statement with this definition under these settings. `definition` is text,
    /// terminator and parameter types; the same text under other settings may mean
    /// something else (`search_path`, `DateStyle` in a literal) and is another statement, and so
    /// it is behind another number of changes to the `schema`.
    pub(crate) fn statement(
        &self,
        settings: &ParameterSet,
        schema: u64,
        definition: &[u8],
    ) -> Arc<Statement> {
        let mut inner = self.inner.lock();
        let key = (settings.planner, schema, Box::from(definition));
        let known = inner.statements.get(&key);
        if let Some(statement) = known.filter(|statement| !statement.is_retired()) {
            return statement;
        }
        inner.next_id += 1;
        let id = inner.next_id;
        let text = text(definition);
        let statement = Arc::new(Statement {
            id,
            name: [NAME_PREFIX, format!("{id:x}").as_bytes()].concat().into(),
            definition: definition.into(),
            hints: classify::text(text),
            local_set: classify::is_local_set(text),
            drops: deallocated(text),
            empties: emptied(text),
            verb: Verb::of_statement(text),
            retired: OnceLock::new(),
        });
        inner.statements.insert(key, &statement);
        statement
    }

    /// The set with these values; a name that comes twice has its last value.
    pub fn parameters<'a>(
        &self,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Arc<ParameterSet> {
        let mut all = Values::new();
        for (name, value) in values {
            parameters::put(&mut all, name, value);
        }
        self.set(all)
    }

    /// `set` with some values changed or added.
    pub fn changed<'a>(
        &self,
        set: &'a ParameterSet,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Arc<ParameterSet> {
        self.parameters(set.iter().chain(values))
    }

    fn set(&self, values: Values) -> Arc<ParameterSet> {
        let mut inner = self.inner.lock();
        if let Some(set) = inner.sets.get(&values) {
            return set;
        }
        let planned: Vec<_> =
            values.iter().filter(|(name, _)| parameters::is_planned(name)).cloned().collect();
        let planner = inner.planner_id(planned);
        let has_role = values.iter().any(|(name, _)| parameters::is_identity(name));
        let set = Arc::new(ParameterSet { planner, has_role, values: values.clone() });
        inner.sets.insert(values, &set);
        set
    }

    /// At most `max` of the statements alive, oldest first, and how many clients and servers have
    /// each. What is alive is collected under the lock that every Parse takes, and nothing else.
    pub fn statements(&self, max: usize) -> Vec<(Arc<Statement>, usize)> {
        let inner = self.inner.lock();
        let alive = inner.statements.entries.values().filter_map(Weak::upgrade);
        let mut statements: Vec<_> = alive.take(max).collect();
        drop(inner);
        statements.sort_unstable_by_key(|statement| statement.id);
        let counted = |statement: Arc<Statement>| {
            // Less ours.
            let holders = Arc::strong_count(&statement).saturating_sub(1);
            (statement, holders)
        };
        statements.into_iter().map(counted).collect()
    }

    /// Statements alive, for `SHOW` and metrics.
    pub fn statement_count(&self) -> usize {
        self.inner.lock().statements.entries.values().filter(|weak| weak.strong_count() > 0).count()
    }
}

impl Inner {
    /// An id that equal settings share. Past the bound ids are simply new: statements are
    /// then shared less, and never wrongly.
    fn planner_id(&mut self, planned: Values) -> u64 {
        const PLANNER_MAX: usize = 4096;
        if let Some(&id) = self.planner.get(&planned) {
            return id;
        }
        self.next_id += 1;
        if self.planner.len() < PLANNER_MAX {
            self.planner.insert(planned, self.next_id);
        }
        self.next_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_its_text_its_types_and_the_settings_it_is_parsed_under() {
        let catalog = Catalog::default();
        let utc = catalog.parameters([("DateStyle", "ISO"), ("application_name", "a")]);
        let same = catalog.parameters([("DateStyle", "ISO"), ("application_name", "b")]);
        let other = catalog.parameters([("DateStyle", "German")]);
        let one = catalog.statement(&utc, 0, b"select $1\0\0\0");
        assert_eq!(one, catalog.statement(&same, 0, b"select $1\0\0\0"));
        assert_ne!(one, catalog.statement(&other, 0, b"select $1\0\0\0"));
        assert_ne!(one, catalog.statement(&utc, 1, b"select $1\0\0\0"));
        assert_ne!(one, catalog.statement(&utc, 0, b"select $1\0\0\x01\0\0\0\x17"));
    }

    #[test]
    fn a_name_is_not_used_again_after_its_statement_has_gone() {
        let catalog = Catalog::default();
        let settings = catalog.parameters([]);
        let first = catalog.statement(&settings, 0, b"a\0\0\0").name.clone();
        assert_ne!(first, catalog.statement(&settings, 0, b"a\0\0\0").name);
        assert_eq!(catalog.statement_count(), 0);
    }

    #[test]
    fn statements_are_told_oldest_first_with_those_who_have_them() {
        let catalog = Catalog::default();
        let settings = catalog.parameters([]);
        let kept: Vec<_> =
            (0..9).map(|it| catalog.statement(&settings, 0, &[b'a' + it, 0, 0, 0])).collect();
        let _second = Arc::clone(&kept[3]);
        let told = catalog.statements(100);
        let texts: Vec<_> = told.iter().map(|(it, holders)| (it.text()[0], *holders)).collect();
        let expected: Vec<_> = (b'a'..).zip([1, 1, 1, 2, 1, 1, 1, 1, 1]).collect();
        assert_eq!(texts, expected);
        assert_eq!((told[0].0.name(), told[0].0.size()), (&*kept[0].name, 4));
        assert_eq!(catalog.statements(2).len(), 2);
    }

    #[test]
    fn equal_sets_are_one_allocation() {
        let catalog = Catalog::default();
        let a = catalog.parameters([("b", "1"), ("A", "2")]);
        let b = catalog.parameters([("a", "1"), ("b", "1"), ("A", "2")]);
        assert_eq!(a.get("a"), Some("2"));
        assert_eq!(a.values.len(), b.values.len());
        assert!(Arc::ptr_eq(&a, &catalog.changed(&a, [("b", "1")])));
    }
}
