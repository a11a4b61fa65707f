"""psycopg 3: see ../README.md for the checks and the output."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import errors
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum

import report
from report import CLIENTS, STATEMENTS, Skip, expect

TABLE = "driver_psycopg"
LIBPQ = psycopg.pq.version()


def connect(**options):
    options.setdefault("autocommit", True)
    options.setdefault("connect_timeout", 10)
    return psycopg.connect("", **options)


def refused(wanted, **options):
    try:
        connect(**options).close()
    except psycopg.OperationalError as error:
        if wanted not in str(error):
            raise
    else:
        raise AssertionError("let in")


def check_connect():
    with connect() as conn:
        assert conn.info.parameter_status("server_version")


def check_tls_verify_full():
    with connect(sslmode="verify-full") as conn:
        assert conn.pgconn.ssl_in_use


def check_tls_wrong_authority():
    refused("certificate verify failed", sslmode="verify-full", sslrootcert=report.OTHER_AUTHORITY)


def check_tls_wrong_name():
    connect(sslmode="verify-ca", host=report.WRONG_NAME).close()
    refused("does not match host name", sslmode="verify-full", host=report.WRONG_NAME)


def check_channel_binding():
    """Every sslmode with every channel_binding. Without TLS there is nothing to bind to."""
    for mode in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]:
        for binding in ["disable", "prefer", "require"]:
            if binding == "require" and mode in ["disable", "allow"]:
                refused("channel binding", sslmode=mode, channel_binding=binding)
            else:
                connect(sslmode=mode, channel_binding=binding).close()
            # The library wants no weaker mode for it, and Postgres has it since 17.
            if LIBPQ >= 170000 and report.SERVERS and mode in ["require", "verify-ca", "verify-full"]:
                direct = {"sslmode": mode, "sslnegotiation": "direct"}
                connect(channel_binding=binding, **direct).close()


def check_wrong_password():
    # libpq tells no SQLSTATE of a login that failed.
    refused("password authentication failed", password="wrong")


def check_simple_query():
    with connect() as conn:
        cursor = conn.execute("SELECT 1; SELECT 'ä€𝄞', NULL")
        expect(cursor.fetchone(), (1,))
        assert cursor.nextset()
        expect(cursor.fetchone(), ("ä€𝄞", None))
        expect(len(conn.execute("SELECT repeat('x', 5000000)").fetchone()[0]), 5000000)


def check_error():
    with connect() as conn:
        for _ in range(3):
            try:
                conn.execute("SELECT 1 / %s", (0,))
                raise AssertionError("no error")
            except errors.DivisionByZero as error:
                expect(error.sqlstate, "22012")
            expect(conn.execute("SELECT %s::int", (7,)).fetchone(), (7,))


def check_prepared():
    clients = [connect(prepare_threshold=0) for _ in range(CLIENTS)]
    for conn in clients:
        conn.prepared_max = STATEMENTS + 1
    for turn in range(3):
        for number in range(STATEMENTS):
            for which, conn in enumerate(clients):
                row = conn.execute(f"SELECT {number} + %s::int", (which + turn,)).fetchone()
                expect(row, (number + which + turn,))
    # The driver gives up its oldest ones.
    clients[0].prepared_max = 5
    for number in range(STATEMENTS):
        expect(clients[0].execute(f"SELECT {number} - %s::int", (1,)).fetchone(), (number - 1,))
    for conn in clients:
        conn.close()


def check_unnamed():
    clients = [connect(prepare_threshold=None) for _ in range(CLIENTS)]
    for number in range(STATEMENTS):
        for which, conn in enumerate(clients):
            row = conn.execute(f"SELECT {number} + %s::int", (which,)).fetchone()
            expect(row, (number + which,))
    # As libpq has it: parsed, described and run apart, each time with a Sync.
    for which, conn in enumerate(clients):
        result = conn.pgconn.prepare(b"", b"SELECT %d + $1::int" % which)
        expect(result.error_message, b"")
    for conn in clients:
        expect(conn.pgconn.describe_prepared(b"").nparams, 1)
    for which, conn in enumerate(clients):
        expect(conn.pgconn.exec_prepared(b"", [b"100"]).get_value(0, 0), b"%d" % (100 + which))
    for conn in clients:
        conn.close()


def check_prepare_ahead():
    raise Skip("the driver prepares when it executes")


def check_changed():
    table = f"{TABLE}_changed"
    query = f"SELECT * FROM {table}"
    with connect(prepare_threshold=0) as one, connect(prepare_threshold=0) as other:
        one.execute(f"DROP TABLE IF EXISTS {table}")
        one.execute(f"CREATE TABLE {table} (n int)")
        one.execute(f"INSERT INTO {table} VALUES (1)")
        for column in range(2, 5):
            row = tuple(range(1, column + 1))
            for conn in [one, other]:
                expect(conn.execute(query).fetchone(), row[:-1])
            other.execute(f"ALTER TABLE {table} ADD COLUMN c{column} int DEFAULT {column}")
            for conn in [one, other]:
                try:
                    with conn.transaction():
                        found = conn.execute(query).fetchone()
                except errors.FeatureNotSupported:
                    # The driver deallocates everything after a DROP.
                    conn.execute(f"DROP TABLE IF EXISTS {table}_none")
                    found = conn.execute(query).fetchone()
                expect(found, row)


def check_forget():
    add = b"SELECT 1 + $1::int"
    with connect() as conn, connect() as other:
        for forget in ["DEALLOCATE ALL", "DISCARD ALL"]:
            for pgconn in [conn.pgconn, other.pgconn]:
                expect(pgconn.prepare(b"mine", add).error_message, b"")
                expect(pgconn.exec_prepared(b"mine", [b"1"]).get_value(0, 0), b"2")
            conn.execute(forget)
            result = conn.pgconn.exec_prepared(b"mine", [b"1"])
            expect(result.error_field(psycopg.pq.DiagnosticField.SQLSTATE), b"26000")
            for _ in range(5):
                expect(other.pgconn.exec_prepared(b"mine", [b"2"]).get_value(0, 0), b"3")
            expect(conn.pgconn.prepare(b"mine", add).error_message, b"")
            expect(conn.pgconn.exec_prepared(b"mine", [b"3"]).get_value(0, 0), b"4")
            for each in [conn, other]:
                each.execute("DEALLOCATE mine")


def check_types():
    mood, pair = f"{TABLE}_mood", f"{TABLE}_pair"
    with connect() as conn:
        conn.execute(f"DROP TYPE IF EXISTS {pair}, {mood}")
        conn.execute(f"CREATE TYPE {mood} AS ENUM ('sad', 'ok')")
        conn.execute(f"CREATE TYPE {pair} AS (mood {mood}, n int)")
    for _ in range(CLIENTS):
        with connect(prepare_threshold=0) as conn:
            register_enum(EnumInfo.fetch(conn, mood), conn)
            register_composite(CompositeInfo.fetch(conn, pair), conn)
            for binary in [False, True]:
                query = f"SELECT ARRAY[ROW('ok', %s)::{pair}], %s::{mood}"
                (pairs, feeling) = conn.execute(query, (7, "sad"), binary=binary).fetchone()
                expect((pairs[0].mood.name, pairs[0].n, feeling.name), ("ok", 7, "sad"))


def check_pipeline():
    with connect(prepare_threshold=0) as conn:
        for _ in range(2):
            with conn.pipeline() as pipeline:
                cursors = [conn.execute(f"SELECT {n} + %s::int", (n,)) for n in range(STATEMENTS)]
                pipeline.sync()
                cursors += [conn.execute("SELECT %s::int * 2", (n,)) for n in range(STATEMENTS)]
            expect([cursor.fetchone()[0] for cursor in cursors], [n * 2 for n in range(STATEMENTS)] * 2)
        try:
            with conn.pipeline():
                conn.execute(f"INSERT INTO {TABLE} VALUES (-1, 'rolled back')")
                conn.execute("SELECT 1 / 0")
                conn.execute(f"INSERT INTO {TABLE} VALUES (-2, 'skipped')")
            raise AssertionError("no error")
        except errors.DivisionByZero:
            pass
        expect(conn.execute(f"SELECT count(*) FROM {TABLE} WHERE n < 0").fetchone(), (0,))


def check_transaction():
    with connect(autocommit=False) as conn:
        with conn.transaction():
            conn.execute(f"INSERT INTO {TABLE} VALUES (1, 'kept')")
            try:
                with conn.transaction():
                    conn.execute(f"INSERT INTO {TABLE} VALUES (2, 'not kept')")
                    conn.execute("SELECT 1/0")
            except errors.DivisionByZero:
                pass
        conn.execute(f"INSERT INTO {TABLE} VALUES (3, 'rolled back')")
        conn.rollback()
        try:
            conn.execute("SELECT 1/0")
        except errors.DivisionByZero:
            pass
        try:
            conn.execute("SELECT 1")
            raise AssertionError("no error in a failed transaction")
        except errors.InFailedSqlTransaction:
            conn.rollback()
        rows = conn.execute(f"SELECT n FROM {TABLE} WHERE n BETWEEN 1 AND 3 ORDER BY n").fetchall()
        expect(rows, [(1,)])


def check_copy_in():
    with connect() as conn, conn.cursor() as cursor:
        with cursor.copy(f"COPY {TABLE} FROM STDIN") as copy:
            for n in range(100, 10100):
                copy.write_row((n, "copied"))
        expect(cursor.rowcount, 10000)
        for wrong in ["not a number\tx\n", None]:
            try:
                with cursor.copy(f"COPY {TABLE} FROM STDIN") as copy:
                    if wrong is None:
                        raise RuntimeError("given up")
                    copy.write(wrong)
                raise AssertionError("no error")
            except (errors.InvalidTextRepresentation, errors.QueryCanceled):
                pass
            except RuntimeError:
                # As newer versions pass it on.
                expect(conn.info.transaction_status, psycopg.pq.TransactionStatus.IDLE)
        expect(cursor.execute("SELECT 1").fetchone(), (1,))


def check_copy_out():
    with connect() as conn, conn.cursor() as cursor:
        for form in ["TEXT", "BINARY"]:
            query = f"COPY (SELECT g, 'out' FROM generate_series(1, 10000) g) TO STDOUT (FORMAT {form})"
            with cursor.copy(query) as copy:
                copy.set_types(["int4", "text"])
                expect(sum(1 for _ in copy.rows()), 10000)


def check_cursor():
    with connect(autocommit=False) as conn:
        with conn.cursor("named") as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT generate_series(1, 500)")
            expect([n for (n,) in cursor], list(range(1, 501)))
        conn.commit()
        stream = conn.cursor().stream("SELECT generate_series(1, 500)")
        expect(sum(1 for _ in stream), 500)


def check_cancel():
    cancel()
    # With a longer key, where the server has it.
    if LIBPQ >= 180000:
        cancel(max_protocol_version="3.2")


def cancel(**options):
    with connect(**options) as conn, connect() as watch:
        sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"

        def cancel_when_it_sleeps():
            deadline = time.monotonic() + 20
            while watch.execute(sleeps).fetchone() == (0,) and time.monotonic() < deadline:
                pass
            # The newer way uses TLS as the connection does.
            getattr(conn, "cancel_safe", conn.cancel)()

        with ThreadPoolExecutor() as executor:
            cancelled = executor.submit(cancel_when_it_sleeps)
            try:
                conn.execute("SELECT pg_sleep(30)")
                raise AssertionError("not cancelled")
            except errors.QueryCanceled as error:
                expect(error.sqlstate, "57014")
            # The driver must not complain either.
            cancelled.result()
        expect(conn.execute("SELECT 1").fetchone(), (1,))


def check_settings():
    zones = ["Asia/Tokyo", "Europe/Berlin", "UTC", "America/Lima", "Asia/Kolkata", "Africa/Cairo"]
    clients = [connect(application_name=f"psycopg {n}") for n in range(CLIENTS)]
    for conn, zone in zip(clients, zones):
        conn.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
    for _ in range(5):
        for number, (conn, zone) in enumerate(zip(clients, zones)):
            expect(conn.execute("SHOW TimeZone").fetchone(), (zone,))
            expect(conn.execute("SHOW application_name").fetchone(), (f"psycopg {number}",))
    for conn in clients:
        conn.close()


def check_shared():
    pids, failed = set(), []

    def work(number):
        try:
            with connect(autocommit=False, prepare_threshold=1) as conn:
                for turn in range(30):
                    with conn.transaction():
                        row = conn.execute(
                            "SELECT %s::int, pg_backend_pid()", (turn * 100 + number,)
                        ).fetchone()
                        expect(row[0], turn * 100 + number)
                        expect(conn.execute("SELECT pg_backend_pid()").fetchone()[0], row[1])
                        pids.add(row[1])
        except Exception as error:  # told by the main thread
            failed.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        raise failed[0]
    report.expect_shared(pids)


def main():
    report.version(f"{psycopg.__version__}, libpq {LIBPQ // 10000}.{LIBPQ % 10000}")
    with connect() as conn:
        conn.execute(f"DROP TABLE IF EXISTS {TABLE}")
        conn.execute(f"CREATE TABLE {TABLE} (n int, s text)")
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            try:
                check()
            except Exception as error:
                report.report(name[6:], error)
            else:
                report.report(name[6:])


main()
