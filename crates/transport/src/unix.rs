//! Listening Unix sockets: files that only one process has, and that go when it ends.
//!
//! Beside each socket lies a lock file that is locked (flock) for as long as the socket is
//! served, so that what a killed process has left behind is told from what another still serves
//! without comparing process ids, which repeat: in a container everybody is number 1. The lock
//! file begins with the process id all the same, for that is what a PostgreSQL looks for. A socket
//! without a lock, PgBouncer's or PostgreSQL's, is in use if somebody takes connections on it.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Group;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use crate::inherit::Inherited;

/// Who may connect to a socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixAccess {
    /// Permissions of the file; connecting asks for the right to write.
    pub mode: u32,
    /// The group that owns the file, by name or number; `None` leaves it to the system.
    pub group: Option<String>,
}

/// The longest name of a socket, in bytes (`sun_path` on Linux, with its final zero).
pub const UNIX_NAME_MAX: usize = 107;

/// A socket that cannot be listened on. Always the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    /// Another process has it.
    #[error(
        "the Unix socket {path} is in use{}: stop the process that serves it, or choose another \
         directory or port", by(*process)
    )]
    InUse {
        /// The socket.
        path: PathBuf,
        /// The other process, where that is known.
        process: Option<u32>,
    },
    /// Something else is in its place.
    #[error(
        "{path} is in the way of a Unix socket, and none itself: remove it, or choose another directory"
    )]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// The directory is not there.
    #[error("there is no directory {path} for Unix sockets: create it, writable for pgmesh")]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The group is not there.
    #[error("there is no group \"{0}\" to give Unix sockets to: create it, or name another")]
    NoGroup(String),
    /// The operating system says no.
    #[error("cannot {what} {path}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A socket in the file system, and its lock; both are removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    id: FileId,
    owner: Owner,
    // Behind the socket: fields are dropped after it is removed.
    lock: Lock,
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// Ours: it goes with us.
    Here,
    /// Another process has it, too, and it is that one's to remove.
    Elsewhere,
}

/// A lock file that we have made and locked.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
    id: FileId,
    owner: Owner,
}

/// Device and inode: what makes it this file and no other of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId(u64, u64);

/// Opens a listening socket of this name: a path, or `@` and any text for one outside the file
/// system (abstract), which `access` says nothing of. Must be called inside a tokio runtime with
/// io enabled. Blocks, for as long as the file system does.
///
/// What a process that is gone has left there is replaced. A listener that was inherited is taken
/// as it is.
///
/// # Errors
/// Another process serves it, or the system says no.
pub fn listen_unix(
    name: &Path,
    access: &UnixAccess,
    backlog: u32,
    inherited: &mut Inherited,
) -> Result<(UnixListener, Option<SocketFile>), UnixError> {
    let taken = inherited.take_unix(name).and_then(|taken| {
        taken.map(|(listener, file)| Ok((UnixListener::from_std(listener)?, file))).transpose()
    });
    if let Some(taken) = taken.map_err(|error| system("take over", name, error))? {
        return Ok(taken);
    }
    if let Some(rest) = name.as_os_str().as_bytes().strip_prefix(b"@") {
        let name_of_kernel = std::ffi::OsString::from_vec([b"\0", rest].concat());
        let socket = bind(Path::new(&name_of_kernel)).map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => UnixError::InUse { path: name.to_owned(), process: None },
            _ => system("bind", name, source),
        })?;
        return Ok((
            listen(socket, backlog).map_err(|error| system("listen on", name, error))?,
            None,
        ));
    }
    let group = access.group.as_deref().map(group_id).transpose()?;
    let lock = claim(name)?;
    remove(name).map_err(|error| system("remove the old socket", name, error))?;
    let socket = bind(name).map_err(|error| system("bind", name, error))?;
    let id = FileId::at(name).map_err(|error| system("look at", name, error))?;
    let file = SocketFile { path: name.to_owned(), id, owner: Owner::Here, lock };
    // Nobody can connect before it listens: there is no moment with other permissions.
    std::os::unix::fs::chown(name, None, group)
        .map_err(|error| system("give to its group", name, error))?;
    std::fs::set_permissions(name, Permissions::from_mode(access.mode))
        .map_err(|error| system("set the permissions of", name, error))?;
    let listener = listen(socket, backlog).map_err(|error| system("listen on", name, error))?;
    Ok((listener, Some(file)))
}

