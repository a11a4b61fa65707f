//! A secret that is changed while it is in use.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::Secret;

/// A secret that is changed while it is in use, such as a password in a file. A clone is the same
/// one: who changes it changes it for all.
#[derive(Clone)]
pub struct Rotating(Arc<RwLock<Candidates>>);

struct Candidates {
    newest: Secret,
    before: Option<Secret>,
}

impl Rotating {
    /// A secret that was never changed.
    pub fn new(secret: Secret) -> Self {
        Self(Arc::new(RwLock::new(Candidates { newest: secret, before: None })))
    }

    /// What to try, in this order: the newest, and the one before as long as it counts.
    pub fn candidates(&self) -> Vec<Secret> {
        let now = self.0.read();
        std::iter::once(&now.newest).chain(&now.before).cloned().collect()
    }

    /// Changes it. What it was until now counts on until [`Rotating::settle`].
    pub fn rotate(&self, newest: Secret) {
        let mut now = self.0.write();
        now.before = Some(std::mem::replace(&mut now.newest, newest));
    }

    /// From now on the newest alone counts.
    pub fn settle(&self) {
        self.0.write().before = None;
    }
}

impl From<Secret> for Rotating {
    fn from(secret: Secret) -> Self {
        Self::new(secret)
    }
}

impl fmt::Debug for Rotating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rotating(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_changes_with_it() {
        let secret = Rotating::new(Secret::new("a"));
        let clone = secret.clone();
        let texts = |it: &Rotating| -> Vec<String> {
            it.candidates().iter().map(|it| it.expose().to_owned()).collect()
        };
        assert_eq!(texts(&clone), ["a"]);
        secret.rotate(Secret::new("b"));
        secret.rotate(Secret::new("c"));
        assert_eq!(texts(&clone), ["c", "b"]);
        clone.settle();
        assert_eq!(texts(&secret), ["c"]);
        assert_eq!(format!("{secret:?}"), "Rotating(…)");
    }
}
