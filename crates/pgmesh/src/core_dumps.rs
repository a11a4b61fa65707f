//! No core dumps: in the memory of a proxy are everybody's credentials.

use std::io;

use config::CoreDumps;
use nix::sys::prctl::{get_dumpable, set_dumpable};
use rlimit::Resource;

/// Core dumps are forbidden for now, and this is what was allowed before.
#[derive(Debug)]
pub struct Undumpable(io::Result<Before>);

#[derive(Debug)]
struct Before {
    is_dumpable: bool,
    /// Bytes of a core file; the second is what the first may be raised to.
    size: (u64, u64),
}

impl Undumpable {
    /// Forbids core dumps. To be called before the first secret is read.
    ///
    /// A limit alone would not do: where the kernel pipes dumps to a program, as with
    /// systemd-coredump, it does not count (core(5)).
    pub fn new() -> Self {
        Self(forbid())
    }

    /// Makes it last, or undoes it, and says so in the log. A system that refuses is no reason
    /// not to start.
    pub fn settle(self, wanted: CoreDumps) {
        let settled = self.0.and_then(|before| match wanted {
            CoreDumps::Forbidden => Resource::CORE.set(0, 0),
            CoreDumps::Allowed => before.restore(),
        });
        match (settled, wanted) {
            (Ok(()), CoreDumps::Forbidden) => {
                tracing::info!(event = "core_dumps", "core dumps are forbidden")
            }
            (Ok(()), CoreDumps::Allowed) => {
                tracing::warn!(
                    event = "core_dumps",
                    "core dumps are allowed, with all passwords: proxy.core_dumps"
                );
            }
            (Err(error), _) => {
                tracing::error!(event = "core_dumps", %error, "whether memory is dumped cannot be set: proxy.core_dumps");
            }
        }
    }
}

impl Default for Undumpable {
    fn default() -> Self {
        Self::new()
    }
}

impl Before {
    fn restore(self) -> io::Result<()> {
        let (soft, hard) = self.size;
        Resource::CORE.set(soft, hard)?;
        Ok(set_dumpable(self.is_dumpable)?)
    }
}

fn forbid() -> io::Result<Before> {
    let before = Before { is_dumpable: get_dumpable()?, size: Resource::CORE.get()? };
    set_dumpable(false)?;
    // The hard limit could not be raised again.
    Resource::CORE.set(0, before.size.1)?;
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, for it is about this one process.
    #[test]
    fn what_was_allowed_is_allowed_again_and_what_is_forbidden_stays_so() {
        let before = (get_dumpable().unwrap(), Resource::CORE.get().unwrap());
        let undumpable = Undumpable::new();
        assert!(!get_dumpable().unwrap());
        assert_eq!(Resource::CORE.get().unwrap().0, 0);
        undumpable.settle(CoreDumps::Allowed);
        assert_eq!((get_dumpable().unwrap(), Resource::CORE.get().unwrap()), before);
        Undumpable::new().settle(CoreDumps::Forbidden);
        assert!(!get_dumpable().unwrap());
        assert_eq!(Resource::CORE.get().unwrap(), (0, 0));
    }
}
