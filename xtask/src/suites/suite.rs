//! The suites: where each is from, what it needs, and how it is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use testbed::{Interrupt, programs};

use super::stage::{DATABASE, Stage, USER};
use crate::step;

/// Our plugin for pytest and our runner for Django, from the root of the workspace.
const RUNNERS: &str = "tests/suites";

/// For one of pip's downloads; SQLAlchemy's and Django's tests are tens of megabytes.
const FETCH: Duration = Duration::from_secs(600);

/// Seconds for one test: many times what the longest takes without a proxy.
const TEST: &str = "60";

/// What runs most suites, in versions that they are known to run with.
const PYTEST: [&str; 2] = ["pytest==9.2.0", "pytest-timeout==2.4.0"];

/// psycopg 3 for the suites of what is built on it.
const PSYCOPG: &str = "psycopg[binary]==3.3.4";

/// What Django's tests do with a database: all of those for PostgreSQL alone, and of the rest what
/// is about connections, transactions and SQL.
const DJANGO_APPS: [&str; 20] = [
    "aggregation",
    "async",
    "backends",
    "bulk_create",
    "constraints",
    "db_functions",
    "delete",
    "get_or_create",
    "indexes",
    "inspectdb",
    "introspection",
    "lookup",
    "migration_test_data_persistence",
    "postgres_tests",
    "prefetch_related",
    "queries",
    "schema",
    "select_for_update",
    "transaction_hooks",
    "transactions",
];

/// Somebody else's test suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    Psycopg,
    Psycopg2,
    Asyncpg,
    Sqlalchemy,
    Django,
}

