//! Coalescing and staleness, without a clock and without a server.

use auth::{Secret, Verifier};
use proptest::prelude::*;

use super::*;
use crate::auth_query::role::{Role, RolePassword};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn role() -> Answer {
    let verifier = Verifier::derive(&Secret::new("p"), b"salt", 1);
    let role = Role {
        password: RolePassword::Verifier(Arc::new(verifier)),
        valid_until: None,
        groups: Box::default(),
    };
    Answer { found: Found::Role(Arc::new(role)), expires_in: None }
}

fn lookups() -> Lookups<u64> {
    Lookups::new(CacheConfig::default())
}

/// Begins a look-up; what it waits for is the number of the question.
fn step(lookups: &mut Lookups<u64>, user: &str, now: Duration, want: Want) -> Step<u64> {
    lookups.step(user, now, want, |_, number| number.0)
}

fn waits(step: &Step<u64>) -> Option<u64> {
    match step {
        Step::Wait(question) => Some(*question),
        Step::Answer(_) | Step::Full => None,
    }
}

fn ends(lookups: &mut Lookups<u64>, number: u64, now: Duration, end: &End<'_>) -> Option<Found> {
    lookups.end(&"a".into(), Number(number), now, end).0
}

#[test]
fn look_ups_of_one_role_at_one_time_are_one_question() {
    let mut lookups = lookups();
    let first = waits(&step(&mut lookups, "a", secs(0), Want::Fresh));
    assert_eq!(first, waits(&step(&mut lookups, "a", secs(1), Want::Any)));
    assert_ne!(first, waits(&step(&mut lookups, "b", secs(1), Want::Fresh)));
    assert!(ends(&mut lookups, 1, secs(2), &End::Answered(&role())).is_some());
    assert!(matches!(step(&mut lookups, "a", secs(2), Want::Fresh), Step::Answer(_)));
    // As old as the question, not as the answer.
    assert!(matches!(step(&mut lookups, "a", secs(59), Want::Fresh), Step::Answer(_)));
    assert_eq!(waits(&step(&mut lookups, "a", secs(60), Want::Fresh)), Some(3));
    let Stats { hits, stale, joined, questions, failures, took, cached } = lookups.stats();
    assert_eq!((hits, stale, joined, questions, failures, cached), (2, 0, 1, 3, 0, 1));
    assert_eq!(took, secs(2), "of the only one that has ended");
}

#[test]
fn the_end_of_an_old_question_is_not_the_end_of_a_new_one() {
    let mut lookups = lookups();
    step(&mut lookups, "a", secs(0), Want::Fresh);
    ends(&mut lookups, 1, secs(0), &End::Unanswered);
    assert_eq!(waits(&step(&mut lookups, "a", secs(0), Want::Fresh)), Some(2));
    assert!(ends(&mut lookups, 1, secs(0), &End::Answered(&role())).is_none());
    assert_eq!(waits(&step(&mut lookups, "a", secs(0), Want::Fresh)), Some(2));
}

#[test]
fn a_stale_answer_does_while_nobody_can_be_asked_and_for_a_moment_after() {
    let mut lookups = lookups();
    step(&mut lookups, "a", secs(0), Want::Fresh);
    ends(&mut lookups, 1, secs(0), &End::Answered(&role()));
    assert!(matches!(step(&mut lookups, "a", secs(100), Want::Any), Step::Answer(_)));
    assert_eq!(waits(&step(&mut lookups, "a", secs(100), Want::Fresh)), Some(2));
    assert!(lookups.stale("a", secs(100)).is_some());
    assert!(ends(&mut lookups, 2, secs(105), &End::Unanswered).is_some());
    let soon = Duration::from_millis(105_999);
    assert!(matches!(step(&mut lookups, "a", soon, Want::Fresh), Step::Answer(_)));
    assert_eq!(waits(&step(&mut lookups, "a", secs(106), Want::Fresh)), Some(3));
    // What a server refuses to say is not replaced by what it once said.
    assert!(ends(&mut lookups, 3, secs(106), &End::Refused).is_none());
    // Nor does it do for ever.
    assert_eq!(waits(&step(&mut lookups, "a", secs(660), Want::Any)), Some(4));
    assert!(lookups.stale("a", secs(660)).is_none());
    assert!(ends(&mut lookups, 4, secs(660), &End::Unanswered).is_none());
}

