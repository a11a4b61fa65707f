"""psycopg 3 through pgmesh: what a driver of its kind makes use of.

Where to connect comes from the environment, as libpq reads it. Every check opens connections
of its own. Ends with status 0 if all held.
"""

import threading

import psycopg
from psycopg import errors
from psycopg.rows import dict_row


def connect(**options):
    return psycopg.connect("", **options)


def transactions():
    with connect() as conn:
        conn.execute("CREATE TABLE psycopg_t (n int PRIMARY KEY, s text)")
        conn.execute("INSERT INTO psycopg_t VALUES (%s, %s)", (1, "one"))
    with connect() as conn:
        with conn.transaction():
            conn.execute("INSERT INTO psycopg_t VALUES (2, 'two')")
            try:
                with conn.transaction():
                    conn.execute("INSERT INTO psycopg_t VALUES (3, 'three')")
                    conn.execute("INSERT INTO psycopg_t VALUES (1, 'again')")
            except errors.UniqueViolation:
                pass
        try:
            conn.execute("SELECT 1/0")
        except errors.DivisionByZero:
            pass
        try:
            conn.execute("SELECT 1")
            raise AssertionError("a failed transaction takes no statement")
        except errors.InFailedSqlTransaction:
            conn.rollback()
        rows = conn.execute("SELECT n FROM psycopg_t ORDER BY n").fetchall()
        assert rows == [(1,), (2,)], rows
        conn.execute("DELETE FROM psycopg_t")
        conn.rollback()
        assert conn.execute("SELECT count(*) FROM psycopg_t").fetchone() == (2,)


def autocommit():
    with connect(autocommit=True) as conn:
        conn.execute("INSERT INTO psycopg_t VALUES (10, NULL)")
        with connect() as other:
            assert other.execute("SELECT s FROM psycopg_t WHERE n = 10").fetchone() == (None,)
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        conn.execute("DELETE FROM psycopg_t WHERE n = 10")


def isolation_and_read_only():
    with connect() as conn:
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        conn.read_only = True
        assert conn.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
        try:
            conn.execute("DELETE FROM psycopg_t")
            raise AssertionError("a read-only transaction does not write")
        except errors.ReadOnlySqlTransaction:
            conn.rollback()


def prepared_statements():
    connections = [connect(autocommit=True, prepare_threshold=0) for _ in range(4)]
    for turn in range(20):
        for number, conn in enumerate(connections):
            row = conn.execute("SELECT %s::int + %s::int, %s::text", (turn, number, "x")).fetchone()
            assert row == (turn + number, "x"), row
            row = conn.execute("SELECT s FROM psycopg_t WHERE n = %s", (1,)).fetchone()
            assert row == ("one",), row
    for conn in connections:
        conn.close()


def more_prepared_statements_than_psycopg_keeps():
    # It deallocates the oldest by SQL, unless libpq can close them.
    with connect(autocommit=True, prepare_threshold=0) as conn:
        conn.prepared_max = 5
        for number in range(30):
            assert conn.execute(f"SELECT {number} + %s", (1,)).fetchone() == (number + 1,)


def binary_and_rows():
    with connect(row_factory=dict_row) as conn:
        cur = conn.execute(
            "SELECT 1.5::float8 AS f, 'ä€𝄞' AS s, ARRAY[1,2] AS a, NULL AS n, '\\x00ff'::bytea AS b",
            binary=True,
        )
        row = cur.fetchone()
        assert row == {"f": 1.5, "s": "ä€𝄞", "a": [1, 2], "n": None, "b": b"\x00\xff"}, row


def many_rows():
    with connect() as conn, conn.cursor() as cur:
        cur.execute("CREATE TABLE psycopg_many (n int, s text)")
        cur.executemany(
            "INSERT INTO psycopg_many VALUES (%s, %s)", [(n, str(n)) for n in range(500)]
        )
        conn.commit()
        # A cursor on the server, which lives as long as its transaction.
        with conn.cursor("psycopg_named") as named:
            named.itersize = 7
            named.execute("SELECT n FROM psycopg_many ORDER BY n")
            assert [n for (n,) in named] == list(range(500))
        conn.commit()
        big = cur.execute("SELECT repeat('x', 5000000)").fetchone()[0]
        assert len(big) == 5000000
        assert len(list(cur.stream("SELECT * FROM psycopg_many"))) == 500


