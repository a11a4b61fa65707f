//! Between two clients: a server is made fit for the next one.

use std::sync::Arc;
use std::time::Instant;

use session::{Disposition, ResetKind};
use tokio::time::timeout;

use crate::cancel::{Cancels, Settled};
use crate::{Closed, Lease, Pool, Server};

/// Makes a server fit for another client: waits until no cancel can hit it, rolls back and
/// takes away what was left, and puts it back. One round trip is made in any case, which
/// takes the signal of a cancel that came too late.
pub(crate) async fn reset(pool: Arc<Pool>, server: Box<Server>) {
    let _counted = pool.census.resetting();
    // Dropped in any other way, the lease closes the server.
    let mut lease = Lease::new(server, Arc::clone(&pool));
    let recall = Arc::clone(&lease.recall);
    let fit = tokio::select! {
        biased;
        () = recall.called() => return lease.close(Closed::Epoch),
        fit = make_fit(&pool, &mut lease) => fit,
    };
    if let Some(kind) = fit {
        pool.observer().reset(kind);
        lease.release(Disposition::Clean, Instant::now());
    } else {
        lease.close(Closed::Reset);
    }
}

/// `None` if that cannot be done.
async fn make_fit(pool: &Pool, server: &mut Server) -> Option<ResetKind> {
    let settings = pool.settings();
    let config = &settings.config;
    if let Some(cancels) = &server.cancels {
        let settled = timeout(config.cancel_timeout, Cancels::settle(cancels)).await;
        if !matches!(settled, Ok(Settled::Untouched | Settled::Ended)) {
            return None;
        }
    }
    let (kind, texts) = server.state.reset_sql();
    for sql in texts {
        let Server { stream, state, .. } = server;
        let catalog = &pool.shared.catalog;
        let ran = backend::run(stream, &sql, config.reset_timeout, |name, value| {
            state.on_reset_parameter(kind, catalog, name, value);
        });
        if let Err(error) = ran.await {
            tracing::info!(event = "server_reset_failed", pool = %pool.key, sql = &*sql, %error, "server could not be reset, closing it");
            return None;
        }
    }
    server.state.after_reset(kind);
    Some(kind)
}
