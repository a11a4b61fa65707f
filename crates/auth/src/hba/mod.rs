//! Who may enter and how: rules in the syntax of pg_hba.conf, ident maps in that of pg_ident.conf.
//!
//! A file that PostgreSQL 16 loads and whose methods are supported here means the same here. What
//! is not supported is an error at load, with its line and what to write instead: include
//! directives and `@file` lists, host names, and the methods not in [`Method`]. `md5` is accepted
//! and means `scram-sha-256`, as it does in PostgreSQL for users with a SCRAM verifier: nobody has
//! an md5 hash here.
//!
//! The way of a login: [`Rules::decide`] gives the first [`Rule`] that matches, or a [`Refusal`];
//! the caller runs the rule's method; then [`Rule::certificate_names`] and, for methods that find
//! out who somebody is elsewhere, [`Rule::admits`].
//!
//! Who is in which group and what the machine's networks are comes from the caller, as [`Facts`].

mod connection;
mod decision;
mod fault;
mod ident;
mod inline;
mod item;
mod ldap;
mod ldap_url;
mod method;
mod network;
mod options;
mod pattern;
mod rule;
mod rules;
#[cfg(test)]
mod tests;
mod token;

pub use connection::{ClientCertificate, Connection, Encryption, Facts, Peer, Purpose};
pub use decision::{Decision, Refusal};
pub use fault::{Fault, LineError};
pub use ident::{MapLine, Maps, Mismatch, SystemUser};
pub use inline::{InlineMap, InlineRule};
pub use item::{Database, Role};
pub use ldap::{Ldap, LdapBind, LdapScope, LdapSearch, LdapSecurity};
pub use method::{CertificateCheck, Method, Oauth, TokenIssuer};
pub use network::{Address, Network};
pub use pattern::Pattern;
pub use rule::{HostKind, Origin, Rule};
pub use rules::Rules;
