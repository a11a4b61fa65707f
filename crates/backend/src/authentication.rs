//! The server's authentication requests and our answers to them.

use auth::{
    ChannelBinding, ClientFinal, ClientFirst, Nonce, SCRAM_SHA_256, ScramKeys, Secret, md5_response,
};
use rand::RngCore;
use wire::tag::{backend, frontend};
use wire::{Cursor, HEADER_LEN, Malformed, message};
use zeroize::Zeroizing;

use crate::error::AuthenticationFault;
use crate::{ConnectError, Credentials, ProtocolFault};

/// Where the authentication stands; consumed by the server's next request.
pub(crate) enum Authentication {
    /// Nothing was asked yet.
    Start,
    /// A password went out, in whatever form; only AuthenticationOk may follow.
    Answered,
    /// SCRAM: the client-first-message went out.
    First(ClientFirst),
    /// SCRAM: the client-final-message went out.
    Final(ClientFinal),
    /// SCRAM: the server has proven itself; only AuthenticationOk may follow.
    Proven(ScramKeys),
}

/// What follows from one request.
pub(crate) enum Step {
    /// Send this, and wait for the next request; nothing to send if empty.
    Ask(Authentication, Zeroizing<Vec<u8>>),
    /// The server is satisfied. With SCRAM, the keys for the next login.
    Done(Option<ScramKeys>),
}

/// What the connection is inside of.
pub(crate) struct Channel {
    pub(crate) is_tls: bool,
    pub(crate) binding: ChannelBinding,
}

// AuthenticationRequest codes (PostgreSQL documentation, "Message Formats").
const OK: i32 = 0;
const CLEAR_TEXT: i32 = 3;
const MD5: i32 = 5;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

impl Authentication {
    /// Takes the body of an Authentication message.
    ///
    /// A server gets one answer, of one kind, and cannot skip its own proof: AuthenticationOk
    /// in the middle of SCRAM is an impostor's way out. Where the login must be bound to TLS,
    /// SCRAM is the only way in.
    pub(crate) async fn receive(
        self,
        body: &[u8],
        credentials: &Credentials,
        channel: &Channel,
    ) -> Result<Step, ConnectError> {
        let Channel { is_tls, binding } = channel;
        let mut cursor = Cursor::new(body);
        let code = cursor.i32().map_err(malformed)?;
        if let (Self::Start | Self::Answered, OK | CLEAR_TEXT | MD5) = (&self, code) {
            binding.permit_unbound().map_err(AuthenticationFault::from)?;
        }
        match (self, code) {
            (Self::Start | Self::Answered, OK) => Ok(Step::Done(None)),
            (Self::Proven(keys), OK) => Ok(Step::Done(Some(keys))),
            (Self::Start, CLEAR_TEXT) if !*is_tls => {
                Err(AuthenticationFault::ClearTextOutsideTls.into())
            }
            (Self::Start, CLEAR_TEXT) => {
                let password = password(credentials, "clear text")?;
                Ok(Step::Ask(Self::Answered, password_message(password)))
            }
            (Self::Start, MD5) => {
                let salt = cursor.rest().try_into().map_err(|_| malformed(Malformed))?;
                let password = password(credentials, "md5")?;
                let answer = md5_response(&credentials.user, password, salt);
                Ok(Step::Ask(Self::Answered, password_message(&answer)))
            }
            (Self::Start, SASL) => scram_first(cursor, credentials, binding),
            (Self::First(first), SASL_CONTINUE) => scram_final(first, cursor.rest()).await,
            (Self::Final(last), SASL_FINAL) => {
                let keys = last.receive(cursor.rest()).map_err(AuthenticationFault::from)?;
                Ok(Step::Ask(Self::Proven(keys), Zeroizing::default()))
            }
            (_, OK | CLEAR_TEXT | MD5 | SASL | SASL_CONTINUE | SASL_FINAL) => {
                Err(ProtocolFault::AuthenticationOrder(code).into())
            }
            (_, code) => Err(AuthenticationFault::Unsupported(code).into()),
        }
    }
}

/// Picks the best of the mechanisms, wherever it stands in the list.
fn scram_first(
    mut mechanisms: Cursor<'_>,
    credentials: &Credentials,
    binding: &ChannelBinding,
) -> Result<Step, ConnectError> {
    let mut offered = Vec::new();
    loop {
        let name = mechanisms.c_bytes().map_err(malformed)?;
        if name.is_empty() {
            break;
        }
        offered.push(name);
    }
    let login = credentials.login.clone().ok_or_else(|| no_password(credentials, SCRAM_SHA_256))?;
    let mut nonce = [0; 18];
    rand::rng().fill_bytes(&mut nonce);
    let first =
        binding.begin(login, Nonce::new(nonce), offered).map_err(AuthenticationFault::from)?;
    let mut out = Vec::new();
    message::put(&mut out, frontend::PASSWORD, |out| {
        message::put_c_str(out, first.mechanism().name());
        let text = first.message().as_bytes();
        // Our own message, of less than 100 bytes.
        out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(text);
    });
    Ok(Step::Ask(Authentication::First(first), out.into()))
}

/// PBKDF2 takes milliseconds, and up to tens of them at a server's wish: not on a thread that
/// relays for others.
async fn scram_final(first: ClientFirst, server_first: &[u8]) -> Result<Step, ConnectError> {
    let server_first = server_first.to_vec();
    let last = tokio::task::spawn_blocking(move || first.receive(&server_first))
        .await
        .map_err(|error| ConnectError::Local(error.into()))?
        .map_err(AuthenticationFault::from)?;
    let mut out = Vec::new();
    message::put(&mut out, frontend::PASSWORD, |out| {
        out.extend_from_slice(last.message().as_bytes());
    });
    Ok(Step::Ask(Authentication::Final(last), out.into()))
}

fn password<'a>(
    credentials: &'a Credentials,
    method: &'static str,
) -> Result<&'a Secret, AuthenticationFault> {
    match &credentials.login {
        Some(auth::Login::Password { password, .. }) => Ok(password),
        Some(auth::Login::Keys(_)) => Err(AuthenticationFault::KeysOnly(method)),
        None => Err(no_password(credentials, method)),
    }
}

fn no_password(credentials: &Credentials, method: &'static str) -> AuthenticationFault {
    AuthenticationFault::NoPassword { user: credentials.user.clone(), method }
}

fn password_message(password: &Secret) -> Zeroizing<Vec<u8>> {
    // In one piece: what has to grow leaves copies of itself behind.
    let room = HEADER_LEN + password.expose().len() + 1;
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    message::put(&mut out, frontend::PASSWORD, |out| message::put_c_str(out, password.expose()));
    out
}

fn malformed(_: Malformed) -> ConnectError {
    ProtocolFault::Malformed { tag: backend::AUTHENTICATION }.into()
}
