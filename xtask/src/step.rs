//! Running the commands that verbs are made of.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use testbed::{Interrupt, packages, until};

/// `cargo`, the one that runs us, in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(root());
    cargo
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // The directory of xtask/Cargo.toml, whose parent is the root.
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), PathBuf::from)
}

/// Where cargo puts what it builds, whatever the caller's configuration says.
pub(crate) fn target_directory() -> anyhow::Result<PathBuf> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("run cargo metadata")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&metadata.stdout).context("read cargo metadata")?;
    let directory = metadata["target_directory"].as_str().context("no target_directory")?;
    Ok(directory.into())
}

/// The pgmesh to run: one that is named in the environment, or one that is built now.
///
/// # Errors
/// What it needs cannot be installed, or it does not compile.
pub(crate) fn pgmesh(interrupt: &Interrupt) -> anyhow::Result<PathBuf> {
    if let Some(binary) = env::var_os("PGMESH_BIN") {
        return Ok(binary.into());
    }
    packages::ensure(&packages::BUILD)?;
    run(&mut cargo(&["build", "--package", "pgmesh"]), interrupt)?;
    Ok(target_directory()?.join("debug/pgmesh"))
}

/// What was typed, so to say: the program without its directory, and its arguments.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = [program].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs a command whose output the caller sees, to its end.
///
/// # Errors
/// When it cannot be started or fails; [`testbed::Error::Interrupted`] after ending it.
pub(crate) fn run(command: &mut Command, interrupt: &Interrupt) -> anyhow::Result<()> {
    let program = line(command);
    let mut child = command.spawn().with_context(|| format!("start {program}"))?;
    let waited = until(&program, Duration::MAX, interrupt, || {
        // An error here would mean that somebody else has waited for our child.
        Ok(child.try_wait().ok().flatten())
    });
    if waited.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let status = waited?;
    if !status.success() {
        // Ctrl-C in a terminal ends the child too, perhaps before we look.
        if interrupt.raised() {
            return Err(testbed::Error::Interrupted.into());
        }
        bail!("`{program}` failed ({status})");
    }
    Ok(())
}