fn bind(name: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(name)?)?;
    Ok(socket)
}

fn listen(socket: Socket, backlog: u32) -> io::Result<UnixListener> {
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    UnixListener::from_std(socket.into())
}

fn group_id(group: &str) -> Result<u32, UnixError> {
    if let Ok(id) = group.parse() {
        return Ok(id);
    }
    match Group::from_name(group) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(UnixError::NoGroup(group.to_owned())),
        Err(error) => Err(system("look up the group", Path::new(group), error.into())),
    }
}

/// Makes the name ours: when it returns, nobody serves the socket, and nobody else will as long
/// as the lock lives. A lock file that was there already is never written to, whatever it is.
fn claim(socket: &Path) -> Result<Lock, UnixError> {
    let path = lock_path(socket);
    for _ in 0..CLAIMS_MAX {
        if let Some(lock) = Lock::create(&path, socket)? {
            reject_live(socket)?;
            return Ok(lock);
        }
        let Some((file, process)) = open_existing(&path)? else { continue };
        if !try_lock(&file, &path)? {
            return Err(UnixError::InUse { path: socket.to_owned(), process });
        }
        let id = FileId::of(&file).map_err(|error| system("look at", &path, error))?;
        // Another claimant may have replaced it since it was opened.
        if FileId::at(&path).is_ok_and(|found| found == id) {
            reject_live(socket)?;
            remove(&path).map_err(|error| system("remove the old lock file", &path, error))?;
        }
    }
    Err(UnixError::InUse { path: socket.to_owned(), process: None })
}

/// Whoever comes last of several that start at one time gives up after so many turns.
const CLAIMS_MAX: usize = 16;

fn lock_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// The lock file that is there, with the process id in it; `None` if it has gone.
fn open_existing(path: &Path) -> Result<Option<(File, Option<u32>)>, UnixError> {
    // It may be a trap in a directory that anybody can write to: a link, or a pipe that blocks.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let open = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let mut file = match open {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(system("open the lock file", path, error)),
    };
    let metadata = file.metadata().map_err(|error| system("look at", path, error))?;
    if !metadata.is_file() {
        return Err(UnixError::InTheWay { path: path.to_owned() });
    }
    let mut start = [0; 16];
    let read = file.read(&mut start).unwrap_or(0);
    let text = str::from_utf8(start.get(..read).unwrap_or_default()).unwrap_or_default();
    let process = text.lines().next().and_then(|line| line.trim().parse().ok());
    Ok(Some((file, process)))
}

/// False if another process has it locked.
fn try_lock(file: &File, path: &Path) -> Result<bool, UnixError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(system("lock", path, error)),
    }
}

/// An error if somebody takes connections there.
fn reject_live(path: &Path) -> Result<(), UnixError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Err(UnixError::InTheWay { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("look at", path, error)),
    }
    let connect = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A full backlog must not block us.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(socket)
    };
    let process = match connect() {
        Ok(socket) => served_by(&socket),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) if is_nobody(&error) => return Ok(()),
        Err(error) => return Err(system("find out who serves", path, error)),
    };
    Err(UnixError::InUse { path: path.to_owned(), process })
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound)
}

/// The process that called `listen`.
fn served_by(socket: &Socket) -> Option<u32> {
    let credentials = getsockopt(socket, sockopt::PeerCredentials).ok()?;
    // Zero is a process that cannot be seen from this container.
    u32::try_from(credentials.pid()).ok().filter(|&process| process != 0)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn system(what: &'static str, path: &Path, source: io::Error) -> UnixError {
    UnixError::System { what, path: path.to_owned(), source }
}

fn by(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" by process {process}"))
}

