//! Listening sockets that another process has opened: the one before this, or a service manager.
//!
//! What a descriptor is for is asked of the kernel, and nothing that was said beside it.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::Socket;

use crate::unix::SocketFile;

/// What there is to inherit. What nobody takes is closed with it.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<(PathBuf, UnixListener)>,
    /// Lock files of Unix sockets.
    files: Vec<File>,
    /// What takes the connections of more addresses than its own.
    wide: Vec<Wide>,
}

/// A listener of all addresses.
#[derive(Clone, Copy, Debug)]
struct Wide {
    address: SocketAddr,
    reach: Reach,
}

/// Whose connections a listener of all addresses takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Those of its own kind.
    One,
    /// Those of IPv4 and of IPv6.
    Both,
}

impl Inherited {
    /// Finds out what these are. Sockets that do not listen are closed.
    ///
    /// # Errors
    /// The operating system says no.
    pub fn new(descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let mut inherited = Self::default();
        for descriptor in descriptors {
            if !is_socket(&descriptor)? {
                inherited.files.push(descriptor.into());
                continue;
            }
            let socket = Socket::from(descriptor);
            if !socket.is_listener()? {
                continue;
            }
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            if let Some(address) = address.as_socket() {
                if address.ip().is_unspecified() {
                    inherited.wide.push(Wide { address, reach: reach(&socket, address)? });
                }
                inherited.tcp.push((address, socket.into()));
            } else if let Some(path) = address.as_pathname() {
                let path = path.to_owned();
                inherited.unix.push((path, socket.into()));
            } else if let Some(name) = address.as_abstract_namespace() {
                let name = format!("@{}", String::from_utf8_lossy(name));
                inherited.unix.push((name.into(), socket.into()));
            }
        }
        Ok(inherited)
    }

    /// The listener for this address: one of the same, or one of all addresses with its port.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let same = self.tcp.iter().position(|(it, _)| *it == address);
        let all = || {
            let wide = self.wide.iter().find(|it| it.covers(address))?;
            self.tcp.iter().position(|(it, _)| *it == wide.address)
        };
        let at = same.or_else(all)?;
        Some(self.tcp.swap_remove(at).1)
    }

    /// Whether a listener of all addresses takes who connects to this one, be it taken itself or
    /// not.
    pub fn covers(&self, address: SocketAddr) -> bool {
        self.wide.iter().any(|it| it.covers(address))
    }

    /// The listener of this name, and what lies in the file system for it if its process was to
    /// remove that.
    ///
    /// # Errors
    /// The operating system says no.
    pub(crate) fn take_unix(
        &mut self,
        name: &Path,
    ) -> io::Result<Option<(UnixListener, Option<SocketFile>)>> {
        let Some(at) = self.unix.iter().position(|(it, _)| it == name) else { return Ok(None) };
        let (_, listener) = self.unix.swap_remove(at);
        let file = SocketFile::adopt(name, &mut self.files)?;
        Ok(Some((listener, file)))
    }

    /// The addresses of what nobody has taken.
    pub fn left(&self) -> impl Iterator<Item = String> {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        tcp.chain(self.unix.iter().map(|(path, _)| path.display().to_string()))
    }
}

impl Wide {
    fn covers(self, address: SocketAddr) -> bool {
        self.address.port() == address.port()
            && (self.reach == Reach::Both || self.address.is_ipv4() == address.is_ipv4())
    }
}

fn reach(socket: &Socket, address: SocketAddr) -> io::Result<Reach> {
    let is_both = address.is_ipv6() && !socket.only_v6()?;
    Ok(if is_both { Reach::Both } else { Reach::One })
}

fn is_socket(descriptor: &OwnedFd) -> io::Result<bool> {
    let metadata = rustix::fs::fstat(descriptor)?;
    Ok(rustix::fs::FileType::from_raw_mode(metadata.st_mode) == rustix::fs::FileType::Socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{UnixAccess, listen_unix};

    fn copies(inherited: &Inherited) -> Vec<OwnedFd> {
        let unix = inherited.unix.iter().map(|(_, it)| it.try_clone().unwrap().into());
        unix.chain(inherited.files.iter().map(|it| it.try_clone().unwrap().into())).collect()
    }

    fn bind(address: &str) -> (SocketAddr, OwnedFd) {
        let listener = TcpListener::bind(address).unwrap();
        (listener.local_addr().unwrap(), listener.into())
    }

    #[test]
    fn a_listener_is_found_by_its_address_and_one_of_all_addresses_by_its_port() {
        let (one, first) = bind("127.0.0.1:0");
        let (all, second) = bind("0.0.0.0:0");
        let (other, third) = bind("127.0.0.1:0");
        let connected = std::net::TcpStream::connect(one).unwrap();
        let mut inherited = Inherited::new(vec![first, second, third, connected.into()]).unwrap();
        assert!(inherited.take_tcp(SocketAddr::from(([10, 0, 0, 1], one.port()))).is_none());
        let taken = inherited.take_tcp(one).unwrap();
        assert_eq!(taken.local_addr().unwrap(), one);
        assert!(inherited.take_tcp(one).is_none());
        let of_port = SocketAddr::from(([10, 0, 0, 1], all.port()));
        assert_eq!(inherited.take_tcp(of_port).unwrap().local_addr().unwrap(), all);
        assert!(inherited.take_tcp(of_port).is_none() && inherited.covers(of_port));
        assert!(!inherited.covers(SocketAddr::from(([0; 16], all.port()))), "it is of IPv4");
        assert!(!inherited.covers(one));
        assert_eq!(inherited.left().collect::<Vec<_>>(), [other.to_string()]);
    }

    #[test]
    fn one_of_both_kinds_covers_both_kinds() {
        let (all, listener) = bind("[::]:0");
        let inherited = Inherited::new(vec![listener]).unwrap();
        assert!(inherited.covers(SocketAddr::from(([10, 0, 0, 1], all.port()))));
    }

    #[tokio::test]
    async fn a_unix_socket_comes_with_its_files_and_goes_with_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let access = UnixAccess { mode: 0o600, group: None };
        let (listener, file) = listen_unix(&path, &access, 4, &mut Inherited::default()).unwrap();
        let file = file.unwrap();
        let descriptors = vec![file.lock().unwrap(), listener.into_std().unwrap().into()];
        let mut inherited = Inherited::new(descriptors).unwrap();
        file.give_away();
        let again = listen_unix(&path, &access, 4, &mut Inherited::default()).unwrap_err();
        assert!(again.to_string().contains("is in use"), "{again}");
        let copy = copies(&inherited);
        drop(listen_unix(&path, &access, 4, &mut inherited).unwrap());
        assert!(path.exists(), "whoever fails leaves it to its process");
        inherited = Inherited::new(copy).unwrap();
        let (listener, mut file) = listen_unix(&path, &access, 4, &mut inherited).unwrap();
        file.as_mut().unwrap().keep().unwrap();
        let _client = tokio::net::UnixStream::connect(&path).await.unwrap();
        listener.accept().await.unwrap();
        drop((listener, file));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
