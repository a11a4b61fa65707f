//! What clients may say in OAUTHBEARER.

use proptest::prelude::*;
use wire::SqlState;

use crate::oauth::{
    Exchange, Issuer, IssuerError, MESSAGE_MAX, Malformed, Received, Rejection, TOKEN_MAX,
};

fn exchange() -> Exchange {
    Exchange::new(&Issuer::new("https://id.example.com/\u{7e}a").unwrap(), "openid \"db\"")
}

fn receive(message: &str) -> Result<Received, Malformed> {
    exchange().receive(message.as_bytes().to_vec())
}

fn token(message: &str) -> String {
    match receive(message) {
        Ok(Received::Token(presented)) => presented.token().to_owned(),
        other => panic!("{message:?}: {other:?}"),
    }
}

fn refused(message: &str) -> Rejection {
    match receive(message) {
        Ok(Received::Refused(refusing)) => refusing.receive(b"\x01").unwrap(),
        other => panic!("{message:?}: {other:?}"),
    }
}

fn malformed(message: &str) -> &'static str {
    match receive(message) {
        Err(Malformed::Message(detail)) => detail,
        other => panic!("{message:?}: {other:?}"),
    }
}

#[test]
fn a_token_is_found_as_rfc_7628_has_it() {
    for message in [
        "n,,\x01auth=Bearer a.b-c_d~e+f/0==\x01\x01",
        "y,,\x01auth=bEARER   a.b-c_d~e+f/0==\x01\x01",
        "n,,\x01host=h.example.com\x01port=5432\x01auth=Bearer a.b-c_d~e+f/0==\x01x=\x01\x01",
    ] {
        assert_eq!(token(message), "a.b-c_d~e+f/0==");
    }
}

#[test]
fn a_client_without_a_token_hears_where_there_are_some() {
    let Ok(Received::Refused(refusing)) = receive("n,,\x01auth=\x01\x01") else { panic!() };
    let challenge: serde_json::Value = serde_json::from_str(refusing.message()).unwrap();
    let expected = serde_json::json!({
        "status": "invalid_token",
        "openid-configuration": "https://id.example.com/~a/.well-known/openid-configuration",
        "scope": "openid \"db\"",
    });
    assert_eq!(challenge, expected);
    assert_eq!(refusing.clone().receive(b"\x01"), Ok(Rejection::Discovery));
    for answer in [&b""[..], b"\x01\x01", b"n,,", b"\0"] {
        assert!(refusing.clone().receive(answer).is_err(), "{answer:?}");
    }
    let unscoped = Exchange::new(&Issuer::new("https://a").unwrap(), "");
    let Ok(Received::Refused(refusing)) = unscoped.receive(b"n,,\x01auth=\x01\x01".to_vec()) else {
        panic!()
    };
    assert!(!refusing.message().contains("scope"));
}

#[test]
fn what_is_no_bearer_token_is_refused_as_a_wrong_one_is() {
    for auth in ["Basic YTpi", "Bearer", "Bearer ", "Bearer  ", "Bearer =", "Bearer a b", "x"] {
        let rejection = refused(&format!("n,,\x01auth={auth}\x01\x01"));
        assert!(matches!(rejection, Rejection::Malformed(_)), "{auth}: {rejection}");
    }
    let longest = "a".repeat(TOKEN_MAX);
    assert_eq!(token(&format!("n,,\x01auth=Bearer {longest}\x01\x01")), longest);
    let rejection = refused(&format!("n,,\x01auth=Bearer {longest}a\x01\x01"));
    assert_eq!(rejection, Rejection::TooLong);
    let Ok(Received::Token(presented)) = receive("n,,\x01auth=Bearer a\x01\x01") else { panic!() };
    assert!(!format!("{presented:?}").contains("a\""));
    assert_eq!(presented.refuse(Rejection::Expired).receive(b"\x01"), Ok(Rejection::Expired));
}

