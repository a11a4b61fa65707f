//! sqlx: see ../../../README.md for the checks and the output.

use std::collections::HashSet;

use anyhow::{Result, bail};
use drivers::{CLIENTS, STATEMENTS, Skip, ZONES, check, expect, expect_shared, variable, version};
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode, PgTypeKind,
};
use sqlx::{Column, ConnectOptions, Connection, Error, Executor, Row, Statement, TypeInfo};

const TABLE: &str = "driver_sqlx";

fn options() -> Result<PgConnectOptions> {
    Ok(PgConnectOptions::new_without_pgpass()
        .host(&variable("PGHOST")?)
        .port(variable("PGPORT")?.parse()?)
        .username(&variable("PGUSER")?)
        .password(&variable("PGPASSWORD")?)
        .database(&variable("PGDATABASE")?)
        .ssl_root_cert(variable("PGSSLROOTCERT")?))
}

async fn connect() -> Result<PgConnection> {
    Ok(options()?.connect().await?)
}

async fn clients() -> Result<Vec<PgConnection>> {
    try_join_all((0..CLIENTS).map(|_| connect())).await
}

fn fails<T>(code: &str, ended: Result<T, Error>) -> Result<()> {
    match ended {
        Ok(_) => bail!("no error {code}"),
        Err(Error::Database(error)) if error.code().as_deref() == Some(code) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn refused(options: PgConnectOptions, text: &str) -> Result<()> {
    match options.connect().await {
        Ok(_) => bail!("let in"),
        Err(error) if error.to_string().contains(text) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn number(client: &mut PgConnection, sql: &str, value: i32) -> Result<i32, Error> {
    sqlx::query_scalar(sql).bind(value).fetch_one(client).await
}

async fn connects() -> Result<()> {
    connect().await?.ping().await?;
    Ok(())
}

async fn verify_full() -> Result<()> {
    options()?.ssl_mode(PgSslMode::VerifyFull).connect().await?;
    Ok(())
}

async fn wrong_authority() -> Result<()> {
    let options = options()?.ssl_mode(PgSslMode::VerifyFull);
    refused(options.ssl_root_cert(variable("DRIVERS_OTHER_AUTHORITY")?), "UnknownIssuer").await
}

async fn wrong_name() -> Result<()> {
    let options = options()?.host(&variable("DRIVERS_WRONG_NAME")?);
    refused(options.ssl_mode(PgSslMode::VerifyFull), "not valid for name").await
}

async fn wrong_password() -> Result<()> {
    fails("28P01", options()?.password("wrong").connect().await)
}

async fn simple_query() -> Result<()> {
    let mut client = connect().await?;
    let rows = client.fetch_all("SELECT '1'::text; SELECT 'ä€𝄞'::text").await?;
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    expect(rows, vec!["1".to_owned(), "ä€𝄞".to_owned()])?;
    let long: String =
        sqlx::query_scalar("SELECT repeat('x', $1)").bind(5_000_000).fetch_one(&mut client).await?;
    expect(long.len(), 5_000_000)
}

async fn error() -> Result<()> {
    let mut client = connect().await?;
    for _ in 0..3 {
        fails("22012", number(&mut client, "SELECT 1 / $1::int", 0).await)?;
        expect(number(&mut client, "SELECT $1::int", 7).await?, 7)?;
    }
    Ok(())
}

/// sqlx prepares each text on its first use and keeps it under a name.
async fn prepared() -> Result<()> {
    let mut clients = clients().await?;
    for turn in 0..3 {
        for n in 0..STATEMENTS {
            for (which, client) in (0..).zip(&mut clients) {
                let sum = number(client, &format!("SELECT {n} + $1::int"), which + turn).await?;
                expect(sum, n + which + turn)?;
            }
        }
    }
    // It closes its oldest ones.
    let mut client = options()?.statement_cache_capacity(5).connect().await?;
    for n in (0..STATEMENTS).chain(0..STATEMENTS) {
        expect(number(&mut client, &format!("SELECT {n} - $1::int"), 1).await?, n - 1)?;
    }
    Ok(())
}

/// Described in one round trip, run in the next.
async fn unnamed() -> Result<()> {
    let mut clients = clients().await?;
    for n in 0..STATEMENTS {
        let sql = format!("SELECT {n} + $1::int");
        let ask = async |(number, client): (i32, &mut PgConnection)| {
            let query = sqlx::query_scalar(&sql).bind(number).persistent(false);
            query.fetch_one(client).await
        };
        let sums: Vec<i32> = try_join_all((0..).zip(&mut clients).map(ask)).await?;
        expect(sums, (n..n + CLIENTS).collect())?;
    }
    Ok(())
}

/// What a statement was told of its result stays true: it fails until it is prepared anew.
async fn changed() -> Result<()> {
    let mut clients = [connect().await?, connect().await?];
    let table = format!("{TABLE}_changed");
    let sql = format!("SELECT * FROM {table}");
    let create = format!(
        "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (n int); INSERT INTO {table} VALUES (1)"
    );
    clients[0].execute(create.as_str()).await?;
    for column in 2..5_i32 {
        for client in &mut clients {
            expect(sqlx::query(&sql).fetch_one(client).await?.len() + 1, usize::try_from(column)?)?;
        }
        let add = format!("ALTER TABLE {table} ADD COLUMN c{column} int DEFAULT {column}");
        clients[1].execute(add.as_str()).await?;
        for client in &mut clients {
            for _ in 0..3 {
                fails("0A000", sqlx::query(&sql).fetch_one(&mut *client).await)?;
            }
            client.clear_cached_statements().await?;
            let row = sqlx::query(&sql).fetch_one(client).await?;
            expect(row.get::<i32, _>(row.len() - 1), column)?;
        }
    }
    Ok(())
}

async fn forget() -> Result<()> {
    let (mut client, mut other) = (connect().await?, connect().await?);
    let sql = "SELECT 1 + $1::int";
    for forget in ["DEALLOCATE ALL", "DISCARD ALL"] {
        expect(number(&mut client, sql, 1).await?, 2)?;
        expect(number(&mut other, sql, 2).await?, 3)?;
        client.execute(forget).await?;
        fails("26000", number(&mut client, sql, 1).await)?;
        for turn in 0..5 {
            expect(number(&mut other, sql, turn).await?, 1 + turn)?;
        }
        client.clear_cached_statements().await?;
        expect(number(&mut client, sql, 3).await?, 4)?;
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
    connect().await?.execute(create.as_str()).await?;
    let sql = format!("SELECT ARRAY[ROW('ok', 7)::{pair}]");
    for mut client in clients().await? {
        let row = sqlx::query(&sql).fetch_one(&mut client).await?;
        let PgTypeKind::Array(element) = row.column(0).type_info().kind() else { bail!("no array") };
        let PgTypeKind::Composite(fields) = element.kind() else { bail!("not composite") };
        expect(element.name(), &*pair)?;
        expect((fields[0].1.name(), fields[1].1.name()), (&*mood, "INT4"))?;
    }
    Ok(())
}

async fn prepare_ahead() -> Result<()> {
    let mut clients = clients().await?;
    for client in &mut clients {
        let statement = client.prepare("SELECT 1 + $1::int").await?;
        expect(statement.columns().len(), 1)?;
    }
    for (which, client) in (0..).zip(&mut clients) {
        expect(number(client, "SELECT 1 + $1::int", which).await?, 1 + which)?;
    }
    Ok(())
}

async fn transaction() -> Result<()> {
    let mut client = connect().await?;
    let insert = format!("INSERT INTO {TABLE} VALUES ($1, 'x')");
    let mut outer = client.begin().await?;
    sqlx::query(&insert).bind(1).execute(&mut *outer).await?;
    let mut inner = Connection::begin(&mut *outer).await?;
    fails("22012", inner.execute("SELECT 1/0").await)?;
    fails("25P02", inner.execute("SELECT 1").await)?;
    inner.rollback().await?;
    outer.commit().await?;
    let mut other = client.begin().await?;
    sqlx::query(&insert).bind(2).execute(&mut *other).await?;
    // Rolled back by the next statement.
    drop(other);
    let left = format!("SELECT sum(n)::int FROM {TABLE} WHERE n IN (1, $1)");
    expect(number(&mut client, &left, 2).await?, 1)
}

async fn copy_in() -> Result<()> {
    let mut client = connect().await?;
    let into = format!("COPY {TABLE} FROM STDIN");
    let rows: String = (100..10_100).map(|n| format!("{n}\tcopied\n")).collect();
    let mut copy = client.copy_in_raw(&into).await?;
    copy.send(rows.as_bytes()).await?;
    expect(copy.finish().await?, 10_000)?;
    let mut copy = client.copy_in_raw(&into).await?;
    copy.send(b"not a number\tx\n".as_slice()).await?;
    fails("22P02", copy.finish().await)?;
    client.copy_in_raw(&into).await?.abort("given up").await?;
    expect(number(&mut client, "SELECT $1::int", 1).await?, 1)
}

async fn copy_out() -> Result<()> {
    let mut client = connect().await?;
    let rows = "COPY (SELECT g, 'out' FROM generate_series(1, 10000) g) TO STDOUT";
    let mut found = 0;
    {
        let mut rows = client.copy_out_raw(rows).await?;
        while let Some(chunk) = rows.try_next().await? {
            found += chunk.iter().filter(|byte| **byte == b'\n').count();
        }
    }
    expect(found, 10_000)
}

async fn settings() -> Result<()> {
    let mut clients = Vec::new();
    for (n, zone) in ZONES.iter().enumerate() {
        let search_path = [("search_path", format!("s{n}"))];
        let options = options()?.application_name(&format!("sqlx {n}")).options(search_path);
        let mut client = options.connect().await?;
        client.execute(format!("SET TimeZone = '{zone}'").as_str()).await?;
        clients.push(client);
    }
    for _ in 0..5 {
        for (n, (client, zone)) in clients.iter_mut().zip(ZONES).enumerate() {
            let wanted = [
                ("TimeZone", zone.to_owned()),
                ("application_name", format!("sqlx {n}")),
                ("search_path", format!("s{n}")),
            ];
            for (name, wanted) in wanted {
                let show = format!("SHOW {name}");
                let found: String = sqlx::query_scalar(&show).fetch_one(&mut *client).await?;
                expect(found, wanted)?;
            }
        }
    }
    Ok(())
}

async fn work(pool: &PgPool, client: i32) -> Result<HashSet<i32>> {
    let mut pids = HashSet::new();
    for turn in 0..30 {
        let value = turn * 100 + client;
        let mut transaction = pool.begin().await?;
        let row = sqlx::query("SELECT $1::int, pg_backend_pid()").bind(value);
        let row = row.fetch_one(&mut *transaction).await?;
        expect(row.get::<i32, _>(0), value)?;
        let again = transaction.fetch_one("SELECT pg_backend_pid()").await?;
        expect(again.get::<i32, _>(0), row.get(1))?;
        pids.insert(row.get(1));
        transaction.commit().await?;
    }
    Ok(pids)
}

async fn shared() -> Result<()> {
    let clients = u32::try_from(CLIENTS)?;
    let pool = PgPoolOptions::new().max_connections(clients).min_connections(clients);
    let pool = pool.connect_with(options()?).await?;
    let pids = try_join_all((0..CLIENTS).map(|client| work(&pool, client))).await?;
    pool.close().await;
    expect_shared(&pids.into_iter().flatten().collect())
}

async fn skip(reason: &'static str) -> Result<()> {
    Err(Skip(reason).into())
}

#[tokio::main]
async fn main() -> Result<()> {
    version("sqlx");
    let mut client = connect().await?;
    let create = format!("DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (n int, s text)");
    client.execute(create.as_str()).await?;
    client.close().await?;
    check("connect", connects()).await;
    check("tls_verify_full", verify_full()).await;
    check("tls_wrong_authority", wrong_authority()).await;
    check("tls_wrong_name", wrong_name()).await;
    check("channel_binding", skip("the driver has none")).await;
    check("wrong_password", wrong_password()).await;
    check("simple_query", simple_query()).await;
    check("error", error()).await;
    check("prepared", prepared()).await;
    check("unnamed", unnamed()).await;
    check("changed", changed()).await;
    check("forget", forget()).await;
    check("types", types()).await;
    check("prepare_ahead", prepare_ahead()).await;
    check("pipeline", skip("the driver has none")).await;
    check("transaction", transaction()).await;
    check("copy_in", copy_in()).await;
    check("copy_out", copy_out()).await;
    check("cursor", skip("the driver has none")).await;
    check("cancel", skip("the driver has none")).await;
    check("settings", settings()).await;
    check("shared", shared()).await;
    Ok(())
}
