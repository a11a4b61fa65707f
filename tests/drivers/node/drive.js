// node-postgres: see ../README.md for the checks and the output.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const { Readable, Writable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { Client, Pool, Query } = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');

const CLIENTS = 6;
const STATEMENTS = 50;
const TABLE = 'driver_node';
const authority = fs.readFileSync(process.env.PGSSLROOTCERT);
const otherAuthority = fs.readFileSync(process.env.DRIVERS_OTHER_AUTHORITY);
const servers = Number(process.env.DRIVERS_SERVERS || CLIENTS);

class Skip extends Error {}

// Host, port, user, password and database come from the environment. PGSSLMODE is never set.
async function connect(options = {}) {
  const client = new Client({ connectionTimeoutMillis: 10000, ...options });
  // One that nobody listens for would end the program.
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function using(count, options, work) {
  const clients = [];
  try {
    for (let n = 0; n < count; n++) clients.push(await connect(options(n)));
    return await work(...clients);
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
}

const one = (work, options = {}) => using(1, () => options, work);

async function scalar(client, ...query) {
  const { rows } = await client.query(...query);
  return Object.values(rows[0])[0];
}

async function fails(code, promise) {
  await assert.rejects(promise, (error) => error.code === code || assert.fail(error));
}

const sleeps = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

const checks = {
  connect: () => one((client) => client.query('')),

  tls_verify_full: () =>
    one((client) => assert(client.connection.stream.encrypted), { ssl: { ca: authority } }),

  tls_wrong_authority: () =>
    assert.rejects(connect({ ssl: { ca: otherAuthority } }), /certificate|self-signed|issuer/),

  tls_wrong_name: () =>
    fails(
      'ERR_TLS_CERT_ALTNAME_INVALID',
      connect({ ssl: { ca: authority }, host: process.env.DRIVERS_WRONG_NAME }),
    ),

  channel_binding: async () => {
    const client = new Client({ ssl: { ca: authority }, enableChannelBinding: true });
    const send = client.connection.sendSASLInitialResponseMessage;
    let chosen;
    client.connection.sendSASLInitialResponseMessage = function (mechanism, response) {
      chosen = mechanism;
      return send.call(this, mechanism, response);
    };
    await client.connect();
    await client.end();
    assert.strictEqual(chosen, 'SCRAM-SHA-256-PLUS');
  },

  wrong_password: () => fails('28P01', connect({ password: 'wrong' })),

  simple_query: () =>
    one(async (client) => {
      const results = await client.query("SELECT 1 AS n; SELECT 'ä€𝄞' AS s, NULL AS z");
      assert.deepStrictEqual(results.map((result) => result.rows), [[{ n: 1 }], [{ s: 'ä€𝄞', z: null }]]);
      assert.strictEqual((await scalar(client, "SELECT repeat('x', 5000000)")).length, 5000000);
    }),

  error: () =>
    one(async (client) => {
      for (let turn = 0; turn < 3; turn++) {
        await fails('22012', client.query('SELECT 1 / $1::int', [0]));
        assert.strictEqual(await scalar(client, 'SELECT $1::int', [7]), 7);
      }
    }),

  prepared: () =>
    using(CLIENTS, () => ({}), async (...clients) => {
      for (let turn = 0; turn < 3; turn++) {
        for (let n = 0; n < STATEMENTS; n++) {
          for (const [which, client] of clients.entries()) {
            const query = { name: `add ${n}`, text: `SELECT ${n} + $1::int`, values: [which + turn] };
            assert.strictEqual(await scalar(client, query), n + which + turn);
          }
        }
      }
      // Postgres looks at 63 bytes of a name, the driver at all of them.
      const long = (end) => ({ name: 'long '.repeat(20) + end, text: `SELECT '${end}'` });
      const { error } = console;
      console.error = () => {};
      for (let turn = 0; turn < 2; turn++) {
        for (const client of clients) assert.strictEqual(await scalar(client, long('a')), 'a');
      }
      await fails('42P05', clients[0].query(long('b')));
      console.error = error;
    }),

  unnamed: () =>
    using(CLIENTS, () => ({}), async (...clients) => {
      for (let n = 0; n < STATEMENTS; n++) {
        const sums = clients.map((client, which) => scalar(client, `SELECT ${n} + $1::int`, [which]));
        assert.deepStrictEqual(await Promise.all(sums), clients.map((_, which) => n + which));
      }
    }),

  changed: () =>
    using(2, () => ({}), async (one, other) => {
      const table = `${TABLE}_changed`;
      const query = (name) => ({ name, text: `SELECT * FROM ${table}` });
      await one.query(`DROP TABLE IF EXISTS ${table}; CREATE TABLE ${table} (n int)`);
      await one.query(`INSERT INTO ${table} VALUES (1)`);
      for (let column = 2; column < 5; column++) {
        const row = Array.from({ length: column }, (_, n) => n + 1);
        const found = async (client, name) => Object.values((await client.query(query(name))).rows[0]);
        for (const client of [one, other]) {
          assert.deepStrictEqual(await found(client, `before ${column}`), row.slice(0, -1));
        }
        await other.query(`ALTER TABLE ${table} ADD COLUMN c${column} int DEFAULT ${column}`);
        for (const client of [one, other]) {
          // Postgres refuses the name for good. The driver prepares under another one.
          try {
            await client.query('BEGIN');
            assert.deepStrictEqual(await found(client, `before ${column}`), row);
          } catch (error) {
            assert.strictEqual(error.code, '0A000', error);
          }
          await client.query('ROLLBACK');
          assert.deepStrictEqual(await found(client, `after ${column}`), row);
        }
      }
    }),

  forget: () =>
    using(2, () => ({}), async (client, other) => {
      const query = (name, value) => ({ name, text: 'SELECT 1 + $1::int', values: [value] });
      for (const [n, forget] of ['DEALLOCATE ALL', 'DISCARD ALL'].entries()) {
        assert.strictEqual(await scalar(client, query(`mine ${n}`, 1)), 2);
        assert.strictEqual(await scalar(other, query('kept', 2)), 3);
        await client.query(forget);
        await fails('26000', client.query(query(`mine ${n}`, 1)));
        for (let turn = 0; turn < 5; turn++) assert.strictEqual(await scalar(other, query('kept', turn)), 1 + turn);
        assert.strictEqual(await scalar(client, query(`new ${n}`, 3)), 4);
      }
    }),

  types: async () => {
    throw new Skip('the driver looks no types up');
  },

  prepare_ahead: async () => {
    throw new Skip('the driver prepares when it executes');
  },

  pipeline: () =>
    // Statements that are queued go to the server one behind the other, each with its own Sync.
    one(
      async (client) => {
        const numbers = [...Array(STATEMENTS).keys()];
        const sums = numbers.map((n) => scalar(client, `SELECT ${n} + $1::int`, [n]));
        const named = numbers.map((n) =>
          scalar(client, { name: `twice ${n}`, text: `SELECT ${n} * $1::int`, values: [2] }),
        );
        const wrong = fails('22012', client.query('SELECT 1 / $1::int', [0]));
        const after = scalar(client, 'SELECT $1::int', [7]);
        assert.deepStrictEqual(await Promise.all([...sums, ...named]), [...numbers, ...numbers].map((n) => 2 * n));
        await wrong;
        assert.strictEqual(await after, 7);
      },
      { pipeline: true },
    ),

  transaction: () =>
    one(async (client) => {
      await client.query(`BEGIN; INSERT INTO ${TABLE} VALUES (1, 'kept')`);
      await client.query('SAVEPOINT s');
      await fails('22012', client.query('SELECT 1/0'));
      await fails('25P02', client.query('SELECT 1'));
      await client.query('ROLLBACK TO s');
      await client.query('COMMIT');
      await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE');
      await client.query(`INSERT INTO ${TABLE} VALUES ($1, $2)`, [2, 'rolled back']);
      await client.query('ROLLBACK');
      const { rows } = await client.query(`SELECT n FROM ${TABLE} WHERE n IN (1, 2)`);
      assert.deepStrictEqual(rows, [{ n: 1 }]);
    }),

  copy_in: () =>
    one(async (client) => {
      const into = () => client.query(copy.from(`COPY ${TABLE} FROM STDIN`));
      const lines = function* () {
        for (let n = 100; n < 10100; n++) yield `${n}\tcopied\n`;
      };
      const stream = into();
      await pipeline(Readable.from(lines()), stream);
      assert.strictEqual(stream.rowCount, 10000);
      await fails('22P02', pipeline(Readable.from(['not a number\tx\n']), into()));
      assert.strictEqual(await scalar(client, 'SELECT 1'), 1);
    }),

  copy_out: () =>
    one(async (client) => {
      let lines = 0;
      const count = new Writable({
        write(chunk, _, done) {
          for (const byte of chunk) if (byte === 10) lines++;
          done();
        },
      });
      const query = "COPY (SELECT g, 'out' FROM generate_series(1, 10000) g) TO STDOUT";
      await pipeline(client.query(copy.to(query)), count);
      assert.strictEqual(lines, 10000);
    }),

  cursor: () =>
    one(async (client) => {
      // Inside a transaction and outside: the portal lives until Sync.
      for (const around of [['BEGIN', 'COMMIT'], ['', '']]) {
        await client.query(around[0]);
        const cursor = client.query(new Cursor('SELECT generate_series(1, $1::int) AS n', [500]));
        const found = [];
        for (let rows; (rows = await cursor.read(7)).length > 0; ) found.push(...rows.map((row) => row.n));
        await cursor.close();
        await client.query(around[1]);
        assert.deepStrictEqual(found, [...Array(500).keys()].map((n) => n + 1));
      }
    }),

  cancel: () =>
    using(2, () => ({}), async (client, watch) => {
      const query = new Query('SELECT pg_sleep(30)');
      const ended = new Promise((_, reject) => query.on('error', reject));
      client.query(query);
      while ((await scalar(watch, sleeps)) === 0);
      const canceller = new Client();
      canceller.on('error', () => {});
      canceller.cancel(client, query);
      await fails('57014', ended);
      assert.strictEqual(await scalar(client, 'SELECT 1'), 1);
    }),

  settings: () => {
    const zones = ['Asia/Tokyo', 'Europe/Berlin', 'UTC', 'America/Lima', 'Asia/Kolkata', 'Africa/Cairo'];
    const options = (n) => ({ application_name: `node ${n}`, options: `-c search_path=s${n}` });
    return using(CLIENTS, options, async (...clients) => {
      for (const [n, client] of clients.entries()) await client.query(`SET TimeZone = '${zones[n]}'`);
      for (let turn = 0; turn < 5; turn++) {
        for (const [n, client] of clients.entries()) {
          assert.strictEqual(await scalar(client, 'SHOW TimeZone'), zones[n]);
          assert.strictEqual(await scalar(client, 'SHOW application_name'), `node ${n}`);
          assert.strictEqual(await scalar(client, 'SHOW search_path'), `s${n}`);
        }
      }
    });
  },

  shared: async () => {
    const pids = new Set();
    const pool = new Pool({ max: CLIENTS });
    pool.on('error', () => {});
    const work = async (number) => {
      for (let turn = 0; turn < 30; turn++) {
        const client = await pool.connect();
        try {
          await client.query('BEGIN');
          const value = turn * 100 + number;
          const query = { name: 'shared', text: 'SELECT $1::int AS n, pg_backend_pid() AS pid', values: [value] };
          const { n, pid } = (await client.query(query)).rows[0];
          assert.strictEqual(n, value);
          assert.strictEqual(await scalar(client, 'SELECT pg_backend_pid()'), pid);
          pids.add(pid);
          await client.query('COMMIT');
        } finally {
          client.release();
        }
      }
    };
    try {
      await Promise.all([...Array(CLIENTS).keys()].map(work));
    } finally {
      await pool.end();
    }
    assert(pids.size <= servers, `${pids.size} servers, at most ${servers} expected`);
  },
};

function within(milliseconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function main() {
  console.log(`version ${require('pg/package.json').version}, Node.js ${process.versions.node}`);
  await one((client) => client.query(`DROP TABLE IF EXISTS ${TABLE}; CREATE TABLE ${TABLE} (n int, s text)`));
  for (const [name, check] of Object.entries(checks)) {
    try {
      await within(60000, check());
      console.log(`ok ${name}`);
    } catch (error) {
      const reason = `${error.message || error}`.replace(/\s+/g, ' ').trim();
      console.log(`${error instanceof Skip ? 'skip' : 'fail'} ${name} ${reason}`);
    }
  }
  process.exit(0);
}

main();
