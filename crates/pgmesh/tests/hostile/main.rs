//! Input that no honest peer sends, from clients and from servers, against the whole proxy.
//!
//! - [`clients_table`] has what single clients send, row by row, each with its end.
//! - [`floods`] has what they do in numbers, or at length.
//! - [`servers`] has what servers send.
//! - [`replay`] runs the corpora of the fuzz targets.
//!
//! After each the proxy has to be what it was: no panic, no memory kept, and a client that was
//! there all the time has got every answer right.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/clients.rs"]
#[allow(dead_code, reason = "a part of it is for other tests")]
mod clients;
#[path = "../support/metrics.rs"]
#[allow(dead_code, reason = "a part of it is for other tests")]
mod metrics;
#[path = "../support/proxy.rs"]
#[allow(dead_code, reason = "clusters are tested elsewhere")]
mod proxy;
#[path = "../../../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "public in the workspace that fuzzes them")]
mod targets;

mod after_login;
mod before_login;
mod clients_table;
mod floods;
mod liar;
mod memory;
mod neighbour;
mod replay;
mod row;
mod servers;
