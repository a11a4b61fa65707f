// pgx: see ../README.md for the checks and the output.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

const (
	clients    = 6
	statements = 50
	table      = "driver_pgx"
)

var zones = []string{
	"Asia/Tokyo", "Europe/Berlin", "UTC", "America/Lima", "Asia/Kolkata", "Africa/Cairo",
}

// skip is why the driver has no such check.
type skip string

func (s skip) Error() string { return string(s) }

// connect takes `key=value` words on top of what the environment says.
func connect(ctx context.Context, words ...string) (*pgx.Conn, error) {
	words = append([]string{"connect_timeout=10"}, words...)
	return pgx.Connect(ctx, strings.Join(words, " "))
}

// using hands over connections and closes them.
func using(ctx context.Context, count int, words func(int) []string, work func([]*pgx.Conn) error) error {
	var conns []*pgx.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close(ctx)
		}
	}()
	for n := 0; n < count; n++ {
		conn, err := connect(ctx, words(n)...)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	return work(conns)
}

func plain(int) []string { return nil }

func one(ctx context.Context, work func(*pgx.Conn) error, words ...string) error {
	return using(ctx, 1, func(int) []string { return words }, func(conns []*pgx.Conn) error {
		return work(conns[0])
	})
}

func expect(found, wanted interface{}) error {
	if found != wanted {
		return fmt.Errorf("%v instead of %v", found, wanted)
	}
	return nil
}

// fails wants an error with this SQLSTATE.
func fails(code string, err error) error {
	var told *pgconn.PgError
	if errors.As(err, &told) && told.Code == code {
		return nil
	}
	return fmt.Errorf("%v instead of %s", err, code)
}

// refused wants an error with this text.
func refused(text string, conn *pgx.Conn, err error) error {
	if err == nil {
		conn.Close(context.Background())
		return errors.New("let in")
	}
	if !strings.Contains(err.Error(), text) {
		return err
	}
	return nil
}

