//! A socket, plain or TLS: socket options, PEM files, rustls configurations and [`MaybeTls`].
//!
//! Both sides of the proxy stand on this crate: `frontend` accepts with [`Acceptor`], `backend`
//! connects with [`Connector`]. It speaks no Postgres; who asks for TLS, and when, is theirs.

mod error;
mod mode;
mod pem;
mod stream;
mod tcp;
mod tls;
mod verifier;

pub use error::{Error, HandshakeError};
pub use mode::{TlsMode, UnknownTlsMode};
pub use stream::MaybeTls;
pub use tcp::{Config, Keepalive, connect, listen};
pub use tls::{Acceptor, ClientTls, Connector, ServerTls};
