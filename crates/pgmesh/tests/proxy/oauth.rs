//! Logins by bearer tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testbed::{APP_USER, Pgmesh, Postgres};

use crate::certificates::Authority;
use crate::issuer::{Bearer, End, Issuer, Signer};
use crate::metrics::{eventually, sample, wait_for};
use crate::postgres;
use crate::proxy::Setup;

const NAME: &str = "https://id.example.com/realm";

/// In front of `postgres`, with TLS, taking tokens of `issuer`.
fn start(postgres: &Postgres, issuer: &Issuer) -> (Pgmesh, Authority) {
    let authority = Authority::new();
    let rules = format!(
        "[[hba]]\ntype = 'host'\nmethod = 'oauth'\n\
         options = ['issuer={NAME}', 'scope=openid db', 'map=people']\n\
         [[ident]]\nmap = 'people'\nsystem_user = '/^(.*)@example[.]com$'\ndatabase_user = '\\1'"
    );
    let oauth = format!("audience = ['pgmesh']\nclaim = 'email'\njwks_url = '{}'", issuer.url());
    let mesh = Setup::before(postgres)
        .without_users()
        .user(APP_USER.user, APP_USER.password, &rules)
        .with("proxy", "failed_login_delay = '0s'")
        .with("proxy.tls", &authority.sign_to_files(&["localhost"]))
        .with("auth.oauth", &oauth)
        .start();
    (mesh, authority)
}

/// Claims that do, in this second.
fn claims() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": NAME, "aud": ["pgmesh", "other"], "email": "app_user@example.com",
        "exp": now + 600, "nbf": now, "scope": "db openid",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn log_in(mesh: &Pgmesh, token: &str) -> End {
    Bearer::connect(mesh.port(), APP_USER.user).log_in(&format!("Bearer {token}"))
}

/// That a client was turned away with a challenge and with nothing that tells why.
fn assert_refused(end: &End, what: &str) {
    let End::Refused { challenge, state, message } = end else { panic!("{what}: {end:?}") };
    let expected = json!({
        "status": "invalid_token",
        "openid-configuration": format!("{NAME}/.well-known/openid-configuration"),
        "scope": "openid db",
    });
    assert_eq!(challenge.as_ref(), Some(&expected), "{what}");
    let generic = "OAuth bearer authentication failed for user \"app_user\"";
    assert_eq!((state.as_str(), message.as_str()), ("28000", generic), "{what}");
}

#[test]
fn a_token_lets_in_whom_it_names_and_nobody_hears_why_another_does_not() {
    let (signer, stranger) = (Signer::new("1"), Signer::new("1"));
    let issuer = Issuer::start(&[&signer]);
    let postgres = postgres();
    let (mesh, _authority) = start(&postgres, &issuer);
    let good = signer.token(&claims());
    eventually("the issuer's keys", || issuer.asked() > 0);
    assert_eq!(log_in(&mesh, &good), End::In(APP_USER.user.to_owned()));

    let (head, signature) = good.rsplit_once('.').unwrap();
    let refused = [
        ("expired", "expired", signer.token(&with("exp", json!(1_000_000_000)))),
        ("not_yet_valid", "not valid yet", signer.token(&with("nbf", json!(9_000_000_000_u64)))),
        ("audience", "wrong or missing audience", signer.token(&with("aud", json!("other")))),
        ("issuer", "wrong or missing issuer", signer.token(&with("iss", json!("https://id")))),
        ("scope", "missing scope", signer.token(&with("scope", json!("db")))),
        ("user", "no match in usermap", signer.token(&with("email", json!("bob@example.com")))),
        ("signature", "wrong signature", stranger.token(&claims())),
        ("algorithm", "algorithm is not one of", signer.forge_hs256(&claims())),
        ("malformed", "no signed JWT", signer.unsigned(&claims())),
        ("malformed", "malformed token", format!("{head}.")),
        ("malformed", "malformed token", signature.to_owned()),
    ];
    for (outcome, _, token) in &refused {
        assert_refused(&log_in(&mesh, token), outcome);
    }
    let log = mesh.log();
    for (outcome, reason, token) in &refused {
        let label = format!("outcome=\"{outcome}\"");
        assert!(sample(&mesh, "pgmesh_oauth_tokens_total", &label) >= 1.0, "{outcome}");
        assert!(log.contains(reason), "{outcome}: {log}");
        assert!(token.split('.').all(|part| part.is_empty() || !log.contains(part)), "{outcome}");
    }
    assert_eq!(sample(&mesh, "pgmesh_oauth_tokens_total", "outcome=\"accepted\""), 1.0);
    wait_for(&mesh, "pgmesh_refusals_total", "reason=\"authentication\"", 11.0);
}