/// Which tests of a suite.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    All,
    /// With this in their names.
    Word(&'a str),
    /// All of these modules.
    Modules(&'a [String]),
}

/// A suite that can be run, as often as wanted.
#[derive(Debug)]
pub(super) struct Ready {
    python: PathBuf,
    /// Where pip has installed what the suite needs.
    modules: PathBuf,
    /// The root of the sources that have the tests.
    sources: PathBuf,
    /// Of what is tested.
    pub(super) version: String,
}

impl Suite {
    /// In the order in which they are run.
    pub(super) const ALL: [Self; 5] =
        [Self::Psycopg, Self::Psycopg2, Self::Asyncpg, Self::Sqlalchemy, Self::Django];

    /// The suite of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// For the command line, and for the list of known differences.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Psycopg => "psycopg",
            Self::Psycopg2 => "psycopg2",
            Self::Asyncpg => "asyncpg",
            Self::Sqlalchemy => "sqlalchemy",
            Self::Django => "django",
        }
    }

    /// The source distribution with the tests. That of psycopg 3 has none.
    fn published(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Psycopg => None,
            Self::Psycopg2 => Some(("psycopg2", "2.9.13")),
            Self::Asyncpg => Some(("asyncpg", "0.32.0")),
            Self::Sqlalchemy => Some(("sqlalchemy", "2.0.44")),
            Self::Django => Some(("django", "5.2")),
        }
    }

    /// What of the sources is unpacked; `None` for everything. The modules of asyncpg that are beside
    /// its tests would be taken for the compiled ones.
    fn members(self) -> Option<&'static str> {
        match self {
            Self::Asyncpg => Some("*/tests"),
            Self::Psycopg | Self::Psycopg2 | Self::Sqlalchemy | Self::Django => None,
        }
    }

    fn requirements(self, sources: &Path, version: &str) -> anyhow::Result<Vec<String>> {
        let pytest = PYTEST.map(str::to_owned);
        Ok(match self {
            Self::Psycopg => {
                let pool = version_of(&sources.join("psycopg_pool"))?;
                let mut all = vec![
                    format!("psycopg[binary]=={version}"),
                    format!("psycopg-pool=={pool}"),
                    "anyio==4.16.0".to_owned(),
                    "dnspython==2.9.2".to_owned(),
                    "pproxy==2.7.9".to_owned(),
                ];
                all.extend(pytest);
                all
            }
            Self::Psycopg2 => [vec![format!("psycopg2-binary=={version}")], pytest.into()].concat(),
            Self::Asyncpg => {
                let own = vec![format!("asyncpg=={version}"), "distro==1.9.0".to_owned()];
                [own, pytest.into()].concat()
            }
            Self::Sqlalchemy => {
                let own = vec![format!("sqlalchemy[asyncio]=={version}"), PSYCOPG.to_owned()];
                [own, pytest.into()].concat()
            }
            Self::Django => {
                let pool = "psycopg-pool==3.3.1".to_owned();
                vec![format!("django=={version}"), PSYCOPG.to_owned(), pool]
            }
        })
    }

    /// What its database must have.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Psycopg | Self::Psycopg2 | Self::Asyncpg | Self::Django => "",
            Self::Sqlalchemy => {
                "CREATE SCHEMA test_schema; CREATE SCHEMA test_schema_2;\n\
                 CREATE EXTENSION hstore; CREATE EXTENSION citext;"
            }
        }
    }

    /// Fetches the suite and what it needs; what was fetched before is kept. `checkout` is where
    /// the sources of psycopg 3 are.
    ///
    /// # Errors
    /// PyPI does not have it, or cannot be reached.
    pub(super) fn prepare(
        self,
        checkout: Option<&Path>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Ready> {
        let directory = step::target_directory()?.join("suites").join(self.name());
        fs::create_dir_all(&directory).context("make a directory for a suite")?;
        let python = programs::find("python3")?;
        let pip = Pip { python: &python, interrupt };
        let (sources, version) = match self.published() {
            Some((package, version)) => {
                (pip.sources(package, version, self.members(), &directory)?, version.to_owned())
            }
            None => {
                let root = checkout.context("its tests are not published: --source is missing")?;
                let root = root.canonicalize().context("look at the checkout")?;
                let version = version_of(&root.join("psycopg"))?;
                (root, version)
            }
        };
        let modules = directory.join("modules");
        pip.install(&self.requirements(&sources, &version)?, &modules)?;
        Ok(Ready { python, modules, sources, version })
    }

    /// A command that runs tests of the suite. `scratch` is a directory for what it leaves.
    ///
    /// # Errors
    /// A path that cannot be in a list of paths.
    pub(super) fn command(
        self,
        ready: &Ready,
        stage: &Stage,
        which: Which<'_>,
        scratch: &Path,
    ) -> anyhow::Result<Command> {
        let mut paths = vec![step::root().join(RUNNERS), ready.modules.clone()];
        let mut command = Command::new(&ready.python);
        Stage::forget_environment(&mut command);
        let port = stage.port();
        match self {
            Self::Psycopg => {
                // Its tests of PGPORT and the like rely on there being none.
                let dsn = format!("host=127.0.0.1 port={port} dbname={DATABASE} user={USER}");
                command.env("PSYCOPG_IMPL", "binary").env("PSYCOPG_TEST_DSN", dsn);
                // What takes time is about waiting, not about the server. An object that a failed
                // test has left open would fail whichever test comes then.
                pytest(&mut command, scratch)
                    .args(["-W", "ignore::pytest.PytestUnraisableExceptionWarning"])
                    .args(["-m", "not slow"]);
            }
            Self::Psycopg2 => {
                command
                    .env("PSYCOPG2_TESTDB", DATABASE)
                    .env("PSYCOPG2_TESTDB_HOST", "127.0.0.1")
                    .env("PSYCOPG2_TESTDB_PORT", port.to_string())
                    .env("PSYCOPG2_TESTDB_USER", USER);
                pytest(&mut command, scratch).args(["-W", "ignore"]);
            }
            Self::Asyncpg => {
                stage.environment(&mut command);
                // Those that want a server to start and stop say so, and fail in either way.
                pytest(&mut command, scratch).args(["-W", "ignore"]);
            }
            Self::Sqlalchemy => {
                pytest(&mut command, scratch)
                    .args(["-W", "ignore", "--dburi"])
                    .arg(format!("postgresql+psycopg://{USER}@127.0.0.1:{port}/{DATABASE}"));
            }
            Self::Django => {
                paths.insert(0, ready.sources.clone());
                stage.environment(&mut command);
                command
                    .args(["tests/runtests.py", "--noinput", "--parallel=1"])
                    .args(["--settings=django_settings"]);
            }
        }
        match which {
            Which::All => command.args(self.tests()),
            Which::Word(word) => command.args(self.tests()).args(["-k", word]),
            Which::Modules(modules) => command.args(modules),
        };
        command
            .env("PYTHONPATH", std::env::join_paths(paths)?)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&ready.sources);
        Ok(command)
    }

    /// What a test is run with, if not all are.
    pub(super) fn module_of(self, test: &str) -> String {
        let module = match self {
            Self::Django => test.rsplitn(3, '.').nth(2),
            Self::Psycopg | Self::Psycopg2 | Self::Asyncpg | Self::Sqlalchemy => {
                test.split("::").next()
            }
        };
        module.unwrap_or(test).to_owned()
    }

    /// What of the suite is run.
    fn tests(self) -> &'static [&'static str] {
        match self {
            Self::Psycopg | Self::Psycopg2 | Self::Asyncpg => &["tests"],
            Self::Sqlalchemy => &["test/dialect/postgresql", "test/dialect/test_suite.py"],
            Self::Django => &DJANGO_APPS,
        }
    }
}

