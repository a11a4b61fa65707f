//! The binary: relay task, supervision, composition root.
