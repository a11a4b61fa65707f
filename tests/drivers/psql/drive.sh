#!/bin/bash
# psql and pgbench, which are libpq: see ../README.md for the checks and the output.
#
# PSQL and PGBENCH are the programs. What libpq should read comes from the environment.
set -u

table=driver_psql
clients=6
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT

query() { "$PSQL" -X -A -t -q -v ON_ERROR_STOP=1 -v VERBOSITY=verbose "$@" 2>&1; }

# Runs a check by its name: a function whose output tells what was wrong.
check() {
    local reason
    if reason=$("check_$1"); then
        echo "ok $1"
    else
        echo "fail $1 $(tr -s '[:space:]' ' ' <<<"$reason")"
    fi
}

expect() {
    [ "$1" = "$2" ] || { echo "'$1' instead of '$2'"; return 1; }
}

# Whether a login ends as wanted: `ok`, or with a text that is part of the message.
login() {
    local wanted=$1 said; shift
    said=$(env "$@" "$PSQL" -X -A -t -q -c 'SELECT 1' 2>&1)
    case $wanted in
        ok) expect "$said" 1 ;;
        *) [[ $said == *"$wanted"* ]] || { echo "$* ended in: $said"; return 1; } ;;
    esac
}

check_connect() { login ok; }

check_tls_verify_full() { login ok PGSSLMODE=verify-full; }

check_tls_wrong_authority() {
    login 'certificate verify failed' PGSSLMODE=verify-full PGSSLROOTCERT="$DRIVERS_OTHER_AUTHORITY"
}

check_tls_wrong_name() {
    login ok PGSSLMODE=verify-ca PGHOST="$DRIVERS_WRONG_NAME" &&
        login 'does not match host name' PGSSLMODE=verify-full PGHOST="$DRIVERS_WRONG_NAME"
}

# Every sslmode with every channel_binding. Without TLS there is nothing to bind to.
check_channel_binding() {
    local mode binding wanted
    for mode in disable allow prefer require verify-ca verify-full; do
        for binding in disable prefer require; do
            wanted=ok
            case $mode/$binding in
                disable/require | allow/require) wanted='channel binding' ;;
            esac
            login "$wanted" PGSSLMODE=$mode PGCHANNELBINDING=$binding || return
        done
    done
}

check_wrong_password() {
    local mode
    for mode in disable allow prefer require verify-ca verify-full; do
        login 'password authentication failed' PGSSLMODE=$mode PGPASSWORD=wrong || return
    done
}

check_simple_query() {
    expect "$(query -c "SELECT 1; SELECT 'ä€𝄞', NULL")" $'1\nä€𝄞|' &&
        expect "$(query -c "SELECT repeat('x', 5000000)" | wc -c)" 5000001
}

check_error() {
    local said
    said=$(query -v ON_ERROR_STOP=0 -c 'SELECT 1/0' -c 'SELECT 7')
    [[ $said == *22012* && $said == *$'\n7' ]] || { echo "$said"; return 1; }
}

bench() {
    local said
    said=$("$PGBENCH" --no-vacuum --client=$clients --jobs=2 --transactions=20 "$@" 2>&1)
    [[ $said == *"actually processed: $((clients * 20))/$((clients * 20))"* ]] ||
        { echo "$said"; return 1; }
}

# psql has none of its own.
check_prepared() {
    local n script=$work/prepared.sql
    for n in {1..50}; do echo "SELECT $n + :client_id;"; done >"$script"
    bench --file="$script" --protocol=prepared
}

# Each describes its portal and runs it in one round trip.
check_unnamed() {
    local n script=$work/unnamed.sql
    for n in {1..50}; do echo "SELECT $n + :client_id;"; done >"$script"
    bench --file="$script" --protocol=extended
}

check_sql_prepare() {
    local n script=$work/sql_prepare.sql sums=$work/sums
    for n in {1..50}; do echo "PREPARE s$n(int) AS SELECT $n + \$1;"; done >"$script"
    for n in {1..50} {1..50}; do echo "EXECUTE s$n($n);"; done >>"$script"
    for n in {1..50} {1..50}; do echo $((n * 2)); done >"$sums"
    local pids=() failed=0
    for n in $(seq "$clients"); do
        query -f "$script" >"$work/sql_prepare.$n" &
        pids+=($!)
    done
    wait "${pids[@]}"
    for n in $(seq "$clients"); do
        diff "$sums" "$work/sql_prepare.$n" | head -3 | grep . && failed=1
    done
    return "$failed"
}

check_pipeline() {
    local n script=$work/pipeline.sql
    {
        echo '\startpipeline'
        for n in {1..50}; do echo "SELECT $n + :client_id;"; done
        echo '\endpipeline'
    } >"$script"
    bench --file="$script" --protocol=extended && bench --file="$script" --protocol=prepared
}

