//! A client that shows its password, for methods where somebody else checks it.

use std::fmt;

use auth::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use wire::{Cursor, ErrorMessage};
use zeroize::Zeroizing;

use crate::line::Line;
use crate::login::{Client, Disclosed, LoginRequest, put_authentication};
use crate::{Refused, Startup};

/// Postgres' limit of what answers an authentication request (`PG_MAX_AUTH_TOKEN_LENGTH`), in
/// bytes.
const PASSWORD_MESSAGE_MAX: usize = 65_535;

const AUTH_CLEARTEXT_PASSWORD: u32 = 3;

/// A client that has shown a password, which nobody has looked at yet.
pub struct Claim<S> {
    startup: Startup,
    password: Secret,
    line: Line<S>,
    deadline: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> LoginRequest<S> {
    /// Has the client show its password. Whether the connection may carry it is the caller's to
    /// decide. What is no password, the empty one first of all, is refused here; the client has
    /// been told.
    ///
    /// # Errors
    /// A broken exchange, an empty password, or the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn ask_password(mut self) -> Result<Claim<S>, Refused> {
        match timeout_at(self.deadline, shown(&mut self.line)).await {
            Ok(Ok(password)) => {
                let Self { startup, line, deadline } = self;
                Ok(Claim { startup, password, line, deadline })
            }
            Ok(Err(refused)) => {
                self.line.refuse(refused.fatal(&self.startup.user).as_ref()).await;
                Err(refused)
            }
            Err(_) => Err(Refused::Timeout),
        }
    }
}

async fn shown<S: AsyncRead + AsyncWrite + Unpin>(line: &mut Line<S>) -> Result<Secret, Refused> {
    put_authentication(&mut line.out, AUTH_CLEARTEXT_PASSWORD, |_| ());
    line.flush().await?;
    let answer =
        line.message_up_to(PASSWORD_MESSAGE_MAX).await.map_err(|refused| match refused {
            Refused::MessageType(tag) => Refused::NoPassword(tag),
            refused => refused,
        })?;
    password(answer)
}

/// As Postgres' `recv_password_packet`: one text with its end. LDAP's are UTF-8.
fn password(answer: Zeroizing<Vec<u8>>) -> Result<Secret, Refused> {
    let mut cursor = Cursor::new(&answer);
    let text = cursor.c_bytes().map_err(|_| Refused::PasswordLayout)?;
    cursor.end().map_err(|_| Refused::PasswordLayout)?;
    match std::str::from_utf8(text) {
        Ok("") => Err(Refused::EmptyPassword),
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(Refused::PasswordEncoding),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Claim<S> {
    /// What the client asked for.
    pub fn startup(&self) -> &Startup {
        &self.startup
    }

    /// What it has shown; never empty.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// When the login is over, successful or not.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The password is the user's.
    pub fn admit(self) -> Client<S> {
        let Self { startup, password, line, deadline } = self;
        Client { startup, disclosed: Disclosed::Password(password), line, deadline }
    }

    /// It is not, or nobody can tell: ends the connection with a FATAL, in at most two seconds.
    pub async fn deny(self, message: &ErrorMessage) {
        self.line.refuse(Some(message)).await;
    }
}

impl<S> fmt::Debug for Claim<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("startup", &self.startup).finish_non_exhaustive()
    }
}
