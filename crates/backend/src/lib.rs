//! One server connection: connect, TLS, login, reset, cancel.
