//! Patroni's own words, in etcd and over REST, into [`topology`] values. Pure.
//!
//! Whatever is in the store was written by somebody else. A field that is missing, unknown or of
//! the wrong type is as good as absent; a record without a usable address is left out, with the
//! reason; nothing here fails the rest. A value that cannot be read counts as deleted, so that a
//! watch and a whole read come to the same state.

mod keys;
mod rest;
mod word;

pub(crate) use keys::{change, is_etcd_key};
pub(crate) use rest::cluster;

use topology::{AddressError, NameError};

/// Longest value that is looked into, in bytes. Member records are some hundred bytes; a status
/// with many slots or a history may have kilobytes.
const VALUE_MAX: usize = 256 * 1024;

/// Why a value was left out. Quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("no usable address: {0}")]
    Address(#[from] AddressError),
    #[error("the value is no JSON object")]
    Json,
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("no conn_url")]
    NoConnUrl,
    #[error("the value is longer than {VALUE_MAX} bytes")]
    TooLong,
    #[error("more than one leader")]
    TwoLeaders,
}
