//! Who is answered from the cache, who waits for a question that is under way, and who puts one.
//! Pure: the time is an argument, and what is waited for is the caller's `T`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::cache::{Cache, CacheConfig, Known};
use super::role::{Answer, Found};

/// Most roles that are asked about at one time. More different roles do not log in at once, but
/// somebody who invents names does.
const FLIGHTS_MAX: usize = 1024;

/// After a question without an answer, who has a stale one gets it without asking for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Which answers will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Fresh ones.
    Fresh,
    /// Stale ones too: nobody can be asked now.
    Any,
}

/// What a look-up does.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// It is answered.
    Answer(Found),
    /// It waits for this.
    Wait(T),
    /// Too much is under way.
    Full,
}

/// One question that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(u64);

/// How a question has ended.
#[derive(Debug)]
pub(crate) enum End<'a> {
    /// With an answer.
    Answered(&'a Answer),
    /// Without one, because nobody could be asked: a stale one will do.
    Unanswered,
    /// Without one, because the server will not give it.
    Refused,
}

/// What look-ups came to since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answered from the cache.
    pub hits: u64,
    /// Answered by an answer past its lifetime, for nobody could be asked.
    pub stale: u64,
    /// Answered by the question of another look-up.
    pub joined: u64,
    /// Questions put to servers; a repetition on another connection does not count.
    pub questions: u64,
    /// Questions that got no answer.
    pub failures: u64,
    /// How long the questions took, with or without an answer, all together.
    pub took: Duration,
    /// Names that are kept now, with a role or without.
    pub cached: usize,
}

#[derive(Debug)]
struct Flight<T> {
    number: Number,
    asked: Duration,
    waited_for: T,
}

/// Everything that is known, and every question that is under way.
#[derive(Debug)]
pub(crate) struct Lookups<T> {
    cache: Cache,
    flights: HashMap<Arc<str>, Flight<T>>,
    /// Until when a name is not asked about if there is a stale answer. Of at most as many names
    /// as there are flights.
    paused: HashMap<Arc<str>, Duration>,
    last: u64,
    stats: Stats,
}

impl<T: Clone> Lookups<T> {
    pub(crate) fn new(config: CacheConfig) -> Self {
        Self {
            cache: Cache::new(config),
            flights: HashMap::new(),
            paused: HashMap::new(),
            last: 0,
            stats: Stats::default(),
        }
    }

    /// Begins a look-up; `begin` puts the question if one has to be put.
    pub(crate) fn step(
        &mut self,
        user: &str,
        now: Duration,
        want: Want,
        begin: impl FnOnce(Arc<str>, Number) -> T,
    ) -> Step<T> {
        let stale = match self.cache.get(user, now) {
            Known::Fresh(found) => {
                self.stats.hits += 1;
                return Step::Answer(found);
            }
            Known::Stale(found) => Some(found),
            Known::Nothing => None,
        };
        let flight = self.flights.get(user);
        let full = flight.is_none() && self.flights.len() >= FLIGHTS_MAX;
        let paused = self.paused.get(user).is_some_and(|end| now < *end);
        if let Some(found) = stale
            && (want == Want::Any || full || paused)
        {
            self.stats.stale += 1;
            return Step::Answer(found);
        }
        if let Some(flight) = flight {
            self.stats.joined += 1;
            return Step::Wait(flight.waited_for.clone());
        }
        if full {
            return Step::Full;
        }
        self.last += 1;
        self.stats.questions += 1;
        let (user, number) = (Arc::<str>::from(user), Number(self.last));
        let waited_for = begin(Arc::clone(&user), number);
        let flight = Flight { number, asked: now, waited_for: waited_for.clone() };
        self.flights.insert(user, flight);
        Step::Wait(waited_for)
    }

    /// What will do for one that has waited long enough.
    pub(crate) fn stale(&mut self, user: &str, now: Duration) -> Option<Found> {
        match self.cache.get(user, now) {
            Known::Fresh(found) | Known::Stale(found) => {
                self.stats.stale += 1;
                Some(found)
            }
            Known::Nothing => None,
        }
    }

    /// A question has ended. What those who wait for it get, unless it is an error; and what
    /// they have waited for, to be dropped.
    pub(crate) fn end(
        &mut self,
        user: &Arc<str>,
        number: Number,
        now: Duration,
        end: &End<'_>,
    ) -> (Option<Found>, Option<T>) {
        if self.flights.get(user).is_none_or(|flight| flight.number != number) {
            return (None, None);
        }
        let Some(Flight { asked, waited_for, .. }) = self.flights.remove(user) else {
            return (None, None);
        };
        self.stats.took = self.stats.took.saturating_add(now.saturating_sub(asked));
        let found = match end {
            End::Answered(answer) => {
                self.paused.remove(user);
                self.cache.put(user, answer, asked);
                Some(answer.found.clone())
            }
            End::Unanswered => {
                self.stats.failures += 1;
                self.paused.retain(|_, end| now < *end);
                if self.paused.len() < FLIGHTS_MAX {
                    self.paused.insert(Arc::clone(user), now.saturating_add(PAUSE));
                }
                self.stale(user, now)
            }
            End::Refused => {
                self.stats.failures += 1;
                None
            }
        };
        (found, Some(waited_for))
    }

    /// See [`Cache::doubt`].
    pub(crate) fn doubt(&mut self, user: &str, found: &Found, now: Duration) {
        self.cache.doubt(user, found, now);
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { cached: self.cache.len(), ..self.stats }
    }
}

#[cfg(test)]
#[path = "lookups_tests.rs"]
mod tests;
