"""asyncpg: see ../README.md for the checks and the output."""

import asyncio
import io
import ssl

import asyncpg

import report
from report import CLIENTS, STATEMENTS, Skip, expect

TABLE = "driver_asyncpg"


def verifying(authority):
    return ssl.create_default_context(cafile=authority)


async def connect(**options):
    options.setdefault("timeout", 10)
    return await asyncpg.connect(
        **{
            "host": report.HOST,
            "port": report.PORT,
            "user": report.USER,
            "password": report.PASSWORD,
            "database": report.DATABASE,
            "ssl": "prefer",
            **options,
        }
    )


async def close(clients):
    for conn in clients:
        await conn.close()


async def check_connect():
    conn = await connect()
    assert conn.get_server_version().major >= 12
    await conn.close()


async def check_tls_verify_full():
    conn = await connect(ssl=verifying(report.AUTHORITY))
    assert conn._transport.get_extra_info("ssl_object") is not None
    await conn.close()


async def check_tls_wrong_authority():
    try:
        await connect(ssl=verifying(report.OTHER_AUTHORITY))
    except ssl.SSLCertVerificationError:
        return
    raise AssertionError("let in")


async def check_tls_wrong_name():
    try:
        await connect(ssl=verifying(report.AUTHORITY), host=report.WRONG_NAME)
    except ssl.SSLCertVerificationError as error:
        assert "mismatch" in str(error), error
        return
    raise AssertionError("let in")


async def check_channel_binding():
    raise Skip("asyncpg has none")


async def check_wrong_password():
    try:
        await connect(password="wrong")
    except asyncpg.InvalidPasswordError as error:
        expect(error.sqlstate, "28P01")
        return
    raise AssertionError("let in")


async def check_simple_query():
    conn = await connect()
    expect(await conn.execute("SELECT 1; SELECT 'ä€𝄞', NULL"), "SELECT 1")
    expect(len(await conn.fetchval("SELECT repeat('x', 5000000)")), 5000000)
    await conn.close()


async def check_error():
    conn = await connect()
    for _ in range(3):
        try:
            await conn.fetchval("SELECT 1 / $1::int", 0)
            raise AssertionError("no error")
        except asyncpg.DivisionByZeroError as error:
            expect(error.sqlstate, "22012")
        expect(await conn.fetchval("SELECT $1::int", 7), 7)
    await conn.close()


async def check_prepared():
    clients = [await connect() for _ in range(CLIENTS)]
    prepared = [[] for _ in clients]
    for turn in range(3):
        for number in range(STATEMENTS):
            for which, statements in enumerate(prepared):
                if turn == 0:
                    query = f"SELECT {number} + $1::int"
                    statements.append(await clients[which].prepare(query))
                expect(await statements[number].fetchval(which + turn), number + which + turn)
    await close(clients)
    # The driver's own cache: it closes its oldest ones.
    conn = await connect(statement_cache_size=5)
    for number in list(range(STATEMENTS)) * 2:
        expect(await conn.fetchval(f"SELECT {number} - $1::int", 1), number - 1)
    await conn.close()


async def check_unnamed():
    clients = [await connect(statement_cache_size=0) for _ in range(CLIENTS)]
    for number in range(STATEMENTS):
        sums = [conn.fetchval(f"SELECT {number} + $1::int", n) for n, conn in enumerate(clients)]
        expect(await asyncio.gather(*sums), [number + n for n in range(CLIENTS)])
    await close(clients)


async def check_prepare_ahead():
    clients = [await connect() for _ in range(CLIENTS)]
    try:
        prepared = [await conn.prepare("SELECT 1 + $1::int") for conn in clients]
        for which, statement in enumerate(prepared):
            expect(await statement.fetchval(which), 1 + which)
    finally:
        for conn in clients:
            conn.terminate()