func number(ctx context.Context, conn *pgx.Conn, wanted int, sql string, arguments ...interface{}) error {
	var found int
	if err := conn.QueryRow(ctx, sql, arguments...).Scan(&found); err != nil {
		return err
	}
	return expect(found, wanted)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func execute(ctx context.Context, conn *pgx.Conn, sql string, arguments ...interface{}) error {
	_, err := conn.Exec(ctx, sql, arguments...)
	return err
}

func nothing(*pgx.Conn) error { return nil }

func checkConnect(ctx context.Context) error { return one(ctx, nothing) }

func checkVerifyFull(ctx context.Context) error { return one(ctx, nothing, "sslmode=verify-full") }

func checkWrongAuthority(ctx context.Context) error {
	authority := "sslrootcert=" + os.Getenv("DRIVERS_OTHER_AUTHORITY")
	conn, err := connect(ctx, "sslmode=verify-full", authority)
	return refused("certificate signed by unknown authority", conn, err)
}

func checkWrongName(ctx context.Context) error {
	host := "host=" + os.Getenv("DRIVERS_WRONG_NAME")
	if err := one(ctx, nothing, "sslmode=verify-ca", host); err != nil {
		return err
	}
	conn, err := connect(ctx, "sslmode=verify-full", host)
	return refused("certificate", conn, err)
}

func checkChannelBinding(context.Context) error { return skip("this version of the driver has none") }

func checkWrongPassword(ctx context.Context) error {
	_, err := connect(ctx, "password=wrong")
	return fails("28P01", err)
}

func checkSimpleQuery(ctx context.Context) error {
	return one(ctx, func(conn *pgx.Conn) error {
		results, err := conn.PgConn().Exec(ctx, "SELECT 1; SELECT 'ä€𝄞', NULL").ReadAll()
		if err != nil {
			return err
		}
		if err := expect(len(results), 2); err != nil {
			return err
		}
		var text string
		protocol := pgx.QuerySimpleProtocol(true)
		row := conn.QueryRow(ctx, "SELECT repeat($1, 5000000)", protocol, "x")
		return first(
			expect(string(results[1].Rows[0][0]), "ä€𝄞"),
			row.Scan(&text),
			expect(len(text), 5000000),
		)
	})
}

func checkError(ctx context.Context) error {
	return one(ctx, func(conn *pgx.Conn) error {
		for turn := 0; turn < 3; turn++ {
			var found int
			err := conn.QueryRow(ctx, "SELECT 1 / $1::int", 0).Scan(&found)
			if err := fails("22012", err); err != nil {
				return err
			}
			if err := number(ctx, conn, 7, "SELECT $1::int", 7); err != nil {
				return err
			}
		}
		return nil
	})
}

// pgx prepares each text on its first use and keeps it under a name.
func checkPrepared(ctx context.Context) error {
	err := using(ctx, clients, plain, func(conns []*pgx.Conn) error {
		for turn := 0; turn < 3; turn++ {
			for n := 0; n < statements; n++ {
				for which, conn := range conns {
					sql := fmt.Sprintf("SELECT %d + $1::int", n)
					if err := number(ctx, conn, n+which+turn, sql, which+turn); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// It closes its oldest ones, or keeps nothing but descriptions.
	for _, words := range []string{"statement_cache_capacity=5", "statement_cache_mode=describe"} {
		err := one(ctx, func(conn *pgx.Conn) error {
			for n := 0; n < 2*statements; n++ {
				sql := fmt.Sprintf("SELECT %d - $1::int", n%statements)
				if err := number(ctx, conn, n%statements-1, sql, 1); err != nil {
					return err
				}
			}
			return nil
		}, words)
		if err != nil {
			return err
		}
	}
	return nil
}

func checkPrepareAhead(ctx context.Context) error {
	return using(ctx, clients, plain, func(conns []*pgx.Conn) error {
		for _, conn := range conns {
			if _, err := conn.Prepare(ctx, "ahead", "SELECT 1 + $1::int"); err != nil {
				return err
			}
		}
		for which, conn := range conns {
			if err := number(ctx, conn, 1+which, "ahead", which); err != nil {
				return err
			}
		}
		return nil
	})
}

// Without a cache pgx describes a statement without a name first, and runs it then.
func checkUnnamed(ctx context.Context) error {
	return using(ctx, clients, plain, func(conns []*pgx.Conn) error {
		for n := 0; n < statements; n++ {
			sql := fmt.Sprintf("SELECT %d + $1::int", n)
			for which, conn := range conns {
				if _, err := conn.Prepare(ctx, "", fmt.Sprintf("%s + %d", sql, which)); err != nil {
					return err
				}
			}
			for which, conn := range conns {
				arguments := [][]byte{[]byte("1")}
				result := conn.PgConn().ExecPrepared(ctx, "", arguments, nil, nil).Read()
				if result.Err != nil {
					return result.Err
				}
				found := string(result.Rows[0][0])
				if err := expect(found, strconv.Itoa(n+1+which)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func checkChanged(ctx context.Context) error {
	changed := table + "_changed"
	columns := func(conn *pgx.Conn, wanted int) error {
		rows, err := conn.Query(ctx, "SELECT * FROM "+changed)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			values, err := rows.Values()
			last := len(values) - 1
			if err := first(err, expect(last+1, wanted), expect(values[last], int32(wanted))); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	return using(ctx, 2, plain, func(conns []*pgx.Conn) error {
		create := "DROP TABLE IF EXISTS " + changed + "; CREATE TABLE " + changed + " (n int);" +
			"INSERT INTO " + changed + " VALUES (1)"
		if err := execute(ctx, conns[0], create); err != nil {
			return err
		}
		for column := 2; column < 5; column++ {
			for _, conn := range conns {
				if err := columns(conn, column-1); err != nil {
					return err
				}
			}
			add := fmt.Sprintf("ALTER TABLE %s ADD COLUMN c%d int DEFAULT %d", changed, column, column)
			if err := execute(ctx, conns[1], add); err != nil {
				return err
			}
			for _, conn := range conns {
				// The driver forgets a statement that has failed like this.
				var told *pgconn.PgError
				err := columns(conn, column)
				if errors.As(err, &told) && told.Code == "0A000" {
					err = columns(conn, column)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func checkForget(ctx context.Context) error {
	return using(ctx, 2, plain, func(conns []*pgx.Conn) error {
		mine, other := conns[0], conns[1]
		if _, err := other.Prepare(ctx, "kept", "SELECT 1 + $1::int"); err != nil {
			return err
		}
		for _, forget := range []string{"DEALLOCATE ALL", "DISCARD ALL"} {
			name := "before " + forget
			_, err := mine.Prepare(ctx, name, "SELECT 1 + $1::int")
			err = first(err, number(ctx, mine, 2, name, 1))
			if err == nil {
				_, err = mine.PgConn().Exec(ctx, forget).ReadAll()
			}
			if err != nil {
				return err
			}
			err = fails("26000", execute(ctx, mine, name, 1))
			for turn := 0; turn < 5; turn++ {
				err = first(err, number(ctx, other, 1+turn, "kept", turn))
			}
			_, again := mine.Prepare(ctx, "after "+forget, "SELECT 1 + $1::int")
			if err := first(err, again, number(ctx, mine, 4, "after "+forget, 3)); err != nil {
				return err
			}
		}
		return nil
	})
}

func checkTypes(context.Context) error { return skip("the program has to register them itself") }

func checkPipeline(ctx context.Context) error {
	return one(ctx, func(conn *pgx.Conn) error {
		for turn := 0; turn < 2; turn++ {
			batch := &pgx.Batch{}
			for n := 0; n < statements; n++ {
				batch.Queue(fmt.Sprintf("SELECT %d + $1::int", n), n)
			}
			results := conn.SendBatch(ctx, batch)
			for n := 0; n < statements; n++ {
				var sum int
				if err := first(results.QueryRow().Scan(&sum), expect(sum, 2*n)); err != nil {
					results.Close()
					return err
				}
			}
			if err := results.Close(); err != nil {
				return err
			}
		}
		batch := &pgx.Batch{}
		batch.Queue("INSERT INTO " + table + " VALUES (-1, 'rolled back')")
		batch.Queue("SELECT 1 / $1::int", 0)
		batch.Queue("INSERT INTO " + table + " VALUES (-2, 'skipped')")
		results := conn.SendBatch(ctx, batch)
		_, inserted := results.Exec()
		_, divided := results.Exec()
		return first(
			inserted,
			fails("22012", divided),
			fails("22012", results.Close()),
			number(ctx, conn, 0, "SELECT count(*) FROM "+table+" WHERE n < 0"),
		)
	})
}

func checkTransaction(ctx context.Context) error {
	return one(ctx, func(conn *pgx.Conn) error {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		if err := execute(ctx, conn, "INSERT INTO "+table+" VALUES (1, 'kept')"); err != nil {
			return err
		}
		nested, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		_, divided := nested.Exec(ctx, "SELECT 1/0")
		_, after := nested.Exec(ctx, "SELECT 1")
		err = first(fails("22012", divided), fails("25P02", after), nested.Rollback(ctx), tx.Commit(ctx))
		if err != nil {
			return err
		}
		tx, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
		if err != nil {
			return err
		}
		_, inserted := tx.Exec(ctx, "INSERT INTO "+table+" VALUES ($1, 'rolled back')", 2)
		return first(
			inserted,
			tx.Rollback(ctx),
			number(ctx, conn, 1, "SELECT sum(n)::int FROM "+table+" WHERE n IN (1, 2)"),
		)
	})
}

func checkCopyIn(ctx context.Context) error {
	return one(ctx, func(conn *pgx.Conn) error {
		source := pgx.CopyFromSlice(10000, func(n int) ([]interface{}, error) {
			return []interface{}{n + 100, "copied"}, nil
		})
		copied, err := conn.CopyFrom(ctx, pgx.Identifier{table}, []string{"n", "s"}, source)
		if err != nil {
			return err
		}
		wrong := strings.NewReader("not a number\tx\n")
		_, refused := conn.PgConn().CopyFrom(ctx, wrong, "COPY "+table+" FROM STDIN")
		return first(
			expect(copied, int64(10000)),
			fails("22P02", refused),
			number(ctx, conn, 1, "SELECT 1"),
		)
	})
}

func checkCopyOut(ctx context.Context) error {
	return one(ctx, func(conn *pgx.Conn) error {
		var out bytes.Buffer
		rows := "(SELECT g, 'out' FROM generate_series(1, 10000) g)"
		if _, err := conn.PgConn().CopyTo(ctx, &out, "COPY "+rows+" TO STDOUT"); err != nil {
			return err
		}
		return expect(bytes.Count(out.Bytes(), []byte("\n")), 10000)
	})
}

func checkCursor(context.Context) error { return skip("the driver has none") }

func checkCancel(ctx context.Context) error {
	return using(ctx, 2, plain, func(conns []*pgx.Conn) error {
		conn, watch := conns[0], conns[1]
		told := make(chan error, 1)
		go func() {
			sleeps := "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
			for number(ctx, watch, 1, sleeps) != nil && ctx.Err() == nil {
			}
			told <- conn.PgConn().CancelRequest(ctx)
		}()
		err := fails("57014", execute(ctx, conn, "SELECT pg_sleep(30)"))
		return first(err, <-told, number(ctx, conn, 1, "SELECT 1"))
	})
}

func checkSettings(ctx context.Context) error {
	words := func(n int) []string {
		return []string{fmt.Sprintf("application_name=pgx%d search_path=s%d", n, n)}
	}
	return using(ctx, clients, words, func(conns []*pgx.Conn) error {
		for n, conn := range conns {
			if err := execute(ctx, conn, "SET TimeZone = '"+zones[n]+"'"); err != nil {
				return err
			}
		}
		for turn := 0; turn < 5; turn++ {
			for n, conn := range conns {
				for name, wanted := range map[string]string{
					"TimeZone":         zones[n],
					"application_name": fmt.Sprintf("pgx%d", n),
					"search_path":      fmt.Sprintf("s%d", n),
				} {
					var found string
					err := conn.QueryRow(ctx, "SHOW "+name).Scan(&found)
					if err := first(err, expect(found, wanted)); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

func checkShared(ctx context.Context) error {
	config := fmt.Sprintf("connect_timeout=10 pool_max_conns=%d pool_min_conns=%d", clients, clients)
	pool, err := pgxpool.Connect(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	var lock sync.Mutex
	pids, told := map[int]bool{}, make(chan error, clients)
	work := func(number int) error {
		for turn := 0; turn < 30; turn++ {
			err := pool.BeginFunc(ctx, func(tx pgx.Tx) error {
				var value, pid, again int
				row := tx.QueryRow(ctx, "SELECT $1::int, pg_backend_pid()", turn*100+number)
				err := first(
					row.Scan(&value, &pid),
					tx.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&again),
				)
				lock.Lock()
				pids[pid] = true
				lock.Unlock()
				return first(err, expect(value, turn*100+number), expect(again, pid))
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	for n := 0; n < clients; n++ {
		go func(n int) { told <- work(n) }(n)
	}
	for n := 0; n < clients; n++ {
		err = first(err, <-told)
	}
	limit, _ := strconv.Atoi(os.Getenv("DRIVERS_SERVERS"))
	if limit == 0 {
		limit = clients
	}
	if len(pids) > limit {
		err = first(err, fmt.Errorf("%d servers, at most %d expected", len(pids), limit))
	}
	return err
}

func main() {
	// Debian's libraries do not know their own version; its package does, and the verb asks it.
	if len(os.Args) > 1 {
		fmt.Println("version", os.Args[1])
	}
	checks := []struct {
		name  string
		check func(context.Context) error
	}{
		{"connect", checkConnect},
		{"tls_verify_full", checkVerifyFull},
		{"tls_wrong_authority", checkWrongAuthority},
		{"tls_wrong_name", checkWrongName},
		{"channel_binding", checkChannelBinding},
		{"wrong_password", checkWrongPassword},
		{"simple_query", checkSimpleQuery},
		{"error", checkError},
		{"prepared", checkPrepared},
		{"prepare_ahead", checkPrepareAhead},
		{"unnamed", checkUnnamed},
		{"changed", checkChanged},
		{"forget", checkForget},
		{"types", checkTypes},
		{"pipeline", checkPipeline},
		{"transaction", checkTransaction},
		{"copy_in", checkCopyIn},
		{"copy_out", checkCopyOut},
		{"cursor", checkCursor},
		{"cancel", checkCancel},
		{"settings", checkSettings},
		{"shared", checkShared},
	}
	background := context.Background()
	create := "DROP TABLE IF EXISTS " + table + "; CREATE TABLE " + table + " (n int, s text)"
	err := one(background, func(conn *pgx.Conn) error { return execute(background, conn, create) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, check := range checks {
		ctx, cancel := context.WithTimeout(background, 40*time.Second)
		err := check.check(ctx)
		cancel()
		var skipped skip
		switch {
		case err == nil:
			fmt.Println("ok", check.name)
		case errors.As(err, &skipped):
			fmt.Println("skip", check.name, skipped)
		default:
			fmt.Println("fail", check.name, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
}
