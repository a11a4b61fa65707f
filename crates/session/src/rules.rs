//! How state that outlasts a transaction is found.

/// When the server is asked what a transaction has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Asks {
    /// When a text or a command tag says that there may be something.
    #[default]
    WhenHinted,
    /// At the end of each.
    Always,
}

/// How state that outlasts a transaction is found. Not in session mode, where all of it is the
/// client's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateRules {
    asks: Asks,
}

impl StateRules {
    /// With the server asked when `asks` says.
    #[must_use]
    pub fn asking(self, asks: Asks) -> Self {
        Self { asks }
    }

    /// When the server is asked.
    #[inline]
    pub fn asks(&self) -> Asks {
        self.asks
    }
}
