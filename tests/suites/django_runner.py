"""Django's own runner, which also tells `report` how each test ended."""

import unittest

from django.test.runner import DiscoverRunner

import report


class Result(unittest.TextTestResult):
    def addSuccess(self, test):
        super().addSuccess(test)
        report.write("passed", test.id())

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        report.write("passed", test.id())

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        report.write("skipped", test.id())

    def addError(self, test, err):
        super().addError(test, err)
        report.write("failed", test.id())

    def addFailure(self, test, err):
        super().addFailure(test, err)
        report.write("failed", test.id())

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            report.write("failed", test.id())

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        report.write("failed", test.id())


class Runner(DiscoverRunner):
    def get_resultclass(self):
        return Result
