//! Logins by a bearer token: the exchange of OAUTHBEARER, up to the token that somebody else has
//! to verify.

use std::fmt;

use auth::oauth::{Exchange, MESSAGE_MAX, OAUTHBEARER, Presented, Received, Refusing, Rejection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout_at;
use wire::message;

use crate::login::{
    AUTH_SASL, AUTH_SASL_CONTINUE, Client, LoginRequest, put_authentication, sasl_initial_response,
};
use crate::{Refused, Startup};

/// A client that has shown a token, of which nothing is known yet.
pub struct TokenLogin<S> {
    request: LoginRequest<S>,
    presented: Presented,
}

impl<S: AsyncRead + AsyncWrite + Unpin> LoginRequest<S> {
    /// Asks the client for a bearer token. One that shows none, be it to ask where there are some,
    /// has been told.
    ///
    /// # Errors
    /// No token, a broken exchange, or the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn ask_for_token(mut self, exchange: Exchange) -> Result<TokenLogin<S>, Refused> {
        match timeout_at(self.deadline, self.token(exchange)).await {
            Ok(Ok(Received::Token(presented))) => Ok(TokenLogin { request: self, presented }),
            Ok(Ok(Received::Refused(refusing))) => Err(self.challenge(refusing).await),
            Ok(Err(refused)) => Err(self.refuse_token(refused).await),
            Err(_) => Err(Refused::Timeout),
        }
    }

    async fn token(&mut self, exchange: Exchange) -> Result<Received, Refused> {
        put_authentication(&mut self.line.out, AUTH_SASL, |out| {
            message::put_c_str(out, OAUTHBEARER);
            out.push(0);
        });
        self.line.flush().await?;
        let mut initial = self.line.message_up_to(MESSAGE_MAX).await?;
        let is_bearer = |mechanism: &[u8]| (mechanism == OAUTHBEARER.as_bytes()).then_some(());
        let ((), response) = sasl_initial_response(&initial, is_bearer)?;
        let message = match response.map(<[u8]>::len) {
            // It ends the message.
            Some(len) => {
                let at = initial.len() - len;
                initial.split_off(at)
            }
            None => {
                // The mechanism alone: RFC 4422 has the server ask for the rest.
                put_authentication(&mut self.line.out, AUTH_SASL_CONTINUE, |_| ());
                self.line.flush().await?;
                std::mem::take(&mut *self.line.message_up_to(MESSAGE_MAX).await?)
            }
        };
        Ok(exchange.receive(message)?)
    }

    /// Sends the challenge, waits for the answer that means nothing, and says that the login has
    /// failed (RFC 7628, section 3.2.3).
    async fn challenge(mut self, refusing: Refusing) -> Refused {
        let Ok(answered) = timeout_at(self.deadline, self.challenged(refusing)).await else {
            return Refused::Timeout;
        };
        self.refuse_token(answered.unwrap_or_else(|refused| refused)).await
    }

    async fn challenged(&mut self, refusing: Refusing) -> Result<Refused, Refused> {
        put_authentication(&mut self.line.out, AUTH_SASL_CONTINUE, |out| {
            out.extend_from_slice(refusing.message().as_bytes());
        });
        self.line.flush().await?;
        let answer = self.line.password_message().await?;
        Ok(Refused::Token(refusing.receive(&answer)?))
    }

    async fn refuse_token(self, refused: Refused) -> Refused {
        self.line.refuse(refused.fatal(&self.startup.user).as_ref()).await;
        refused
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TokenLogin<S> {
    /// What the client asked for.
    pub fn startup(&self) -> &Startup {
        self.request.startup()
    }

    /// The token. A secret.
    pub fn token(&self) -> &str {
        self.presented.token()
    }

    /// Lets the client in: the token does.
    pub fn admit(self) -> Client<S> {
        self.request.admit()
    }

    /// Sends the client away, until the deadline of its login at most: it hears that its login
    /// has failed, and not why.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn refuse(self, why: Rejection) -> Refused {
        let Self { request, presented } = self;
        request.challenge(presented.refuse(why)).await
    }
}

impl<S> fmt::Debug for TokenLogin<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenLogin").field("request", &self.request).finish_non_exhaustive()
    }
}
