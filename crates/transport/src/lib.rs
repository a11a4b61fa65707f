//! A socket, TCP or Unix, plain or TLS: socket options, PEM files, rustls configurations and
//! [`MaybeTls`].
//!
//! Both sides of the proxy stand on this crate: `frontend` accepts with [`Acceptor`], `backend`
//! connects with [`Connector`]. It speaks no Postgres; who asks for TLS, and when, is theirs.
//! Both sides offer the ALPN protocol `postgresql`, as libpq and Postgres 17 do: a peer that
//! speaks ALPN but means another protocol is refused. [`ServiceConnector`] is for what is not
//! Postgres.
//!
//! ring is named explicitly, so nothing depends on a process-wide default. What was made of the
//! configured files is an immutable value that every handshake takes anew, and [`renew`] makes
//! another when the files have changed.

mod certificate;
mod client;
mod error;
mod files;
mod hand_over;
mod hello;
mod inherit;
mod mode;
mod pem;
mod policy;
mod renew;
mod server;
mod service;
mod socket;
mod stream;
mod tcp;
mod timing;
mod turns;
mod unix;
mod verifier;

pub use certificate::{AlternativeName, CertificateError, Subject};
pub use client::{ClientTls, Connector};
pub use error::{Error, HandshakeError};
pub use hand_over::{DESCRIPTORS_MAX, receive_descriptors, send_descriptors};
pub use inherit::Inherited;
pub use mode::{Negotiation, TlsMode, UnknownTlsMode};
pub use policy::{Cipher, Group, NoCipher, Policy, Protocol, UnknownName};
pub use renew::{Renewal, renew};
pub use server::{Acceptor, ServerTls};
pub use service::{ServiceConnector, ServiceTls};
pub use socket::Socket;
pub use stream::MaybeTls;
pub use tcp::{Config, Keepalive, accept_waiting, accept_waiting_unix, connect, listen};
pub use unix::{SocketFile, UNIX_NAME_MAX, UnixAccess, UnixError, listen_unix};
