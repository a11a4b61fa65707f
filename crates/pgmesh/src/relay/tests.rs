//! The relay over in-memory streams against a scripted server.
