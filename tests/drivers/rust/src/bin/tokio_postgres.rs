//! tokio-postgres: see ../../../README.md for the checks and the output.

use std::collections::HashSet;
use std::fs;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use drivers::{
    CLIENTS, SLEEPS, STATEMENTS, ZONES, check, expect, expect_shared, variable, version,
};
use futures_util::future::{join_all, try_join_all};
use futures_util::{SinkExt, TryStreamExt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::types::{Kind, Type};
use tokio_postgres::{Client, Config, Error, IsolationLevel};
use tokio_postgres_rustls::MakeRustlsConnect;

const TABLE: &str = "driver_tokio_postgres";

fn config() -> Result<Config> {
    let mut config = Config::new();
    config
        .host(variable("PGHOST")?)
        .port(variable("PGPORT")?.parse()?)
        .user(variable("PGUSER")?)
        .password(variable("PGPASSWORD")?)
        .dbname(variable("PGDATABASE")?);
    Ok(config)
}

/// TLS that always verifies, as rustls does it.
fn tls(authority: &str) -> Result<MakeRustlsConnect> {
    let mut roots = RootCertStore::empty();
    let authority = fs::read(variable(authority)?)?;
    roots.add(CertificateDer::from_pem_slice(&authority).context("an authority")?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

async fn connect_with(config: &Config, tls: MakeRustlsConnect) -> Result<Client> {
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn connect_as(config: &Config) -> Result<Client> {
    connect_with(config, tls("PGSSLROOTCERT")?).await
}

async fn connect() -> Result<Client> {
    connect_as(&config()?).await
}

async fn clients() -> Result<Vec<Client>> {
    try_join_all((0..CLIENTS).map(|_| connect())).await
}

fn fails<T>(code: &str, ended: Result<T, Error>) -> Result<()> {
    match ended {
        Ok(_) => bail!("no error {code}"),
        Err(error) if error.code().is_some_and(|found| found.code() == code) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn refused(config: &Config, tls: MakeRustlsConnect, text: &str) -> Result<()> {
    match connect_with(config, tls).await {
        Ok(_) => bail!("let in"),
        Err(error) if format!("{error:#}").contains(text) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn number(client: &Client, sql: &str) -> Result<i32> {
    Ok(client.query_one(sql, &[]).await?.get(0))
}

async fn connects() -> Result<()> {
    expect(number(&connect().await?, "SELECT 1").await?, 1)
}

async fn verify_full() -> Result<()> {
    connect_as(config()?.ssl_mode(SslMode::Require)).await?;
    Ok(())
}

async fn wrong_authority() -> Result<()> {
    let mut config = config()?;
    config.ssl_mode(SslMode::Require);
    refused(&config, tls("DRIVERS_OTHER_AUTHORITY")?, "UnknownIssuer").await
}

async fn wrong_name() -> Result<()> {
    let mut config = Config::new();
    config
        .host(variable("DRIVERS_WRONG_NAME")?)
        .hostaddr(variable("PGHOST")?.parse()?)
        .port(variable("PGPORT")?.parse()?)
        .user(variable("PGUSER")?)
        .password(variable("PGPASSWORD")?)
        .ssl_mode(SslMode::Require);
    refused(&config, tls("PGSSLROOTCERT")?, "not valid for name").await
}

async fn channel_binding() -> Result<()> {
    let mut config = config()?;
    config.ssl_mode(SslMode::Require).channel_binding(ChannelBinding::Require);
    connect_as(&config).await?;
    Ok(())
}

async fn wrong_password() -> Result<()> {
    let mut config = config()?;
    config.password("wrong");
    fails("28P01", config.connect(tls("PGSSLROOTCERT")?).await)
}

async fn simple_query() -> Result<()> {
    let client = connect().await?;
    let told = client.simple_query("SELECT 1; SELECT 'ä€𝄞', NULL").await?;
    let rows: Vec<Option<&str>> = told
        .iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0)),
            _ => None,
        })
        .collect();
    expect(rows, vec![Some("1"), Some("ä€𝄞")])?;
    let long: String = client.query_one("SELECT repeat('x', 5000000)", &[]).await?.get(0);
    expect(long.len(), 5_000_000)
}

async fn error() -> Result<()> {
    let client = connect().await?;
    for _ in 0..3 {
        fails("22012", client.query_one("SELECT 1 / $1::int", &[&0_i32]).await)?;
        let seven: i32 = client.query_one("SELECT $1::int", &[&7_i32]).await?.get(0);
        expect(seven, 7)?;
    }
    Ok(())
}

async fn prepared() -> Result<()> {
    let clients = clients().await?;
    let mut statements = Vec::new();
    for client in &clients {
        let texts: Vec<String> = (0..STATEMENTS).map(|n| format!("SELECT {n} + $1::int")).collect();
        statements.push(try_join_all(texts.iter().map(|text| client.prepare(text))).await?);
    }
    for turn in 0..3 {
        for n in 0..STATEMENTS {
            for (which, (client, statements)) in (0..).zip(clients.iter().zip(&statements)) {
                let statement = &statements[usize::try_from(n)?];
                let sum: i32 = client.query_one(statement, &[&(which + turn)]).await?.get(0);
                expect(sum, n + which + turn)?;
            }
        }
    }
    // Dropped at once, and closed by the driver.
    for n in 0..2 * STATEMENTS {
        let text = format!("SELECT {n} - $1::int");
        let rest: i32 = clients[0].query_one(&text, &[&1_i32]).await?.get(0);
        expect(rest, n - 1)?;
    }
    Ok(())
}

async fn unnamed() -> Result<()> {
    let clients = clients().await?;
    for n in 0..STATEMENTS {
        let sql = format!("SELECT {n} + $1");
        let numbers: Vec<i32> = (0..CLIENTS).collect();
        let ask = async |(client, number): (&Client, &i32)| {
            client.query_typed(&sql, &[(number, Type::INT4)]).await
        };
        let told = try_join_all(clients.iter().zip(&numbers).map(ask)).await?;
        for (number, rows) in numbers.iter().zip(told) {
            expect(rows[0].get::<_, i32>(0), n + number)?;
        }
    }
    Ok(())
}

/// What a statement was told of its result stays true: it fails, and one prepared anew does not.
async fn changed() -> Result<()> {
    let clients = [connect().await?, connect().await?];
    let table = format!("{TABLE}_changed");
    let sql = format!("SELECT * FROM {table}");
    let create = format!(
        "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (n int); INSERT INTO {table} VALUES (1)"
    );
    clients[0].batch_execute(&create).await?;
    for column in 2..5_i32 {
        let mut statements = Vec::new();
        for client in &clients {
            let statement = client.prepare(&sql).await?;
            expect(client.query_one(&statement, &[]).await?.len(), statement.columns().len())?;
            statements.push(statement);
        }
        let add = format!("ALTER TABLE {table} ADD COLUMN c{column} int DEFAULT {column}");
        clients[1].batch_execute(&add).await?;
        for (client, statement) in clients.iter().zip(&statements) {
            for _ in 0..3 {
                fails("0A000", client.query_one(statement, &[]).await)?;
            }
            let row = client.query_one(&sql, &[]).await?;
            expect(row.get::<_, i32>(row.len() - 1), column)?;
        }
    }
    Ok(())
}

async fn forget() -> Result<()> {
    let (client, other) = (connect().await?, connect().await?);
    let sql = "SELECT 1 + $1::int";
    let kept = other.prepare(sql).await?;
    for forget in ["DEALLOCATE ALL", "DISCARD ALL"] {
        let mine = client.prepare(sql).await?;
        expect(client.query_one(&mine, &[&1]).await?.get(0), 2)?;
        client.batch_execute(forget).await?;
        fails("26000", client.query_one(&mine, &[&1]).await)?;
        for turn in 0..5 {
            expect(other.query_one(&kept, &[&turn]).await?.get(0), 1 + turn)?;
        }
        expect(client.query_one(sql, &[&2]).await?.get(0), 3)?;
    }
    Ok(())
}

/// The driver asks for types that it does not know while it prepares.
async fn types() -> Result<()> {
    let (mood, pair) = (format!("{TABLE}_mood"), format!("{TABLE}_pair"));
    let create = format!(
        "DROP TYPE IF EXISTS {pair}, {mood}; CREATE TYPE {mood} AS ENUM ('sad', 'ok'); \
         CREATE TYPE {pair} AS (mood {mood}, n int)"
    );
    connect().await?.batch_execute(&create).await?;
    let sql = format!("SELECT ARRAY[ROW('ok', 7)::{pair}], $1::{mood}[]");
    for client in clients().await? {
        let statement = client.prepare(&sql).await?;
        let Kind::Array(element) = statement.columns()[0].type_().kind() else { bail!("no array") };
        let Kind::Composite(fields) = element.kind() else { bail!("not composite") };
        let moods = vec!["sad".to_owned(), "ok".to_owned()];
        expect(fields[0].type_().kind(), &Kind::Enum(moods))?;
        expect((element.name(), fields[1].type_()), (&*pair, &Type::INT4))?;
    }
    Ok(())
}

async fn prepare_ahead() -> Result<()> {
    let clients = clients().await?;
    let mut statements = Vec::new();
    for client in &clients {
        statements.push(client.prepare("SELECT 1 + $1::int").await?);
    }
    for (which, (client, statement)) in (0..).zip(clients.iter().zip(&statements)) {
        let sum: i32 = client.query_one(statement, &[&which]).await?.get(0);
        expect(sum, 1 + which)?;
    }
    Ok(())
}

/// Requests that are polled together go to the server one behind the other.
async fn pipeline() -> Result<()> {
    let client = connect().await?;
    let numbers: Vec<i32> = (0..STATEMENTS).collect();
    let ask = |number: i32| {
        let client = &client;
        async move { client.query_one("SELECT 10 / $1::int * 2", &[&number]).await }
    };
    for _ in 0..2 {
        let told = join_all(numbers.iter().copied().map(ask)).await;
        for (number, row) in numbers.iter().zip(told) {
            match number {
                0 => fails("22012", row)?,
                _ => expect(row?.get::<_, i32>(0), 10 / number * 2)?,
            }
        }
    }
    Ok(())
}

async fn transaction() -> Result<()> {
    let mut client = connect().await?;
    let mut outer = client.transaction().await?;
    outer.execute(&format!("INSERT INTO {TABLE} VALUES (1, 'kept')"), &[]).await?;
    let inner = outer.savepoint("s").await?;
    fails("22012", inner.batch_execute("SELECT 1/0").await)?;
    fails("25P02", inner.batch_execute("SELECT 1").await)?;
    inner.rollback().await?;
    outer.commit().await?;
    let builder = client.build_transaction().isolation_level(IsolationLevel::Serializable);
    let other = builder.start().await?;
    other.execute(&format!("INSERT INTO {TABLE} VALUES (2, 'rolled back')"), &[]).await?;
    // Rolled back by the next statement.
    drop(other);
    let left = format!("SELECT sum(n)::int FROM {TABLE} WHERE n IN (1, 2)");
    expect(number(&client, &left).await?, 1)
}

async fn copy_in() -> Result<()> {
    let client = connect().await?;
    let into = format!("COPY {TABLE} FROM STDIN");
    let mut sink = pin!(client.copy_in(&into).await?);
    for n in 100..10_100 {
        sink.send(std::io::Cursor::new(format!("{n}\tcopied\n"))).await?;
    }
    expect(sink.finish().await?, 10_000)?;
    let mut sink = pin!(client.copy_in(&into).await?);
    sink.send(std::io::Cursor::new("not a number\tx\n".to_owned())).await?;
    fails("22P02", sink.finish().await)?;
    // Given up: the driver sends CopyFail.
    drop(client.copy_in::<_, std::io::Cursor<String>>(&into).await?);
    expect(number(&client, "SELECT 1").await?, 1)
}

async fn copy_out() -> Result<()> {
    let client = connect().await?;
    let rows = "COPY (SELECT g, 'out' FROM generate_series(1, 10000) g) TO STDOUT";
    let mut rows = pin!(client.copy_out(rows).await?);
    let mut found = 0;
    while let Some(chunk) = rows.try_next().await? {
        found += chunk.iter().filter(|byte| **byte == b'\n').count();
    }
    expect(found, 10_000)
}

async fn cursor() -> Result<()> {
    let mut client = connect().await?;
    let transaction = client.transaction().await?;
    let portal = transaction.bind("SELECT generate_series(1, 500)", &[]).await?;
    let mut found: Vec<i32> = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 7).await?;
        if rows.is_empty() {
            break;
        }
        found.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    transaction.commit().await?;
    expect(found, (1..=500).collect())
}

async fn cancel() -> Result<()> {
    let (client, watch) = (connect().await?, connect().await?);
    let canceller = async {
        while number(&watch, SLEEPS).await? == 0 {}
        client.cancel_token().cancel_query(tls("PGSSLROOTCERT")?).await?;
        anyhow::Ok(())
    };
    let (slept, cancelled) = tokio::join!(client.batch_execute("SELECT pg_sleep(30)"), canceller);
    cancelled?;
    fails("57014", slept)?;
    expect(number(&client, "SELECT 1").await?, 1)
}

async fn settings() -> Result<()> {
    let mut clients = Vec::new();
    for (n, zone) in ZONES.iter().enumerate() {
        let mut config = config()?;
        config.application_name(format!("tokio-postgres {n}"));
        config.options(format!("-c search_path=s{n}"));
        let client = connect_as(&config).await?;
        client.batch_execute(&format!("SET TimeZone = '{zone}'")).await?;
        clients.push(client);
    }
    for _ in 0..5 {
        for (n, (client, zone)) in clients.iter().zip(ZONES).enumerate() {
            let wanted = [
                ("TimeZone", zone.to_owned()),
                ("application_name", format!("tokio-postgres {n}")),
                ("search_path", format!("s{n}")),
            ];
            for (name, wanted) in wanted {
                let row = client.query_one(&format!("SHOW {name}"), &[]).await?;
                expect(row.get::<_, String>(0), wanted)?;
            }
        }
    }
    Ok(())
}

async fn shared() -> Result<()> {
    let work = |number: i32| async move {
        let mut client = connect().await?;
        let statement = client.prepare("SELECT $1::int, pg_backend_pid()").await?;
        let mut pids = HashSet::new();
        for turn in 0..30 {
            let transaction = client.transaction().await?;
            let value = turn * 100 + number;
            let row = transaction.query_one(&statement, &[&value]).await?;
            expect(row.get::<_, i32>(0), value)?;
            let again = transaction.query_one("SELECT pg_backend_pid()", &[]).await?;
            expect(again.get::<_, i32>(0), row.get(1))?;
            pids.insert(row.get(1));
            transaction.commit().await?;
        }
        anyhow::Ok(pids)
    };
    let pids = try_join_all((0..CLIENTS).map(work)).await?;
    expect_shared(&pids.into_iter().flatten().collect())
}

#[tokio::main]
async fn main() -> Result<()> {
    version("tokio-postgres");
    let create = format!("DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (n int, s text)");
    connect().await?.batch_execute(&create).await?;
    check("connect", connects()).await;
    check("tls_verify_full", verify_full()).await;
    check("tls_wrong_authority", wrong_authority()).await;
    check("tls_wrong_name", wrong_name()).await;
    check("channel_binding", channel_binding()).await;
    check("wrong_password", wrong_password()).await;
    check("simple_query", simple_query()).await;
    check("error", error()).await;
    check("prepared", prepared()).await;
    check("unnamed", unnamed()).await;
    check("changed", changed()).await;
    check("forget", forget()).await;
    check("types", types()).await;
    check("prepare_ahead", prepare_ahead()).await;
    check("pipeline", pipeline()).await;
    check("transaction", transaction()).await;
    check("copy_in", copy_in()).await;
    check("copy_out", copy_out()).await;
    check("cursor", cursor()).await;
    check("cancel", cancel()).await;
    check("settings", settings()).await;
    check("shared", shared()).await;
    Ok(())
}
