//! Every combination of what is offered, wanted and said.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wire::SqlState;

use super::*;
use crate::{Challenge, ScramKeys, Secret, ServerFirst, Verifier};

const PEM: &str = include_str!("../../testdata/ecdsa_sha256.pem");
const OTHER: &str = include_str!("../../testdata/ecdsa_sha384.pem");

fn end_point(pem: &str) -> ServerEndPoint {
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    ServerEndPoint::of_certificate(&STANDARD.decode(lines).unwrap()).unwrap()
}

fn login() -> Login {
    Login::Password { password: Secret::new("secret"), cached: None }
}

fn challenge(offer: Offer, mechanism: Mechanism) -> Challenge {
    let verifier = Verifier::derive(&Secret::new("secret"), b"salty", 2);
    let selection = offer.select(mechanism.name().as_bytes()).unwrap();
    Challenge::known(Arc::new(verifier)).over(selection)
}

fn begin(binding: &ChannelBinding, offered: &[Mechanism]) -> Result<ClientFirst, Error> {
    let names = offered.iter().map(|mechanism| mechanism.name().as_bytes());
    binding.begin(login(), Nonce::new([1; 18]), names)
}

/// A whole exchange between a client that was shown one certificate and a server that has one.
fn exchange(
    policy: BindingPolicy,
    shown: Channel,
    has: Option<ServerEndPoint>,
) -> Result<(Mechanism, ScramKeys), Error> {
    let offer = Offer::new(has);
    let client = begin(&ChannelBinding::new(policy, shown), offer.mechanisms())?;
    let mechanism = client.mechanism();
    let server = challenge(offer, mechanism);
    let server = server.receive(client.message().as_bytes(), Nonce::new([2; 18]))?;
    let client = client.receive(server.message().as_bytes())?;
    let server = server.receive(client.message().as_bytes())?;
    Ok((mechanism, client.receive(server.message().as_bytes())?))
}

#[test]
fn both_sides_bind_where_they_can_and_the_client_wants_to() {
    use BindingPolicy::{Disable, Prefer, Require};
    use Mechanism::{ScramSha256, ScramSha256Plus};
    let tls = || Channel::Tls(Some(end_point(PEM)));
    let hashless = || Channel::Tls(None);
    let cases = [
        (Disable, Channel::Plain, None, Ok(ScramSha256)),
        (Prefer, Channel::Plain, None, Ok(ScramSha256)),
        (Require, Channel::Plain, None, Err(Error::BindingOutsideTls)),
        (Disable, tls(), Some(PEM), Ok(ScramSha256)),
        (Prefer, tls(), Some(PEM), Ok(ScramSha256Plus)),
        (Require, tls(), Some(PEM), Ok(ScramSha256Plus)),
        // A server that does not offer it: older than 11, or with an Ed25519 certificate.
        (Disable, tls(), None, Ok(ScramSha256)),
        (Prefer, tls(), None, Ok(ScramSha256)),
        (Require, tls(), None, Err(Error::BindingNotOffered)),
        // A server that offers it whatever its certificate, as Postgres does.
        (Disable, hashless(), Some(PEM), Ok(ScramSha256)),
        (Prefer, hashless(), Some(PEM), Ok(ScramSha256)),
        (Require, hashless(), Some(PEM), Err(Error::NoEndPoint)),
        (Require, hashless(), None, Err(Error::BindingNotOffered)),
        // Somebody in between with a certificate of his own.
        (Prefer, tls(), Some(OTHER), Err(Error::BindingMismatch)),
        (Require, tls(), Some(OTHER), Err(Error::BindingMismatch)),
        // Without TLS nobody can offer it honestly.
        (Prefer, Channel::Plain, Some(PEM), Err(Error::BoundOutsideTls)),
    ];
    for (policy, shown, has, expected) in cases {
        let what = format!("{policy:?} {shown:?} {}", has.is_some());
        let outcome = exchange(policy, shown, has.map(end_point));
        assert_eq!(outcome.map(|(mechanism, _)| mechanism), expected, "{what}");
    }
}