async def check_changed():
    table = f"{TABLE}_changed"
    query = f"SELECT * FROM {table}"
    one, other = await connect(), await connect()
    await one.execute(f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (n int)")
    await one.execute(f"INSERT INTO {table} VALUES (1)")
    for column in range(2, 5):
        row = tuple(range(1, column + 1))
        for conn in [one, other]:
            expect(await conn.fetchrow(query), row[:-1])
        await other.execute(f"ALTER TABLE {table} ADD COLUMN c{column} int DEFAULT {column}")
        # Inside a transaction the driver tells, outside it prepares once more by itself.
        if column == 3:
            try:
                async with one.transaction():
                    expect(await one.fetchrow(query), row)
            except asyncpg.InvalidCachedStatementError:
                pass
        for conn in [one, other]:
            expect(await conn.fetchrow(query), row)
    await close([one, other])


async def check_forget():
    conn, other = await connect(), await connect()
    query = "SELECT 1 + $1::int"
    kept = await other.prepare(query)
    for forget in ["DEALLOCATE ALL", "DISCARD ALL"]:
        statement = await conn.prepare(query)
        expect(await statement.fetchval(1), 2)
        expect(await kept.fetchval(2), 3)
        await conn.execute(forget)
        try:
            await statement.fetchval(1)
            raise AssertionError("it is still there")
        except asyncpg.InvalidSQLStatementNameError:
            pass
        for _ in range(5):
            expect(await kept.fetchval(3), 4)
        statement = await conn.prepare(query)
        expect(await statement.fetchval(4), 5)
        await conn.reset()
        expect(await statement.fetchval(5), 6)
    await close([conn, other])


async def check_types():
    mood, pair = f"{TABLE}_mood", f"{TABLE}_pair"
    conn = await connect()
    await conn.execute(f"DROP TYPE IF EXISTS {pair}, {mood}")
    await conn.execute(f"CREATE TYPE {mood} AS ENUM ('sad', 'ok')")
    await conn.execute(f"CREATE TYPE {pair} AS (mood {mood}, n int)")
    await conn.close()

    async def ask(conn, number):
        # The driver looks up the types of a statement that it has prepared and not yet run.
        query = f"SELECT $1::{pair}[], $2::{mood}"
        (pairs, feeling) = await conn.fetchrow(query, [("ok", number)], "sad")
        expect((tuple(pairs[0]), feeling), (("ok", number), "sad"))
        await conn.reload_schema_state()
        (pairs, _) = await conn.fetchrow(query, [("ok", number)], "sad")
        expect(tuple(pairs[0]), ("ok", number))

    # Older versions ask in a statement that Postgres compiles for a second.
    settings = {"jit": "off"}
    for options in [{}, {"statement_cache_size": 0}]:
        clients = [await connect(server_settings=settings, **options) for _ in range(CLIENTS)]
        await asyncio.gather(*(ask(conn, number) for number, conn in enumerate(clients)))
        await close(clients)


async def check_pipeline():
    conn = await connect()
    await conn.executemany(f"INSERT INTO {TABLE} VALUES ($1, $2)", [(n, "many") for n in range(10, 90)])
    expect(await conn.fetchval(f"SELECT count(*) FROM {TABLE} WHERE s = 'many'"), 80)
    try:
        await conn.executemany(f"INSERT INTO {TABLE} VALUES (1 / $1::int, 'bad')", [(1,), (0,), (1,)])
        raise AssertionError("no error")
    except asyncpg.DivisionByZeroError:
        pass
    expect(await conn.fetchval(f"SELECT count(*) FROM {TABLE} WHERE s = 'bad'"), 0)
    await conn.close()


async def check_transaction():
    conn = await connect()
    async with conn.transaction():
        await conn.execute(f"INSERT INTO {TABLE} VALUES (1, 'kept')")
        try:
            async with conn.transaction():
                await conn.execute(f"INSERT INTO {TABLE} VALUES (2, 'not kept')")
                await conn.execute("SELECT 1/0")
        except asyncpg.DivisionByZeroError:
            pass
    transaction = conn.transaction(isolation="serializable")
    await transaction.start()
    await conn.execute(f"INSERT INTO {TABLE} VALUES (3, 'rolled back')")
    await transaction.rollback()
    rows = await conn.fetch(f"SELECT n FROM {TABLE} WHERE n BETWEEN 1 AND 3 ORDER BY n")
    expect([row[0] for row in rows], [1])
    await conn.close()


async def check_copy_in():
    conn = await connect()
    records = [(n, "copied") for n in range(100, 10100)]
    expect(await conn.copy_records_to_table(TABLE, records=records), "COPY 10000")
    try:
        await conn.copy_to_table(TABLE, source=io.BytesIO(b"not a number\tx\n"))
        raise AssertionError("no error")
    except asyncpg.InvalidTextRepresentationError:
        pass
    expect(await conn.fetchval("SELECT 1"), 1)
    await conn.close()


async def check_copy_out():
    conn = await connect()
    output = io.BytesIO()
    query = "SELECT g, 'out' FROM generate_series(1, 10000) g"
    expect(await conn.copy_from_query(query, output=output), "COPY 10000")
    expect(output.getvalue().count(b"\n"), 10000)
    await conn.close()


async def check_cursor():
    conn = await connect()
    async with conn.transaction():
        rows = [row[0] async for row in conn.cursor("SELECT generate_series(1, 500)", prefetch=7)]
        expect(rows, list(range(1, 501)))
    await conn.close()


async def check_cancel():
    conn, watch = await connect(), await connect()
    sleeping = asyncio.create_task(conn.execute("SELECT pg_sleep(30)"))
    while not await watch.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    ):
        assert not sleeping.done(), "it did not sleep"
    sleeping.cancel()
    try:
        await sleeping
        raise AssertionError("not cancelled")
    except asyncio.CancelledError:
        pass
    # What a cancelled task left is cleaned up before the next statement.
    expect(await asyncio.wait_for(conn.fetchval("SELECT 1"), 10), 1)
    sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    expect(await watch.fetchval(sleeps), 0)
    await close([conn, watch])


