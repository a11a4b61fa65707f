//! Pure cluster model: snapshot, events, routing.
