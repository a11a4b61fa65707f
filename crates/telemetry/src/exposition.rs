//! A registry as the text that Prometheus reads.

use prometheus::{Registry, TextEncoder};

use crate::Error;

/// The whole registry as text, on demand. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// What goes into the `Content-Type` of an answer with [`Exposition::text`].
    pub const CONTENT_TYPE: &'static str = prometheus::TEXT_FORMAT;

    /// Exposes everything that is or will be registered with `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// The metrics at this moment. Reads atomics, asks the pools, reads `/proc/self`; never
    /// waits for a peer.
    ///
    /// # Errors
    /// [`Error::Encode`]: a collector returned what is no family.
    pub fn text(&self) -> Result<String, Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(Error::Encode)
    }
}
