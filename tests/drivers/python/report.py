"""What the Python programs share: where to connect, and a line for each check."""

import os
import re

HOST = os.environ["PGHOST"]
PORT = int(os.environ["PGPORT"])
USER = os.environ["PGUSER"]
PASSWORD = os.environ["PGPASSWORD"]
DATABASE = os.environ["PGDATABASE"]
AUTHORITY = os.environ["PGSSLROOTCERT"]
OTHER_AUTHORITY = os.environ["DRIVERS_OTHER_AUTHORITY"]
WRONG_NAME = os.environ["DRIVERS_WRONG_NAME"]
# How many servers all clients share; none without a pooler.
SERVERS = int(os.environ.get("DRIVERS_SERVERS", "0"))

CLIENTS = 6
STATEMENTS = 50


class Skip(Exception):
    """Why a driver has no such check."""


def line(text):
    return re.sub(r"\s+", " ", str(text)).strip()


def version(text):
    print("version", line(text), flush=True)


def report(name, error=None):
    if error is None:
        print("ok", name, flush=True)
    elif isinstance(error, Skip):
        print("skip", name, line(error), flush=True)
    else:
        print("fail", name, type(error).__name__ + ":", line(error), flush=True)


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found!r} instead of {wanted!r}")


def expect_shared(pids):
    """As many servers as there are in the pool, or one for each client."""
    limit = SERVERS or CLIENTS
    if not 0 < len(set(pids)) <= limit:
        raise AssertionError(f"{len(set(pids))} servers, at most {limit} expected")
