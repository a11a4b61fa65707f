//! What clients say in OAUTHBEARER, tokens, and what issuers publish.

use std::time::Duration;

use auth::oauth::{Exchange, Issuer, KeySet, Policy, Received, TOKEN_MAX, verify};

/// The key of RFC 8037, appendix A, and another of each kind that only has to be well-formed.
const KEYS: &[u8] = br#"{"keys": [
    {"kty": "OKP", "crv": "Ed25519", "kid": "1",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty": "EC", "crv": "P-256", "kid": "2",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
]}"#;

/// A client's first message and, behind a line break, its second; a token; a set of keys; or an
/// issuer.
///
/// # Panics
/// Something is wrong.
pub fn run(data: &[u8]) {
    let keys = KeySet::parse(KEYS).expect("a good set of keys");
    let text = str::from_utf8(data).unwrap_or_default();
    if let Ok(issuer) = Issuer::new(text) {
        assert!(Issuer::new(issuer.document()).is_ok(), "no issuer of its own document");
    }
    judge(text, &keys);
    if let Ok(others) = KeySet::parse(data) {
        assert!(!others.is_empty() && others.len() <= 100, "as many keys as nobody has");
        judge(text, &others);
    }
    let mut lines = data.splitn(2, |&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let issuer = Issuer::new("https://id.example.com").expect("a good issuer");
    let Ok(received) = Exchange::new(&issuer, "db").receive(line().to_vec()) else { return };
    let refusing = match received {
        Received::Refused(refusing) => refusing,
        Received::Token(presented) => {
            let token = presented.token();
            assert!(!token.is_empty() && token.len() <= TOKEN_MAX && token.is_ascii());
            let Some(why) = judge(token, &keys) else { return };
            presented.refuse(why)
        }
    };
    assert!(refusing.message().len() < 200, "a long challenge");
    let answer = line();
    assert_eq!(refusing.receive(answer).is_ok(), answer == b"\x01");
}

fn judge(token: &str, keys: &KeySet) -> Option<auth::oauth::Rejection> {
    let audience = ["pgmesh".to_owned()];
    let policy = Policy {
        issuer: "https://id.example.com",
        audience: &audience,
        scope: "db",
        claim: "sub",
        clock_skew: Duration::from_secs(30),
    };
    verify(token, keys, &policy, Duration::from_secs(1_800_000_000)).err()
}
