//! Pools of servers keyed by (database, user, access): limits, first-come-first-served
//! fairness, epochs.
//!
//! [`Pools`] finds or makes the [`Pool`] of a key; a pool lends servers as [`Lease`]s. What
//! is decided lives in the pure `core`; the rest carries it out. A lease ends through
//! [`Lease::release`] with the session's [`session::Disposition`]; one that is dropped
//! closes its server, so that nothing of unknown state is ever lent again.
//!
//! An idle server is watched without a task of its own: the waker that its socket holds
//! names the server, and the pool's keeper looks at it when it is woken.

mod apart;
mod badge;
mod cancel;
mod checkout;
mod config;
mod core;
mod error;
mod gate;
mod hold;
mod keeper;
mod lease;
mod limit;
mod logins;
mod origin;
mod pins;
mod pool;
mod recall;
mod registry;
mod reset;
mod resettle;
mod retry;
mod server;
mod spare;
mod vacancy;
mod warm;
mod watch;

pub use apart::{Apart, ApartError, Retry, Tenure};
pub use badge::{Doing, Member, Outcome, ServerFacts, ServerView};
pub use cancel::{CancelGuard, Cancels};
pub use checkout::Checkout;
pub use config::{Config, HoldLimits, Lending};
pub use core::Counts;
pub use error::CheckoutError;
pub use lease::Lease;
pub use logins::{Outlook, Passwords};
pub use pins::Pinned;
pub use pool::{Closed, Observe, Pool, Welcome};
pub use recall::Recall;
pub use registry::{Pools, Report, Resolve, Settings};
pub use retry::{RETRY_MAX, retry_pause};
pub use server::Server;
pub use vacancy::Vacancy;