async def check_settings():
    zones = ["Asia/Tokyo", "Europe/Berlin", "UTC", "America/Lima", "Asia/Kolkata", "Africa/Cairo"]
    clients = []
    for number, zone in enumerate(zones):
        settings = {"application_name": f"asyncpg {number}", "search_path": f"public, s{number}"}
        clients.append(await connect(server_settings=settings))
        await clients[-1].execute(f"SET TimeZone = '{zone}'")
    for _ in range(5):
        for number, (conn, zone) in enumerate(zip(clients, zones)):
            expect(await conn.fetchval("SHOW TimeZone"), zone)
            expect(await conn.fetchval("SHOW application_name"), f"asyncpg {number}")
            expect(await conn.fetchval("SHOW search_path"), f"public, s{number}")
    await close(clients)


async def check_shared():
    pids = set()
    pool = await asyncpg.create_pool(
        host=report.HOST,
        port=report.PORT,
        user=report.USER,
        password=report.PASSWORD,
        database=report.DATABASE,
        min_size=CLIENTS,
        max_size=CLIENTS,
    )

    async def work(number):
        for turn in range(30):
            async with pool.acquire() as conn, conn.transaction():
                value = turn * 100 + number
                row = await conn.fetchrow("SELECT $1::int, pg_backend_pid()", value)
                expect(row[0], value)
                expect(await conn.fetchval("SELECT pg_backend_pid()"), row[1])
                pids.add(row[1])

    await asyncio.gather(*(work(number) for number in range(CLIENTS)))
    await pool.close()
    report.expect_shared(pids)


async def main():
    report.version(asyncpg.__version__)
    conn = await connect()
    await conn.execute(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (n int, s text)")
    await conn.close()
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            try:
                await asyncio.wait_for(check(), 60)
            except Exception as error:
                report.report(name[6:], error)
            else:
                report.report(name[6:])


asyncio.run(main())
