//! `client_tls_*` and `server_tls_*`.
//!
//! What PgBouncer would check is never left unchecked: where a file is missing that it takes, the
//! result names one that is yet to be put there, and does not start without it.

use super::draft::{self, Draft};
use super::ini::Item;
use super::pgbouncer::Ini;

/// One of the two sides.
struct Side {
    table: &'static str,
    authority: &'static str,
    /// PgBouncer's names: sslmode, ca, certificate, key, protocols, ciphers, ciphers of TLS 1.3.
    names: [&'static str; 7],
}

const CLIENT: Side = Side {
    table: "proxy.tls",
    authority: "client_ca",
    names: [
        "client_tls_sslmode",
        "client_tls_ca_file",
        "client_tls_cert_file",
        "client_tls_key_file",
        "client_tls_protocols",
        "client_tls_ciphers",
        "client_tls13_ciphers",
    ],
};

const SERVER: Side = Side {
    table: "server.tls",
    authority: "ca",
    names: [
        "server_tls_sslmode",
        "server_tls_ca_file",
        "server_tls_cert_file",
        "server_tls_key_file",
        "server_tls_protocols",
        "server_tls_ciphers",
        "server_tls13_ciphers",
    ],
};

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

pub(super) fn translate(ini: &Ini, draft: &mut Draft) {
    clients(ini, draft);
    let mode = mode(ini, &SERVER, "prefer", draft);
    let checks = if mode.starts_with("verify") { Checks::Always } else { Checks::Never };
    authority(ini, &SERVER, checks, draft);
    if let Some(item) = ini.get(SERVER.names[0]) {
        draft.set(SERVER.table, "mode", draft::text(&mode), &item.origin, "");
    }
    rest(ini, &SERVER, draft);
}

fn clients(ini: &Ini, draft: &mut Draft) {
    let asked = mode(ini, &CLIENT, "disable", draft);
    // There the name in the certificate is compared by the method cert alone.
    let (mode, note) = match asked.as_str() {
        "verify-full" => ("verify-ca", "as PgBouncer has it; verify-full would compare the name"),
        other => (other, ""),
    };
    let checks = match ini.value("auth_type") {
        _ if mode.starts_with("verify") => Checks::Always,
        Some("cert") => Checks::Always,
        Some("hba") => Checks::ByRule,
        _ => Checks::Never,
    };
    authority(ini, &CLIENT, checks, draft);
    match ini.get(CLIENT.names[0]) {
        Some(item) => draft.set(CLIENT.table, "mode", draft::text(mode), &item.origin, note),
        None => draft.default(CLIENT.table, "mode", draft::text(mode), "PgBouncer's default"),
    }
    let needs = mode == "require" || mode.starts_with("verify");
    let [.., certificate, key, _, _, _] = CLIENT.names;
    for (name, ours, file) in [
        (certificate, "certificate", "/etc/pgmesh/server.crt"),
        (key, "key", "/etc/pgmesh/server.key"),
    ] {
        if needs && ini.get(name).is_none() {
            draft.default(CLIENT.table, ours, draft::text(file), "");
            draft.open(None, format!("no {name} is named, which {mode} needs: put one at {file}"));
        }
    }
    rest(ini, &CLIENT, draft);
    if let Some(item) = ini.get("client_tls_ecdhcurve") {
        curve(item, draft);
    }
    if let Some(item) = ini.get("client_tls_dheparams") {
        draft.gone(Some(&item.origin), "keys are exchanged on elliptic curves alone");
    }
}

fn mode(ini: &Ini, side: &Side, default: &str, draft: &mut Draft) -> String {
    let Some(item) = ini.get(side.names[0]) else { return default.to_owned() };
    let mode = item.value.to_ascii_lowercase();
    if MODES.contains(&mode.as_str()) {
        return mode;
    }
    draft.open(Some(&item.origin), "no mode that PgBouncer has; taken for verify-full");
    "verify-full".to_owned()
}

/// Whether PgBouncer looks at a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checks {
    Always,
    /// Where a rule of a file says so.
    ByRule,
    Never,
}

