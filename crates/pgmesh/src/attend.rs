//! From the first client to the last: the listeners open, the end is asked for, all leave.

use std::sync::Arc;
use std::time::Duration;

use admin::AdminHandle;
use anyhow::Context as _;
use config::Settings;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::accept::Accepting;
use crate::app::App;
use crate::departure::{Departure, Signals, Successor};
use crate::entrance::Entrance;
use crate::systemd;

/// For the last words to operators.
const GOODBYE: Duration = Duration::from_secs(1);

/// Takes clients until the end is asked for, and then waits for those who are still there.
///
/// # Errors
/// Anything that keeps it from taking clients.
pub(crate) async fn attend(
    app: &Arc<App>,
    settings: &Settings,
    admin: AdminHandle,
    departure: &Departure,
    mut entrance: Entrance,
) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals")?;
    let bound = entrance.listen(settings, app.snapshots.clone()).await?;
    let mut accepting = Accepting::begin(bound, app, settings.frontend.backlog);
    let (metrics, version) = (admin.local_addr(), env!("CARGO_PKG_VERSION"));
    tracing::info!(event = "started", %metrics, version, "pgmesh is up");
    let beginning = entrance.beginning();
    let offering = entrance.pass_on(app, departure, &mut accepting).await?;
    systemd::ready(beginning);

    let successor = departure.begins(&mut signals).await;
    app.metrics.draining();
    match successor {
        Successor::None => {
            systemd::stopping();
            // It has the listeners, too.
            end(offering).await;
            accepting.close().await;
            departure.carry_out(app, settings.shutdown, &mut signals).await;
            admin.end_consoles(GOODBYE).await;
        }
        Successor::Present => {
            accepting.give_away();
            let leaving = departure.carry_out(app, settings.shutdown, &mut signals);
            tokio::join!(stop(admin), leaving);
            end(offering).await;
        }
    }
    tracing::info!(event = "stopped", "stopped");
    Ok(())
}

/// Ends a task, and waits until all it had is gone.
async fn end(task: Option<AbortOnDropHandle<()>>) {
    if let Some(task) = task {
        task.abort();
        let _ = task.await;
    }
}

/// Ends what operators see, and lets go of its listener.
async fn stop(admin: AdminHandle) {
    let stopping = tokio::task::spawn_blocking(move || admin.shutdown());
    // Who reads slowly is not waited for.
    let _ = timeout(GOODBYE, stopping).await;
}
