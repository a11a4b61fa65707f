//! A TCP link that can be cut (closed and refused) or silenced (open, and nothing comes).

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Cut,
    Silent,
    Up,
}

pub(crate) struct Link {
    state: watch::Sender<State>,
    /// Connections that came, whatever became of them.
    accepted: watch::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    /// A link to a port of 127.0.0.1, and its own port there.
    pub(crate) async fn to(port: u16) -> (Self, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let own = listener.local_addr().expect("an address").port();
        let (state, watcher) = watch::channel(State::Up);
        let (count, accepted) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                if *watcher.borrow() == State::Cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                tokio::spawn(join(near, far, watcher.clone()));
            }
        });
        (Self { state, accepted, _task: AbortOnDropHandle::new(task) }, own)
    }

    /// Until so many connections came.
    pub(crate) async fn accepted(&mut self, connections: u64) {
        self.accepted.wait_for(|count| *count >= connections).await.expect("the link runs");
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Up);
    }

    pub(crate) fn silence(&self) {
        self.state.send_replace(State::Silent);
    }
}

async fn join(near: TcpStream, far: TcpStream, mut state: watch::Receiver<State>) {
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let gate = state.clone();
    tokio::select! {
        () = copy(near_read, far_write, gate.clone()) => {}
        () = copy(far_read, near_write, gate) => {}
        _ = state.wait_for(|state| *state == State::Cut) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| *state != State::Silent).await.is_err()
            || to.write_all(&buffer[..count]).await.is_err()
        {
            return;
        }
    }
}