fn pytest<'a>(command: &'a mut Command, scratch: &Path) -> &'a mut Command {
    command
        .args(["-m", "pytest", "-p", "report", "--tb=short", "-q"])
        .arg(format!("--timeout={TEST}"))
        .arg(format!("--override-ini=cache_dir={}", scratch.join("cache").display()))
}

/// The version in a project's `pyproject.toml`.
fn version_of(project: &Path) -> anyhow::Result<String> {
    let path = project.join("pyproject.toml");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("read {}: is it a checkout of psycopg 3?", path.display()))?;
    let project: toml::Table =
        text.parse().with_context(|| format!("understand {}", path.display()))?;
    let version = project.get("project").and_then(|project| project.get("version")?.as_str());
    Ok(version.with_context(|| format!("no version in {}", path.display()))?.to_owned())
}

struct Pip<'a> {
    python: &'a Path,
    interrupt: &'a Interrupt,
}

impl Pip<'_> {
    /// Fetches a package's source distribution and unpacks it into `directory`.
    fn sources(
        &self,
        package: &str,
        version: &str,
        members: Option<&str>,
        directory: &Path,
    ) -> anyhow::Result<PathBuf> {
        let sources = directory.join(format!("{package}-{version}"));
        if sources.exists() {
            return Ok(sources);
        }
        println!("fetching the sources of {package} {version}");
        let fetched = directory.join("fetched");
        if fetched.exists() {
            fs::remove_dir_all(&fetched).context("remove what was left unfinished")?;
        }
        let mut pip = self.command("download");
        pip.args(["--no-deps", "--no-binary", package, "--dest"]).arg(&fetched);
        self.run(pip.arg(format!("{package}=={version}")))?;
        let archive = fs::read_dir(&fetched).context("look at what was fetched")?.next();
        let Some(archive) = archive else { bail!("PyPI has no sources of {package} {version}") };
        let archive = archive.context("look at what was fetched")?.path();
        let unpacked = fetched.join("unpacked");
        fs::create_dir(&unpacked).context("make a directory for the sources")?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--strip-components=1", "--file"]).arg(archive);
        tar.arg("--directory").arg(&unpacked);
        tar.args(members.map(|members| ["--wildcards", members]).into_iter().flatten());
        testbed::run(&mut tar, "", FETCH, self.interrupt).context("unpack the sources")?;
        fs::rename(unpacked, &sources).context("name the finished sources")?;
        fs::remove_dir_all(&fetched).context("remove the archive")?;
        Ok(sources)
    }

    /// Installs into `modules`, in the place of what was there for other requirements.
    fn install(&self, requirements: &[String], modules: &Path) -> anyhow::Result<()> {
        let list = modules.join("requirements.txt");
        let wanted = requirements.join("\n") + "\n";
        if fs::read_to_string(&list).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        if modules.exists() {
            fs::remove_dir_all(modules).context("remove what was installed")?;
        }
        let mut pip = self.command("install");
        pip.args(["--only-binary=:all:", "--target"]).arg(modules);
        self.run(pip.args(requirements))?;
        fs::write(&list, wanted).context("note what is installed")
    }

    fn command(&self, verb: &str) -> Command {
        let mut pip = Command::new(self.python);
        pip.args(["-m", "pip", verb, "--quiet", "--disable-pip-version-check"]);
        // Which some packages ask before they say what they are.
        if let Some(binaries) =
            programs::find_postgres("psql").ok().as_deref().and_then(Path::parent)
        {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let paths = [binaries.to_owned()].into_iter().chain(std::env::split_paths(&path));
            if let Ok(path) = std::env::join_paths(paths) {
                pip.env("PATH", path);
            }
        }
        pip
    }

    fn run(&self, pip: &mut Command) -> anyhow::Result<()> {
        testbed::run(pip, "", FETCH, self.interrupt).context("fetch from PyPI")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_has_a_module() {
        assert_eq!(
            Suite::Psycopg.module_of("tests/pool/test_a.py::T::test_b[x]"),
            "tests/pool/test_a.py"
        );
        assert_eq!(Suite::Django.module_of("backends.base.tests.T.test_b"), "backends.base.tests");
    }
}
