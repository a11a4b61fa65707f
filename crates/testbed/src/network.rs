//! Networks of their own for nodes, so that a cable can be pulled.
//!
//! Each node lives in a network namespace that a pair of virtual interfaces joins to one bridge; the
//! bridge's address is this machine's. Pulling the cable blocks the node's port of the bridge: what is
//! sent in either direction disappears, no interface goes down and nobody is told.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::account::Account;
use crate::{Bed, Error, Interrupt, command, programs};

/// A command of iproute2 takes milliseconds.
const IP: Duration = Duration::from_secs(10);

/// Bridges that other runs may have at the same time.
const TRIES: u16 = 64;

/// Our networks are 10.128.0.0/24 to 10.255.255.0/24.
const NUMBERS: u16 = 1 << 15;

/// The last byte of the first node's address.
const FIRST_NODE: u8 = 10;

/// Where `ip netns` keeps its namespaces.
const NAMESPACES: &str = "/run/netns";

/// What the nodes of a cluster are connected by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// All are on 127.0.0.1.
    #[default]
    Loopback,
    /// Each has a network namespace and an address of its own. Takes root and iproute2; see
    /// [`Network::can_be_cut`].
    Namespaces,
}

impl Network {
    /// Whether namespaces can be had here, by making one.
    ///
    /// # Errors
    /// Why not: not root, a program that is missing, or what the kernel does not have.
    pub fn can_be_cut() -> Result<(), Error> {
        let bed = Arc::new(Bed::new(Interrupt::default())?);
        Bridge::new(&bed)?.attach(1).map(|_| ())
    }
}

/// The bridge of a cluster. The bed's janitor removes it.
#[derive(Debug)]
pub(crate) struct Bridge {
    number: u16,
    bed: Arc<Bed>,
}

/// What connects a node to its bridge, and the namespace at its end.
#[derive(Debug)]
pub(crate) struct Cable {
    /// The bridge's end, as an interface; the namespace has the same name.
    name: String,
    address: Ipv4Addr,
    account: Account,
}

impl Bridge {
    /// Makes a bridge with an address that no other bridge of ours has.
    pub(crate) fn new(bed: &Arc<Bed>) -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::Missing("permission to make network namespaces: not root".into()));
        }
        let first = u16::try_from(std::process::id() % u32::from(NUMBERS)).unwrap_or_default();
        let mut failure = None;
        for step in 0..TRIES {
            let bridge = Self { number: (first + step) % NUMBERS, bed: Arc::clone(bed) };
            let name = bridge.name();
            // Fails if somebody has it.
            if let Err(error) = ip(&["link", "add", &name, "type", "bridge"]) {
                failure = Some(error);
                continue;
            }
            bed.tell_janitor(&format!("link {name}"))?;
            ip(&["addr", "add", &format!("{}/24", bridge.address(1)), "dev", &name])?;
            ip(&["link", "set", &name, "up"])?;
            return Ok(bridge);
        }
        Err(failure.unwrap_or_else(|| Error::Missing("free bridge".to_owned())))
    }

    /// The address of this machine on it.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// The network, as in `10.128.0.0/24`.
    pub(crate) fn subnet(&self) -> String {
        format!("{}/24", self.address(0))
    }

    /// Makes the namespace of a node, counted from one, and connects it.
    pub(crate) fn attach(&self, node: u8) -> Result<Cable, Error> {
        let (bridge, name) = (self.name(), format!("{}n{node}", self.name()));
        let address = self.address(FIRST_NODE.saturating_add(node));
        let hardware = format!("02:00:00:00:00:{node:02x}");
        self.bed.tell_janitor(&format!("netns {name}"))?;
        self.bed.tell_janitor(&format!("link {name}"))?;
        ip(&["netns", "add", &name])?;
        let veth = ["link", "add", &name, "type", "veth"];
        let peer = ["peer", "name", "eth0", "address", &hardware, "netns", &name];
        ip(&[&veth[..], &peer].concat())?;
        ip(&["link", "set", &name, "master", &bridge, "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        for link in ["lo", "eth0"] {
            ip(&["-n", &name, "link", "set", link, "up"])?;
        }
        // Known for ever, because a question for it that nobody answers would end every connection
        // with "no route to host", which is more than a node that is cut off tells.
        let address_text = address.to_string();
        let neighbour = ["neigh", "replace", &address_text, "lladdr", &hardware];
        ip(&[&neighbour[..], &["dev", &bridge, "nud", "permanent"]].concat())?;
        Ok(Cable { name, address, account: self.bed.account })
    }

    fn name(&self) -> String {
        format!("pgm{:x}", self.number)
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(10, 128 | high, low, host)
    }
}

impl Cable {
    /// The node's address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A command that runs `program` in the namespace, as the daemons' account. What is started has
    /// the process id of the command.
    pub(crate) fn command(&self, program: &Path) -> Result<Command, Error> {
        let mut nsenter = Command::new(programs::find("nsenter")?);
        let space: PathBuf = Path::new(NAMESPACES).join(&self.name);
        nsenter.arg(format!("--net={}", space.display()));
        // Entering takes root, so the account changes on the way and not before.
        if let Account::Other { uid, gid } = self.account {
            nsenter.args([format!("--setuid={uid}"), format!("--setgid={gid}")]);
        }
        nsenter.arg("--").arg(program);
        Ok(nsenter)
    }

    /// Pulls it.
    pub(crate) fn cut(&self) -> Result<(), Error> {
        self.port_state("disabled")
    }

    /// Plugs it in again.
    pub(crate) fn mend(&self) -> Result<(), Error> {
        self.port_state("forwarding")
    }

    fn port_state(&self, state: &str) -> Result<(), Error> {
        let mut bridge = Command::new(programs::find("bridge")?);
        bridge.args(["link", "set", "dev", &self.name, "state", state]);
        command::run(&mut bridge, "", IP, &Interrupt::default()).map(|_| ())
    }
}

fn ip(arguments: &[&str]) -> Result<(), Error> {
    let mut ip = Command::new(programs::find("ip")?);
    command::run(ip.args(arguments), "", IP, &Interrupt::default()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_network_of_its_own() {
        let bed = Arc::new(Bed::new(Interrupt::default()).unwrap());
        let bridge = |number| Bridge { number, bed: Arc::clone(&bed) };
        assert_eq!(bridge(0).subnet(), "10.128.0.0/24");
        assert_eq!(bridge(NUMBERS - 1).gateway(), Ipv4Addr::new(10, 255, 255, 1));
        // Interfaces have names of 15 bytes at most.
        assert!(bridge(NUMBERS - 1).name().len() + "n255".len() <= 15);
    }
}
