//! Readers of events, in paused time.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt as _;

use super::*;
use crate::status::{Cluster, PoolsView, Work};
use crate::{Readiness, rows};

/// A cluster whose standing is a number that the test sets.
#[derive(Default)]
struct Fake {
    standing: AtomicU64,
    looks: AtomicU64,
}

impl Look for Fake {
    fn cluster(&self) -> Cluster {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let standing = self.standing.load(Ordering::Relaxed).to_string();
        Cluster { standing, nodes: Vec::<rows::NodeRow>::new(), ..Cluster::default() }
    }

    fn pools(&self) -> PoolsView {
        PoolsView::default()
    }

    fn work(&self) -> Vec<Work> {
        vec![Work { database: "a".to_owned(), waiting: 1, ..Work::default() }]
    }
}

struct Looking {
    fake: Arc<Fake>,
    hub: Arc<Hub>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn start() -> Looking {
    let (fake, stop) = (Arc::<Fake>::default(), CancellationToken::new());
    let look: Arc<dyn Look> = Arc::<Fake>::clone(&fake);
    let hub = Arc::new(Hub::new(look, Arc::new(Readiness::default), stop.clone()));
    let looking = Arc::clone(&hub);
    let task = tokio::spawn(async move { looking.run().await });
    Looking { fake, hub, stop, task }
}

fn text(frame: Option<Result<Frame<Bytes>, Infallible>>) -> Option<String> {
    let bytes = frame?.unwrap().into_data().unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

/// What comes next but samples.
async fn news(
    events: &mut (impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin),
) -> Option<String> {
    loop {
        let event = text(events.next().await)?;
        if !event.starts_with("event: sample") {
            return Some(event);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_told_all_at_once_and_then_what_changes() {
    let looking = start();
    tokio::time::sleep(PERIOD * 2).await;
    let mut events = Box::pin(looking.hub.seat().unwrap().events());
    let first = text(events.next().await).unwrap();
    assert!(first.starts_with("retry: 2000\n\nevent: history\ndata: {"), "{first}");
    assert!(
        first.contains("\"name\":\"a\"") && first.contains("\n\nevent: state\ndata: {"),
        "{first}"
    );
    assert!(news(&mut events).await.unwrap().contains("\"standing\":\"0\""));
    looking.fake.standing.store(7, Ordering::Relaxed);
    let told = news(&mut events).await.unwrap();
    assert!(
        told.starts_with("event: state\ndata: {") && told.contains("\"standing\":\"7\""),
        "{told}"
    );
    assert!(told.ends_with("}\n\n"));
    let quiet = Instant::now();
    assert_eq!(news(&mut events).await.unwrap(), ": still here\n\n");
    assert!(quiet.elapsed() >= LOOK_PERIOD * QUIET_LOOKS);
}

#[tokio::test(start_paused = true)]
async fn there_are_so_many_seats_and_who_goes_makes_room() {
    let looking = start();
    let mut seats: Vec<Seat> = (0..READERS_MAX).map(|_| looking.hub.seat().unwrap()).collect();
    assert!(looking.hub.seat().is_none());
    drop(seats.pop());
    let seat = looking.hub.seat().unwrap();
    assert!(looking.hub.seat().is_none());
    drop(Box::pin(seat.events()));
    assert!(looking.hub.seat().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_is_ended_and_nobody_else() {
    let looking = start();
    let mut slow = Box::pin(looking.hub.seat().unwrap().events());
    let mut quick = Box::pin(looking.hub.seat().unwrap().events());
    for standing in 0..2 * BEHIND_MAX as u64 {
        looking.fake.standing.store(standing, Ordering::Relaxed);
        while !text(quick.next().await).unwrap().contains(&format!("\"standing\":\"{standing}\"")) {
        }
    }
    assert!(slow.next().await.is_some(), "what it was to get first");
    assert!(slow.next().await.is_none());
    looking.fake.standing.store(99, Ordering::Relaxed);
    assert!(quick.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn reading_ends_in_time_and_with_the_service() {
    let looking = start();
    let begun = Instant::now();
    let mut events = Box::pin(looking.hub.seat().unwrap().events());
    while events.next().await.is_some() {}
    assert_eq!(begun.elapsed(), READING_MAX);

    let mut events = Box::pin(looking.hub.seat().unwrap().events());
    assert!(events.next().await.is_some());
    looking.stop.cancel();
    while events.next().await.is_some() {}
    looking.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_while_nobody_reads() {
    let looking = start();
    tokio::time::sleep(PERIOD * 100).await;
    assert_eq!(looking.fake.looks.load(Ordering::Relaxed), 0);
    assert_eq!(looking.hub.history.lock().all()["times"].as_array().unwrap().len(), 100);
}
