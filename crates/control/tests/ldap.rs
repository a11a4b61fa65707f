//! Passwords checked by a real OpenLDAP, and by what only says that it is one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::time::Duration;

use auth::Secret;
use auth::hba::{Ldap, Method, Rules};
use control::ldap::{Config, Directory, Failure, LdapResult, Refusal, Verdict};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use testbed::{ServerTls, Slapd, SlapdOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Longer than anything takes here, even on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn slapd(people: &[(&str, &str)], tls: Option<ServerTls>) -> Slapd {
    let people = people.iter().map(|&(name, password)| (name.to_owned(), password.to_owned()));
    Slapd::start(&SlapdOptions { people: people.collect(), tls }).unwrap()
}

/// The options of a rule, read as they are in a file.
fn rule(options: &str) -> Ldap {
    let rules = Rules::parse(&format!("host all all all ldap {options}")).unwrap();
    match &rules.iter().next().unwrap().method {
        Method::Ldap(ldap) => ldap.as_ref().clone(),
        other => panic!("{other:?}"),
    }
}

fn simple(port: u16) -> String {
    format!(
        "ldapserver=127.0.0.1 ldapport={port} ldapprefix=uid= ldapsuffix=\",{}\"",
        Slapd::PEOPLE
    )
}

fn search(port: u16, more: &str) -> String {
    format!(
        "ldapserver=127.0.0.1 ldapport={port} ldapbasedn=\"{}\" ldapbinddn=\"{}\" \
         ldapbindpasswd={} {more}",
        Slapd::BASE,
        Slapd::SEARCHER,
        Slapd::SEARCHER_PASSWORD
    )
}

fn directory() -> Directory {
    Directory::new(Config { timeout: LONG, ca: None }).unwrap()
}

async fn check(directory: &Directory, options: &str, user: &str, password: &str) -> Verdict {
    directory.check(&rule(options), user, &Secret::new(password)).await.unwrap()
}

async fn failure(directory: &Directory, options: &str) -> Failure {
    directory.check(&rule(options), "bob", &Secret::new("pw")).await.unwrap_err()
}

fn is_wrong_password(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Refused(Refusal::Password(LdapResult { code: 49, .. })))
}

#[tokio::test]
async fn a_bind_at_once_takes_the_right_password_only() {
    let slapd = slapd(&[("bob", "pw"), ("a, b+c=d", "other")], None);
    let (directory, options) = (directory(), simple(slapd.port()));
    assert_eq!(check(&directory, &options, "bob", "pw").await, Verdict::Accepted);
    for (user, password) in [("bob", "wrong"), ("nobody", "pw"), ("bob", "other"), ("bo*", "pw")] {
        let verdict = check(&directory, &options, user, password).await;
        assert!(is_wrong_password(&verdict), "{user}: {verdict:?}");
    }
    // One value, whatever it has in it; and no way out of it to another entry.
    assert_eq!(check(&directory, &options, "a, b+c=d", "other").await, Verdict::Accepted);
    let shorter = options.replace("ou=people,", "");
    let out = check(&directory, &shorter, "bob,ou=people", "pw").await;
    assert!(is_wrong_password(&out), "{out:?}");
}

#[tokio::test]
async fn a_search_finds_who_binds() {
    let people = [("bob", "pw"), ("twice", "one"), ("twice", "two")];
    let slapd = slapd(&people, None);
    let directory = directory();
    for more in [
        "",
        "ldapsearchattribute=sn",
        "\"ldapsearchfilter=(&(objectClass=person)(|(mail=$username@*)(cn=$username)))\"",
    ] {
        let options = search(slapd.port(), more);
        assert_eq!(check(&directory, &options, "bob", "pw").await, Verdict::Accepted, "{more}");
        assert!(is_wrong_password(&check(&directory, &options, "bob", "wrong").await));
        let nobody = check(&directory, &options, "nobody", "pw").await;
        assert_eq!(nobody, Verdict::Refused(Refusal::NoEntry));
        for unfit in ["*", "*)(", "b*b", "bob)(uid=*", "\\62ob", "a/b"] {
            let verdict = check(&directory, &options, unfit, "pw").await;
            assert_eq!(verdict, Verdict::Refused(Refusal::UnfitName), "{unfit}");
        }
    }
    let twice = check(&directory, &search(slapd.port(), ""), "twice", "one").await;
    assert_eq!(twice, Verdict::Refused(Refusal::SeveralEntries));
    // The people are one level further down.
    let one = format!(
        "ldapurl=ldap://127.0.0.1:{}/{}?uid?one ldapbinddn={} ldapbindpasswd={}",
        slapd.port(),
        Slapd::BASE.replace(',', "%2c"),
        format_args!("\"{}\"", Slapd::SEARCHER),
        Slapd::SEARCHER_PASSWORD
    );
    let one = one.replace("ldapurl=", "\"ldapurl=").replace(" ldapbinddn", "\" ldapbinddn");
    let verdict = check(&directory, &one, "bob", "pw").await;
    assert_eq!(verdict, Verdict::Refused(Refusal::NoEntry));
}