check_transaction() {
    local said
    # With a savepoint of the program's in front of each statement.
    said=$(query -v ON_ERROR_STOP=0 -v ON_ERROR_ROLLBACK=on <<<'BEGIN; SELECT 1/0; SELECT 7; COMMIT;')
    [[ $said == *22012*$'\n7' ]] || { echo "$said"; return 1; }
    said=$(query -v ON_ERROR_STOP=0 <<EOF
BEGIN;
INSERT INTO $table VALUES (1, 'kept');
SAVEPOINT s;
SELECT 1/0;
SELECT 1;
ROLLBACK TO s;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO $table VALUES (2, 'rolled back');
ROLLBACK;
SELECT 'left', array_agg(n) FROM $table WHERE n IN (1, 2);
EOF
    )
    [[ $said == *22012*25P02*'left|{1}' ]] || { echo "$said"; return 1; }
}

check_copy_in() {
    local said
    seq -f "%.0f	copied" 100 10099 >"$work/rows"
    expect "$(query -c "\\copy $table FROM '$work/rows'" -c "SELECT count(*) FROM $table WHERE s = 'copied'")" 10000 ||
        return
    echo wrong >"$work/rows"
    said=$(query -v ON_ERROR_STOP=0 -c "\\copy $table FROM '$work/rows'" -c 'SELECT 7')
    [[ $said == *22P02*$'\n7' ]] || { echo "$said"; return 1; }
}

check_copy_out() {
    local rows="(SELECT g, 'out' FROM generate_series(1, 10000) g)"
    expect "$(query -c "\\copy $rows TO STDOUT" | wc -l)" 10000 &&
        expect "$(query -c "\\copy $rows TO STDOUT (FORMAT BINARY)" | wc -c)" 170021
}

check_cursor() {
    expect "$(query -v FETCH_COUNT=7 -c 'SELECT generate_series(1, 500)' | wc -l)" 500 || return
    query -v FETCH_COUNT=7 >"$work/fetched" <<<'SELECT generate_series(1, 500);'
    diff <(seq 500) "$work/fetched" | head -3 | grep . && return 1
    return 0
}

check_cancel() {
    local pid said end=$((SECONDS + 20))
    local sleeps="SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    # A shell without job control has its background jobs ignore SIGINT.
    set -m
    query -v ON_ERROR_STOP=0 -f - >"$work/cancelled" <<<'SELECT pg_sleep(30); SELECT 7;' &
    pid=$!
    set +m
    while [ "$(query -c "$sleeps")" = 0 ] && [ $SECONDS -lt $end ]; do :; done
    kill -INT "-$pid"
    wait "$pid"
    said=$(cat "$work/cancelled")
    [[ $said == *57014* ]] || { echo "$said"; return 1; }
    expect "$(query -c "$sleeps")" 0
}

check_settings() {
    local n zone script pids=() failed=0
    local zones=(UTC Asia/Tokyo Europe/Berlin America/Lima Asia/Kolkata Africa/Cairo)
    for n in $(seq 0 $((clients - 1))); do
        zone=${zones[n]} script=$work/settings.$n
        echo "SET TimeZone = '$zone';" >"$script"
        for _ in {1..20}; do
            echo "SELECT current_setting('TimeZone'), current_setting('application_name'), current_setting('search_path');"
        done >>"$script"
        PGAPPNAME="psql $n" PGOPTIONS="-c search_path=s$n" query -f "$script" >"$work/settings.out.$n" &
        pids+=($!)
    done
    wait "${pids[@]}"
    for n in $(seq 0 $((clients - 1))); do
        expect "$(sort "$work/settings.out.$n" | uniq -c | tr -s ' ')" " 20 ${zones[n]}|psql $n|s$n" || failed=1
    done
    return "$failed"
}

# Postgres 18 is the first to report search_path, and none reports work_mem.
check_sql_set() {
    local said
    said=$(query -c "SET work_mem = '77kB'" -c 'SHOW work_mem')
    expect "$said" 77kB
}

check_shared() {
    local n pids=() servers=${DRIVERS_SERVERS:-$clients} seen
    for n in $(seq "$clients"); do
        for _ in {1..30}; do
            echo "BEGIN; SELECT pg_backend_pid() AS pid \\gset"
            echo "SELECT pg_backend_pid(), $n, :pid = pg_backend_pid(); COMMIT;"
        done >"$work/shared.$n"
        query -f "$work/shared.$n" >"$work/shared.out.$n" &
        pids+=($!)
    done
    wait "${pids[@]}"
    for n in $(seq "$clients"); do
        expect "$(cut -d '|' -f 2- "$work/shared.out.$n" | sort | uniq -c | tr -s ' ')" " 30 $n|t" || return
    done
    seen=$(cat "$work"/shared.out.* | cut -d '|' -f 1 | sort -u | wc -l)
    [ "$seen" -le "$servers" ] || { echo "$seen servers, at most $servers expected"; return 1; }
}

echo "version $("$PSQL" --version | tr -dc '0-9.\n ' | awk '{ print $1 }')"
query -c "DROP TABLE IF EXISTS $table" -c "CREATE TABLE $table (n int, s text)" || exit
for name in prepare_ahead forget types; do
    echo "skip $name neither program has it"
done
echo "skip changed neither program keeps a statement whose result changes"
for name in connect tls_verify_full tls_wrong_authority tls_wrong_name channel_binding \
    wrong_password simple_query error prepared unnamed pipeline transaction copy_in copy_out cursor \
    cancel settings shared sql_prepare sql_set; do
    check "$name"
done
