//! HTTP's basic authentication, for everything that names databases and users.

use std::time::Duration;

use auth::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// How long somebody with a wrong password waits for the answer.
const PENANCE: Duration = Duration::from_secs(1);

/// How many may wait so at one time. While so many do, nobody else's password is looked at: that
/// is what makes guessing slow, and leaves the connections to `/metrics`.
const WRONG_MAX: usize = 8;

/// Who may see the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// What the door says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Come in.
    Open,
    /// Who are you?
    Unknown,
    /// Too many wrong passwords at the moment.
    Busy,
}

/// Asks for the password.
#[derive(Debug)]
pub(crate) struct Door {
    login: Option<Login>,
    wrong: Semaphore,
}

impl Door {
    /// Without a login it is open to everybody.
    pub(crate) fn new(login: Option<Login>) -> Self {
        Self { login, wrong: Semaphore::new(WRONG_MAX) }
    }

    /// Judges an `Authorization` header; takes a second for a wrong one.
    ///
    /// # Cancel safety
    /// A dropped call has judged nothing.
    pub(crate) async fn judge(&self, authorization: Option<&[u8]>) -> Verdict {
        let Some(login) = &self.login else { return Verdict::Open };
        // As browsers come for the first time: nothing was guessed.
        let Some(header) = authorization else { return Verdict::Unknown };
        let Ok(_seat) = self.wrong.try_acquire() else { return Verdict::Busy };
        if login.is(header) {
            return Verdict::Open;
        }
        sleep(PENANCE).await;
        Verdict::Unknown
    }
}

impl Login {
    /// In a time that tells lengths and nothing else.
    fn is(&self, header: &[u8]) -> bool {
        let Some((scheme, given)) = header.split_at_checked("Basic ".len()) else { return false };
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return false;
        }
        let Some(given) = STANDARD.decode(given.trim_ascii()).ok().and_then(|it| {
            let text = String::from_utf8(it).ok()?;
            Some(Secret::new(text))
        }) else {
            return false;
        };
        // As a whole: a name cannot have a colon, and a password may.
        let expected = Secret::new(format!("{}:{}", self.user, self.password.expose()));
        given == expected
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;

    fn login() -> Login {
        Login { user: "ops".to_owned(), password: Secret::new("se:cret") }
    }

    fn header(text: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    #[test]
    fn only_the_name_and_the_password_open() {
        assert!(login().is(&header("ops:se:cret")));
        assert!(login().is(b"basic b3BzOnNlOmNyZXQ= "));
        for wrong in ["ops:se:cre", "ops:se:crett", "op:se:cret", ":se:cret", "ops", ""] {
            assert!(!login().is(&header(wrong)), "{wrong}");
        }
        for garbage in [&b""[..], b"Basic", b"Basic !!!", b"Bearer b3BzOnNlOmNyZXQ=", b"Basic /w=="]
        {
            assert!(!login().is(garbage));
        }
        assert!(!format!("{:?}", Door::new(Some(login()))).contains("se:cret"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_password_takes_a_second_and_too_many_are_not_looked_at() {
        let door = Arc::new(Door::new(Some(login())));
        assert_eq!(door.judge(None).await, Verdict::Unknown);
        let begun = Instant::now();
        assert_eq!(door.judge(Some(&header("ops:se:cret"))).await, Verdict::Open);
        assert_eq!(begun.elapsed(), Duration::ZERO);

        let guess = |door: Arc<Door>| async move { door.judge(Some(&header("ops:1"))).await };
        let guesses: Vec<_> =
            (0..WRONG_MAX).map(|_| tokio::spawn(guess(Arc::clone(&door)))).collect();
        tokio::task::yield_now().await;
        assert_eq!(door.judge(Some(&header("ops:se:cret"))).await, Verdict::Busy);
        for guess in guesses {
            assert_eq!(guess.await.unwrap(), Verdict::Unknown);
        }
        assert_eq!(begun.elapsed(), PENANCE);
        assert_eq!(door.judge(Some(&header("ops:se:cret"))).await, Verdict::Open);
    }

    #[tokio::test]
    async fn without_a_login_it_is_open() {
        assert_eq!(Door::new(None).judge(None).await, Verdict::Open);
    }

    proptest! {
        #[test]
        fn no_header_does_harm(header in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!login().is(&header));
        }
    }
}
