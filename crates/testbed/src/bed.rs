//! The temporary directory everything lives in, and the janitor that outlives its owner.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::account::Account;
use crate::daemon::{Daemon, Signal};
use crate::{Error, Interrupt};

/// See the script: it is what makes clean-up survive SIGKILL of the owner.
const JANITOR: &str = include_str!("janitor.sh");

/// How much of a log's end is shown when something failed.
const TAIL_BYTES: u64 = 6 * 1024;

/// A temporary directory whose inhabitants end with it.
///
/// Dropping the bed ends every daemon that was started in it and removes the directory. While the
/// owner panics, the ends of all logs are printed first.
#[derive(Debug)]
pub struct Bed {
    directory: PathBuf,
    janitor: Child,
    pub(crate) account: Account,
    pub(crate) interrupt: Interrupt,
}

impl Bed {
    /// Makes an empty bed. `interrupt` ends the waits of whatever is started in it.
    ///
    /// # Errors
    /// [`Error::Missing`] when run as root without a `postgres` user, [`Error::Io`] when the
    /// directory or the janitor cannot be made.
    pub fn new(interrupt: Interrupt) -> Result<Self, Error> {
        let account = Account::for_daemons()?;
        let directory = tempfile::Builder::new()
            .prefix("pgmesh-")
            .tempdir()
            .map_err(Error::io("make a temporary directory"))?;
        // The daemons' user has to pass through it.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))
            .map_err(Error::io("open the temporary directory"))?;
        // /proc shows working directories with symbolic links resolved.
        let path = directory
            .path()
            .canonicalize()
            .map_err(Error::io("resolve the temporary directory"))?;
        let script = path.join("janitor.sh");
        fs::write(&script, JANITOR).map_err(Error::io("write the janitor's script"))?;
        // A process group of its own: Ctrl-C in the terminal must not take the janitor along.
        let janitor = Command::new("/bin/sh")
            .args([&script, &path])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Error::io("start the janitor"))?;
        let _ = directory.keep();
        Ok(Self { directory: path, janitor, account, interrupt })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Makes a directory in the bed that only the daemons' account can read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn private_directory(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.directory.join(name);
        fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o700)))
            .map_err(Error::io(format!("make {}", path.display())))?;
        self.account.own(&path)?;
        Ok(path)
    }

    /// Writes a file that only the daemons' account can read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn private_file(&self, path: &Path, content: &str) -> Result<(), Error> {
        fs::write(path, content)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o600)))
            .map_err(Error::io(format!("write {}", path.display())))?;
        self.account.own(path)
    }

    /// Makes `command` run as the daemons' account.
    pub fn demote(&self, command: &mut Command) {
        self.account.run(command);
    }

    /// Starts a daemon in a process group of its own, its output appended to `<name>.log`. Its
    /// working directory is the bed unless `command` says another one, which must be in the bed.
    ///
    /// `goodbye` is what it is sent when dropped.
    ///
    /// # Errors
    /// [`Error::Io`] when the program cannot be started.
    pub fn spawn(
        &self,
        name: &str,
        command: &mut Command,
        goodbye: Signal,
    ) -> Result<Daemon, Error> {
        let log = self.directory.join(format!("{name}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(Error::io(format!("open {}", log.display())))?;
        let errors = output.try_clone().map_err(Error::io("duplicate a descriptor"))?;
        if command.get_current_dir().is_none() {
            command.current_dir(&self.directory);
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(Error::io(format!("run {program}")))?;
        let daemon = Daemon::new(name, child, log, goodbye);
        self.tell_janitor(&daemon.id().to_string())?;
        Ok(daemon)
    }

    /// Adds a line to what the janitor cleans up; see the script for what lines there are.
    pub(crate) fn tell_janitor(&self, line: &str) -> Result<(), Error> {
        let Some(mut janitor) = self.janitor.stdin.as_ref() else { return Ok(()) };
        writeln!(janitor, "{line}").map_err(Error::io("write to the janitor"))
    }

    /// The ends of all logs.
    pub fn tails(&self) -> String {
        let mut logs: Vec<PathBuf> = fs::read_dir(&self.directory)
            .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
            .unwrap_or_default();
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        let mut text = String::new();
        for log in logs {
            let _ = write!(text, "--- {} ---\n{}", log.display(), tail(&log));
        }
        text
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the test runner captures it beside the panic")]
            {
                eprintln!("{}", self.tails());
            }
        }
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
        // Only if somebody ended the janitor.
        if self.directory.exists() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// The last lines of a file; what is not UTF-8 is replaced.
pub(crate) fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let skipped = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(skipped))?;
        let mut end = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut end)?;
        Ok(end)
    };
    match read() {
        Ok(end) => String::from_utf8_lossy(&end).into_owned(),
        Err(error) => format!("(unreadable: {error})\n"),
    }
}