def copy():
    with connect() as conn, conn.cursor() as cur:
        cur.execute("CREATE TABLE psycopg_copy (n int, s text)")
        with cur.copy("COPY psycopg_copy FROM STDIN") as into:
            for n in range(10000):
                into.write_row((n, "y" * 20))
        assert cur.rowcount == 10000
        with cur.copy("COPY psycopg_copy TO STDOUT") as out:
            assert sum(1 for _ in out.rows()) == 10000
        with cur.copy("COPY psycopg_copy FROM STDIN (FORMAT BINARY)") as into:
            into.set_types(["int4", "text"])
            into.write_row((1, "binary"))
        conn.commit()
        try:
            with cur.copy("COPY psycopg_copy FROM STDIN") as into:
                into.write("not a number\tx\n")
        except errors.InvalidTextRepresentation:
            conn.rollback()
        try:
            with cur.copy("COPY psycopg_copy FROM STDIN") as into:
                into.write_row((1, "x"))
                raise RuntimeError("given up")
        except errors.QueryCanceled:
            conn.rollback()
        assert cur.execute("SELECT count(*) FROM psycopg_copy").fetchone() == (10001,)


def pipelines():
    with connect(autocommit=True) as conn:
        with conn.pipeline() as pipeline:
            cursors = [conn.execute("SELECT %s::int", (n,)) for n in range(100)]
            pipeline.sync()
            cursors += [conn.execute("SELECT %s::int", (n,)) for n in range(100, 110)]
        assert [cur.fetchone()[0] for cur in cursors] == list(range(110))
        try:
            with conn.pipeline() as pipeline:
                conn.execute("INSERT INTO psycopg_t VALUES (20, 'rolled back')")
                conn.execute("SELECT 1/0")
                conn.execute("INSERT INTO psycopg_t VALUES (21, 'skipped')")
            raise AssertionError("an error in a pipeline is raised")
        except errors.DivisionByZero:
            pass
        count = "SELECT count(*) FROM psycopg_t WHERE n IN (20, 21)"
        assert conn.execute(count).fetchone() == (0,)
        # Prepared within one pipeline and used there.
        conn.prepare_threshold = 0
        with conn.pipeline():
            cursors = [conn.execute("SELECT %s::int * 2", (n,)) for n in range(20)]
        assert [cur.fetchone()[0] for cur in cursors] == [n * 2 for n in range(20)]
    with connect() as conn:
        with conn.pipeline(), conn.transaction():
            conn.execute("INSERT INTO psycopg_t VALUES (30, 'piped')")
            assert conn.execute("SELECT s FROM psycopg_t WHERE n = 30").fetchone() == ("piped",)


def cancel():
    with connect(autocommit=True) as conn:
        with connect(autocommit=True) as watch:
            pid = conn.execute("SELECT pg_backend_pid()").fetchone()[0]

            def cancel_when_it_sleeps():
                sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                while watch.execute(sleeps).fetchone() == (0,):
                    pass
                conn.cancel()

            canceller = threading.Thread(target=cancel_when_it_sleeps)
            canceller.start()
            try:
                conn.execute("SELECT pg_sleep(600)")
                raise AssertionError("not cancelled")
            except errors.QueryCanceled:
                pass
            canceller.join()
        assert pid and conn.execute("SELECT 1").fetchone() == (1,)


def notices_and_parameters():
    with connect(autocommit=True, application_name="drive.py") as conn:
        told = []
        conn.add_notice_handler(lambda diagnostic: told.append(diagnostic.message_primary))
        conn.execute("DO $$ BEGIN RAISE NOTICE 'hear, hear'; END $$")
        assert told == ["hear, hear"], told
        assert conn.info.parameter_status("application_name") == "drive.py"
        conn.execute("SET TimeZone = 'Asia/Tokyo'")
        assert conn.info.timezone.key == "Asia/Tokyo"
        for _ in range(10):
            assert conn.execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",)


def threads():
    failed = []

    def work(number):
        try:
            with connect(autocommit=True, prepare_threshold=1) as conn:
                for turn in range(40):
                    row = conn.execute("SELECT %s::int, %s::text", (turn, str(number))).fetchone()
                    assert row == (turn, str(number)), row
        except Exception as error:  # told by the main thread
            failed.append(repr(error))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed, failed


CHECKS = [
    transactions,
    autocommit,
    isolation_and_read_only,
    prepared_statements,
    more_prepared_statements_than_psycopg_keeps,
    binary_and_rows,
    many_rows,
    copy,
    pipelines,
    cancel,
    notices_and_parameters,
    threads,
]

for check in CHECKS:
    print(check.__name__, flush=True)
    check()
print("all held")
