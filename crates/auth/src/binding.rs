//! Which SASL mechanism, and whether it is bound to the TLS connection: the offer towards
//! clients, the choice towards servers (RFC 5802, section 6).

use crate::{ClientFirst, Error, Login, Nonce, ServerEndPoint};

/// A SASL mechanism that both sides speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// Without channel binding.
    ScramSha256,
    /// With channel binding, of the type `tls-server-end-point`.
    ScramSha256Plus,
}

impl Mechanism {
    /// Its name in AuthenticationSASL and SASLInitialResponse.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => crate::SCRAM_SHA_256,
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }
}

// === Towards clients ===

/// What a client is offered on its connection.
#[derive(Debug, Clone)]
pub struct Offer {
    end_point: Option<ServerEndPoint>,
}

impl Offer {
    /// With the hash of the certificate that the client was shown, or `None` without TLS. Also
    /// `None` if the certificate has no hash (Ed25519): binding is then not offered, and clients
    /// that want it fall back without a downgrade being seen, where Postgres offers what then
    /// fails.
    pub fn new(end_point: Option<ServerEndPoint>) -> Self {
        Self { end_point }
    }

    /// The mechanisms for AuthenticationSASL, in Postgres' order.
    pub fn mechanisms(&self) -> &'static [Mechanism] {
        match self.end_point {
            Some(_) => &[Mechanism::ScramSha256Plus, Mechanism::ScramSha256],
            None => &[Mechanism::ScramSha256],
        }
    }

    /// Takes the name in SASLInitialResponse. `None` if it was not offered: `08P01`, "client
    /// selected an invalid SASL authentication mechanism".
    pub fn select(self, name: &[u8]) -> Option<Selection> {
        let offered = self.mechanisms().iter().find(|offered| offered.name().as_bytes() == name)?;
        Some(Selection(match (offered, self.end_point) {
            (Mechanism::ScramSha256, None) => Binding::NotOffered,
            (Mechanism::ScramSha256, Some(_)) => Binding::Declined,
            (Mechanism::ScramSha256Plus, end_point) => Binding::EndPoint(end_point?),
        }))
    }
}

/// What a client has selected, for [`crate::Challenge::over`].
#[derive(Debug)]
pub struct Selection(pub(crate) Binding);

/// What the client's gs2 flag must agree with.
#[derive(Debug)]
pub(crate) enum Binding {
    /// SCRAM without binding, as nothing else was offered.
    NotOffered,
    /// SCRAM without binding, although it was offered.
    Declined,
    /// Bound to this.
    EndPoint(ServerEndPoint),
}

// === Towards servers ===

/// libpq's `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BindingPolicy {
    /// Never bind.
    Disable,
    /// Bind where server and certificate allow it.
    #[default]
    Prefer,
    /// Fail unless the server has proven, bound to its certificate, that it knows the verifier.
    Require,
}

/// The connection to a server.
#[derive(Debug, Clone)]
pub enum Channel {
    /// Without TLS.
    Plain,
    /// With TLS, and the hash of the server's certificate, if it has one.
    Tls(Option<ServerEndPoint>),
}

/// What is asked of a server, on one connection to it.
#[derive(Debug, Clone)]
pub struct ChannelBinding {
    policy: BindingPolicy,
    channel: Channel,
}

impl ChannelBinding {
    /// A policy over a connection.
    pub fn new(policy: BindingPolicy, channel: Channel) -> Self {
        Self { policy, channel }
    }

    /// Begins SCRAM with the best of the mechanisms that the server has offered.
    ///
    /// # Errors
    /// [`Error::NoMechanism`]; [`Error::BoundOutsideTls`], which only an impostor offers; and what
    /// [`BindingPolicy::Require`] cannot have: [`Error::BindingOutsideTls`],
    /// [`Error::BindingNotOffered`], [`Error::NoEndPoint`].
    pub fn begin<'a>(
        &self,
        login: Login,
        nonce: Nonce,
        offered: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<ClientFirst, Error> {
        let (mut plain, mut plus) = (false, false);
        for name in offered {
            plain |= name == Mechanism::ScramSha256.name().as_bytes();
            plus |= name == Mechanism::ScramSha256Plus.name().as_bytes();
        }
        let gs2 = self.choose(plain, plus)?;
        Ok(ClientFirst::over(gs2, login, nonce))
    }

    /// To be asked when a server lets us in without SCRAM, or wants anything but SCRAM.
    ///
    /// # Errors
    /// [`Error::Unbound`] with [`BindingPolicy::Require`].
    pub fn permit_unbound(&self) -> Result<(), Error> {
        match self.policy {
            BindingPolicy::Require => Err(Error::Unbound),
            BindingPolicy::Disable | BindingPolicy::Prefer => Ok(()),
        }
    }

    fn choose(&self, plain: bool, plus: bool) -> Result<Gs2, Error> {
        let end_point = match &self.channel {
            Channel::Plain if self.policy == BindingPolicy::Require => {
                return Err(Error::BindingOutsideTls);
            }
            Channel::Plain if plus => return Err(Error::BoundOutsideTls),
            Channel::Plain | Channel::Tls(None) => None,
            Channel::Tls(Some(end_point)) => Some(end_point),
        };
        let unbound = |gs2| if plain { Ok(gs2) } else { Err(Error::NoMechanism) };
        match (self.policy, end_point) {
            (BindingPolicy::Disable, _) | (BindingPolicy::Prefer, None) => unbound(Gs2::Unable),
            (_, Some(end_point)) if plus => Ok(Gs2::Bound(end_point.clone())),
            (BindingPolicy::Prefer, Some(_)) => unbound(Gs2::NotOffered),
            (BindingPolicy::Require, None) if plus => Err(Error::NoEndPoint),
            (BindingPolicy::Require, _) => Err(Error::BindingNotOffered),
        }
    }
}

/// The client's side of RFC 5802's channel-binding flag.
#[derive(Debug)]
pub(crate) enum Gs2 {
    /// `n`: we do not bind.
    Unable,
    /// `y`: we would, but the server has not offered it. If it has, somebody in between has
    /// taken it away, and the server sees that.
    NotOffered,
    /// `p`: we do.
    Bound(ServerEndPoint),
}

impl Gs2 {
    pub(crate) fn mechanism(&self) -> Mechanism {
        match self {
            Self::Unable | Self::NotOffered => Mechanism::ScramSha256,
            Self::Bound(_) => Mechanism::ScramSha256Plus,
        }
    }

    pub(crate) fn header(&self) -> &'static str {
        match self {
            Self::Unable => "n,,",
            Self::NotOffered => "y,,",
            Self::Bound(_) => BOUND_HEADER,
        }
    }

    /// What the attribute `c` carries, before base64.
    pub(crate) fn data(&self) -> Vec<u8> {
        match self {
            Self::Unable | Self::NotOffered => self.header().as_bytes().to_vec(),
            Self::Bound(end_point) => bound_data(end_point),
        }
    }
}

pub(crate) fn bound_data(end_point: &ServerEndPoint) -> Vec<u8> {
    [BOUND_HEADER.as_bytes(), end_point.as_bytes()].concat()
}

/// The one type of binding that Postgres has.
pub(crate) const BINDING_TYPE: &str = "tls-server-end-point";
const BOUND_HEADER: &str = "p=tls-server-end-point,,";

#[cfg(test)]
mod tests;
