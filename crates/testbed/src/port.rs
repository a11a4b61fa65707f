//! TCP ports on loopback that nobody else gets.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

use crate::Error;

/// A free port on 127.0.0.1, ours until dropped.
///
/// The reservation is a socket that is bound and never listens. The kernel hands its port to nobody
/// who asks for "any", in this process or another, and picks it for no outgoing connection; a daemon
/// that is told the number can still bind it, because both sides set SO_REUSEADDR (Postgres, etcd,
/// Patroni, std and tokio listeners all do). So a daemon can restart on its port without a race.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reserved: OwnedFd,
}

impl Port {
    /// Reserves a port.
    ///
    /// # Errors
    /// [`Error::Io`] when the system has no socket or port left.
    pub fn reserve() -> Result<Self, Error> {
        let reserve = || -> rustix::io::Result<Option<Self>> {
            let socket =
                socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
            let address = SocketAddr::try_from(getsockname(&socket)?).ok();
            Ok(address.map(|address| Self { number: address.port(), _reserved: socket }))
        };
        reserve()
            .map_err(|errno| Error::io("reserve a port")(errno.into()))?
            .ok_or_else(|| Error::Missing("port of a bound socket".to_owned()))
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn no_port_is_handed_out_twice() {
        let ports: Vec<Port> = (0..500).map(|_| Port::reserve().unwrap()).collect();
        let numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
    }

    #[test]
    fn a_reserved_port_can_be_listened_on_again_and_again() {
        let port = Port::reserve().unwrap();
        for _ in 0..2 {
            let listener = TcpListener::bind(("127.0.0.1", port.number())).unwrap();
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            listener.accept().unwrap();
        }
    }
}