// === impl Lock ===

impl Lock {
    /// Makes the file and locks it; `None` if it is there, or was taken from us at once.
    fn create(path: &Path, socket: &Path) -> Result<Option<Self>, UnixError> {
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = match created {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let directory = path.parent().unwrap_or(path).to_owned();
                return Err(UnixError::NoDirectory { path: directory });
            }
            Err(error) => return Err(system("create the lock file", path, error)),
        };
        if !try_lock(&file, path)? {
            return Err(UnixError::InUse { path: socket.to_owned(), process: None });
        }
        let failed = |error| system("write", path, error);
        let id = FileId::of(&file).map_err(failed)?;
        if !FileId::at(path).is_ok_and(|found| found == id) {
            return Ok(None);
        }
        let lock = Self { path: path.to_owned(), file, id, owner: Owner::Here };
        lock.sign().map_err(failed)?;
        Ok(Some(lock))
    }

    /// Writes whose it is.
    fn sign(&self) -> io::Result<()> {
        (&self.file).rewind()?;
        self.file.set_len(0)?;
        writeln!(&self.file, "{}", std::process::id())
    }
}

/// Removed while it is locked: who waits for the lock sees that it is no longer the file of that
/// name.
impl Drop for Lock {
    fn drop(&mut self) {
        if self.owner == Owner::Here {
            self.id.remove(&self.path);
        }
    }
}

// === impl SocketFile ===

impl SocketFile {
    /// The file of this socket, whose lock is among `locks`; `None` if it has none there, for
    /// then somebody else cleans up.
    pub(crate) fn adopt(name: &Path, locks: &mut Vec<File>) -> io::Result<Option<Self>> {
        let path = lock_path(name);
        let Ok(id) = FileId::at(&path) else { return Ok(None) };
        let is_it = |file: &File| FileId::of(file).is_ok_and(|found| found == id);
        let Some(at) = locks.iter().position(is_it) else { return Ok(None) };
        let owner = Owner::Elsewhere;
        let lock = Lock { path, file: locks.swap_remove(at), id, owner };
        let id = FileId::at(name)?;
        Ok(Some(Self { path: name.to_owned(), id, owner, lock }))
    }

    /// Makes what was inherited ours: from now on it goes with us. Until then it stays when this
    /// is dropped, for its process may go on.
    ///
    /// # Errors
    /// Our process id cannot be written into the lock file; it is ours all the same.
    pub fn keep(&mut self) -> io::Result<()> {
        self.owner = Owner::Here;
        self.lock.owner = Owner::Here;
        self.lock.sign()
    }

    /// The lock, for another process: it is held until the last copy is closed.
    ///
    /// # Errors
    /// There are too few descriptors.
    pub fn lock(&self) -> io::Result<OwnedFd> {
        self.lock.file.try_clone().map(OwnedFd::from)
    }

    /// Leaves the files where they are, for another process has them now.
    pub fn give_away(mut self) {
        self.owner = Owner::Elsewhere;
        self.lock.owner = Owner::Elsewhere;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.owner == Owner::Here {
            self.id.remove(&self.path);
        }
    }
}

// === impl FileId ===

impl FileId {
    fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self(metadata.dev(), metadata.ino()))
    }

    fn at(path: &Path) -> io::Result<Self> {
        std::fs::symlink_metadata(path).map(|metadata| Self(metadata.dev(), metadata.ino()))
    }

    /// Removes the file, if it is still this one.
    fn remove(self, path: &Path) {
        if Self::at(path).is_ok_and(|found| found == self) {
            // Who cannot remove it leaves it to the next process.
            let _ = remove(path);
        }
    }
}

#[cfg(test)]
#[path = "unix_tests.rs"]
mod tests;
