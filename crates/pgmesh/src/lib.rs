//! The assembly: [`run`] is the composition root, read from top to bottom like a wiring
//! diagram. Nothing is global: what a part needs is handed to it.

mod accept;
mod alarms;
mod app;
mod applicant;
mod attend;
mod bearer;
mod cancel;
mod check;
mod clients;
mod connect;
mod console;
mod core_dumps;
mod credentials;
mod departure;
mod entrance;
mod entry;
mod failovers;
mod follow;
mod gate;
mod import;
mod ldap;
mod limits;
mod live;
mod login;
mod observe;
mod order_desk;
mod os_users;
mod peers;
mod rates;
mod rejected;
mod relay;
mod reload;
mod rotation;
mod rules;
mod serve;
mod server_logins;
mod status;
mod takeover;

pub use check::check;
pub use connect::{Findings, check_connections};
pub use core_dumps::Undumpable;
pub use entrance::Beginning;
pub use import::{ImportFiles, import};
pub use reload::Origin;
pub use serve::{Start, run};
