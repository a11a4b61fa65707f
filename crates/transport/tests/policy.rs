//! Versions, ciphers and groups are agreed on among those that are configured.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;

use certificates::{Authority, client, meet, server};
use transport::{ClientTls, Policy, Protocol, ServerTls, TlsMode};

fn policy(protocols: &[Protocol], ciphers: &[&str], groups: &[&str]) -> Policy {
    let ciphers = ciphers.iter().map(|name| name.parse().unwrap()).collect();
    let groups = groups.iter().map(|name| name.parse().unwrap()).collect();
    Policy::new(protocols.to_vec(), ciphers, groups).unwrap()
}

/// The version and the cipher of a session, if the two sides find one.
async fn agreed(
    authority: &Authority,
    ours: Policy,
    theirs: Policy,
) -> Option<(&'static str, &'static str)> {
    let pair = authority.sign("server", "db.example");
    let server = ServerTls { policy: ours, ..server(TlsMode::Prefer, pair) };
    let client = ClientTls { policy: theirs, ..client(TlsMode::Require, None) };
    let (acceptor, connector) = (server.acceptor().unwrap(), client.connector().unwrap());
    let (accepted, connected) = meet(&acceptor, &connector, "db.example").await;
    let accepted = accepted.ok()?;
    assert_eq!(accepted.cipher(), connected.ok()?.cipher());
    Some((accepted.tls_version()?, accepted.cipher()?))
}

#[tokio::test]
async fn a_version_is_taken_from_both_sides_and_refused_by_either() {
    let authority = Authority::new();
    let old = || policy(&[Protocol::Tls12], &[], &[]);
    let new = || policy(&[Protocol::Tls13], &[], &[]);
    let version = |agreed: Option<(&'static str, _)>| agreed.map(|(version, _)| version);
    for (ours, theirs, expected) in [
        (Policy::default(), Policy::default(), Some("TLSv1.3")),
        (Policy::default(), old(), Some("TLSv1.2")),
        (old(), Policy::default(), Some("TLSv1.2")),
        (new(), old(), None),
        (old(), new(), None),
    ] {
        let text = format!("{ours:?} {theirs:?}");
        assert_eq!(version(agreed(&authority, ours, theirs).await), expected, "{text}");
    }
}

#[tokio::test]
async fn only_the_named_ciphers_and_groups_are_taken() {
    let authority = Authority::new();
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let one = agreed(&authority, policy(&[], &[suite], &[]), Policy::default()).await;
    assert_eq!(one, Some(("TLSv1.2", suite)));
    let other = policy(&[], &["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"], &[]);
    assert_eq!(agreed(&authority, policy(&[], &[suite], &[]), other).await, None);

    let (p256, p384) = (policy(&[], &[], &["prime256v1"]), policy(&[], &[], &["secp384r1"]));
    assert!(agreed(&authority, p384.clone(), Policy::default()).await.is_some());
    assert_eq!(agreed(&authority, p256, p384).await, None);
}
