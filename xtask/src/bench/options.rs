//! The command line of `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::cell::{Extent, Filter};
use super::peer::Peer;

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) extent: Extent,
    pub(crate) filter: Filter,
    pub(crate) peers: Vec<Peer>,
    pub(crate) rounds: usize,
    /// Of each load's measured window.
    pub(crate) seconds: u32,
    pub(crate) idle_clients: u32,
    /// A second build of pgmesh, measured beside ours.
    pub(crate) other: Option<PathBuf>,
    /// Instead of the installed one.
    pub(crate) pgbouncer: Option<PathBuf>,
}

/// Words for the usage text of xtask.
pub(crate) fn usage() -> String {
    format!(
        "usage: cargo xtask bench [--quick | --full] [--rounds N] [--seconds N] [--idle N]
           [--only WORD,…] [--clients N,…] [--peers PEER,…] [--pgmesh PATH] [--pgbouncer PATH]
  words: {}
  peers: {}",
        Filter::all_words(),
        Peer::ALL.map(Peer::as_str).join(" "),
    )
}

/// Reads the arguments behind `bench`.
///
/// # Errors
/// What is not understood, with the usage.
pub(crate) fn parse(arguments: &[&str]) -> anyhow::Result<Options> {
    read(arguments).with_context(usage)
}

fn read(arguments: &[&str]) -> anyhow::Result<Options> {
    let extent = match (arguments.contains(&"--quick"), arguments.contains(&"--full")) {
        (true, true) => bail!("--quick and --full exclude each other"),
        (true, false) => Extent::Quick,
        (false, true) => Extent::Full,
        (false, false) => Extent::Usual,
    };
    let quick = extent == Extent::Quick;
    let mut options = Options {
        extent,
        filter: Filter::default(),
        peers: Peer::USUAL.to_vec(),
        rounds: if quick { 1 } else { 5 },
        seconds: if quick { 1 } else { 5 },
        idle_clients: if quick { 1000 } else { 5000 },
        other: None,
        pgbouncer: None,
    };
    let mut arguments = arguments.iter();
    while let Some(&name) = arguments.next() {
        if matches!(name, "--quick" | "--full") {
            continue;
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, value),
            None => (name, *arguments.next().with_context(|| format!("{name} wants a value"))?),
        };
        options.set(name, value).with_context(|| format!("{name} {value}"))?;
    }
    if options.other.is_some() && !options.peers.contains(&Peer::Other) {
        options.peers.insert(1, Peer::Other);
    }
    if options.peers.contains(&Peer::Other) && options.other.is_none() {
        bail!("the peer '{}' wants --pgmesh PATH", Peer::Other.as_str());
    }
    Ok(options)
}

impl Options {
    fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        match name {
            "--rounds" => self.rounds = positive(value)? as usize,
            "--seconds" => self.seconds = positive(value)?,
            "--idle" => self.idle_clients = positive(value)?,
            "--clients" => {
                self.filter.clients = value.split(',').map(positive).collect::<Result<_, _>>()?;
            }
            "--only" => {
                for word in value.split(',') {
                    if !Filter::is_word(word) {
                        bail!("unknown word '{word}'");
                    }
                    self.filter.words.push(word.to_owned());
                }
            }
            "--peers" => {
                let named = value.split(',').map(Peer::named);
                self.peers = named.collect::<Option<_>>().context("unknown peer")?;
            }
            "--pgmesh" => self.other = Some(existing(value)?),
            "--pgbouncer" => self.pgbouncer = Some(existing(value)?),
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

/// The absolute path of a program, because it is run in another directory.
fn existing(path: &str) -> anyhow::Result<PathBuf> {
    PathBuf::from(path).canonicalize().context("no such file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_understood_in_both_spellings() {
        let arguments = [
            "--rounds",
            "2",
            "--seconds=3",
            "--only=simple,tls",
            "--clients",
            "1,32",
            "--peers=relay",
        ];
        let options = parse(&arguments).unwrap();
        assert_eq!((options.rounds, options.seconds), (2, 3));
        assert_eq!(options.filter.words, ["simple", "tls"]);
        assert_eq!(options.filter.clients, [1, 32]);
        assert_eq!(options.peers, [Peer::Relay]);
    }

    #[test]
    fn a_second_build_is_a_peer() {
        let options = parse(&["--quick", "--pgmesh", "/bin/sh"]).unwrap();
        assert!(options.peers.contains(&Peer::Other));
        assert_eq!(options.extent, Extent::Quick);
        assert!(parse(&["--peers", "other"]).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [
            &["--rounds"][..],
            &["--rounds", "0"],
            &["--only", "nothing"],
            &["--peers", "odyssey"],
            &["--quick", "--full"],
            &["--pgmesh", "/no/such/file"],
            &["--x", "1"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