#[test]
fn taking_the_offer_away_is_a_downgrade_that_the_server_sees() {
    let binding = ChannelBinding::new(BindingPolicy::Prefer, Channel::Tls(Some(end_point(PEM))));
    let client = begin(&binding, &[Mechanism::ScramSha256]).unwrap();
    assert!(client.message().starts_with("y,,"));
    let server = challenge(Offer::new(Some(end_point(PEM))), Mechanism::ScramSha256);
    let refused = server.receive(client.message().as_bytes(), Nonce::new([2; 18])).unwrap_err();
    assert_eq!(refused, Error::Downgrade);
    let fatal = refused.fatal("alice");
    assert_eq!(fatal.state, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert_eq!(fatal.message, "SCRAM channel binding negotiation error");
}

#[test]
fn the_flag_agrees_with_the_mechanism() {
    use Mechanism::{ScramSha256, ScramSha256Plus};
    let receive = |has: Option<&str>, mechanism, message: &str| {
        let server = challenge(Offer::new(has.map(end_point)), mechanism);
        server.receive(message.as_bytes(), Nonce::new([2; 18])).map(drop)
    };
    let bound = "p=tls-server-end-point,,n=,r=abc";
    let cases = [
        (None, ScramSha256, "n,,n=,r=abc", Ok(())),
        (None, ScramSha256, "y,,n=,r=abc", Ok(())),
        (None, ScramSha256, bound, Err(Error::BindingUnexpected)),
        (Some(PEM), ScramSha256, "n,,n=,r=abc", Ok(())),
        (Some(PEM), ScramSha256, "y,,n=,r=abc", Err(Error::Downgrade)),
        (Some(PEM), ScramSha256, bound, Err(Error::BindingUnexpected)),
        (Some(PEM), ScramSha256Plus, bound, Ok(())),
        (Some(PEM), ScramSha256Plus, "n,,n=,r=abc", Err(Error::BindingMissing)),
        (Some(PEM), ScramSha256Plus, "y,,n=,r=abc", Err(Error::BindingMissing)),
        (Some(PEM), ScramSha256Plus, "p=tls-unique,,n=,r=abc", Err(Error::BindingType)),
        (Some(PEM), ScramSha256Plus, "p=,,n=,r=abc", Err(Error::BindingType)),
        (
            Some(PEM),
            ScramSha256Plus,
            "p,,n=,r=abc",
            Err(Error::Malformed("unexpected channel-binding flag")),
        ),
        (
            Some(PEM),
            ScramSha256Plus,
            "p=tls-server-end-point,a=x,n=,r=abc",
            Err(Error::AuthorizationIdentity),
        ),
    ];
    for (has, mechanism, message, expected) in cases {
        assert_eq!(receive(has, mechanism, message), expected, "{mechanism:?} {message}");
    }
}

/// A server-first-message over TLS with the client-first-message `p=tls-server-end-point,,n=,r=abc`.
fn bound_server() -> ServerFirst {
    let server = challenge(Offer::new(Some(end_point(PEM))), Mechanism::ScramSha256Plus);
    server.receive(b"p=tls-server-end-point,,n=,r=abc", Nonce::new([2; 18])).unwrap()
}

#[test]
fn nothing_but_the_certificates_own_hash_is_bound_to() {
    let nonce = Nonce::new([2; 18]).text();
    let header = b"p=tls-server-end-point,,".to_vec();
    let hash = end_point(PEM).as_bytes().to_vec();
    let attributes = [
        b"n,,".to_vec(),
        b"y,,".to_vec(),
        header.clone(),
        [&header[..], &hash[..31]].concat(),
        [&header[..], &hash, &[0]].concat(),
        [&header[..], end_point(OTHER).as_bytes()].concat(),
        Vec::new(),
    ];
    let last = |data: &[u8]| {
        let proof = STANDARD.encode([0; 32]);
        format!("c={},r=abc{nonce},p={proof}", STANDARD.encode(data))
    };
    for data in attributes {
        let refused = bound_server().receive(last(&data).as_bytes()).unwrap_err();
        assert_eq!(refused, Error::BindingMismatch, "{}", data.escape_ascii());
        let fatal = refused.fatal("alice");
        assert_eq!(fatal.state, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    }
    let right = last(&[header, hash].concat());
    assert_eq!(bound_server().receive(right.as_bytes()).unwrap_err(), Error::WrongPassword);
}

#[test]
fn a_server_offers_and_a_client_picks_only_what_both_have() {
    let names = |offer: &Offer| -> Vec<_> {
        offer.mechanisms().iter().map(|mechanism| mechanism.name()).collect()
    };
    let (plain, tls) = (Offer::new(None), Offer::new(Some(end_point(PEM))));
    assert_eq!(names(&plain), ["SCRAM-SHA-256"]);
    assert_eq!(names(&tls), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    assert!(plain.select(b"SCRAM-SHA-256-PLUS").is_none());
    for unknown in [&b""[..], b"SCRAM-SHA-1", b"scram-sha-256", b"SCRAM-SHA-256-PLUS "] {
        assert!(tls.clone().select(unknown).is_none());
    }

    for policy in [BindingPolicy::Disable, BindingPolicy::Prefer] {
        let binding = ChannelBinding::new(policy, Channel::Tls(None));
        assert_eq!(begin(&binding, &[]).unwrap_err(), Error::NoMechanism);
        let only_plus = begin(&binding, &[Mechanism::ScramSha256Plus]);
        assert_eq!(only_plus.unwrap_err(), Error::NoMechanism);
        assert_eq!(binding.permit_unbound(), Ok(()));
    }
    let binding = ChannelBinding::new(BindingPolicy::Require, Channel::Tls(Some(end_point(PEM))));
    assert_eq!(binding.permit_unbound(), Err(Error::Unbound));
    let only_plus = begin(&binding, &[Mechanism::ScramSha256Plus]).unwrap();
    assert_eq!(only_plus.mechanism(), Mechanism::ScramSha256Plus);
}

#[test]
fn disclosed_keys_log_in_over_a_bound_channel_too() {
    let tls = || Channel::Tls(Some(end_point(PEM)));
    let (_, keys) = exchange(BindingPolicy::Require, tls(), Some(end_point(PEM))).unwrap();
    let binding = ChannelBinding::new(BindingPolicy::Require, tls());
    let names = [Mechanism::ScramSha256Plus.name().as_bytes()];
    let client = binding.begin(Login::Keys(keys), Nonce::new([1; 18]), names).unwrap();
    let server = challenge(Offer::new(Some(end_point(PEM))), client.mechanism());
    let server = server.receive(client.message().as_bytes(), Nonce::new([2; 18])).unwrap();
    let client = client.receive(server.message().as_bytes()).unwrap();
    server.receive(client.message().as_bytes()).unwrap();
}
