"""The console, by the drivers that Debian has for Python: text and binary, simple and extended.

Where to connect comes from the environment, as libpq reads it. Ends with status 0 if all held.
"""

import asyncio

import asyncpg
import psycopg
import psycopg2

SHOWS = (
    "ACTIVE_SOCKETS CLIENTS CLUSTER CONFIG DATABASES DNS_HOSTS DNS_ZONES FAILOVERS LISTS MEM PEERS "
    "PEER_POOLS PINS POOLS PREPARED_STATEMENTS SERVERS SOCKETS STATE STATS STATS_AVERAGES "
    "STATS_TOTALS TOTALS USERS VERSION"
).split()


def by_psycopg3():
    with psycopg.connect("", autocommit=True) as conn:
        for binary in (False, True):
            for show in SHOWS:
                cursor = conn.cursor(binary=binary)
                cursor.execute(f"SHOW {show}")
                names = [column.name for column in cursor.description]
                assert all(len(row) == len(names) for row in cursor.fetchall()), show
        try:
            conn.execute("SHOW NOTHING")
            raise AssertionError("not refused")
        except psycopg.errors.SyntaxError:
            pass
    # With a transaction around all, and a statement that is prepared.
    with psycopg.connect("") as conn:
        rows = [conn.execute("SHOW POOLS", prepare=True).fetchall() for _ in range(3)]
        assert rows[0] and len(rows[0]) == len(rows[2])


def by_psycopg2():
    conn = psycopg2.connect("")
    conn.autocommit = True
    with conn.cursor() as cursor:
        for show in SHOWS:
            cursor.execute(f"SHOW {show};")
            assert cursor.description, show
            cursor.fetchall()
    conn.close()


async def by_asyncpg():
    conn = await asyncpg.connect()
    tables = {show: await conn.fetch(f"SHOW {show}") for show in SHOWS}
    pools = tables["POOLS"]
    assert isinstance(pools[0]["cl_active"], int), pools[0]
    stats = tables["STATS"]
    assert stats[0]["total_query_count"] >= 0, stats[0]
    lists = {row["list"]: row["items"] for row in tables["LISTS"]}
    assert lists["pools"] >= 1, lists
    await conn.reset()
    await conn.close()


by_psycopg3()
by_psycopg2()
asyncio.run(by_asyncpg())
