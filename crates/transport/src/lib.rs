//! A socket, plain or TLS: socket options, PEM loading, rustls configuration, `MaybeTls`.
