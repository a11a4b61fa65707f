//! tokio-postgres through the proxy.

use std::pin::pin;

use bytes::Bytes;
use futures_util::future::{join_all, poll_fn, try_join_all};
use futures_util::{SinkExt, TryStreamExt};
use testbed::Pgmesh;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

pub(crate) fn tokio_postgres_works(mesh: &Pgmesh) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let uri = mesh.app().uri();
    runtime.block_on(async {
        let mut client = connect(&uri).await;
        client.batch_execute("CREATE TABLE rust_t (n int PRIMARY KEY, s text)").await.unwrap();
        pipelines(&client).await;
        copies(&client).await;
        transactions(&mut client).await;
        cancels(&client, &connect(&uri).await).await;
        prepared_by_many(&uri).await;
        notices(&uri).await;
    });
}

async fn connect(uri: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(uri, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn pipelines(client: &Client) {
    let statement = client.prepare("SELECT $1::int + $2::int").await.unwrap();
    let sums = (0..200_i32).map(|n| {
        let statement = &statement;
        async move { client.query_one(statement, &[&n, &1_i32]).await.unwrap().get::<_, i32>(0) }
    });
    assert_eq!(join_all(sums).await, (1..=200).collect::<Vec<_>>());
    // One fails in the middle, its neighbours do not.
    let (before, failed, after) = tokio::join!(
        client.query_one("SELECT 'before'", &[]),
        client.query_one("SELECT 1/0", &[]),
        client.query_one("SELECT 'after'", &[]),
    );
    assert_eq!(before.unwrap().get::<_, &str>(0), "before");
    assert_eq!(failed.unwrap_err().code(), Some(&SqlState::DIVISION_BY_ZERO));
    assert_eq!(after.unwrap().get::<_, &str>(0), "after");
    let told = client.simple_query("SELECT 1; SELECT 2").await.unwrap();
    let rows = told.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_)));
    assert_eq!(rows.count(), 2);
}

async fn copies(client: &Client) {
    let mut sink = pin!(client.copy_in::<_, Bytes>("COPY rust_t FROM STDIN").await.unwrap());
    for n in 0..5000 {
        sink.send(Bytes::from(format!("{n}\ttext\n"))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 5000);
    let stream = client.copy_out("COPY rust_t TO STDOUT").await.unwrap();
    let copied: usize = stream.map_ok(|row| row.len()).try_collect::<Vec<_>>().await.unwrap().len();
    assert_eq!(copied, 5000);
    // Dropped half way, it fails, and the connection lives.
    {
        let mut sink = pin!(client.copy_in::<_, Bytes>("COPY rust_t FROM STDIN").await.unwrap());
        sink.send(Bytes::from_static(b"9999\ttext\n")).await.unwrap();
    }
    let count = client.query_one("SELECT count(*) FROM rust_t", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 5000);
}

async fn transactions(client: &mut Client) {
    let transaction = client.transaction().await.unwrap();
    transaction.execute("DELETE FROM rust_t", &[]).await.unwrap();
    // A portal, some rows at a time.
    let statement = transaction.prepare("SELECT generate_series(1, 10)").await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    for expected in [4, 4, 2] {
        assert_eq!(transaction.query_portal(&portal, 4).await.unwrap().len(), expected);
    }
    transaction.rollback().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let failed = transaction.execute("INSERT INTO rust_t VALUES (1, 'taken')", &[]).await;
    assert_eq!(failed.unwrap_err().code(), Some(&SqlState::UNIQUE_VIOLATION));
    drop(transaction);
    let count = client.query_one("SELECT count(*) FROM rust_t", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 5000);
}

async fn cancels(client: &Client, watch: &Client) {
    let token = client.cancel_token();
    let sleep = client.query("SELECT pg_sleep(600)", &[]);
    let cancel = async {
        let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while watch.query_one(sleeps, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
        token.cancel_query(NoTls).await.unwrap();
    };
    let (slept, ()) = tokio::join!(sleep, cancel);
    assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

/// The driver names its statements `s0`, `s1`, … in every connection.
async fn prepared_by_many(uri: &str) {
    let clients = (0..12_i32).map(|number| async move {
        let client = connect(uri).await;
        let first = client.prepare(&format!("SELECT {number} * $1::int")).await?;
        let second = client.prepare("SELECT s FROM rust_t WHERE n = $1").await?;
        for turn in 0..30_i32 {
            let product: i32 = client.query_one(&first, &[&turn]).await?.get(0);
            assert_eq!(product, number * turn);
            let text: String = client.query_one(&second, &[&turn]).await?.get(0);
            assert_eq!(text, "text");
            // Prepared, run and closed when dropped.
            client.query_one("SELECT $1::int", &[&turn]).await?;
        }
        Ok::<_, tokio_postgres::Error>(())
    });
    try_join_all(clients).await.unwrap();
}

async fn notices(uri: &str) {
    let (client, mut connection) = tokio_postgres::connect(uri, NoTls).await.unwrap();
    let messages = tokio::spawn(async move {
        let mut told = Vec::new();
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message.unwrap() {
                told.push(notice.message().to_owned());
            }
        }
        told
    });
    let raise = "DO $$ BEGIN RAISE NOTICE 'hear'; RAISE WARNING 'see'; END $$";
    client.batch_execute(raise).await.unwrap();
    drop(client);
    assert_eq!(messages.await.unwrap(), ["hear", "see"]);
}
