//! A fixed list of nodes.

use std::convert::Infallible;

use topology::{Event, Member, NodeName, NodeState, Replay, Revision, Role, SourceState};
use tracing::warn;

use crate::config::FixedConfig;
use crate::publisher::Publisher;

/// Publishes the list, then only follows probes.
pub(crate) async fn run(config: FixedConfig, mut publisher: Publisher) {
    publisher.apply(Event::Resync { revision: Revision(1), state: state(&config) });
    publisher.drive(std::future::pending::<Infallible>()).await;
}

fn state(config: &FixedConfig) -> SourceState {
    let mut state = SourceState::default();
    for address in &config.nodes {
        let name = match NodeName::new(&address.to_string()) {
            Ok(name) => name,
            Err(error) => {
                warn!(event = "node_unusable", %address, %error, "node left out");
                continue;
            }
        };
        // Alone it is the primary, and each login proves it by `in_hot_standby`.
        if config.nodes.len() == 1 {
            state.leader = Some(name.clone());
        }
        let member = Member {
            address: address.clone(),
            role: Role::Other,
            state: if config.nodes.len() == 1 { NodeState::Running } else { NodeState::Unknown },
            timeline: None,
            replay: Replay::Unknown,
            noloadbalance: false,
            nofailover: false,
        };
        state.members.insert(name, member);
    }
    state
}
