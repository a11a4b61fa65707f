//! PostgreSQL's own tests, in the version of the installed server, and the libraries they load.
//!
//! The test suites are in no binary package, so they come from the source package. What compiling
//! against the server needs comes from its development packages, unpacked and not installed: in
//! the server's exact version, and without replacing anything on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use testbed::{Interrupt, packages, programs};

use super::entries::{Syntax, with_sources};
use super::tester;
use crate::step;

/// For one of apt's downloads, or for one compilation.
const COMMAND: Duration = Duration::from_secs(600);

/// What test functions in C are made of, from the root of the source package.
const LIBRARIES: [(&str, &str); 3] = [
    ("regress.so", "src/test/regress/regress.c"),
    ("refint.so", "contrib/spi/refint.c"),
    ("autoinc.so", "contrib/spi/autoinc.c"),
];

/// As the server itself is compiled, whose headers rely on it; and contrib/spi, whose notices the
/// tests expect.
const FLAGS: [&str; 7] = [
    "-O2",
    "-fno-strict-aliasing",
    "-fwrapv",
    "-D_GNU_SOURCE",
    "-DREFINT_VERBOSE",
    "-fPIC",
    "-shared",
];

/// The suites and what they need, of one version.
#[derive(Debug)]
pub(super) struct Sources {
    directory: PathBuf,
    /// Of the server, as its package has it.
    pub(super) version: String,
}

impl Sources {
    /// The directory of a suite, with `sql` or `specs`, `expected` and a schedule.
    pub(super) fn suite(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory of the libraries that tests load.
    pub(super) fn libraries(&self) -> PathBuf {
        self.directory.join("lib")
    }

    /// The isolation tester.
    pub(super) fn tester(&self) -> PathBuf {
        self.directory.join("tester")
    }
}

/// The installed server's package.
struct Server {
    major: String,
    version: String,
    source: String,
    source_version: String,
}

/// Everything for the installed server's version: from the cache, or made now.
///
/// # Errors
/// The server is not Debian's, or no repository of this machine has its sources, or they do not
/// compile.
pub(super) fn prepare(interrupt: &Interrupt) -> anyhow::Result<Sources> {
    packages::ensure(&[
        packages::POSTGRESQL,
        packages::DPKG_DEV,
        packages::GCC,
        packages::C_LIBRARY,
    ])?;
    let server = server(interrupt)?;
    let cache = step::target_directory()?.join("regress");
    let directory = cache.join(&server.version);
    if !directory.exists() {
        println!("fetching the tests of {} {}", server.source, server.source_version);
        let unfinished = cache.join(format!("{}.unfinished", server.version));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).context("remove what was left unfinished")?;
        }
        fs::create_dir_all(&unfinished).context("make a directory for the sources")?;
        make(&server, &unfinished, interrupt)?;
        fs::rename(&unfinished, &directory).context("name the finished sources")?;
    }
    Ok(Sources { directory, version: server.version })
}

/// Which package the server is from that the testbed starts.
fn server(interrupt: &Interrupt) -> anyhow::Result<Server> {
    let program = programs::find_postgres("postgres")?;
    let major = program
        .parent()
        .and_then(Path::parent)
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.parse::<u32>().is_ok())
        .with_context(|| format!("{} is not of a package of Debian", program.display()))?;
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Version} ${source:Package} ${source:Version}"]);
    query.arg(format!("postgresql-{major}"));
    let answer = testbed::run(&mut query, "", COMMAND, interrupt)
        .context("ask for the version of the server's package")?;
    let mut words = answer.split_whitespace().map(str::to_owned);
    let (Some(version), Some(source), Some(source_version)) =
        (words.next(), words.next(), words.next())
    else {
        bail!("dpkg-query said of the server's package: {answer}");
    };
    Ok(Server { major, version, source, source_version })
}

/// Fetches, unpacks and compiles in an empty directory, and leaves there what is needed.
fn make(server: &Server, directory: &Path, interrupt: &Interrupt) -> anyhow::Result<()> {
    let work = directory.join("work");
    let apt = Apt::new(&work.join("apt"), interrupt)?;
    let source = format!("{}={}", server.source, server.source_version);
    let fetched = work.join("packages");
    fs::create_dir(&fetched).context("make a directory for packages")?;
    apt.get(&["source", "--download-only", &source], &fetched)?;
    let development = format!("postgresql-server-dev-{}={}", server.major, server.version);
    let library = format!("libpq-dev={}", server.version);
    apt.get(&["download", &development, &library], &fetched)?;

    let run = |command: &mut Command| testbed::run(command, "", COMMAND, interrupt);
    let root = work.join("root");
    for package in with_extension(&fetched, "deb")? {
        run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))
            .context("unpack a development package")?;
    }
    let description = with_extension(&fetched, "dsc")?.pop().context("no source package")?;
    let tree = work.join("tree");
    // With Debian's patches applied.
    run(Command::new("dpkg-source").arg("--extract").arg(description).arg(&tree))
        .context("unpack the source package")?;

    let headers = Headers::new(&root, &server.major);
    let libraries = directory.join("lib");
    fs::create_dir(&libraries).context("make a directory for libraries")?;
    for (library, source) in LIBRARIES {
        let mut compile = Command::new("gcc");
        compile.args(FLAGS).args(headers.options());
        compile.arg("-o").arg(libraries.join(library)).arg(tree.join(source));
        run(&mut compile).with_context(|| format!("compile {source}"))?;
    }
    let mut compile = tester::compilation(&tree, &headers, &directory.join("tester"))?;
    run(&mut compile).context("compile the isolation tester")?;
    for suite in ["regress", "isolation"] {
        fs::rename(tree.join("src/test").join(suite), directory.join(suite))
            .with_context(|| format!("keep the suite {suite}"))?;
    }
    fs::remove_dir_all(&work).context("remove what is not needed any more")
}

