//! Answers that are kept for a while. Pure: the time is an argument, counted from any moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::role::{Answer, Found};

/// How long answers are kept, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// For how long an answer with a verifier is used without asking again.
    pub lifetime: Duration,
    /// The same for roles that do not exist or have no verifier: short, for they may be created,
    /// or be given a password, at any moment.
    pub negative_lifetime: Duration,
    /// For how long beyond its lifetime a role is used while the server cannot be asked.
    pub stale_lifetime: Duration,
    /// Most roles that are kept, at least 1. Names without a role have a quarter of it on top.
    pub size: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(60),
            negative_lifetime: Duration::from_secs(5),
            stale_lifetime: Duration::from_secs(600),
            size: 10_000,
        }
    }
}

/// After a login has failed, the role is asked about again, but not more often than this: who
/// sends wrong passwords must not decide how often the server is asked. The same whether there is
/// such a role or not, so that the time it takes does not tell.
const DOUBT_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of a name.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// An answer that counts.
    Fresh(Found),
    /// An answer that has to do if there is no other.
    Stale(Found),
    /// Nothing.
    Nothing,
}

/// Names without a role have places of their own: inventing names pushes no role out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Role,
    Absent,
}

#[derive(Debug)]
struct Entry {
    found: Found,
    answered: Duration,
    fresh_until: Duration,
    usable_until: Duration,
    /// When the password does.
    expires: Option<Duration>,
    /// Its place in the order of its kind.
    place: u64,
}

/// The answers, by name.
#[derive(Debug)]
pub(crate) struct Cache {
    config: CacheConfig,
    entries: HashMap<Arc<str>, Entry>,
    /// By age of the answer. A role in use is asked for again and again, so the oldest is also
    /// the one least used.
    roles: BTreeMap<u64, Arc<str>>,
    absent: BTreeMap<u64, Arc<str>>,
    last_place: u64,
}

impl Cache {
    pub(crate) fn new(config: CacheConfig) -> Self {
        Self {
            config,
            entries: HashMap::new(),
            roles: BTreeMap::new(),
            absent: BTreeMap::new(),
            last_place: 0,
        }
    }

    /// How many names are kept.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is known at `now`.
    pub(crate) fn get(&mut self, user: &str, now: Duration) -> Known {
        let Some(entry) = self.entries.get_mut(user) else { return Known::Nothing };
        if let Found::Role(role) = &entry.found
            && entry.expires.is_some_and(|end| end <= now)
        {
            entry.found = Found::Role(Arc::new(role.expired()));
            entry.expires = None;
        }
        let found = entry.found.clone();
        if now < entry.fresh_until {
            Known::Fresh(found)
        } else if now < entry.usable_until {
            Known::Stale(found)
        } else {
            Known::Nothing
        }
    }

    /// Keeps the answer to a question that was put at `asked`; it is as old as that.
    pub(crate) fn put(&mut self, user: &Arc<str>, answer: &Answer, asked: Duration) {
        self.remove(user);
        let CacheConfig { lifetime, negative_lifetime, stale_lifetime, size } = self.config;
        let (kind, lifetime, stale) = match &answer.found {
            Found::Role(role) if role.has_verifier() => (Kind::Role, lifetime, stale_lifetime),
            Found::Role(_) => (Kind::Role, negative_lifetime, stale_lifetime),
            Found::Absent => (Kind::Absent, negative_lifetime, Duration::ZERO),
        };
        let fresh_until = asked.saturating_add(lifetime);
        self.last_place += 1;
        let entry = Entry {
            found: answer.found.clone(),
            answered: asked,
            fresh_until,
            usable_until: fresh_until.saturating_add(stale),
            expires: answer.expires_in.map(|left| asked.saturating_add(left)),
            place: self.last_place,
        };
        self.entries.insert(Arc::clone(user), entry);
        let (order, most) = match kind {
            Kind::Role => (&mut self.roles, size.max(1)),
            Kind::Absent => (&mut self.absent, size.div_ceil(4).max(1)),
        };
        order.insert(self.last_place, Arc::clone(user));
        if order.len() > most
            && let Some((_, oldest)) = order.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }

    /// A login that was checked against `found` has failed, so that the role may have changed: the
    /// next look-up asks again, as soon as the answer is not all too new, unless there is another
    /// by now.
    pub(crate) fn doubt(&mut self, user: &str, found: &Found, now: Duration) {
        if let Some(entry) = self.entries.get_mut(user)
            && entry.found.is(found)
        {
            let soonest = entry.answered.saturating_add(DOUBT_INTERVAL);
            entry.fresh_until = entry.fresh_until.min(now.max(soonest));
            if matches!(entry.found, Found::Absent) {
                entry.usable_until = entry.fresh_until;
            }
        }
    }