#[test]
fn invented_names_do_not_keep_known_roles_out() {
    let mut lookups = lookups();
    step(&mut lookups, "a", secs(0), Want::Fresh);
    ends(&mut lookups, 1, secs(0), &End::Answered(&role()));
    for n in 0..FLIGHTS_MAX {
        assert!(waits(&step(&mut lookups, &format!("x{n}"), secs(0), Want::Fresh)).is_some());
    }
    assert!(matches!(step(&mut lookups, "y", secs(0), Want::Fresh), Step::Full));
    assert!(matches!(step(&mut lookups, "a", secs(0), Want::Fresh), Step::Answer(_)));
    assert!(matches!(step(&mut lookups, "a", secs(61), Want::Fresh), Step::Answer(_)));
    assert!(matches!(step(&mut lookups, "a", secs(661), Want::Fresh), Step::Full));
}

#[derive(Clone, Debug)]
enum Act {
    Ask { user: u8, want: Want },
    End { question: usize, how: u8 },
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0..4_u8, prop_oneof![Just(Want::Fresh), Just(Want::Any)])
            .prop_map(|(user, want)| Act::Ask { user, want }),
        (0..8_usize, 0..4_u8).prop_map(|(question, how)| Act::End { question, how }),
        (0..400_u64).prop_map(Act::Pass),
    ];
    proptest::collection::vec(act, 1..200)
}

proptest! {
    /// Against a list of the questions under way and the time of each role's last answer.
    #[test]
    fn one_question_at_a_time_per_role_and_no_answer_from_nowhere(acts in acts()) {
        let mut lookups = lookups();
        let mut now = secs(0);
        let mut open: Vec<(u8, u64, Duration)> = Vec::new();
        let mut answered: HashMap<u8, Duration> = HashMap::new();
        for act in acts {
            match act {
                Act::Pass(n) => now += secs(n),
                Act::Ask { user, want } => {
                    let name = format!("u{user}");
                    match lookups.step(&name, now, want, |_, number| number.0) {
                        Step::Answer(_) => {
                            let age = now - answered[&user];
                            prop_assert!(age < secs(660));
                            // A pause may have begun a second ago at most.
                            let pausing = lookups.paused.contains_key(name.as_str());
                            prop_assert!(age < secs(60) || want == Want::Any || pausing);
                        }
                        Step::Wait(question) => {
                            let fresh = answered.get(&user).is_some_and(|at| now - *at < secs(60));
                            prop_assert!(!fresh);
                            match open.iter().find(|(of, ..)| *of == user) {
                                Some((_, number, _)) => prop_assert_eq!(*number, question),
                                None => open.push((user, question, now)),
                            }
                        }
                        Step::Full => prop_assert!(false, "four roles are too many"),
                    }
                }
                Act::End { question, how } if question < open.len() => {
                    let (user, number, asked) = open.swap_remove(question);
                    let name: Arc<str> = format!("u{user}").into();
                    let answer = role();
                    let end = match how {
                        0 => End::Unanswered,
                        1 => End::Refused,
                        _ => End::Answered(&answer),
                    };
                    let (found, waited_for) = lookups.end(&name, Number(number), now, &end);
                    prop_assert_eq!(waited_for, Some(number));
                    match how {
                        0 => {
                            let known = answered.get(&user).is_some_and(|at| now - *at < secs(660));
                            prop_assert_eq!(found.is_some(), known);
                        }
                        1 => prop_assert!(found.is_none()),
                        _ => {
                            prop_assert!(found.is_some());
                            answered.insert(user, asked);
                        }
                    }
                }
                Act::End { .. } => {}
            }
            prop_assert_eq!(lookups.flights.len(), open.len());
        }
    }
}