/// The unpacked development packages.
pub(super) struct Headers {
    root: PathBuf,
    major: String,
}

impl Headers {
    fn new(root: &Path, major: &str) -> Self {
        Self { root: root.to_owned(), major: major.to_owned() }
    }

    /// The server's headers and the client library's, its own use included.
    pub(super) fn options(&self) -> [String; 3] {
        let include = self.root.join("usr/include/postgresql");
        [include.join(&self.major).join("server"), include.join("internal"), include]
            .map(|directory| format!("-I{}", directory.display()))
    }

    /// The directory of the archives that programs of PostgreSQL are linked with.
    pub(super) fn archives(&self) -> PathBuf {
        self.root.join("usr/lib/postgresql").join(&self.major).join("lib")
    }
}

/// apt with lists of its own: the machine's entries, asked for sources too.
struct Apt<'a> {
    options: Vec<String>,
    interrupt: &'a Interrupt,
    /// What the update said, which is why something cannot be had.
    update: String,
}

impl<'a> Apt<'a> {
    fn new(directory: &Path, interrupt: &'a Interrupt) -> anyhow::Result<Self> {
        let own = |name: &str| directory.join(name);
        for name in ["entries", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(own(name)).context("make a directory for apt")?;
        }
        copy_entries(&own("entries"), interrupt)?;
        let option = |name: &str, path: PathBuf| format!("{name}={}", path.display());
        let options = vec![
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            option("Dir::Etc::sourceparts", own("entries")),
            option("Dir::State::lists", own("lists")),
            option("Dir::Cache", own("cache")),
        ];
        let mut apt = Self { options, interrupt, update: String::new() };
        // A repository without sources, or one that cannot be reached, need not be the one.
        match apt.run(&["update"], directory) {
            Ok(_) => {}
            Err(testbed::Error::Command { output, .. }) => apt.update = output,
            Err(error) => return Err(error).context("update apt's lists"),
        }
        Ok(apt)
    }

    fn run(&self, arguments: &[&str], directory: &Path) -> Result<String, testbed::Error> {
        let mut apt = Command::new("apt-get");
        for option in &self.options {
            apt.args(["-o", option]);
        }
        apt.args(arguments).current_dir(directory).env("LC_ALL", "C");
        testbed::run(&mut apt, "", COMMAND, self.interrupt)
    }

    /// Fetches into `directory`.
    fn get(&self, arguments: &[&str], directory: &Path) -> anyhow::Result<()> {
        self.run(arguments, directory).with_context(|| {
            format!(
                "no repository of this machine has all of {}: their entries need `deb-src`, and \
                 the server must be in a version that they still have (upgrade it). {}",
                arguments.last().copied().unwrap_or_default(),
                self.update,
            )
        })?;
        Ok(())
    }
}

/// Copies the machine's entries, asking for sources too.
fn copy_entries(to: &Path, interrupt: &Interrupt) -> anyhow::Result<()> {
    let place = |key: &str| -> anyhow::Result<PathBuf> {
        let mut config = Command::new("apt-config");
        let answer = testbed::run(config.args(["shell", "PLACE", key]), "", COMMAND, interrupt)
            .context("ask apt where its entries are")?;
        Ok(answer.trim().trim_start_matches("PLACE=").trim_matches('\'').into())
    };
    let mut files = vec![(place("Dir::Etc::sourcelist/f")?, Some(Syntax::Lines))];
    if let Ok(parts) = fs::read_dir(place("Dir::Etc::sourceparts/d")?) {
        for part in parts.filter_map(Result::ok) {
            files.push((part.path(), Syntax::of(&part.file_name().to_string_lossy())));
        }
    }
    for (number, (path, syntax)) in files.into_iter().enumerate() {
        let Some(syntax) = syntax else { continue };
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let extension = match syntax {
            Syntax::Lines => "list",
            Syntax::Stanzas => "sources",
        };
        fs::write(to.join(format!("{number}.{extension}")), with_sources(&text, syntax))
            .context("write an entry for apt")?;
    }
    Ok(())
}

fn with_extension(directory: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).context("look at what was fetched")?;
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|it| it == extension)).collect())
}
