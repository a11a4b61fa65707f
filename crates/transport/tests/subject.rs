//! The names in certificates, as OpenSSL and so Postgres reads them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;

use certificates::{Authority, client, meet, server};
use rcgen::{CertificateParams, DnType, DnValue, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use transport::{AlternativeName, CertificateError, ClientTls, ServerTls, Subject, TlsMode};

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A certificate made by OpenSSL, and its subject in OpenSSL's words.
fn made_by_openssl(directory: &Path, subject: &str) -> (Subject, String) {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("crt"), path("key"));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-utf8",
        "-keyout",
        &key,
        "-out",
        &certificate,
        "-subj",
        subject,
        "-addext",
        "subjectAltName=DNS:db.example,IP:10.0.0.1,IP:::1,email:a@b.example,URI:spiffe://a/b,\
         RID:1.2.3.4",
    ]);
    let shown =
        openssl(&["x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", &certificate]);
    let der = CertificateDer::from_pem_file(&certificate).unwrap();
    let shown = shown.trim_end_matches('\n').trim_start_matches("subject=").to_owned();
    (Subject::of(&der).unwrap(), shown)
}

#[test]
fn distinguished_names_are_written_as_openssl_writes_them() {
    let directory = tempfile::tempdir().unwrap();
    for (written, common_name) in [
        ("/CN=alice", Some("alice")),
        ("/DC=com/DC=example/O=Example, Inc./OU=a+CN=first/CN=second", Some("first")),
        ("/CN= edges \\\\ and = signs \"<>;#\\+ ", Some(" edges \\ and = signs \"<>;")),
        ("/CN=#hash/O=#", Some("#hash")),
        ("/C=CZ/ST=Žďár/L=日本/CN=zoë\u{7f}", Some("zoë\u{7f}")),
        ("/O=nobody/emailAddress=a@b.example", None),
        ("/1.2.3.4=unknown/serialNumber=7/UID=u/GN=g/SN=s/street=x/title=t/CN=c", Some("c")),
    ] {
        let (subject, shown) = made_by_openssl(directory.path(), written);
        assert_eq!(subject.distinguished_name, shown, "{written}");
        let expected = subject.common_name.as_deref();
        assert!(expected.is_some() == common_name.is_some(), "{written}");
        assert!(expected.unwrap_or("").starts_with(common_name.unwrap_or("")), "{expected:?}");
    }
}

#[test]
fn alternative_names_keep_their_kind_and_order() {
    let directory = tempfile::tempdir().unwrap();
    let (subject, _) = made_by_openssl(directory.path(), "/CN=alice");
    let expected = [
        AlternativeName::Dns("db.example".to_owned()),
        AlternativeName::Address(Ipv4Addr::new(10, 0, 0, 1).into()),
        AlternativeName::Address(Ipv6Addr::LOCALHOST.into()),
        AlternativeName::Email("a@b.example".to_owned()),
        AlternativeName::Uri("spiffe://a/b".to_owned()),
    ];
    assert_eq!(subject.alternative_names, expected);
}

#[test]
fn a_zero_byte_in_a_name_is_a_deception() {
    for (kind, value) in [
        (DnType::CommonName, "alice\0.evil"),
        (DnType::OrganizationName, "\0"),
        (DnType::CommonName, "alice"),
    ] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(kind, DnValue::Utf8String(value.to_owned()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let subject = Subject::of(certificate.der());
        assert_eq!(subject.is_ok(), value == "alice");
        assert!(subject.is_ok() || subject == Err(CertificateError::ZeroByte));
    }
    assert_eq!(Subject::of(b"\x30\x03abc"), Err(CertificateError::Malformed));
}

#[tokio::test]
async fn a_session_knows_whom_its_client_certificate_names() {
    let authority = Authority::new();
    let server = ServerTls {
        client_ca: Some(authority.ca()),
        ..server(TlsMode::Prefer, authority.sign("server", "db.example"))
    };
    let acceptor = server.acceptor().unwrap();
    let mut params = CertificateParams::new(vec!["laptop.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, "alice");
    let (certificate, key) = authority.sign_params("alice", params);
    let without = client(TlsMode::Require, None);
    let with = ClientTls { certificate: Some(certificate), key: Some(key), ..without.clone() };

    let connector = with.connector().unwrap();
    assert!(connector.certificate_not_after().is_some());
    let (accepted, connected) = meet(&acceptor, &connector, "db.example").await;
    let subject = accepted.unwrap().client_subject().unwrap().unwrap();
    assert_eq!(subject.common_name.as_deref(), Some("alice"));
    assert_eq!(subject.distinguished_name, "O=Example,CN=alice");
    assert_eq!(subject.alternative_names, [AlternativeName::Dns("laptop.example".to_owned())]);
    assert_eq!(connected.unwrap().client_subject(), Ok(None), "only of clients");

    let (accepted, _) = meet(&acceptor, &without.connector().unwrap(), "db.example").await;
    assert_eq!(accepted.unwrap().client_subject(), Ok(None));
}
