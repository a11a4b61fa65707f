//! `pgmesh import`: files of PgBouncer and HAProxy, turned into a proxy.toml.
//!
//! Every line that says something ends in one of three ways ([`Fate`]): it is a key of the result,
//! it has no place here and why, or it is left to whoever runs this and what to write. All three
//! are said in the result, with the line that they come from. What is written is what PgBouncer
//! does: where its defaults are others than ours, they are written, too.
//!
//! Nothing that is secret is in the result: passwords go into files of their own, which the
//! result names.

mod access;
mod databases;
mod draft;
mod haproxy;
mod ini;
mod listeners;
mod network;
mod pgbouncer;
mod settle;
mod tls;
mod userlist;

use std::fmt;
use std::path::PathBuf;

use auth::Secret;

pub use draft::{Fate, Remark};

use crate::{Environment, Errors};
use draft::Draft;
use pgbouncer::Servers;

/// A file that is read.
#[derive(Debug)]
pub struct Source {
    /// What it is called in the result: its name without directories.
    pub name: String,
    /// What is in it; there may be passwords.
    pub text: Secret,
}

/// What there is to read.
#[derive(Debug, Default)]
pub struct Sources {
    /// pgbouncer.ini. What it includes is read, too.
    pub pgbouncer: Option<Source>,
    /// The file that its `auth_file` names.
    pub userlist: Option<Source>,
    /// haproxy.cfg.
    pub haproxy: Option<Source>,
    /// Where the files with passwords are to be, as the result will name them.
    pub secrets: PathBuf,
}

/// A file with a secret, which the result names.
#[derive(Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Its name in [`Sources::secrets`]; without a slash.
    pub name: String,
    /// What belongs into it.
    pub text: Secret,
}

/// What became of [`Sources`].
#[derive(Debug)]
pub struct Imported {
    /// A proxy.toml that [`parse`](crate::parse) takes, as soon as the files that it names are
    /// there.
    pub toml: String,
    /// What became of each line, in the order of the files.
    pub remarks: Vec<Remark>,
    /// What is to be written beside it.
    pub secrets: Vec<SecretFile>,
}

impl Imported {
    /// How many lines had this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.remarks.iter().filter(|remark| remark.fate == fate).count()
    }
}

impl fmt::Display for Imported {
    /// The summary: counts, and what is left to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} taken over, {} without a place here, {} left to you",
            self.count(Fate::Taken),
            self.count(Fate::Gone),
            self.count(Fate::Open),
        )?;
        for remark in self.remarks.iter().filter(|remark| remark.fate == Fate::Open) {
            write!(f, "\n  {remark}")?;
        }
        Ok(())
    }
}

/// Turns what there is into a proxy.toml; `files` gives what `%include` names.
///
/// # Errors
/// What is wrong with the result, which would be a mistake of this function's own.
pub fn import(sources: &Sources, files: &dyn Environment) -> Result<Imported, Errors> {
    let mut draft = Draft::new(sources.secrets.clone());
    let ini = sources.pgbouncer.as_ref().map(|source| ini::read(source, files, &mut draft));
    let users = sources.userlist.as_ref().map(|source| userlist::read(source, &mut draft));
    let haproxy = sources.haproxy.as_ref().map(haproxy::read);
    let ini = ini.map(|items| pgbouncer::Ini::new(items, users, &mut draft));
    match (&ini, &haproxy) {
        (None, None) => {}
        (Some(ini), None) => ini.translate(Servers::Here, &mut draft),
        (None, Some(haproxy)) => listeners::translate(haproxy, None, &mut draft),
        // What is written first counts, and clients connect to the one in front.
        (Some(ini), Some(haproxy)) => {
            let seam = ini.seam();
            let servers = listeners::servers(haproxy);
            if listeners::are_before(haproxy, &seam) {
                listeners::translate(haproxy, Some(&seam), &mut draft);
                ini.translate(servers, &mut draft);
            } else {
                ini.translate(servers, &mut draft);
                listeners::translate(haproxy, Some(&seam), &mut draft);
            }
        }
    }
    complete(&mut draft);
    let names = [&sources.pgbouncer, &sources.userlist, &sources.haproxy];
    let names: Vec<&str> = names.into_iter().flatten().map(|source| &*source.name).collect();
    settle::settle(draft, &names)
}

/// Without a server and without anybody who could log in nothing starts: what is missing stands
/// there, to be replaced.
fn complete(draft: &mut Draft) {
    if !draft.has("cluster", "discovery") {
        draft.default("cluster", "discovery", draft::text("static"), "");
        draft.default("cluster", "nodes", draft::list(["127.0.0.1:5432"]), "");
        draft.open(
            None,
            "no server was named: say in [cluster] where Patroni or etcd is, or list the servers \
             in nodes (127.0.0.1:5432 only stands for them)",
        );
    }
    let rules = draft.has_element("hba") || draft.has("auth", "hba_file");
    if !draft.has_element("users") && !draft.has("auth", "query_user") && !rules {
        let file = draft.secret_path("user-app_user");
        let user = draft.element("users");
        draft.put(user, "name", draft::text("app_user"));
        draft.put(user, "password", file);
        draft.open(
            None,
            "nobody was named who could log in: app_user in [[users]] only stands for one; with \
             auth.query_user pgmesh asks the database instead",
        );
    }
}
