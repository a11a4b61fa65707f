// The JDBC driver: see ../README.md for the checks and the output.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public final class Drive {
    private static final int CLIENTS = 6;
    private static final int STATEMENTS = 50;
    private static final String TABLE = "driver_jdbc";
    private static final String[] ZONES = {
        "Asia/Tokyo", "Europe/Berlin", "UTC", "America/Lima", "Asia/Kolkata", "Africa/Cairo"
    };

    private interface Check {
        void run() throws Exception;
    }

    private static final class Skip extends Exception {
        private static final long serialVersionUID = 1;

        Skip(String reason) {
            super(reason);
        }
    }

    /** Pairs of a name and a value, on top of what the environment says. */
    private static Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("connectTimeout", "10");
        properties.setProperty("socketTimeout", "60");
        String host = System.getenv("PGHOST");
        for (int n = 0; n < options.length; n += 2) {
            if (options[n].equals("host")) {
                host = options[n + 1];
            } else {
                properties.setProperty(options[n], options[n + 1]);
            }
        }
        String port = System.getenv("PGPORT");
        String database = System.getenv("PGDATABASE");
        String url = "jdbc:postgresql://" + host + ":" + port + "/" + database;
        return DriverManager.getConnection(url, properties);
    }

    private static Connection verified(String mode, String authority, String... options)
            throws SQLException {
        List<String> all = new ArrayList<>(List.of("sslmode", mode, "sslrootcert", authority));
        Collections.addAll(all, options);
        return connect(all.toArray(new String[0]));
    }

    private static void expect(Object found, Object wanted) {
        if (!found.equals(wanted)) {
            throw new AssertionError(found + " instead of " + wanted);
        }
    }

    private static void fails(String state, Check check) throws Exception {
        try {
            check.run();
        } catch (SQLException error) {
            if (state.equals(error.getSQLState())) {
                return;
            }
            throw error;
        }
        throw new AssertionError("no error " + state);
    }

    private static String scalar(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    private static int scalar(PreparedStatement statement, int value) throws SQLException {
        statement.setInt(1, value);
        try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            return rows.getInt(1);
        }
    }

    private static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    private static List<Connection> clients(String... options) throws SQLException {
        List<Connection> clients = new ArrayList<>();
        for (int n = 0; n < CLIENTS; n++) {
            clients.add(connect(options));
        }
        return clients;
    }

    private static void close(List<Connection> clients) throws SQLException {
        for (Connection client : clients) {
            client.close();
        }
    }

    private static void tlsWrongName() throws Exception {
        String authority = System.getenv("PGSSLROOTCERT");
        String name = System.getenv("DRIVERS_WRONG_NAME");
        verified("verify-ca", authority, "host", name).close();
        fails("08006", () -> verified("verify-full", authority, "host", name).close());
    }

    private static void simpleQuery() throws Exception {
        for (String mode : new String[] {"simple", "extended"}) {
            try (Connection connection = connect("preferQueryMode", mode);
                    Statement statement = connection.createStatement()) {
                statement.execute("SELECT 1; SELECT 'ä€𝄞', NULL");
                statement.getResultSet().next();
                expect(statement.getResultSet().getInt(1), 1);
                statement.getMoreResults();
                statement.getResultSet().next();
                expect(statement.getResultSet().getString(1), "ä€𝄞");
                expect(scalar(connection, "SELECT repeat('x', 5000000)").length(), 5000000);
            }
        }
    }

    private static void error() throws Exception {
        try (Connection connection = connect();
                PreparedStatement divide = connection.prepareStatement("SELECT 1 / ?::int")) {
            for (int turn = 0; turn < 10; turn++) {
                fails("22012", () -> scalar(divide, 0));
                expect(scalar(divide, 1), 1);
            }
        }
    }

    private static void prepared() throws Exception {
        // From the first use on; the last ones exceed what the driver itself keeps.
        List<Connection> clients = clients("prepareThreshold", "1");
        List<List<PreparedStatement>> statements = new ArrayList<>();
        for (Connection client : clients) {
            List<PreparedStatement> ours = new ArrayList<>();
            for (int n = 0; n < STATEMENTS; n++) {
                ours.add(client.prepareStatement("SELECT " + n + " + ?::int"));
            }
            statements.add(ours);
        }
        for (int turn = 0; turn < 3; turn++) {
            for (int n = 0; n < STATEMENTS; n++) {
                for (int which = 0; which < CLIENTS; which++) {
                    expect(scalar(statements.get(which).get(n), which + turn), n + which + turn);
                }
            }
        }
        close(clients);
        try (Connection connection = connect("prepareThreshold", "1", "preparedStatementCacheQueries", "5")) {
            for (int n = 0; n < 2 * STATEMENTS; n++) {
                String sql = "SELECT " + n % STATEMENTS + " - ?::int";
                try (PreparedStatement statement = connection.prepareStatement(sql)) {
                    expect(scalar(statement, 1), n % STATEMENTS - 1);
                }
            }
        }
    }

    private static void unnamed() throws Exception {
        List<Connection> clients = clients("prepareThreshold", "0");
        for (int n = 0; n < STATEMENTS; n++) {
            String sql = "SELECT " + n + " + ?::int AS sum";
            List<PreparedStatement> statements = new ArrayList<>();
            for (Connection client : clients) {
                // Described in one round trip, run in the next.
                PreparedStatement statement = client.prepareStatement(sql);
                expect(statement.getParameterMetaData().getParameterCount(), 1);
                expect(statement.getMetaData().getColumnName(1), "sum");
                statements.add(statement);
            }
            for (int which = 0; which < CLIENTS; which++) {
                expect(scalar(statements.get(which), which), n + which);
                statements.get(which).close();
            }
        }
        close(clients);
    }

    /** The columns of the only row. */
    private static int columns(PreparedStatement statement) throws SQLException {
        try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            int found = rows.getMetaData().getColumnCount();
            expect(rows.getInt(found), found);
            return found;
        }
    }

    private static void changed(String autosave) throws Exception {
        String table = TABLE + "_changed";
        try (Connection one = connect("prepareThreshold", "1", "autosave", autosave);
                Connection other = connect("prepareThreshold", "1", "autosave", autosave)) {
            execute(one, "DROP TABLE IF EXISTS " + table);
            execute(one, "CREATE TABLE " + table + " (c1 int)");
            execute(one, "INSERT INTO " + table + " VALUES (1)");
            List<PreparedStatement> statements = new ArrayList<>();
            for (Connection connection : List.of(one, other)) {
                statements.add(connection.prepareStatement("SELECT * FROM " + table));
            }
            for (int column = 2; column < 5; column++) {
                for (PreparedStatement statement : statements) {
                    // Named from the second time on.
                    expect(columns(statement), column - 1);
                    expect(columns(statement), column - 1);
                }
                String add = " ADD COLUMN c" + column + " int DEFAULT " + column;
                execute(other, "ALTER TABLE " + table + add);
                for (PreparedStatement statement : statements) {
                    changed(statement, autosave, column);
                }
            }
        }
    }

    private static void changed(PreparedStatement statement, String autosave, int column)
            throws Exception {
        Connection connection = statement.getConnection();
        connection.setAutoCommit(false);
        execute(connection, "SELECT 1");
        if (autosave.equals("never")) {
            fails("0A000", () -> columns(statement));
            connection.rollback();
        }
        // From its savepoint the driver goes on with a statement prepared anew.
        expect(columns(statement), column);
        connection.commit();
        connection.setAutoCommit(true);
        expect(columns(statement), column);
    }

    private static void forget() throws Exception {
        try (Connection connection = connect("prepareThreshold", "1");
                Connection other = connect("prepareThreshold", "1");
                PreparedStatement mine = connection.prepareStatement("SELECT 1 + ?::int");
                PreparedStatement kept = other.prepareStatement("SELECT 1 + ?::int")) {
            // The driver knows both by their tags and prepares again.
            for (String forget : new String[] {"DEALLOCATE ALL", "DISCARD ALL"}) {
                for (int turn = 0; turn < 3; turn++) {
                    expect(scalar(mine, turn), 1 + turn);
                    expect(scalar(kept, turn), 1 + turn);
                }
                execute(connection, forget);
                for (int turn = 0; turn < 3; turn++) {
                    expect(scalar(kept, turn), 1 + turn);
                    expect(scalar(mine, turn), 1 + turn);
                }
            }
        }
    }

    private static void types() throws Exception {
        String mood = TABLE + "_mood";
        String pair = TABLE + "_pair";
        try (Connection connection = connect()) {
            execute(connection, "DROP TYPE IF EXISTS " + pair + ", " + mood);
            execute(connection, "CREATE TYPE " + mood + " AS ENUM ('sad', 'ok')");
            execute(connection, "CREATE TYPE " + pair + " AS (mood " + mood + ", n int)");
        }
        String sql = "SELECT ARRAY[ROW('ok', 7)::" + pair + "], ?::" + mood + "[]";
        for (int n = 0; n < CLIENTS; n++) {
            try (Connection connection = connect("prepareThreshold", "1");
                    PreparedStatement statement = connection.prepareStatement(sql)) {
                statement.setArray(1, connection.createArrayOf(mood, new String[] {"sad"}));
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    expect(rows.getMetaData().getColumnTypeName(1), "_" + pair);
                    expect(((Object[]) rows.getArray(1).getArray())[0].toString(), "(ok,7)");
                    expect(rows.getArray(2).getBaseTypeName(), mood);
                }
            }
        }
    }

    private static void pipeline() throws Exception {
        String insert = "INSERT INTO " + TABLE + " VALUES (100 / ?::int, 'batch')";
        for (String rewrite : new String[] {"false", "true"}) {
            try (Connection connection = connect("prepareThreshold", "1", "reWriteBatchedInserts", rewrite);
                    PreparedStatement statement = connection.prepareStatement(insert)) {
                execute(connection, "TRUNCATE " + TABLE);
                for (int turn = 0; turn < 3; turn++) {
                    for (int n = 1; n <= STATEMENTS; n++) {
                        statement.setInt(1, n);
                        statement.addBatch();
                    }
                    expect(statement.executeBatch().length, STATEMENTS);
                }
                connection.setAutoCommit(false);
                for (int n = -2; n < 3; n++) {
                    statement.setInt(1, n);
                    statement.addBatch();
                }
                try {
                    statement.executeBatch();
                    throw new AssertionError("no error");
                } catch (BatchUpdateException error) {
                    expect(error.getSQLState(), "22012");
                }
                connection.rollback();
                expect(scalar(connection, "SELECT count(*) FROM " + TABLE), "" + 3 * STATEMENTS);
                connection.rollback();
            }
        }
    }

    private static void transaction() throws Exception {
        // With a savepoint of the driver's in front of each statement.
        try (Connection connection = connect("autosave", "always")) {
            connection.setAutoCommit(false);
            for (int turn = 0; turn < 10; turn++) {
                fails("22012", () -> execute(connection, "SELECT 1/0"));
                expect(scalar(connection, "SELECT 7"), "7");
            }
            connection.commit();
        }
        try (Connection connection = connect()) {
            execute(connection, "TRUNCATE " + TABLE);
            connection.setAutoCommit(false);
            execute(connection, "INSERT INTO " + TABLE + " VALUES (1, 'kept')");
            Savepoint savepoint = connection.setSavepoint();
            fails("22012", () -> execute(connection, "SELECT 1/0"));
            fails("25P02", () -> execute(connection, "SELECT 1"));
            connection.rollback(savepoint);
            connection.commit();
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            execute(connection, "INSERT INTO " + TABLE + " VALUES (2, 'rolled back')");
            connection.rollback();
            connection.setReadOnly(true);
            fails("25006", () -> execute(connection, "DELETE FROM " + TABLE));
            connection.rollback();
            expect(scalar(connection, "SELECT array_agg(n) FROM " + TABLE), "{1}");
            connection.rollback();
        }
    }

    private static void copyIn() throws Exception {
        try (Connection connection = connect()) {
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder rows = new StringBuilder();
            for (int n = 0; n < 10000; n++) {
                rows.append(n).append("\tcopied\n");
            }
            String into = "COPY " + TABLE + " FROM STDIN";
            byte[] bytes = rows.toString().getBytes(StandardCharsets.UTF_8);
            expect(copy.copyIn(into, new ByteArrayInputStream(bytes)), 10000L);
            byte[] wrong = "not a number\tx\n".getBytes(StandardCharsets.UTF_8);
            fails("22P02", () -> copy.copyIn(into, new ByteArrayInputStream(wrong)));
            var given = copy.copyIn(into);
            given.writeToCopy(bytes, 0, bytes.length);
            given.cancelCopy();
            expect(scalar(connection, "SELECT 1"), "1");
        }
    }

    private static void copyOut() throws Exception {
        try (Connection connection = connect()) {
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            String rows = "(SELECT g, 'out' FROM generate_series(1, 10000) g)";
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            expect(copy.copyOut("COPY " + rows + " TO STDOUT", out), 10000L);
            expect(out.toString(StandardCharsets.UTF_8).lines().count(), 10000L);
        }
    }

    private static void cursor() throws Exception {
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            for (int turn = 0; turn < 6; turn++) {
                String sql = "SELECT generate_series(1, ?)";
                try (PreparedStatement statement = connection.prepareStatement(sql)) {
                    statement.setFetchSize(7);
                    statement.setInt(1, 500);
                    int found = 0;
                    try (ResultSet rows = statement.executeQuery()) {
                        while (rows.next()) {
                            found++;
                            expect(rows.getInt(1), found);
                        }
                    }
                    expect(found, 500);
                }
                connection.commit();
            }
        }
    }

    private static void cancel() throws Exception {
        String sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        ExecutorService executor = Executors.newSingleThreadExecutor();
        try (Connection connection = connect();
                Connection watch = connect();
                Statement statement = connection.createStatement()) {
            Future<?> canceller =
                    executor.submit(
                            () -> {
                                while (scalar(watch, sleeps).equals("0")) {
                                    Thread.onSpinWait();
                                }
                                statement.cancel();
                                return null;
                            });
            fails("57014", () -> statement.execute("SELECT pg_sleep(30)"));
            canceller.get();
            expect(scalar(connection, "SELECT 1"), "1");
            // By the driver's own timer.
            statement.setQueryTimeout(1);
            fails("57014", () -> statement.execute("SELECT pg_sleep(30)"));
            expect(scalar(connection, "SELECT 1"), "1");
        } finally {
            executor.shutdownNow();
        }
    }

    private static void settings() throws Exception {
        List<Connection> clients = new ArrayList<>();
        for (int n = 0; n < CLIENTS; n++) {
            clients.add(connect("ApplicationName", "jdbc " + n, "currentSchema", "s" + n));
            execute(clients.get(n), "SET TimeZone = '" + ZONES[n] + "'");
        }
        for (int turn = 0; turn < 5; turn++) {
            for (int n = 0; n < CLIENTS; n++) {
                expect(scalar(clients.get(n), "SHOW TimeZone"), ZONES[n]);
                expect(scalar(clients.get(n), "SHOW application_name"), "jdbc " + n);
                expect(scalar(clients.get(n), "SHOW search_path"), "s" + n);
            }
        }
        close(clients);
    }

    private static void work(int number, Set<String> pids) throws Exception {
        String sql = "SELECT pg_backend_pid() + 0 * ?::int, ?::int";
        try (Connection connection = connect("prepareThreshold", "2");
                PreparedStatement statement = connection.prepareStatement(sql)) {
            connection.setAutoCommit(false);
            for (int turn = 0; turn < 30; turn++) {
                statement.setInt(1, turn);
                statement.setInt(2, turn * 100 + number);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    expect(rows.getInt(2), turn * 100 + number);
                    String pid = rows.getString(1);
                    expect(scalar(connection, "SELECT pg_backend_pid()"), pid);
                    pids.add(pid);
                }
                connection.commit();
            }
        }
    }

    private static void shared() throws Exception {
        Set<String> pids = Collections.synchronizedSet(new HashSet<>());
        ExecutorService executor = Executors.newFixedThreadPool(CLIENTS);
        try {
            List<Future<?>> workers = new ArrayList<>();
            for (int n = 0; n < CLIENTS; n++) {
                int number = n;
                workers.add(
                        executor.submit(
                                () -> {
                                    work(number, pids);
                                    return null;
                                }));
            }
            for (Future<?> worker : workers) {
                worker.get();
            }
        } finally {
            executor.shutdownNow();
        }
        String servers = System.getenv("DRIVERS_SERVERS");
        int limit = servers == null ? CLIENTS : Integer.parseInt(servers);
        if (pids.size() > limit) {
            throw new AssertionError(pids.size() + " servers, at most " + limit + " expected");
        }
    }

    private static void report(String name, Check check) {
        try {
            check.run();
            System.out.println("ok " + name);
        } catch (Skip skip) {
            System.out.println("skip " + name + " " + skip.getMessage());
        } catch (Exception | AssertionError error) {
            String reason = String.valueOf(error).replaceAll("\\s+", " ");
            System.out.println("fail " + name + " " + reason);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String version = org.postgresql.util.DriverInfo.DRIVER_VERSION;
        System.out.println("version " + version + ", Java " + Runtime.version().feature());
        String authority = System.getenv("PGSSLROOTCERT");
        String other = System.getenv("DRIVERS_OTHER_AUTHORITY");
        try (Connection connection = connect()) {
            execute(connection, "DROP TABLE IF EXISTS " + TABLE);
            execute(connection, "CREATE TABLE " + TABLE + " (n int, s text)");
        }
        report("connect", () -> connect().close());
        report("tls_verify_full", () -> verified("verify-full", authority).close());
        report(
                "tls_wrong_authority",
                () -> fails("08006", () -> verified("verify-full", other).close()));
        report("tls_wrong_name", Drive::tlsWrongName);
        report(
                "channel_binding",
                () -> {
                    throw new Skip("this version of the driver has none");
                });
        report("wrong_password", () -> fails("28P01", () -> connect("password", "wrong").close()));
        report("simple_query", Drive::simpleQuery);
        report("error", Drive::error);
        report("prepared", Drive::prepared);
        report(
                "prepare_ahead",
                () -> {
                    throw new Skip("the driver prepares when it executes");
                });
        report("unnamed", Drive::unnamed);
        report(
                "changed",
                () -> {
                    for (String autosave : new String[] {"never", "conservative", "always"}) {
                        changed(autosave);
                    }
                });
        report("forget", Drive::forget);
        report("types", Drive::types);
        report("pipeline", Drive::pipeline);
        report("transaction", Drive::transaction);
        report("copy_in", Drive::copyIn);
        report("copy_out", Drive::copyOut);
        report("cursor", Drive::cursor);
        report("cancel", Drive::cancel);
        report("settings", Drive::settings);
        report("shared", Drive::shared);
        System.exit(0);
    }
}
