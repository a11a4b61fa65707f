//! `unix_socket_dir`, `unix_socket_mode`, `unix_socket_group` and `takeover_socket` of `[proxy]`.

use std::path::PathBuf;

use frontend::UnixSockets;
use transport::{UNIX_NAME_MAX, UnixAccess};

use crate::Kind;
use crate::section::Section;

/// Everybody on the machine may connect, and has to log in: PostgreSQL's and PgBouncer's default.
const MODE: (&str, u32) = ("0777", 0o777);

/// The sockets, if there are to be any.
pub(super) fn read(section: &Section<'_>) -> Option<UnixSockets> {
    let directory = section.parsed("unix_socket_dir", Kind::String, None, directory);
    let mode = section.parsed("unix_socket_mode", Kind::String, Some(MODE.0), mode);
    let group = section.optional_string("unix_socket_group");
    for key in ["unix_socket_mode", "unix_socket_group"] {
        if !section.has(key) {
            continue;
        }
        if !section.has("unix_socket_dir") {
            section.error(key, "is for unix_socket_dir; set that, or leave the key out");
        } else if directory.as_deref().is_some_and(|name| name.starts_with('@')) {
            section.error(key, "an abstract socket (\"@…\") has no permissions; leave the key out");
        }
    }
    let access = UnixAccess { mode: mode.unwrap_or(MODE.1), group };
    Some(UnixSockets { directory: directory?, access })
}

/// `takeover_socket`.
pub(super) fn takeover(section: &Section<'_>) -> Option<PathBuf> {
    section.parsed("takeover_socket", Kind::Path, None, |text| match text {
        _ if !text.starts_with('/') => Err("not an absolute path; write one, such as \
             \"/run/pgmesh/takeover.sock\", that the old and the new process both find"
            .to_owned()),
        _ if text.len() > UNIX_NAME_MAX => {
            Err(format!("too long for a Unix socket; write at most {UNIX_NAME_MAX} bytes"))
        }
        _ => Ok(PathBuf::from(text)),
    })
}

fn directory(text: &str) -> Result<String, String> {
    if !text.starts_with(['/', '@']) {
        return Err(
            "not an absolute path; clients look for the socket by one (psql -h /run/pgmesh), \
                    or write \"@name\" for an abstract socket"
                .to_owned(),
        );
    }
    let access = UnixAccess { mode: MODE.1, group: None };
    let longest = UnixSockets { directory: text.to_owned(), access }.path(u16::MAX);
    let length = longest.as_os_str().len();
    if length > UNIX_NAME_MAX {
        let most = text.len() - (length - UNIX_NAME_MAX);
        return Err(format!("too long for a Unix socket; write at most {most} bytes"));
    }
    Ok(text.to_owned())
}

/// Octal, as chmod has it.
fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777 && !text.starts_with('+'))
        .ok_or_else(|| {
            "not permissions; write them in octal, such as \"0777\" or \"0770\"".to_owned()
        })
}