/// Here a certificate is checked in every mode as soon as there is an authority; there it is not.
fn authority(ini: &Ini, side: &Side, checks: Checks, draft: &mut Draft) {
    let Side { table, authority, names: [_, name, ..] } = *side;
    match (ini.get(name), checks) {
        (Some(item), Checks::Always | Checks::ByRule) => {
            draft.set(table, authority, draft::text(&item.value), &item.origin, "");
        }
        (Some(item), Checks::Never) => draft.gone(
            Some(&item.origin),
            format!(
                "PgBouncer checks no certificate in this mode; with {table}.{authority} pgmesh would"
            ),
        ),
        (None, Checks::Always) => {
            let file = format!("/etc/pgmesh/{authority}.crt");
            draft.default(table, authority, draft::text(&file), "");
            draft.open(None, format!("no {name} is named: put one at {file}"));
        }
        (None, Checks::ByRule | Checks::Never) => {}
    }
}

fn rest(ini: &Ini, side: &Side, draft: &mut Draft) {
    let [_, _, certificate, key, protocol, cipher, cipher13] = side.names;
    for (name, ours) in [(certificate, "certificate"), (key, "key")] {
        if let Some(item) = ini.get(name) {
            draft.set(side.table, ours, draft::text(&item.value), &item.origin, "");
        }
    }
    if let Some(item) = ini.get(protocol) {
        protocols(item, side, draft);
    }
    if let Some(item) = ini.get(cipher) {
        if ["default", "secure", "fast", "normal", "all"].contains(&item.value.as_str()) {
            draft.gone(Some(&item.origin), "all cipher suites that there are, which are good ones");
        } else {
            ciphers(item, side, draft);
        }
    }
    if let Some(item) = ini.get(cipher13) {
        ciphers(item, side, draft);
    }
}

/// A list for TLS 1.2 in OpenSSL's words and one for 1.3 do not make one list by themselves.
fn ciphers(item: &Item, side: &Side, draft: &mut Draft) {
    draft.open(
        Some(&item.origin),
        format!(
            "all suites are taken, none of them weak; to choose, name those of TLS 1.2 and 1.3 \
             together in {}.ciphers, as IANA does",
            side.table
        ),
    );
}

fn protocols(item: &Item, side: &Side, draft: &mut Draft) {
    let value = item.value.to_ascii_lowercase();
    let words: Vec<&str> =
        value.split([',', ':', ' ']).map(str::trim).filter(|it| !it.is_empty()).collect();
    let is_known = |word: &&str| {
        matches!(
            *word,
            "all" | "legacy" | "secure" | "default" | "tlsv1.0" | "tlsv1.1" | "tlsv1.2" | "tlsv1.3"
        )
    };
    if !words.iter().all(is_known) {
        draft.open(Some(&item.origin), format!("not known: see {}.protocols", side.table));
        return;
    }
    let both = words.iter().any(|it| ["all", "legacy", "secure", "default"].contains(it));
    let has = |word| both || words.contains(&word);
    match (has("tlsv1.2"), has("tlsv1.3")) {
        (true, true) => draft.taken(&item.origin, "TLS 1.2 and 1.3, and nothing older"),
        (true, false) => one(item, side, "TLSv1.2", draft),
        (false, true) => one(item, side, "TLSv1.3", draft),
        (false, false) => draft.open(Some(&item.origin), "there is nothing older than TLS 1.2"),
    }
}

fn one(item: &Item, side: &Side, version: &str, draft: &mut Draft) {
    draft.set(side.table, "protocols", draft::text(version), &item.origin, "");
}

fn curve(item: &Item, draft: &mut Draft) {
    let group = match item.value.to_ascii_lowercase().as_str() {
        "auto" => {
            draft.gone(Some(&item.origin), "all curves that there are");
            return;
        }
        "prime256v1" | "secp256r1" | "p-256" => "secp256r1",
        "secp384r1" | "p-384" => "secp384r1",
        "x25519" => "x25519",
        _ => {
            draft.open(Some(&item.origin), "there is no such curve; see proxy.tls.groups");
            return;
        }
    };
    draft.set(CLIENT.table, "groups", draft::text(group), &item.origin, "");
}
