//! Where PgBouncer listens, and the options of its sockets.

use std::time::Duration;

use super::draft::{self, Draft};
use super::ini::{self, Item};
use super::pgbouncer::Form::{Number, Seconds};
use super::pgbouncer::Rule::Is;
use super::pgbouncer::{Ini, apply};

pub(super) fn listen(item: &Item, draft: &mut Draft) {
    let mut addresses: Vec<String> = Vec::new();
    let mut note = String::new();
    for name in ini::names(&item.value) {
        let address = match name.as_str() {
            "*" => {
                "list \"::\", too, for IPv6".clone_into(&mut note);
                "0.0.0.0".to_owned()
            }
            "localhost" => "127.0.0.1".to_owned(),
            _ if name.parse::<std::net::IpAddr>().is_ok() => name,
            _ => {
                note = format!("{name} is no IP address: write the one that it stands for");
                continue;
            }
        };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        addresses.push("127.0.0.1".to_owned());
        if item.value.is_empty() {
            "there is always a TCP port: on this machine alone".clone_into(&mut note);
        }
    }
    draft.set("proxy", "listen", draft::list(addresses), &item.origin, &note);
}

pub(super) fn keepalive(item: &Item, draft: &mut Draft) {
    let origin = Some(&item.origin);
    match (item.key.as_str(), item.value.as_str()) {
        ("tcp_keepalive", "0") => {
            for side in ["proxy", "server"] {
                draft.set(side, "tcp_keepalives_idle", draft::text("0s"), &item.origin, "");
            }
        }
        ("tcp_keepalive", _) => draft.gone(origin, "it is always on"),
        (_, "" | "0") => {
            draft.gone(origin, "the kernel's hours are not waited for: ours are short")
        }
        ("tcp_keepcnt", _) => apply(Is(Number, &COUNT), item, draft),
        ("tcp_keepidle", _) => apply(Is(Seconds, &IDLE), item, draft),
        _ => apply(Is(Seconds, &INTERVAL), item, draft),
    }
}

const COUNT: [(&str, &str); 2] =
    [("proxy", "tcp_keepalives_count"), ("server", "tcp_keepalives_count")];
const IDLE: [(&str, &str); 2] =
    [("proxy", "tcp_keepalives_idle"), ("server", "tcp_keepalives_idle")];
const INTERVAL: [(&str, &str); 2] =
    [("proxy", "tcp_keepalives_interval"), ("server", "tcp_keepalives_interval")];

/// In milliseconds, unlike everything else.
pub(super) fn user_timeout(item: &Item, draft: &mut Draft) {
    match item.value.parse::<u32>() {
        Ok(0) => draft.gone(Some(&item.origin), "off, as here towards clients"),
        Ok(millis) => {
            let value = draft::time(Duration::from_millis(millis.into()));
            for side in ["proxy", "server"] {
                draft.set(side, "tcp_user_timeout", value.clone(), &item.origin, "");
            }
        }
        Err(_) => draft.open(Some(&item.origin), "PgBouncer would not take this value"),
    }
}

/// `unix_socket_*`. A directory is named by PgBouncer even if the file does not.
pub(super) fn sockets(ini: &Ini, draft: &mut Draft) {
    let (mode, group) = (ini.get("unix_socket_mode"), ini.get("unix_socket_group"));
    let Some(directory) = ini.settings.get("unix_socket_dir") else {
        draft.open(
            None,
            "PgBouncer has a Unix socket in /tmp where its file says nothing, and there is none \
             here: set proxy.unix_socket_dir if clients use it",
        );
        for item in [mode, group].into_iter().flatten() {
            draft.open(Some(&item.origin), "it belongs to proxy.unix_socket_dir, which is not set");
        }
        return;
    };
    if directory.value.is_empty() {
        draft.gone(Some(&directory.origin), "no Unix socket, as here");
    } else {
        let value = draft::text(&directory.value);
        draft.set("proxy", "unix_socket_dir", value, &directory.origin, "");
    }
    let is_abstract = directory.value.is_empty() || directory.value.starts_with('@');
    for item in [mode, group].into_iter().flatten().filter(|_| is_abstract) {
        draft.gone(Some(&item.origin), "there is no file that could have it");
    }
    if is_abstract {
        return;
    }
    if let Some(item) = mode {
        // As C reads numbers: octal after a zero.
        let digits = item.value.as_str();
        let bits = match digits.strip_prefix('0') {
            Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8),
            _ => digits.parse(),
        };
        match bits {
            Ok(bits) => {
                let value = draft::text(&format!("{bits:04o}"));
                draft.set("proxy", "unix_socket_mode", value, &item.origin, "");
            }
            Err(_) => draft.open(Some(&item.origin), "PgBouncer would not take this value"),
        }
    }
    if let Some(item) = group {
        let value = draft::text(&item.value);
        draft.set("proxy", "unix_socket_group", value, &item.origin, "");
    }
}
