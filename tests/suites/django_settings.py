"""Settings for Django's own tests: both of their databases are made on the server under test."""

import os


def database(name):
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"],
        "USER": os.environ["PGUSER"],
        "NAME": os.environ["PGDATABASE"],
        "TEST": {"NAME": f"suites_{name}"},
    }


DATABASES = {name: database(name) for name in ("default", "other")}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SECRET_KEY = "not secret"
TEST_RUNNER = "django_runner.Runner"
USE_TZ = False