#[test]
fn what_is_no_message_is_said_in_postgresqls_words() {
    let details = [
        ("", "The message is empty."),
        ("n,,\x01auth=\0\x01\x01", "Message length does not match input length."),
        ("n,,\x01auth=ä\x01\x01", "Message contains an invalid value."),
        ("x,,\x01", "Unexpected channel-binding flag."),
        ("n", "Comma expected."),
        ("n;,\x01", "Comma expected."),
        ("n,b,\x01", "Unexpected attribute in client-first-message."),
        ("n,,", "Key-value separator expected."),
        ("n,,auth=\x01\x01", "Key-value separator expected."),
        ("n,,\x01", "Message did not contain a final terminator."),
        ("n,,\x01\x01", "Message does not contain an auth value."),
        ("n,,\x01auth=", "Message contains an unterminated key/value pair."),
        ("n,,\x01auth=\x01", "Message did not contain a final terminator."),
        (
            "n,,\x01auth=\x01\x01\x01",
            "Message contains additional data after the final terminator.",
        ),
        ("n,,\x01auth=\x01auth=\x01\x01", "Message contains multiple auth values."),
        ("n,,\x01auth\x01\x01", "Message contains a key without a value."),
        ("n,,\x01=\x01\x01", "Message contains an empty key name."),
        ("n,,\x01a1=\x01\x01", "Message contains an invalid key name."),
        ("n,,\x01auth=\x02\x01\x01", "Message contains an invalid value."),
    ];
    for (message, detail) in details {
        assert_eq!(malformed(message), detail, "{message:?}");
    }
    assert!(malformed("p=tls-unique,,\x01auth=\x01\x01").contains("channel binding"));
    assert!(malformed(&"n".repeat(MESSAGE_MAX + 1)).contains("too long"));
    let authorization = receive("n,a=bob,\x01auth=\x01\x01").unwrap_err();
    assert_eq!(authorization, Malformed::AuthorizationIdentity);
    assert_eq!(authorization.fatal().state, SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(receive("").unwrap_err().fatal().state, SqlState::PROTOCOL_VIOLATION);
}

#[test]
fn an_issuer_is_its_url_or_that_of_its_document() {
    for (text, identifier, document) in [
        ("https://a", "https://a", "https://a/.well-known/openid-configuration"),
        ("https://a/b/", "https://a/b/", "https://a/b//.well-known/openid-configuration"),
        (
            "https://a/b/.well-known/openid-configuration",
            "https://a/b",
            "https://a/b/.well-known/openid-configuration",
        ),
        (
            "https://a/.well-known/oauth-authorization-server/b",
            "https://a/b",
            "https://a/.well-known/oauth-authorization-server/b",
        ),
    ] {
        let issuer = Issuer::new(text).unwrap();
        assert_eq!((issuer.identifier(), issuer.document()), (identifier, document));
        assert_eq!(issuer.to_string(), identifier);
    }
    for text in
        ["", "a", "https://", "https:///a", "ftp://a", "https://a b", "https://a?b", "https://a#b"]
    {
        assert_eq!(Issuer::new(text), Err(IssuerError), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = exchange().receive(bytes);
    }

    /// Of the characters that mean something.
    #[test]
    fn any_message_is_survived(message in "[ny],[a,]{0,2}\\x01(auth|[=\\x01a B])*(auth=)?Bearer [=\\x01a]*") {
        if let Ok(Received::Token(presented)) = receive(&message) {
            prop_assert!(message.contains(presented.token()));
            prop_assert!(!presented.token().is_empty());
        }
    }

    #[test]
    fn every_token_arrives(
        token in "[A-Za-z0-9._~+/-]{1,100}=*",
        before in "([A-Zb-z][a-z]{0,5}=[ -~]{0,9}\\x01){0,3}",
    ) {
        let message = format!("n,,\x01{before}auth=Bearer {token}\x01\x01");
        prop_assert_eq!(self::token(&message), token);
    }
}
