"""Writes how each test ended, one a line, to the file that SUITES_REPORT names.

A plugin for pytest; for Django it is used by django_runner.
"""

import os


def write(end, name):
    line = f"{end} {name.encode('unicode_escape').decode()}\n"
    with open(os.environ["SUITES_REPORT"], "a", encoding="ascii") as report:
        report.write(line)


def pytest_runtest_logreport(report):
    """A test has three phases. One that fails in any of them has failed, whatever was written."""
    if report.failed:
        write("failed", report.nodeid)
    elif report.skipped and not hasattr(report, "wasxfail"):
        write("skipped", report.nodeid)
    elif report.when == "call":
        write("passed", report.nodeid)


def pytest_collectreport(report):
    if report.failed:
        write("failed", report.nodeid)