#[tokio::test]
async fn who_searches_must_be_let_in_and_the_user_is_not_blamed() {
    let slapd = slapd(&[("bob", "pw")], None);
    let wrong = search(slapd.port(), "").replace(Slapd::SEARCHER_PASSWORD, "wrong");
    let failed = failure(&directory(), &wrong).await;
    assert!(failed.to_string().contains("the bind of ldapbinddn: invalidCredentials (49)"));
    // Nobody searches for the anonymous: the base is hidden from them.
    let anonymous =
        format!("ldapserver=127.0.0.1 ldapport={} ldapbasedn=\"{}\"", slapd.port(), Slapd::BASE);
    let failed = failure(&directory(), &anonymous).await.to_string();
    assert!(failed.contains("the search: noSuchObject (32)"), "{failed}");
}

/// The server takes a name without a password for somebody anonymous, and says yes.
#[tokio::test]
async fn an_empty_password_is_refused_before_a_server_is_asked() {
    let mut slapd = slapd(&[("bob", "pw")], None);
    let directory = directory();
    for options in [simple(slapd.port()), search(slapd.port(), "")] {
        let verdict = check(&directory, &options, "bob", "").await;
        assert_eq!(verdict, Verdict::Refused(Refusal::EmptyPassword));
    }
    let options = simple(slapd.port());
    slapd.kill();
    let verdict = check(&directory, &options, "bob", "").await;
    assert_eq!(verdict, Verdict::Refused(Refusal::EmptyPassword));
}

/// An authority in a directory, and a certificate of it.
fn authority(host: &str) -> (tempfile::TempDir, PathBuf, ServerTls) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.crt");
    std::fs::write(&ca, issuer.pem()).unwrap();
    (directory, ca, ServerTls { certificate, key: key.serialize_pem(), client_ca: None })
}

#[tokio::test]
async fn tls_is_verified_in_both_its_forms() {
    let (_files, ca, tls) = authority("127.0.0.1");
    let (_others_files, others, _) = authority("127.0.0.1");
    let slapd = slapd(&[("bob", "pw")], Some(tls));
    let forms = [
        format!("{} ldaptls=1", search(slapd.port(), "")),
        format!("{} ldapscheme=ldaps", simple(slapd.tls_port())),
    ];
    let with = |ca| Directory::new(Config { timeout: LONG, ca: Some(ca) }).unwrap();
    let right = with(ca);
    for options in &forms {
        assert_eq!(check(&right, options, "bob", "pw").await, Verdict::Accepted, "{options}");
        assert!(is_wrong_password(&check(&right, options, "bob", "wrong").await));
        // The certificate is not for this name.
        let named = options.replace("127.0.0.1", "localhost");
        let failed = failure(&right, &named).await.to_string();
        assert!(failed.contains("not valid for"), "{failed}");
        for wrong in [with(others.clone()), directory()] {
            let failed = failure(&wrong, options).await;
            let expected = matches!(failed, Failure::Tls(_) | Failure::Authorities(_));
            assert!(expected, "{failed}");
        }
    }
    let failed = Directory::new(Config { timeout: LONG, ca: Some("/nowhere".into()) }).unwrap_err();
    assert!(failed.to_string().contains("/nowhere"));
}

#[tokio::test]
async fn a_server_without_tls_is_told_no_password() {
    let slapd = slapd(&[("bob", "pw")], None);
    let options = format!("{} ldaptls=1", simple(slapd.port()));
    let (_files, ca, _) = authority("127.0.0.1");
    let directory = Directory::new(Config { timeout: LONG, ca: Some(ca) }).unwrap();
    let failed = failure(&directory, &options).await.to_string();
    assert!(failed.contains("the server refused StartTLS"), "{failed}");
}

#[tokio::test]
async fn servers_are_asked_one_after_the_other() {
    let mut slapd = slapd(&[("bob", "pw")], None);
    let directory = directory();
    // Nothing listens at the first; the second has the answer, and no third is asked.
    let several = simple(slapd.port()).replace("127.0.0.1", "\"127.0.0.9 127.0.0.1 127.0.0.8\"");
    assert_eq!(check(&directory, &several, "bob", "pw").await, Verdict::Accepted);
    assert!(is_wrong_password(&check(&directory, &several, "bob", "wrong").await));
    slapd.kill();
    assert!(matches!(failure(&directory, &several).await, Failure::Connect(_)));
    slapd.restart().unwrap();
    assert_eq!(check(&directory, &several, "bob", "pw").await, Verdict::Accepted);
}

