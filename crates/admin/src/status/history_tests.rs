//! Samples of work that is made up.

use proptest::prelude::*;

use super::*;

fn at(sample: u64) -> SystemTime {
    UNIX_EPOCH + PERIOD * u32::try_from(sample).unwrap()
}

/// So many transactions so far, of 2 ms each.
fn work(database: &str, transactions: usize) -> Work {
    let durations = Durations::of(vec![Duration::from_millis(2); transactions]);
    Work {
        database: database.to_owned(),
        transactions: durations,
        queries: durations,
        ..Work::default()
    }
}

fn rates(history: &History, of: &Of) -> Vec<f64> {
    history.series.get(of).into_iter().flatten().map(|point| point.transactions).collect()
}

fn of(name: &str) -> Of {
    Of::Database(name.to_owned())
}

#[test]
fn a_point_is_what_was_done_since_the_one_before() {
    let mut history = History::default();
    history.add(vec![work("a", 1000)], at(1), PERIOD);
    history.add(vec![work("a", 1010), work("b", 5)], at(2), PERIOD);
    history.add(vec![work("a", 1010), work("b", 10)], at(3), PERIOD);
    assert_eq!(rates(&history, &Of::All), [0.0, 3.0, 1.0]);
    assert_eq!(rates(&history, &of("a")), [2.0, 0.0]);
    assert_eq!(rates(&history, &of("b")), [1.0, 1.0]);

    let json = history.all();
    assert_eq!(json["columns"].as_array().unwrap().len(), COLUMNS.len());
    assert_eq!(json["times"], json!([5.0, 10.0, 15.0]));
    assert_eq!(json["all"][1], json!([3.0, 3.0, 2.0, 2.9, null, 0, 0]));
    assert_eq!(json["databases"][1]["name"], "b");
    assert_eq!(json["others"], json!([]));
    let last = history.last();
    assert_eq!((&last["times"], &last["all"][0][0]), (&json!([15.0]), &json!(1.0)));
    assert_eq!(last["databases"][0]["points"].as_array().unwrap().len(), 1);
}

#[test]
fn a_quarter_of_an_hour_is_kept() {
    let mut history = History::default();
    for sample in 0..500_u64 {
        history.add(vec![work("a", usize::try_from(sample).unwrap() * 5)], at(sample), PERIOD);
    }
    assert_eq!(rates(&history, &of("a")), [1.0; SAMPLES_MAX]);
    assert_eq!((history.times.len(), history.times[0]), (SAMPLES_MAX, at(320)));
}

#[test]
fn databases_beyond_the_limit_are_one_and_who_is_idle_makes_room() {
    let mut history = History::default();
    let names: Vec<String> = (0..DATABASES_MAX + 4).map(|number| format!("d{number:02}")).collect();
    let done = |each| names.iter().map(|name| work(name, each)).collect::<Vec<_>>();
    history.add(done(0), at(1), PERIOD);
    history.add(done(5), at(2), PERIOD);
    assert_eq!(rates(&history, &Of::All).last(), Some(&20.0));
    assert_eq!(rates(&history, &Of::Others).last(), Some(&4.0));
    assert_eq!(history.series.len(), DATABASES_MAX + 2);
    for sample in 0..=SAMPLES_MAX as u64 {
        history.add(done(5), at(3 + sample), PERIOD);
    }
    assert_eq!(history.series.len(), 1, "nobody did anything");
    history.add(vec![work(&names[DATABASES_MAX + 3], 10)], at(900), PERIOD);
    assert_eq!(rates(&history, &of(&names[DATABASES_MAX + 3])).last(), Some(&1.0));
}

proptest! {
    #[test]
    fn the_databases_add_up_to_all(
        rounds in prop::collection::vec(prop::collection::vec(0_usize..50, 0..25), 1..30)
    ) {
        let mut history = History::default();
        let mut totals = [0; 25];
        for (round, done) in rounds.iter().enumerate() {
            for (total, done) in totals.iter_mut().zip(done) {
                *total += done;
            }
            let works = totals.iter().enumerate().map(|(index, total)| work(&format!("d{index}"), *total));
            history.add(works.collect(), at(round as u64), PERIOD);
            prop_assert!(history.series.len() <= DATABASES_MAX + 2);
            let sum: f64 = history
                .series
                .iter()
                .filter(|(of, _)| **of != Of::All)
                .filter_map(|(_, points)| points.back())
                .map(|point| point.transactions)
                .sum();
            let all = *rates(&history, &Of::All).last().unwrap();
            prop_assert!((sum - all).abs() < 1e-6, "{sum} {all}");
        }
    }
}