#[test]
fn a_key_that_is_not_known_is_asked_for_and_not_too_often() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let issuer = Issuer::start(&[&old]);
    let postgres = postgres();
    let (mesh, _authority) = start(&postgres, &issuer);
    assert_eq!(log_in(&mesh, &old.token(&claims())), End::In(APP_USER.user.to_owned()));
    issuer.publish(&[&new]);
    let mut tries = 0;
    eventually("the new key", || {
        tries += 1;
        log_in(&mesh, &new.token(&claims())) == End::In(APP_USER.user.to_owned())
    });
    // One at the start, and one for all those who came with the new key.
    assert_eq!(issuer.asked(), 2, "{tries} logins");
    assert_refused(&log_in(&mesh, &old.token(&claims())), "a key that was withdrawn");
    assert_eq!(sample(&mesh, "pgmesh_oauth_key_fetches_total", "outcome=\"done\""), 2.0);

    // An issuer that is away keeps nobody out who has a key of it.
    drop(issuer);
    assert_eq!(log_in(&mesh, &new.token(&claims())), End::In(APP_USER.user.to_owned()));
}

#[test]
fn a_client_without_a_token_hears_where_there_are_some() {
    let signer = Signer::new("1");
    let issuer = Issuer::start(&[&signer]);
    let postgres = postgres();
    let (mesh, _authority) = start(&postgres, &issuer);
    assert_refused(&Bearer::connect(mesh.port(), APP_USER.user).log_in(""), "discovery");
    wait_for(&mesh, "pgmesh_oauth_tokens_total", "outcome=\"discovery\"", 1.0);
    // Without TLS there is not even that.
    let mut psql = mesh.app().command("psql").unwrap();
    let output = psql.env("PGSSLMODE", "disable").args(["-X", "-c", "SELECT 1"]).output().unwrap();
    let refused = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(refused.contains("requires an encrypted connection"), "{refused}");
    assert!(refused.contains("sslmode=require"), "{refused}");
}

#[test]
fn garbage_in_the_exchange_ends_it() {
    let signer = Signer::new("1");
    let issuer = Issuer::start(&[&signer]);
    let postgres = postgres();
    let (mesh, _authority) = start(&postgres, &issuer);
    let first = |mechanism: &str, message: &[u8]| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [mechanism.as_bytes(), b"\0", &length, message].concat()
    };
    let long = ["n,,\x01auth=Bearer ", &"a".repeat(1 << 20), "\x01\x01"].concat();
    let cases = [
        (first("SCRAM-SHA-256", b"n,,n=,r=x"), "client selected an invalid SASL"),
        (first("OAUTHBEARER", b""), "malformed OAUTHBEARER message"),
        (first("OAUTHBEARER", b"n,,\x01\x01"), "malformed OAUTHBEARER message"),
        (first("OAUTHBEARER", b"p=x,,\x01auth=\x01\x01"), "malformed OAUTHBEARER message"),
        (first("OAUTHBEARER", b"n,,\x01auth=Bearer \xff\x01\x01"), "malformed OAUTHBEARER message"),
        (first("OAUTHBEARER", b"n,,\x01auth=Bearer x\x01\x01\0"), "malformed OAUTHBEARER message"),
        (b"OAUTHBEARER".to_vec(), "malformed"),
        (b"OAUTHBEARER\0\0\0\0\xffx".to_vec(), "malformed"),
        (first("OAUTHBEARER", long.as_bytes()), "invalid message length"),
    ];
    for (message, expected) in cases {
        let end = Bearer::connect(mesh.port(), APP_USER.user).answer(&message);
        let End::Refused { challenge: None, state, message } = end else { panic!("{end:?}") };
        assert_eq!(state, "08P01", "{message}");
        assert!(message.contains(expected), "{message}");
    }
    // An answer to the challenge that says something.
    let mut client = Bearer::connect(mesh.port(), APP_USER.user);
    client.send(b'p', &first("OAUTHBEARER", b"n,,\x01auth=\x01\x01"));
    assert_eq!(client.read().unwrap().0, b'R');
    let End::Refused { state, .. } = client.answer(b"\x01auth=Bearer x\x01\x01") else { panic!() };
    assert_eq!(state, "08P01");
    // The mechanism alone, and the rest when it is asked for.
    let mut client = Bearer::connect(mesh.port(), APP_USER.user);
    client.send(b'p', b"OAUTHBEARER\0\xff\xff\xff\xff");
    assert_eq!(client.read().unwrap(), (b'R', vec![0, 0, 0, 11]));
    let token = format!("n,,\x01auth=Bearer {}\x01\x01", signer.token(&claims()));
    assert_eq!(client.answer(token.as_bytes()), End::In(APP_USER.user.to_owned()));
}

#[test]
fn an_issuer_that_never_answered_keeps_clients_out_and_nobody_from_starting() {
    let signer = Signer::new("1");
    let issuer = Issuer::start(&[&signer]);
    let url = issuer.url();
    drop(issuer);
    let postgres = postgres();
    let away = Issuer::at(&url);
    let (mesh, _authority) = start(&postgres, &away);
    let label = "outcome=\"failed\"";
    eventually("a fetch that failed", || {
        sample(&mesh, "pgmesh_oauth_key_fetches_total", label) >= 1.0
    });
    assert_refused(&log_in(&mesh, &signer.token(&claims())), "no keys");
    let label = "outcome=\"no_keys\"";
    assert_eq!(sample(&mesh, "pgmesh_oauth_tokens_total", label), 1.0);
    assert!(mesh.log().contains("cannot be had"));
}
