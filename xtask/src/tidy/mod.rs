//! `cargo xtask tidy`: the rules of the house that a machine can check.
//!
//! - crates name only the crates that [`edges`] allows them;
//! - pure crates know no runtime, socket, clock, randomness, log or metric ([`purity`]);
//! - every file says what it is for, and files and functions stay short ([`shape`]);
//! - no static holds state ([`statics`]).
//!
//! An exception is a line with a reason in [`exceptions`]; one that excuses nothing is itself an
//! offence.

mod edges;
mod exceptions;
mod offence;
mod purity;
mod shape;
mod source;
mod statics;

use anyhow::bail;

use crate::step;

/// Checks the whole workspace and prints every offence.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = step::root();
    let manifests = source::manifests(&root)?;
    let sources = source::sources(&root)?;
    let mut offences = edges::check(&manifests);
    offences.extend(purity::check_manifests(&manifests));
    for source in &sources {
        offences.extend(shape::check(source));
        offences.extend(statics::check(source));
        if edges::is_pure(source.package()) {
            offences.extend(purity::check_source(source));
        }
    }
    let mut offences = exceptions::excuse(offences, exceptions::EXCEPTIONS);
    offences.sort();
    for offence in &offences {
        println!("{offence}");
    }
    if !offences.is_empty() {
        bail!("{} offences", offences.len());
    }
    println!("{} crates, {} files: tidy", manifests.len(), sources.len());
    Ok(())
}
