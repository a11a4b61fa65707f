//! Listeners, TLS, startup and cancel dispatch, client login.
