//! The console over in-memory streams, met by a driver and by hand-made messages.

mod documents;
mod fake;
mod golden;
mod grammar;
mod hostile;
mod protocol;
mod rights;
