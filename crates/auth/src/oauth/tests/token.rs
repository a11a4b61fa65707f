//! Which tokens do.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::sign::{Signer, base64};
use crate::oauth::{KeySet, KeySetError, Policy, Rejection, TOKEN_MAX, verify};

const NOW: u64 = 1_800_000_000;
const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

fn audience() -> Vec<String> {
    vec!["pgmesh".to_owned(), "postgres".to_owned()]
}

fn policy(audience: &[String]) -> Policy<'_> {
    Policy {
        issuer: "https://id.example.com/realm",
        audience,
        scope: "db  openid",
        claim: "sub",
        clock_skew: Duration::from_secs(30),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example.com/realm", "aud": "pgmesh", "sub": "alice",
        "exp": NOW + 60, "nbf": NOW - 60, "scope": "openid db profile",
    })
}

fn header(algorithm: &str, id: &str) -> Value {
    json!({"alg": algorithm, "kid": id, "typ": "at+jwt"})
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn check(token: &str, keys: &KeySet) -> Result<String, Rejection> {
    verify(token, keys, &policy(&audience()), Duration::from_secs(NOW))
}

/// What becomes of a good token with some claims replaced; `null` removes one.
fn with(changes: Value) -> Result<String, Rejection> {
    let signer = Signer::of("EdDSA");
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    check(&signer.token(&header("EdDSA", "1"), &claims), &set(&[signer.jwk("1")]))
}

#[test]
fn a_token_in_every_asymmetric_algorithm_does() {
    for algorithm in ALGORITHMS {
        let signer = Signer::of(algorithm);
        let keys = set(&[Signer::of("EdDSA").jwk("other"), signer.jwk("1")]);
        let token = signer.token(&header(algorithm, "1"), &claims());
        assert_eq!(check(&token, &keys).as_deref(), Ok("alice"), "{algorithm}");

        let (message, signature) = token.rsplit_once('.').unwrap();
        let forged = message.split_once('.').unwrap().0;
        let forged = format!("{forged}.{}.{signature}", base64(with_user("bob").to_string()));
        assert_eq!(check(&forged, &keys), Err(Rejection::Signature), "{algorithm}");
        for text in [format!("{message}."), message.to_owned(), format!("{token}A"), "..".into()] {
            assert!(check(&text, &keys).is_err(), "{algorithm}: {text}");
        }
    }
}

fn with_user(user: &str) -> Value {
    let mut claims = claims();
    claims["sub"] = user.into();
    claims
}

#[test]
fn the_algorithm_is_the_keys_and_not_the_tokens() {
    for algorithm in ALGORITHMS {
        let signer = Signer::of(algorithm);
        let keys = set(&[signer.jwk("1")]);
        for other in ALGORITHMS {
            let token = signer.token(&header(other, "1"), &claims());
            let both_rsa = [algorithm, other].iter().all(|it| it.starts_with(['R', 'P']));
            let expected = if both_rsa || algorithm == other {
                Ok("alice".to_owned())
            } else {
                Err(Rejection::Algorithm)
            };
            assert_eq!(check(&token, &keys), expected, "{algorithm} as {other}");
        }
    }
    // A key that says itself what it is for.
    let signer = Signer::of("RS256");
    let mut key = signer.jwk("1");
    key["alg"] = "PS256".into();
    let token = |algorithm| signer.token(&header(algorithm, "1"), &claims());
    assert!(check(&token("PS256"), &set(std::slice::from_ref(&key))).is_ok());
    assert_eq!(check(&token("RS256"), &set(&[key])), Err(Rejection::Algorithm));
}

#[test]
fn a_public_key_is_no_shared_secret_and_no_signature_is_none() {
    let signer = Signer::of("RS256");
    let jwk = signer.jwk("1");
    let keys = set(std::slice::from_ref(&jwk));
    for secret in [jwk.to_string(), jwk["n"].as_str().unwrap().to_owned()] {
        let forger = Signer::Secret(secret.into_bytes());
        let token = forger.token(&header("HS256", "1"), &claims());
        assert_eq!(check(&token, &keys), Err(Rejection::Algorithm));
    }
    for none in ["none", "None", "NONE", ""] {
        let message = format!("{}.{}", base64(header(none, "1").to_string()), base64("{}"));
        for token in [format!("{message}."), format!("{message}.AAAA")] {
            assert!(matches!(check(&token, &keys), Err(Rejection::Malformed(_))), "{none}");
        }
    }
    // Not even where the issuer publishes one.
    let secret = Signer::Secret(b"a shared secret of some length".to_vec());
    let keys = set(&[secret.jwk("1"), signer.jwk("2")]);
    let token = secret.token(&header("HS256", "1"), &claims());
    assert_eq!(check(&token, &keys), Err(Rejection::UnknownKey));
}

#[test]
fn a_key_is_found_by_its_name_or_because_there_is_no_other() {
    let (old, new) = (Signer::of("ES256"), Signer::of("ES256"));
    let keys = set(&[old.jwk("old"), new.jwk("new"), Signer::of("EdDSA").jwk("ed")]);
    assert!(check(&new.token(&header("ES256", "new"), &claims()), &keys).is_ok());
    let mixed = new.token(&header("ES256", "old"), &claims());
    assert_eq!(check(&mixed, &keys), Err(Rejection::Signature));
    let unknown = new.token(&header("ES256", "next"), &claims());
    assert_eq!(check(&unknown, &keys), Err(Rejection::UnknownKey));
    let unnamed = new.token(&json!({"alg": "ES256"}), &claims());
    assert_eq!(check(&unnamed, &keys), Err(Rejection::UnknownKey));
    let keys = set(&[new.jwk("new"), Signer::of("EdDSA").jwk("ed")]);
    assert!(check(&unnamed, &keys).is_ok());
}

#[test]
fn every_claim_counts() {
    let is = |changes: Value, expected: Result<&str, Rejection>| {
        let shown = changes.to_string();
        assert_eq!(with(changes), expected.map(str::to_owned), "{shown}");
    };
    is(json!({}), Ok("alice"));
    for issuer in
        [json!(null), json!("https://id.example.com/realm/"), json!("HTTPS://ID.example.com/realm")]
    {
        is(json!({"iss": issuer}), Err(Rejection::Issuer));
    }
    is(json!({"iss": ["https://id.example.com/realm"]}), Err(Rejection::Issuer));
    for audience in
        [json!(null), json!("pgmesh2"), json!(["a", "b"]), json!([]), json!(7), json!({})]
    {
        is(json!({"aud": audience}), Err(Rejection::Audience));
    }
    is(json!({"aud": ["a", "postgres"]}), Ok("alice"));
    is(json!({"exp": null}), Err(Rejection::NoExpiry));
    is(json!({"exp": "1900000000"}), Err(Rejection::NoExpiry));
    is(json!({"exp": NOW - 30}), Err(Rejection::Expired));
    is(json!({"exp": NOW - 29}), Ok("alice"));
    is(json!({"exp": 1e300}), Ok("alice"));
    is(json!({"exp": -1}), Err(Rejection::Expired));
    is(json!({"nbf": null}), Ok("alice"));
    is(json!({"nbf": NOW + 30}), Ok("alice"));
    is(json!({"nbf": NOW + 31}), Err(Rejection::NotYetValid));
    is(json!({"nbf": "0"}), Err(Rejection::NotYetValid));
    is(json!({"scope": null}), Err(Rejection::Scope));
    is(json!({"scope": "openid dbx"}), Err(Rejection::Scope));
    is(json!({"scope": null, "scp": ["db", "openid"]}), Ok("alice"));
    is(json!({"scope": null, "scp": "db openid"}), Ok("alice"));
    for user in [json!(null), json!(""), json!(7), json!(true)] {
        is(json!({"sub": user}), Err(Rejection::NoUser));
    }
}

#[test]
fn the_user_is_in_the_claim_that_is_configured() {
    let signer = Signer::of("EdDSA");
    let mut claims = claims();
    claims["preferred_username"] = "al".into();
    let token = signer.token(&header("EdDSA", "1"), &claims);
    let audience = audience();
    let policy = Policy { claim: "preferred_username", scope: "", ..policy(&audience) };
    let keys = set(&[signer.jwk("1")]);
    let user = verify(&token, &keys, &policy, Duration::from_secs(NOW));
    assert_eq!(user.as_deref(), Ok("al"));
}

#[test]
fn what_is_no_token_is_told_apart() {
    let signer = Signer::of("EdDSA");
    let keys = set(&[signer.jwk("1")]);
    let critical = json!({"alg": "EdDSA", "kid": "1", "crit": ["exp"]});
    let refused = check(&signer.token(&critical, &claims()), &keys);
    assert_eq!(refused, Err(Rejection::Malformed("critical extensions in the header")));
    for text in ["[]", "7", "{", "", "{\"exp\":1,\"exp\":2}", "\u{0}"] {
        let token = signer.token_of_text(&header("EdDSA", "1"), text);
        assert_eq!(check(&token, &keys), Err(Rejection::Malformed("the claims")), "{text}");
    }
    let long = json!({"sub": "x".repeat(TOKEN_MAX)});
    let token = signer.token(&header("EdDSA", "1"), &long);
    assert_eq!(check(&token, &keys), Err(Rejection::TooLong));
    // As deep as it can be.
    let deep = "[".repeat(11_000);
    let token = signer.token_of_text(&header("EdDSA", "1"), &deep);
    assert_eq!(check(&token, &keys), Err(Rejection::Malformed("the claims")));
}

#[test]
fn keys_that_nobody_may_sign_with_are_passed_over() {
    let parse = |keys: &[Value]| {
        KeySet::parse(json!({"keys": keys, "more": 1}).to_string().as_bytes()).map(|it| it.len())
    };
    let good = Signer::of("ES256").jwk("good");
    let changed = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let mut short = Signer::of("RS256").jwk("short");
    short["n"] = base64([0xff; 255]).into();
    let bad = [
        changed("use", json!("enc")),
        changed("key_ops", json!(["sign"])),
        changed("alg", json!("ES384")),
        changed("alg", json!("ECDH-ES")),
        changed("crv", json!("P-521")),
        changed("crv", json!("secp256k1")),
        changed("x", json!("AAAA")),
        changed("x", json!("?")),
        changed("kty", json!("RSA")),
        short,
        json!({"kty": "OKP", "crv": "X25519", "x": base64([1; 32])}),
        json!({"kty": "oct", "k": base64("secret")}),
        json!({"kty": "AKP", "alg": "ML-DSA-65", "pub": "AAAA"}),
        json!({}),
        json!("key"),
    ];
    for key in &bad {
        assert_eq!(parse(std::slice::from_ref(key)), Err(KeySetError::NoneUsable), "{key}");
        assert_eq!(parse(&[key.clone(), good.clone()]), Ok(1), "{key}");
    }
    for key in [
        good.clone(),
        changed("use", json!("sig")),
        changed("key_ops", json!(["verify"])),
        changed("alg", json!("ES256")),
        changed("x5t", json!("AAAA")),
    ] {
        assert_eq!(parse(&[key]), Ok(1));
    }
    assert_eq!(parse(&vec![good; 101]), Err(KeySetError::TooMany));
    for text in ["", "{}", "[]", "{\"keys\": {}}", "{\"keys\": 1}", "\u{feff}{\"keys\": []}"] {
        assert_eq!(KeySet::parse(text.as_bytes()).unwrap_err(), KeySetError::Form, "{text}");
    }
}

#[test]
fn nothing_of_a_token_is_in_what_is_logged() {
    let keys = set(&[Signer::of("EdDSA").jwk("1")]);
    let token = Signer::of("EdDSA").token(&header("EdDSA", "1"), &claims());
    let shown = format!("{:?} {keys:?}", check(&token, &keys));
    assert!(token.split('.').all(|part| !shown.contains(part)), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is changed in a token, it is not that token any longer.
    #[test]
    fn a_changed_token_never_does(at in any::<prop::sample::Index>(), byte in "[A-Za-z0-9_.-]") {
        let signer = Signer::of("ES256");
        let keys = set(&[signer.jwk("1")]);
        let token = signer.token(&header("ES256", "1"), &claims());
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &byte);
        prop_assume!(changed != token);
        prop_assert!(check(&changed, &keys).is_err());
    }

    #[test]
    fn any_text_is_survived(text in "(?s).{0,300}", dotted in "[eyJA-Za-z0-9_-]{0,40}[.][^.]{0,40}[.].{0,40}") {
        let keys = set(&[Signer::of("EdDSA").jwk("1")]);
        for text in [text, dotted] {
            prop_assert!(check(&text, &keys).is_err());
            prop_assert!(KeySet::parse(text.as_bytes()).is_err());
        }
    }

    #[test]
    fn any_claims_are_survived(name in "iss|aud|exp|nbf|scope|scp|sub", text in "[\\[{\"a1,:\\]}.e-]{0,30}") {
        let signer = Signer::of("EdDSA");
        let whole = claims().to_string();
        let claims = format!("{{\"{name}\":{text},{}", &whole[1..]);
        let token = signer.token_of_text(&header("EdDSA", "1"), &claims);
        let _ = check(&token, &set(&[signer.jwk("1")]));
    }
}
