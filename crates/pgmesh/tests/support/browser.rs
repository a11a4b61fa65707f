//! A headless Chromium that looks at the status page.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testbed::{Interrupt, packages, programs, run};

/// Starting a browser takes its time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How the page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Light,
    Dark,
    Phone,
}

impl Look {
    /// Of the screenshot.
    fn file(self) -> &'static str {
        match self {
            Self::Light => "status-page.png",
            Self::Dark => "status-page-dark.png",
            Self::Phone => "status-page-phone.png",
        }
    }

    fn arguments(self) -> [&'static str; 2] {
        match self {
            Self::Light => ["--window-size=1280,1240", "--blink-settings=preferredColorScheme=1"],
            Self::Dark => ["--window-size=1280,1240", "--blink-settings=preferredColorScheme=0"],
            Self::Phone => ["--window-size=320,2300", "--blink-settings=preferredColorScheme=1"],
        }
    }
}

/// The browser, with a profile of its own.
#[derive(Debug)]
pub(crate) struct Browser {
    program: PathBuf,
    profile: tempfile::TempDir,
}

impl Browser {
    /// `None`, with the reason printed, only where it cannot be installed.
    pub(crate) fn find() -> Option<Self> {
        if let Err(error) = packages::ensure(&[packages::CHROMIUM, packages::FONTS]) {
            println!("skipped: no browser looks at the page, for Chromium is missing: {error}");
            return None;
        }
        let program = programs::find("chromium").unwrap();
        Some(Self { program, profile: tempfile::tempdir().unwrap() })
    }

    /// What the page has become once its script has run.
    pub(crate) fn dom(&self, url: &str) -> String {
        run(self.command().args(["--dump-dom", url]), "", PATIENCE, &Interrupt::default()).unwrap()
    }

    /// Keeps what it looks like in a file under target/.
    pub(crate) fn screenshot(&self, url: &str, look: Look) {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        std::fs::create_dir_all(&target).unwrap();
        let file = target.join(look.file());
        let mut command = self.command();
        command.args(look.arguments()).arg(format!("--screenshot={}", file.display())).arg(url);
        run(&mut command, "", PATIENCE, &Interrupt::default()).unwrap();
        let bytes = std::fs::metadata(&file).unwrap().len();
        assert!(bytes > 20_000, "{}: nothing is on it", file.display());
        println!("screenshot: {}", file.display());
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            // Its own time: so much of it passes before the end, however slow the machine is.
            .args(["--disable-dev-shm-usage", "--no-first-run", "--virtual-time-budget=4000"])
            .arg(format!("--user-data-dir={}", self.profile.path().display()));
        command
    }
}
