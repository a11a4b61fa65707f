//! `cargo xtask tidy`: the rules of the house that a machine can check.
//!
//! - crates name only the crates that [`edges`] allows them;
//! - pure crates know no runtime, socket, clock, randomness, log or metric ([`purity`]);
//! - every file says what it is for, and files and functions stay short ([`shape`]);
//! - no static holds state ([`statics`]);
//! - no code is `unsafe`, and every crate is held to that ([`unsafety`]);
//! - the tests that docs/security.md names are there ([`claims`]).
//!
//! An exception is a line with a reason in [`exceptions`]; one that excuses nothing is itself an
//! offence.

mod claims;
mod edges;
mod exceptions;
mod offence;
mod purity;
mod shape;
mod source;
mod statics;
mod unsafety;

use anyhow::{Context as _, bail};

use crate::step;

/// Checks the whole workspace and prints every offence.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = step::root();
    let manifests = source::manifests(&root)?;
    let sources = source::sources(&root)?;
    let mut offences = edges::check(&manifests);
    offences.extend(purity::check_manifests(&manifests));
    offences.extend(unsafety::check_manifests(&manifests));
    let claims = std::fs::read_to_string(root.join(claims::PATH))
        .with_context(|| format!("read {}", claims::PATH))?;
    offences.extend(claims::check(&claims, &sources));
    for source in &sources {
        offences.extend(shape::check(source));
        offences.extend(statics::check(source));
        offences.extend(unsafety::check_source(source));
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