#[tokio::test]
async fn a_server_that_hangs_leaves_time_for_the_next() {
    let mut hung = slapd(&[("bob", "pw")], None);
    hung.freeze();
    let short = Directory::new(Config { timeout: Duration::from_millis(300), ca: None }).unwrap();
    assert!(matches!(failure(&short, &simple(hung.port())).await, Failure::Timeout));
    // Both at one port, of which only one answers.
    let silent = TcpListener::bind(("127.0.0.2", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let answering = Fake::listen(port, &[BOUND]).await;
    let config = Config { timeout: Duration::from_secs(2), ca: None };
    let both = simple(port).replace("127.0.0.1", "\"127.0.0.2 127.0.0.1\"");
    let verdict = check(&Directory::new(config).unwrap(), &both, "bob", "pw").await;
    assert_eq!(verdict, Verdict::Accepted);
    answering.finish().await;
}

/// Says the same to everybody, whatever it is asked.
struct Fake {
    port: u16,
    task: tokio::task::JoinHandle<Vec<u8>>,
}

/// The first request has succeeded.
const BOUND: &[u8] = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";

impl Fake {
    async fn start(answers: &[&[u8]]) -> Self {
        Self::listen(0, answers).await
    }

    /// Gives one answer to each of the first client's requests, then closes; what it was told
    /// comes back.
    async fn listen(port: u16, answers: &[&[u8]]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Vec<Vec<u8>> = answers.iter().map(|it| it.to_vec()).collect();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            for answer in answers {
                if stream.read_buf(&mut heard).await.unwrap() == 0 {
                    break;
                }
                stream.write_all(&answer).await.unwrap();
            }
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut heard).await;
            heard
        });
        Self { port, task }
    }

    async fn finish(self) -> Vec<u8> {
        self.task.await.unwrap()
    }
}

#[tokio::test]
async fn a_hostile_server_gets_nothing_but_an_error() {
    let entry = b"\x30\x0d\x02\x01\x02\x64\x08\x04\x04cn=x\x30\x00";
    let reference = b"\x30\x0b\x02\x01\x02\x73\x06\x04\x04ldap".repeat(200);
    let nested = b"\x30\x82\x20\x00".repeat(3000);
    for (answers, expected) in [
        // Not LDAP, too long, endless, or not closed.
        (vec![&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]], "malformed"),
        (vec![&b"\x30\x84\x7f\xff\xff\xff"[..]], "malformed"),
        (vec![&b"\x30\x80\x02\x01\x01"[..]], "malformed"),
        (vec![&b"\x30\x00"[..]], "malformed"),
        (vec![&nested[..]], "malformed"),
        (vec![&b"\x30\x0c\x02\x01"[..]], "connection lost"),
        (vec![], "connection lost"),
        // The answer to another question, or another answer.
        (vec![&b"\x30\x0c\x02\x01\x09\x61\x07\x0a\x01\x00\x04\x00\x04\x00"[..]], "out of place"),
        (vec![&entry[..]], "out of place"),
        (
            vec![&b"\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00"[..]],
            "unavailable (52)",
        ),
        (vec![&b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x0a\x04\x00\x04\x00"[..]], "not followed"),
        // Searches that do not end, or end in an answer to a bind.
        (vec![BOUND, &reference[..]], "out of place"),
        (vec![BOUND, BOUND], "out of place"),
    ] {
        let fake = Fake::start(&answers).await;
        let failed = failure(&directory(), &search(fake.port, "")).await.to_string();
        assert!(failed.contains(expected), "{expected}: {failed}");
        fake.task.abort();
    }
}

/// An entry without a name would be bound to as somebody anonymous.
#[tokio::test]
async fn an_entry_without_a_name_is_nobody() {
    let nameless = b"\x30\x09\x02\x01\x02\x64\x04\x04\x00\x30\x00\
        \x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
    let fake = Fake::start(&[BOUND, nameless]).await;
    let verdict = check(&directory(), &search(fake.port, ""), "bob", "pw").await;
    assert_eq!(verdict, Verdict::Refused(Refusal::NoEntry));
    fake.finish().await;
}

/// What follows the answer to StartTLS was not said inside TLS.
#[tokio::test]
async fn nothing_may_be_stuffed_ahead_of_tls() {
    let yes = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
    let bound = b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
    let fake = Fake::start(&[&[&yes[..], bound].concat()]).await;
    let (_files, ca, _) = authority("127.0.0.1");
    let directory = Directory::new(Config { timeout: LONG, ca: Some(ca) }).unwrap();
    let failed = failure(&directory, &format!("{} ldaptls=1", simple(fake.port))).await;
    assert!(matches!(failed, Failure::Unencrypted), "{failed}");
    let heard = fake.finish().await;
    assert!(!heard.windows(2).any(|two| two == b"pw"), "the password is still ours");
}
