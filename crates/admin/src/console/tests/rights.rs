//! Every verb, for everybody who may not (CVE-2026-6667: `KILL_CLIENT` was open to all).

use super::super::command::{Statement, authorise};
use super::super::tables::Show;
use super::fake::{bench, error};
use super::grammar::parsed;
use crate::facts::{Outcome, Right};
use crate::order::Command;

/// One statement per verb.
const VERBS: &[&str] = &[
    "DISABLE app",
    "DRAIN n1",
    "ENABLE app",
    "KILL",
    "KILL app",
    "KILL_CLIENT 7",
    "LOG_LEVEL debug",
    "PAUSE app",
    "RECONNECT",
    "RELOAD",
    "RESUME app",
    "SET pool.size = 1",
    "SHUTDOWN",
    "SHUTDOWN WAIT_FOR_CLIENTS",
    "SUSPEND",
    "UNDRAIN n1",
    "WAIT_CLOSE",
];

#[test]
fn verbs_need_admins_and_tables_do_not() {
    for text in VERBS {
        let statement = parsed(text).unwrap();
        assert_eq!(authorise(&statement, Right::Admin), Ok(()), "{text}");
        let refused = authorise(&statement, Right::Stats).unwrap_err();
        assert_eq!(refused.state.as_str(), "42501", "{text}");
        let verb = text.split(' ').next().unwrap();
        assert!(Command::VERBS.contains(&verb), "{verb} is counted");
    }
    for show in Show::ALL {
        for right in [Right::Admin, Right::Stats] {
            assert_eq!(authorise(&Statement::Show(*show), right), Ok(()));
        }
    }
}

#[tokio::test]
async fn a_stats_user_gives_no_order_in_either_protocol() {
    let bench = bench();
    let mut peer = bench.connect(Right::Stats);
    let driver = bench.driver(Right::Stats).await;
    for text in VERBS {
        let answer = peer.query(text).await;
        assert_eq!(error(&answer), ("42501".into(), "admin access needed".into()), "{text}");
        let refused = driver.execute(*text, &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{text}");
    }
    assert!(bench.fake.orders.lock().is_empty());
    let ended = bench.fake.ended.lock();
    assert_eq!(ended.len(), 2 * VERBS.len());
    assert!(ended.iter().all(|(_, outcome)| *outcome == Outcome::Forbidden));
}

#[tokio::test]
async fn only_admins_see_texts_of_clients() {
    let bench = bench();
    let stats = bench.driver(Right::Stats).await;
    let admin = bench.driver(Right::Admin).await;
    let query = |rows: Vec<tokio_postgres::Row>| rows[0].get::<_, Option<String>>("query");
    let shown = query(stats.query("SHOW PREPARED_STATEMENTS", &[]).await.unwrap());
    assert_eq!(shown, None);
    let shown = query(admin.query("SHOW PREPARED_STATEMENTS", &[]).await.unwrap());
    assert_eq!(shown.as_deref(), Some("SELECT secret"));
}
