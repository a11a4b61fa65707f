//! The command line of `cargo xtask bench failover`.

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::fault::Fault;
use super::stage::Peer;

/// The word for the crowd of idle clients, beside those of the faults.
const CROWD: &str = "crowd";

/// What to do to the cluster, how often, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) faults: Vec<Fault>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) rounds: usize,
    pub(crate) extent: Extent,
    pub(crate) crew: Crew,
    /// Idle clients of the last act; none leaves it out.
    pub(crate) crowd: Option<u32>,
    /// A build of pgmesh to take instead of building one.
    pub(crate) pgmesh: Option<PathBuf>,
}

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Quick,
    Usual,
    /// Where it matters: as `Usual`, but etcd is away for an hour.
    Long,
}

/// The clients of each peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crew {
    /// They write all the time, half of them in transactions.
    pub(crate) writers: u32,
    /// They are connected and ask something every few seconds.
    pub(crate) idle: u32,
    /// They keep a transaction open over the event.
    pub(crate) held: u32,
}

/// Words for the usage text of xtask.
pub(crate) fn usage() -> String {
    format!(
        "usage: cargo xtask bench failover [--quick | --long] [--rounds N] [--only WORD,…] [--peers PEER,…]
           [--writers N] [--idle N] [--held N] [--crowd N] [--pgmesh PATH]
  words: {} {CROWD}
  peers: {}",
        Fault::ALL.map(Fault::as_str).join(" "),
        Peer::ALL.map(Peer::as_str).join(" "),
    )
}

/// Reads the arguments behind `bench failover`.
///
/// # Errors
/// What is not understood, with the usage.
pub(crate) fn parse(arguments: &[&str]) -> anyhow::Result<Options> {
    read(arguments).with_context(usage)
}

fn read(arguments: &[&str]) -> anyhow::Result<Options> {
    let extent = match (arguments.contains(&"--quick"), arguments.contains(&"--long")) {
        (true, true) => bail!("--quick and --long exclude each other"),
        (true, false) => Extent::Quick,
        (false, true) => Extent::Long,
        (false, false) => Extent::Usual,
    };
    let quick = extent == Extent::Quick;
    let mut options = Options {
        faults: Fault::ALL.to_vec(),
        peers: Peer::USUAL.to_vec(),
        rounds: if quick { 1 } else { 10 },
        extent,
        crew: Crew { writers: 50, idle: 50, held: 20 },
        crowd: Some(if quick { 1000 } else { 10_000 }),
        pgmesh: None,
    };
    let (mut only, mut crowd) = (None, None);
    let mut arguments = arguments.iter();
    while let Some(&name) = arguments.next() {
        if matches!(name, "--quick" | "--long") {
            continue;
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, value),
            None => (name, *arguments.next().with_context(|| format!("{name} wants a value"))?),
        };
        match name {
            "--only" => only = Some(value),
            "--crowd" => crowd = Some(positive(value)?),
            _ => options.set(name, value).with_context(|| format!("{name} {value}"))?,
        }
    }
    if let Some(words) = only {
        let (crowd, faults): (Vec<_>, Vec<_>) = words.split(',').partition(|word| *word == CROWD);
        let named = faults.iter().map(|word| {
            Fault::named(word).with_context(|| format!("--only: unknown word '{word}'"))
        });
        options.faults = named.collect::<Result<_, _>>()?;
        options.crowd = options.crowd.filter(|_| !crowd.is_empty());
    }
    // Who says how many wants one.
    options.crowd = crowd.or(options.crowd).filter(|_| options.peers.contains(&Peer::Pgmesh));
    Ok(options)
}

impl Options {
    fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        match name {
            "--rounds" => self.rounds = positive(value)? as usize,
            "--writers" => self.crew.writers = positive(value)?,
            "--idle" => self.crew.idle = value.parse()?,
            "--held" => self.crew.held = value.parse()?,
            "--peers" => {
                let named = value.split(',').map(Peer::named);
                self.peers = named.collect::<Option<_>>().context("unknown peer")?;
            }
            "--pgmesh" => {
                self.pgmesh = Some(PathBuf::from(value).canonicalize().context("no such file")?);
            }
            _ => bail!("unknown option"),
        }
        Ok(())
    }
}

fn positive(text: &str) -> anyhow::Result<u32> {
    match text.parse() {
        Ok(0) | Err(_) => bail!("'{text}' is not a positive number"),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_understood_in_both_spellings() {
        let arguments =
            ["--rounds", "2", "--only=hang,crowd", "--peers=pgmesh", "--writers=3", "--held", "0"];
        let options = parse(&arguments).unwrap();
        assert_eq!((options.rounds, options.crowd), (2, Some(10_000)));
        assert_eq!(options.faults, [Fault::Hang]);
        assert_eq!(options.peers, [Peer::Pgmesh]);
        assert_eq!(options.crew, Crew { writers: 3, idle: 50, held: 0 });
    }

    #[test]
    fn a_crowd_is_left_out_unless_it_is_named() {
        assert_eq!(parse(&["--only", "node"]).unwrap().crowd, None);
        assert_eq!(parse(&["--peers", "haproxy"]).unwrap().crowd, None);
        assert_eq!(parse(&["--quick"]).unwrap().crowd, Some(1000));
        let only = parse(&["--only", "crowd", "--crowd", "7"]).unwrap();
        assert_eq!((only.crowd, only.faults.len()), (Some(7), 0));
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [
            &["--rounds"][..],
            &["--rounds", "0"],
            &["--only", "earthquake"],
            &["--peers", "odyssey"],
            &["--pgmesh", "/no/such/file"],
            &["--x", "1"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
