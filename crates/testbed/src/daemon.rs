//! One process that was started here, and its end.

use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, kill_process, kill_process_group};

use crate::{Error, Interrupt, bed, until};

pub use rustix::process::Signal;

/// How long a daemon may take to obey its goodbye before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A child process in a process group of its own. Dropping it ends the group.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
    goodbye: Signal,
}

impl Daemon {
    pub(crate) fn new(name: &str, child: Child, log: PathBuf, goodbye: Signal) -> Self {
        Self { name: name.to_owned(), child, log, goodbye }
    }

    /// The process id, which is the process group's too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        bed::tail(&self.log)
    }

    /// All of its log; empty if it cannot be read.
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// Waits until `ready` answers true.
    ///
    /// # Errors
    /// [`Error::Ended`] as soon as the process is gone, [`Error::Timeout`], [`Error::Interrupted`].
    pub fn wait_ready(
        &mut self,
        within: Duration,
        interrupt: &Interrupt,
        mut ready: impl FnMut() -> bool,
    ) -> Result<(), Error> {
        let what = format!("{} ready", self.name);
        let result = until(&what, within, interrupt, || {
            if ready() {
                return Ok(Some(()));
            }
            match self.exited()? {
                None => Ok(None),
                Some(status) => {
                    Err(Error::Ended { daemon: self.name.clone(), status, log: self.tail() })
                }
            }
        });
        result.map_err(|error| error.with_log(|| self.tail()))
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn exited(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(Error::io(format!("wait for {}", self.name)))
    }

    /// Sends `signal` to the process alone; nothing happens if it is gone.
    pub fn signal(&mut self, signal: Signal) {
        // While the child is not waited for, its id cannot belong to anybody else.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Sends `signal` to the process and waits for its end.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it is still there after `within`.
    pub fn stop(&mut self, signal: Signal, within: Duration) -> Result<ExitStatus, Error> {
        self.signal(signal);
        self.wait_exit(within)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it is still there after `within`.
    pub fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let what = format!("end of {}", self.name);
        until(&what, within, &Interrupt::default(), || self.exited())
            .map_err(|error| error.with_log(|| self.tail()))
    }

    /// Ends the whole process group with SIGKILL and waits for the process.
    pub fn kill(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.goodbye != Signal::KILL {
            let _ = self.stop(self.goodbye, PATIENCE);
        }
        self.kill();
    }
}