    fn remove(&mut self, user: &str) {
        if let Some(entry) = self.entries.remove(user) {
            let order = match entry.found {
                Found::Role(_) => &mut self.roles,
                Found::Absent => &mut self.absent,
            };
            order.remove(&entry.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use auth::{Secret, Verifier};
    use proptest::prelude::*;

    use super::*;
    use crate::auth_query::role::{Role, RolePassword};

    const CONFIG: CacheConfig = CacheConfig {
        lifetime: Duration::from_secs(60),
        negative_lifetime: Duration::from_secs(5),
        stale_lifetime: Duration::from_secs(600),
        size: 8,
    };

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn role(expires_in: Option<Duration>) -> Answer {
        let verifier = Verifier::derive(&Secret::new("p"), b"salt", 1);
        let role = Role {
            password: RolePassword::Verifier(Arc::new(verifier)),
            valid_until: None,
            groups: Box::default(),
        };
        Answer { found: Found::Role(Arc::new(role)), expires_in }
    }

    fn without_password() -> Answer {
        let role = Role { password: RolePassword::Md5, valid_until: None, groups: Box::default() };
        Answer { found: Found::Role(Arc::new(role)), expires_in: None }
    }

    fn name(known: &Known) -> &'static str {
        match known {
            Known::Fresh(Found::Role(_)) => "fresh",
            Known::Fresh(Found::Absent) => "fresh, absent",
            Known::Stale(Found::Role(_)) => "stale",
            Known::Stale(Found::Absent) => "stale, absent",
            Known::Nothing => "nothing",
        }
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_gone() {
        let cases = [
            (role(None), [(1059, "fresh"), (1060, "stale"), (1659, "stale"), (1660, "nothing")]),
            (
                without_password(),
                [(1004, "fresh"), (1005, "stale"), (1604, "stale"), (1605, "nothing")],
            ),
            (
                Answer::ABSENT,
                [
                    (1000, "fresh, absent"),
                    (1004, "fresh, absent"),
                    (1005, "nothing"),
                    (1060, "nothing"),
                ],
            ),
        ];
        for (answer, expected) in cases {
            let mut cache = Cache::new(CONFIG);
            cache.put(&"a".into(), &answer, secs(1000));
            for (now, state) in expected {
                assert_eq!(name(&cache.get("a", secs(now))), state, "{now}");
            }
        }
    }

    #[test]
    fn a_password_expires_in_the_cache_too_also_while_it_is_stale() {
        for end in [30, 90] {
            let mut cache = Cache::new(CONFIG);
            cache.put(&"a".into(), &role(Some(secs(end))), secs(0));
            let (Known::Fresh(Found::Role(role)) | Known::Stale(Found::Role(role))) =
                cache.get("a", secs(end - 1))
            else {
                panic!("gone")
            };
            assert!(role.has_verifier());
            let (Known::Fresh(Found::Role(role)) | Known::Stale(Found::Role(role))) =
                cache.get("a", secs(end))
            else {
                panic!("gone")
            };
            assert!(matches!(role.password, RolePassword::Expired));
        }
    }

    #[test]
    fn a_role_in_doubt_is_asked_for_again_but_only_so_often() {
        let mut cache = Cache::new(CONFIG);
        let answer = role(None);
        cache.put(&"a".into(), &answer, secs(10));
        cache.doubt("a", &role(None).found, secs(12));
        cache.doubt("a", &Found::Absent, secs(12));
        cache.doubt("b", &answer.found, secs(12));
        assert_eq!(name(&cache.get("a", secs(12))), "fresh");
        cache.doubt("a", &answer.found, secs(12));
        assert_eq!(name(&cache.get("a", secs(12))), "stale");

        cache.put(&"a".into(), &answer, secs(20));
        let soon = Duration::from_millis(20_999);
        cache.doubt("a", &answer.found, soon);
        assert_eq!(name(&cache.get("a", soon)), "fresh");
        assert_eq!(name(&cache.get("a", secs(21))), "stale");

        cache.put(&"x".into(), &Answer::ABSENT, secs(20));
        cache.doubt("x", &Found::Absent, soon);
        assert_eq!(name(&cache.get("x", soon)), "fresh, absent");
        assert_eq!(name(&cache.get("x", secs(21))), "nothing");
    }

    #[test]
    fn invented_names_push_out_no_role_and_the_oldest_role_goes_first() {
        let mut cache = Cache::new(CONFIG);
        for n in 0..8 {
            cache.put(&format!("role{n}").into(), &role(None), secs(n));
        }
        for n in 0..100 {
            cache.put(&format!("absent{n}").into(), &Answer::ABSENT, secs(9));
        }
        assert_eq!(cache.len(), 10);
        assert_eq!(name(&cache.get("role0", secs(9))), "fresh");
        assert_eq!(name(&cache.get("absent99", secs(9))), "fresh, absent");
        assert_eq!(name(&cache.get("absent97", secs(9))), "nothing");
        cache.put(&"role0".into(), &role(None), secs(9));
        cache.put(&"role8".into(), &role(None), secs(9));
        assert_eq!(name(&cache.get("role0", secs(9))), "fresh");
        assert_eq!(name(&cache.get("role1", secs(9))), "nothing");
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_never_older_than_it_says(
            steps in proptest::collection::vec((0..20_u8, 0..3_u8, 0..100_u64), 1..200),
        ) {
            let mut cache = Cache::new(CONFIG);
            let mut now = secs(0);
            let mut last: HashMap<u8, (Duration, u8)> = HashMap::new();
            for (user, what, pause) in steps {
                now += secs(pause);
                let name: Arc<str> = format!("u{user}").into();
                let kept = cache.get(&name, now);
                let (asked, kind) = last.get(&user).copied().unwrap_or((Duration::ZERO, 9));
                let (fresh, usable) = match kind {
                    0 => (60, 660),
                    1 => (5, 605),
                    2 => (5, 5),
                    _ => (0, 0),
                };
                match kept {
                    Known::Fresh(found) => {
                        prop_assert!(now < asked + secs(fresh));
                        prop_assert_eq!(matches!(found, Found::Absent), kind == 2);
                    }
                    Known::Stale(found) => {
                        prop_assert!(now >= asked + secs(fresh) && now < asked + secs(usable));
                        prop_assert!(matches!(found, Found::Role(_)));
                    }
                    Known::Nothing => {}
                }
                let answer = match what {
                    0 => role(None),
                    1 => without_password(),
                    _ => Answer::ABSENT,
                };
                cache.put(&name, &answer, now);
                last.insert(user, (now, what));
                prop_assert!(cache.roles.len() <= 8 && cache.absent.len() <= 2);
                prop_assert_eq!(cache.len(), cache.roles.len() + cache.absent.len());
            }
        }
    }
}
