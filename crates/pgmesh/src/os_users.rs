//! The method `peer`: names of the operating system's users, and who may log in by them.

use std::sync::Arc;
use std::time::Duration;

use auth::hba::Rule;
use frontend::{Client, ClientAddress, LoginRequest};
use nix::unistd::{Uid, User};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::applicant::Applicant;
use crate::entry::{Denied, turn_away};

/// Looks names up. A directory service may be behind it, which may hang.
#[derive(Debug)]
pub(crate) struct OsUsers {
    turns: Arc<Semaphore>,
    timeout: Duration,
}

/// Look-ups at one time. One that hangs keeps its turn and its thread, and no more than these.
const LOOKUPS_MAX: usize = 4;

/// A name is in a file or a cache, or a network away.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no name. For the log: the client is told that the method failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Nameless {
    #[error("could not look up local user ID {0}: it has no name")]
    Unknown(u32),
    #[error("could not look up local user ID {0}: {1}")]
    Failed(u32, nix::Error),
    #[error("could not look up local user ID {0} in time")]
    Timeout(u32),
    #[error("the client is not on a local socket")]
    Remote,
}

/// Lets a client in if the user whom its process ran as may log in as the role, by the rule's map
/// or under the same name. Where it may not, the client has been told.
pub(crate) async fn ask<S>(
    app: &App,
    request: LoginRequest<S>,
    rule: &Rule,
    from: ClientAddress,
    applicant: &mut Applicant<'_>,
) -> Result<Client<S>, Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let named = match from {
        ClientAddress::Local { uid } => app.os_users.name(uid).await,
        // Rules for others do not parse.
        ClientAddress::Host(_) => Err(Nameless::Remote),
    };
    let why = match named {
        Err(nameless) => nameless.to_string(),
        Ok(name) => match applicant.admits(rule, &name).await {
            Ok(Ok(())) => return Ok(request.admit()),
            Ok(Err(mismatch)) => format!("{mismatch} (the operating system's user is {name})"),
            Err(unknown) => return Err(turn_away(request, unknown).await),
        },
    };
    let failed = rule.method.failed(&request.startup().user);
    request.refuse(&failed).await;
    Err(Denied::Reason(format!("line {}: {why}", rule.line)))
}

impl OsUsers {
    /// `login_timeout` bounds a look-up, too.
    pub(crate) fn new(login_timeout: Duration) -> Self {
        let turns = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self { turns, timeout: login_timeout.min(LOOKUP_TIMEOUT) }
    }

    /// The name of this user.
    ///
    /// # Errors
    /// It has none, or the system does not say.
    ///
    /// # Cancel safety
    /// A look-up that has begun goes on and is forgotten.
    pub(crate) async fn name(&self, uid: u32) -> Result<String, Nameless> {
        self.name_by(uid, User::from_uid).await
    }

    async fn name_by(
        &self,
        uid: u32,
        look_up: impl FnOnce(Uid) -> nix::Result<Option<User>> + Send + 'static,
    ) -> Result<String, Nameless> {
        let deadline = Instant::now() + self.timeout;
        let turn = timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Nameless::Timeout(uid)) };
        let looking = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            look_up(Uid::from_raw(uid))
        });
        match timeout_at(deadline, looking).await {
            Ok(Ok(Ok(Some(user)))) => Ok(user.name),
            Ok(Ok(Ok(None))) => Err(Nameless::Unknown(uid)),
            Ok(Ok(Err(error))) => Err(Nameless::Failed(uid, error)),
            Ok(Err(_)) | Err(_) => Err(Nameless::Timeout(uid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_has_the_name_that_the_system_has_for_it() {
        let users = OsUsers::new(LOOKUP_TIMEOUT);
        assert_eq!(users.name(0).await.unwrap(), "root");
        let unknown = users.name(0x7fff_fff0).await.unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "could not look up local user ID 2147483632: it has no name"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn lookups_that_hang_end_in_time_and_keep_no_more_threads_than_there_are_turns() {
        let users = OsUsers::new(LOOKUP_TIMEOUT);
        let mut gates = Vec::new();
        // What runs on another thread keeps the clock from moving by itself.
        let time_passes = || tokio::time::advance(LOOKUP_TIMEOUT);
        for _ in 0..LOOKUPS_MAX {
            let (open, gate) = std::sync::mpsc::channel::<()>();
            let (begin, begun) = tokio::sync::oneshot::channel();
            gates.push(open);
            let hangs = move |_| {
                begin.send(()).unwrap();
                let _ = gate.recv();
                Ok(None)
            };
            let pass = async {
                begun.await.unwrap();
                time_passes().await;
            };
            let (name, ()) = tokio::join!(users.name_by(1, hangs), pass);
            assert!(matches!(name, Err(Nameless::Timeout(1))));
        }
        let never = |_| panic!("a look-up without a turn");
        let (name, ()) = tokio::join!(users.name_by(2, never), time_passes());
        assert!(matches!(name, Err(Nameless::Timeout(2))));
        drop(gates);
        assert_eq!(users.name(0).await.unwrap(), "root");
    }
}
