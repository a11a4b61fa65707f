//! A client that minds its own business, and must not notice anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testbed::Login;

use crate::clients::{Raw, parse, run, sync};
use crate::metrics::eventually;

/// Runs statements until it is dismissed, and checks every answer.
#[derive(Debug)]
pub(crate) struct Neighbour {
    is_dismissed: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Neighbour {
    pub(crate) fn move_in(login: &Login) -> Self {
        let (is_dismissed, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = Raw::log_in(login);
        let (dismissed, counted) = (Arc::clone(&is_dismissed), Arc::clone(&answers));
        let thread = std::thread::spawn(move || live(client, &dismissed, &counted));
        Self { is_dismissed, answers, thread }
    }

    /// How many answers it has got.
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits until it has got so many more.
    pub(crate) fn wait_for(&self, more: usize) {
        let wanted = self.answers() + more;
        eventually("answers for the neighbour", || {
            assert!(!self.thread.is_finished(), "the neighbour has got a wrong answer");
            self.answers() >= wanted
        });
    }

    /// How long each statement took.
    pub(crate) fn dismiss(self) -> Vec<Duration> {
        self.is_dismissed.store(true, Ordering::Relaxed);
        self.thread.join().expect("every answer is right")
    }
}

fn live(mut client: Raw, dismissed: &AtomicBool, counted: &AtomicUsize) -> Vec<Duration> {
    let mut prepare = Vec::new();
    parse(&mut prepare, "mine", "SELECT 'n' || $1");
    sync(&mut prepare);
    client.send(&prepare);
    assert_eq!(client.answer().tags, "1Z");
    let mut taken = Vec::new();
    for number in 0_u64.. {
        if dismissed.load(Ordering::Relaxed) {
            break;
        }
        let since = Instant::now();
        if number.is_multiple_of(2) {
            assert_eq!(client.value(&format!("SELECT {number} + 1")), (number + 1).to_string());
        } else {
            let mut batch = Vec::new();
            run(&mut batch, "mine", &[&number.to_string()]);
            sync(&mut batch);
            client.send(&batch);
            let answer = client.answer();
            assert_eq!((answer.rows, answer.status), (vec![vec![format!("n{number}")]], 'I'));
        }
        taken.push(since.elapsed());
        counted.fetch_add(1, Ordering::Relaxed);
    }
    taken
}

/// The value that 99 of 100 do not exceed.
pub(crate) fn p99(taken: &[Duration]) -> Duration {
    let mut sorted = taken.to_vec();
    sorted.sort();
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or_default()
}
