//! One client's protocol state, pure: no io, no clock.
//!
//! The relay shows every frame of both directions to a [`Session`] and obeys the answer.
//! [`ServerState`] is the other half: what is known of a server connection, which travels
//! with it from lease to lease. Between them they know when a server is needed, what it
//! still owes ([`expect`]), which prepared statements and settings it has, and in which
//! state the lease ends ([`Disposition`]).
//!
//! What is only forwarded costs a look at its tag: nothing is decoded, copied or allocated
//! for it here.

mod account;
mod batch;
mod catalog;
mod classify;
mod cleaning;
mod client;
mod clues;
mod databases;
mod deadlines;
mod deallocate;
mod expect;
mod fate;
mod frame;
mod hearing;
mod lexer;
mod lost;
mod names;
mod naming;
mod own;
mod parameters;
mod pause;
mod pins;
mod prepared;
mod refuse;
mod reply;
mod reset;
mod retry;
mod rules;
mod schema;
mod sequences;
mod server;
mod session;
mod show;
mod signals;
mod statements;
mod unnamed;
mod uses;
mod verb;
mod verdict;

pub use catalog::{Catalog, Statement};
pub use cleaning::ResetKind;
pub use databases::Emptying;
pub use deadlines::{Deadlines, Doing, Overdue, Timeouts};
pub use frame::{Frame, SMALL_LIMIT, STATEMENT_LIMIT, TEXT_LIMIT, client_need};
pub use parameters::{ParameterSet, is_carried};
pub use pins::{Pin, Pins};
pub use rules::{Asks, Feature, StateRules, Treatment};
pub use schema::Schema;
pub use sequences::SequenceUses;
pub use server::{Counters, ServerState};
pub use session::{Mode, Session};
pub use signals::{Signal, terminated};
pub use verdict::{
    Abandoned, Disposition, Lost, Pass, Sent, Then, ToClient, ToServer, Unleased, Violation,
};
