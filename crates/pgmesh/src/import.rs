//! `pgmesh import`: reads the files, and writes the result and what is secret.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use config::Process;
use config::import::{Imported, SecretFile, Source, Sources, import as translate};

/// Where the result looks for secrets unless they are written somewhere.
const SECRETS: &str = "/etc/pgmesh/secrets";

/// A file that is larger is none of these.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What to import, and where to.
#[derive(Debug, clap::Args)]
#[group(id = "imported")]
pub struct ImportFiles {
    /// PgBouncer's configuration.
    #[arg(long, value_name = "FILE")]
    pgbouncer: Option<PathBuf>,
    /// What its auth_file names.
    #[arg(long, value_name = "FILE")]
    userlist: Option<PathBuf>,
    /// HAProxy's configuration.
    #[arg(long, value_name = "FILE")]
    haproxy: Option<PathBuf>,
    /// Write the passwords there, each into a file that only you can read; the directory is made,
    /// and no file that is there is changed.
    #[arg(long, value_name = "DIRECTORY")]
    secrets: Option<PathBuf>,
}

/// Writes a proxy.toml to `output`, and what became of each line, in short, to `report`.
///
/// # Errors
/// A file cannot be read or written, or a secret's file is there already.
pub fn import(
    files: &ImportFiles,
    output: &mut dyn Write,
    report: &mut dyn Write,
) -> anyhow::Result<()> {
    let ImportFiles { pgbouncer, userlist, haproxy, secrets } = files;
    anyhow::ensure!(
        pgbouncer.is_some() || haproxy.is_some(),
        "name what to import: --pgbouncer FILE, --haproxy FILE, or both"
    );
    let sources = Sources {
        pgbouncer: pgbouncer.as_deref().map(source).transpose()?,
        userlist: userlist.as_deref().map(source).transpose()?,
        haproxy: haproxy.as_deref().map(source).transpose()?,
        secrets: secrets.as_deref().map_or_else(|| Ok(SECRETS.into()), std::path::absolute)?,
    };
    let imported = translate(&sources, &Process)?;
    if let Some(directory) = secrets {
        write_secrets(directory, &imported.secrets)?;
    }
    output.write_all(imported.toml.as_bytes()).context("write the result")?;
    output.flush().context("write the result")?;
    tell(&imported, secrets.as_deref(), report).context("write the summary")
}

fn tell(imported: &Imported, secrets: Option<&Path>, report: &mut dyn Write) -> io::Result<()> {
    writeln!(report, "pgmesh: {imported}")?;
    match (secrets, imported.secrets.len()) {
        (_, 0) => Ok(()),
        (Some(directory), many) => {
            writeln!(report, "pgmesh: {many} secrets are in {}", directory.display())
        }
        (None, many) => writeln!(
            report,
            "pgmesh: {many} secrets are to be in {SECRETS}: --secrets DIRECTORY writes them"
        ),
    }
}

fn source(path: &Path) -> anyhow::Result<Source> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("read {shown}"))?.len();
    anyhow::ensure!(size <= FILE_BYTES_MAX, "{shown} is larger than 16 MiB");
    let text = std::fs::read_to_string(path).with_context(|| format!("read {shown}"))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Source { name, text: auth::Secret::new(text) })
}

fn write_secrets(directory: &Path, secrets: &[SecretFile]) -> anyhow::Result<()> {
    let shown = directory.display();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("make the directory {shown}"))?;
    // All of them or none: what is there may be in use.
    for SecretFile { name, .. } in secrets {
        let path = directory.join(name);
        anyhow::ensure!(path.symlink_metadata().is_err(), "{} is there already", path.display());
    }
    for SecretFile { name, text } in secrets {
        let path = directory.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.expose().as_bytes()))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
