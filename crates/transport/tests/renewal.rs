//! Files that change while connections use what was made of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;

use std::fs;
use std::path::Path;
use std::time::Duration;

use certificates::{Authority, client, exchange, meet, server};
use rcgen::{CertificateParams, date_time_ymd};
use transport::{ClientTls, Renewal, TlsMode};

/// As a rotation does it: a whole file takes the place of the old one.
fn replace(path: &Path, with: &Path) {
    let next = path.with_extension("next");
    fs::copy(with, &next).unwrap();
    fs::rename(next, path).unwrap();
}

#[tokio::test]
async fn a_new_certificate_serves_the_next_client_and_the_old_clients_stay() {
    let authority = Authority::new();
    let mut params = CertificateParams::new(vec!["db.example".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2031, 2, 3);
    let live = authority.sign_params("live", params.clone());
    params.not_after = date_time_ymd(2040, 5, 6);
    let next = authority.sign_params("next", params);

    let acceptor = server(TlsMode::Require, live.clone()).acceptor().unwrap();
    let connector = client(TlsMode::VerifyFull, Some(authority.ca())).connector().unwrap();
    let renewal = acceptor.clone().renewal();
    let (old_accepted, old_connected) = meet(&acceptor, &connector, "db.example").await;
    let (mut old_accepted, mut old_connected) = (old_accepted.unwrap(), old_connected.unwrap());
    assert_eq!(acceptor.certificate_not_after(), Some(1_927_843_200));
    assert!(renewal.refresh().is_none(), "nothing has changed");

    replace(&live.0, &next.0);
    let unfit = renewal.refresh().unwrap().unwrap_err().to_string();
    assert!(unfit.contains("live.crt") && unfit.contains("live.key"), "{unfit}");
    assert!(renewal.refresh().is_none(), "told once");
    let (accepted, connected) = meet(&acceptor, &connector, "db.example").await;
    exchange(&mut accepted.unwrap(), &mut connected.unwrap()).await.unwrap();
    assert_eq!(acceptor.certificate_not_after(), Some(1_927_843_200));

    replace(&live.1, &next.1);
    renewal.refresh().unwrap().unwrap();
    assert_eq!(acceptor.certificate_not_after(), Some(2_219_875_200));
    let (accepted, connected) = meet(&acceptor, &connector, "db.example").await;
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    exchange(&mut accepted, &mut connected).await.unwrap();
    assert!(!connected.is_resumed(), "the old ticket's key went with the old certificate");
    assert_eq!(accepted.server_certificate(), connected.server_certificate());
    assert_ne!(accepted.server_certificate(), old_accepted.server_certificate());
    assert_eq!(old_accepted.server_certificate(), old_connected.server_certificate());
    exchange(&mut old_accepted, &mut old_connected).await.unwrap();
}

#[tokio::test]
async fn authorities_change_on_both_sides() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = server(TlsMode::VerifyCa, ours.sign("server", "db.example"));
    let acceptor = transport::ServerTls { client_ca: Some(theirs.ca()), ..server };
    let acceptor = acceptor.acceptor().unwrap();
    let (certificate, key) = theirs.sign("client", "alice");
    let connector = ClientTls {
        certificate: Some(certificate),
        key: Some(key),
        ..client(TlsMode::VerifyCa, Some(ours.ca()))
    };
    let connector = connector.connector().unwrap();
    let works = async || match meet(&acceptor, &connector, "db.example").await {
        (Ok(mut accepted), Ok(mut connected)) => {
            exchange(&mut accepted, &mut connected).await.is_ok()
        }
        _ => false,
    };
    assert!(works().await);

    let stranger = Authority::new();
    let kept = ours.path("kept.crt");
    fs::copy(ours.ca(), &kept).unwrap();
    replace(&ours.ca(), &stranger.ca());
    assert!(works().await, "not looked at yet");
    connector.renewal().refresh().unwrap().unwrap();
    assert!(!works().await, "not resumed either");
    replace(&ours.ca(), &kept);
    connector.renewal().reload().unwrap();
    assert!(works().await);

    replace(&theirs.ca(), &stranger.ca());
    acceptor.renewal().refresh().unwrap().unwrap();
    assert!(!works().await);
    fs::remove_file(theirs.ca()).unwrap();
    let gone = acceptor.renewal().refresh().unwrap().unwrap_err().to_string();
    assert!(gone.contains("ca.crt"), "{gone}");
}

/// The clock is virtual, and stands while files are read.
#[tokio::test(start_paused = true)]
async fn the_files_are_followed() {
    let authority = Authority::new();
    let live = authority.sign("live", "db.example");
    let acceptor = server(TlsMode::Prefer, live.clone()).acceptor().unwrap();
    let connector = client(TlsMode::VerifyCa, Some(authority.ca())).connector().unwrap();
    let renewals = vec![acceptor.renewal(), connector.renewal()];
    let sections: Vec<_> = renewals.iter().map(Renewal::section).collect();
    assert_eq!(sections, ["[proxy.tls]", "[server.tls]"]);
    let period = Duration::from_secs(5);
    let following = tokio::spawn(transport::renew(renewals, period));

    let stranger = Authority::new();
    let next = stranger.sign("next", "db.example");
    replace(&live.1, &next.1);
    replace(&live.0, &next.0);
    fs::write(authority.ca(), "not a certificate").unwrap();
    tokio::time::sleep(2 * period).await;
    let (_, refused) = meet(&acceptor, &connector, "db.example").await;
    assert!(
        refused.unwrap_err().is_certificate(),
        "a new certificate, and the authority of before"
    );

    replace(&authority.ca(), &stranger.ca());
    tokio::time::sleep(2 * period).await;
    let (accepted, connected) = meet(&acceptor, &connector, "db.example").await;
    exchange(&mut accepted.unwrap(), &mut connected.unwrap()).await.unwrap();
    following.abort();
}
