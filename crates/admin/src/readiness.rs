//! Whether pgmesh should get clients, and why not.

use serde_json::json;

/// What a load balancer is to be told at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The proven primary and its epoch, if there is one.
    pub primary: Option<(String, u64)>,
    /// pgmesh is on its way out and takes no new clients.
    pub draining: bool,
}

impl Readiness {
    /// The one word that the answer gives as its reason.
    pub fn reason(&self) -> &'static str {
        match (self.draining, &self.primary) {
            (true, _) => "draining",
            (false, None) => "no_primary",
            (false, Some(_)) => "ok",
        }
    }

    /// Are clients welcome?
    pub fn is_ready(&self) -> bool {
        !self.draining && self.primary.is_some()
    }

    pub(crate) fn to_json(&self) -> String {
        let (node, epoch) = self.primary.as_ref().map(|(node, epoch)| (node, epoch)).unzip();
        let body = json!({
            "ready": self.is_ready(),
            "reason": self.reason(),
            "primary": node,
            "epoch": epoch,
            "draining": self.draining,
        });
        format!("{body}\n")
    }
}

/// The source of [`Readiness`], asked at each request on the service's thread: it reads, and
/// never waits for a peer.
pub trait Ready: Send + Sync + 'static {
    /// The state at this moment.
    fn readiness(&self) -> Readiness;
}

impl<F: Fn() -> Readiness + Send + Sync + 'static> Ready for F {
    fn readiness(&self) -> Readiness {
        self()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_a_proven_primary_and_no_drain() {
        let primary = Some(("n\"1".to_owned(), 3));
        for (primary, draining, ready, reason) in [
            (None, false, false, "no_primary"),
            (None, true, false, "draining"),
            (primary.clone(), true, false, "draining"),
            (primary, false, true, "ok"),
        ] {
            let state = Readiness { primary: primary.clone(), draining };
            assert_eq!((state.is_ready(), state.reason()), (ready, reason));
            let json: serde_json::Value = serde_json::from_str(&state.to_json()).unwrap();
            assert_eq!(json["ready"], ready);
            assert_eq!(json["primary"].as_str(), primary.as_ref().map(|(node, _)| node.as_str()));
            assert_eq!(json["epoch"].as_u64(), primary.map(|(_, epoch)| epoch));
        }
    }
}
