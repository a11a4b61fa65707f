//! Whole exchanges: both sides against each other, the RFC's, and hostile peers.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const CLIENT: [u8; 18] = [1; 18];
const SERVER: [u8; 18] = [2; 18];

fn plain(password: &str) -> Login {
    Login::Password { password: Secret::new(password), cached: None }
}

/// Few iterations: the cost is not what is tested.
fn verifier(password: &str) -> Arc<Verifier> {
    Arc::new(Verifier::derive(&Secret::new(password), b"salty", 2))
}

/// Both sides to the end: what the server side and the client side made of it.
fn exchange(challenge: Challenge, login: Login) -> Result<(ScramKeys, ScramKeys), Error> {
    let client = ClientFirst::new(login, Nonce::new(CLIENT));
    let server = challenge.receive(client.message().as_bytes(), Nonce::new(SERVER))?;
    let client = client.receive(server.message().as_bytes())?;
    let server = server.receive(client.message().as_bytes())?;
    let client_keys = client.receive(server.message().as_bytes())?;
    Ok((server.into_keys(), client_keys))
}

#[test]
fn the_exchange_of_rfc_7677() {
    let salt = [
        0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa,
        0x81,
    ];
    let verifier = Arc::new(Verifier::derive(&Secret::new("pencil"), &salt, 4096));
    let client = ClientFirst::with(
        binding::Gs2::Unable,
        plain("pencil"),
        "user",
        "rOprNGfwEbeRWgbNEkqO".to_owned(),
    );
    assert_eq!(client.message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let server = Challenge::known(verifier)
        .answer(client.message().as_bytes(), "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
        .unwrap();
    assert_eq!(
        server.message(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let client = client.receive(server.message().as_bytes()).unwrap();
    assert_eq!(
        client.message(),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    let server = server.receive(client.message().as_bytes()).unwrap();
    assert_eq!(server.message(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    client.receive(server.message().as_bytes()).unwrap();
}

#[test]
fn a_clients_proof_discloses_the_keys_to_log_in_elsewhere() {
    let (disclosed, derived) =
        exchange(Challenge::known(verifier("secret")), plain("secret")).unwrap();
    assert!(disclosed == derived);
    exchange(Challenge::known(verifier("secret")), Login::Keys(disclosed.clone())).unwrap();

    let resalted = Arc::new(Verifier::derive(&Secret::new("secret"), b"other", 2));
    assert_eq!(
        exchange(Challenge::known(resalted), Login::Keys(disclosed.clone())).unwrap_err(),
        Error::KeysDoNotFit
    );
    // Keys cached with a password are only a short cut: other salt, derive again.
    let login = Login::Password { password: Secret::new("secret"), cached: Some(disclosed) };
    let resalted = Arc::new(Verifier::derive(&Secret::new("secret"), b"other", 2));
    exchange(Challenge::known(resalted), login).unwrap();
}

#[test]
fn keys_cached_under_an_old_password_do_not_log_in() {
    let (old, _) = exchange(Challenge::known(verifier("old")), plain("old")).unwrap();
    assert_eq!(
        exchange(Challenge::known(verifier("new")), Login::Keys(old)).unwrap_err(),
        Error::WrongPassword
    );
}

#[test]
fn clients_over_tls_that_could_bind_the_channel_send_y_and_e_sws() {
    for (header, binding) in [("n,,", "biws"), ("y,,", "eSws")] {
        let (bare, nonce) = ("n=,r=abc", Nonce::new(SERVER).text());
        let keys = ScramKeys::derive(&Secret::new("secret"), b"salty", 2);
        let server = Challenge::known(verifier("secret"))
            .receive(format!("{header}{bare}").as_bytes(), Nonce::new(SERVER))
            .unwrap();
        let unproven = format!("c={binding},r=abc{nonce}");
        let transcript = format!("{bare},{},{unproven}", server.message());
        let mut proof = hash::hmac(&hash::sha256(&keys.client_key), &[transcript.as_bytes()]);
        hash::xor(&mut proof, &keys.client_key);
        let message = format!("{unproven},p={}", base64(&proof));
        // The other binding is a downgrade by somebody in between.
        let other = if binding == "biws" { "eSws" } else { "biws" };
        let downgraded = Challenge::known(verifier("secret"))
            .receive(format!("{header}{bare}").as_bytes(), Nonce::new(SERVER))
            .unwrap()
            .receive(message.replace(binding, other).as_bytes());
        assert_eq!(downgraded.unwrap_err(), Error::BindingAttribute);
        server.receive(message.as_bytes()).unwrap();
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn what_a_client_may_not_begin_with() {
    let cases: [(&[u8], Error); 13] = [
        (b"", Error::Malformed("comma expected")),
        (b"n", Error::Malformed("comma expected")),
        (b"n,", Error::Malformed("comma expected")),
        (b"n,,", Error::Malformed("attribute expected")),
        (b"p=tls-server-end-point,,n=,r=abc", Error::BindingUnexpected),
        (b"x,,n=,r=abc", Error::Malformed("unexpected channel-binding flag")),
        (b"n,a=admin,n=,r=abc", Error::AuthorizationIdentity),
        (b"n,,m=x,n=,r=abc", Error::MandatoryExtension),
        (b"n,,n=", Error::Malformed("no nonce")),
        (b"n,,n=,r=", Error::Malformed("non-printable characters in the nonce")),
        (b"n,,n=,r=a\x7fb", Error::Malformed("non-printable characters in the nonce")),
        (b"n,,n=,r=abc\0", Error::Malformed("NUL byte")),
        (b"n,,n=\xff,r=abc", Error::Malformed("not UTF-8")),
    ];
    for (message, error) in cases {
        let result =
            Challenge::known(verifier("secret")).receive(message, Nonce::new(SERVER)).unwrap_err();
        assert_eq!(result, error, "{}", message.escape_ascii());
    }
    let long = format!("n,,n=,r={}", "x".repeat(MESSAGE_MAX));
    let result = Challenge::known(verifier("secret")).receive(long.as_bytes(), Nonce::new(SERVER));
    assert_eq!(result.unwrap_err(), Error::TooLong);
}

#[test]
fn a_nonce_that_is_not_the_one_sent_ends_the_exchange() {
    let begin = || {
        let challenge = Challenge::known(verifier("secret"));
        challenge.receive(b"n,,n=,r=abc", Nonce::new(SERVER)).unwrap()
    };
    let nonce = Nonce::new(SERVER).text();
    let proof = base64(&[0; 32]);
    for forged in ["abc".to_owned(), nonce.clone(), format!("abd{nonce}"), format!("abc{nonce}x")] {
        let message = format!("c=biws,r={forged},p={proof}");
        assert_eq!(begin().receive(message.as_bytes()).unwrap_err(), Error::Nonce);
    }
    let right = format!("c=biws,r=abc{nonce},p={proof}");
    assert_eq!(begin().receive(right.as_bytes()).unwrap_err(), Error::WrongPassword);
}

#[test]
fn an_unknown_user_goes_through_the_same_exchange_with_a_stable_salt() {
    let known = [("known".to_owned(), Password::Plain(Secret::new("secret")))];
    let users = Users::new(known, Seed::new([3; 32])).unwrap();
    let first = |users: &Users, name: &str| {
        let challenge = users.challenge(name);
        let first = challenge.receive(b"n,,n=,r=abc", Nonce::new(SERVER)).unwrap();
        first.message().to_owned()
    };
    let (known, unknown) = (first(&users, "known"), first(&users, "unknown"));
    assert_eq!(known.len(), unknown.len());
    assert!(known.ends_with(",i=4096") && unknown.ends_with(",i=4096"));
    assert_ne!(known, unknown);
    assert_ne!(unknown, first(&users, "unknown2"));
    assert_eq!(unknown, first(&users, "unknown"));

    // Adding the user later changes nothing that can be seen before the proof.
    let later = [("unknown".to_owned(), Password::Plain(Secret::new("x")))];
    let later = Users::new(later, Seed::new([3; 32])).unwrap();
    assert_eq!(unknown, first(&later, "unknown"));
    let other_process = Users::new([], Seed::new([4; 32])).unwrap();
    assert_ne!(unknown, first(&other_process, "unknown"));

    exchange(users.challenge("known"), plain("secret")).unwrap();
    assert_eq!(exchange(users.challenge("unknown"), plain("secret")), Err(Error::UnknownUser));
    assert_eq!(exchange(users.challenge("known"), plain("no")), Err(Error::WrongPassword));
    assert_eq!(Error::UnknownUser.to_string(), Error::WrongPassword.to_string());
}

#[test]
fn even_the_right_proof_does_not_let_an_unknown_user_in() {
    let outcome = exchange(Challenge::mock(verifier("secret")), plain("secret"));
    assert_eq!(outcome, Err(Error::UnknownUser));
}

#[test]
fn a_configured_password_is_told_from_a_verifier_by_its_beginning() {
    let parse = |text: &str| Password::parse(Secret::new(text));
    assert!(matches!(parse("hunter2"), Ok(Password::Plain(_))));
    assert!(matches!(parse("md5 is fine as a word"), Ok(Password::Plain(_))));
    let stored = verifier("secret").format();
    let Ok(Password::Verifier(parsed)) = Password::parse(stored) else { panic!("no verifier") };
    let users = Users::new([("u".to_owned(), Password::Verifier(parsed))], Seed::new([3; 32]));
    exchange(users.unwrap().challenge("u"), plain("secret")).unwrap();
    assert_eq!(parse("SCRAM-SHA-256$oops"), Err(Error::Verifier("no keys")));
    assert_eq!(parse("md5a6343a68d964ca596d9752250d54bb8a"), Err(Error::Md5Hash));
    let twice = ["u", "u"].map(|name| (name.to_owned(), Password::Plain(Secret::new("x"))));
    assert_eq!(Users::new(twice, Seed::new([3; 32])).unwrap_err(), Error::DuplicateUser);
}

#[test]
fn a_hostile_server_is_refused_before_it_costs_anything() {
    let nonce = Nonce::new(CLIENT).text();
    let cases = [
        (format!("r={nonce}x,s=AAAA,i=1000001"), Error::Iterations(1_000_001)),
        (format!("r={nonce}x,s=AAAA,i=0"), Error::Malformed("iteration count")),
        (format!("r={nonce}x,s=AAAA,i=-1"), Error::Malformed("iteration count")),
        (format!("r={nonce}x,s=AAAA,i=99999999999"), Error::Malformed("iteration count")),
        (format!("r={nonce}x,s=,i=4096"), Error::Malformed("salt")),
        (format!("r={nonce}x,s=A,i=4096"), Error::Malformed("salt")),
        (format!("r={nonce}x,s=AAAA"), Error::Malformed("no iteration count")),
        (format!("m=x,r={nonce}x,s=AAAA,i=1"), Error::MandatoryExtension),
        (format!("r={nonce},s=AAAA,i=4096"), Error::Nonce),
        ("r=x,s=AAAA,i=4096".to_owned(), Error::Nonce),
        (format!("r={nonce}{},s=AAAA,i=1", "x".repeat(MESSAGE_MAX)), Error::TooLong),
    ];
    for (message, error) in cases {
        let client = ClientFirst::new(plain("secret"), Nonce::new(CLIENT));
        assert_eq!(client.receive(message.as_bytes()).unwrap_err(), error, "{message}");
    }
}

#[test]
fn a_server_that_does_not_know_the_verifier_is_not_trusted() {
    let nonce = Nonce::new(CLIENT).text();
    let first = format!("r={nonce}x,s=AAAA,i=1");
    let cases = [
        (format!("v={}", base64(&[0; 32])), Error::ServerProof),
        ("v=AAAA".to_owned(), Error::Malformed("server signature")),
        ("v=".to_owned(), Error::Malformed("server signature")),
        (String::new(), Error::Malformed("attribute expected")),
        ("e=invalid-proof".to_owned(), Error::ServerRefused),
    ];
    for (last, error) in cases {
        let client = ClientFirst::new(plain("secret"), Nonce::new(CLIENT));
        let client = client.receive(first.as_bytes()).unwrap();
        assert_eq!(client.receive(last.as_bytes()).unwrap_err(), error, "{last}");
    }
}

/// Bytes that are often nearly a SCRAM message.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[nypacrsivme]?[=,]?[nra]?[=,]{0,3}[a-z=,+/]{0,40}(,[a-z]=[ -~]{0,20}){0,4}"
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn the_right_password_and_only_that_logs_in(right in ".{1,80}", wrong in ".{1,80}") {
        prop_assert!(exchange(Challenge::known(verifier(&right)), plain(&right)).is_ok());
        let outcome = exchange(Challenge::known(verifier(&right)), plain(&wrong));
        // SASLprep makes some texts equal on purpose.
        if verifier(&right) == verifier(&wrong) {
            prop_assert!(outcome.is_ok());
        } else {
            prop_assert_eq!(outcome, Err(Error::WrongPassword));
        }
    }

    #[test]
    fn no_bytes_of_a_client_panic_or_log_in(first in message(), last in message()) {
        if let Ok(server) = Challenge::known(verifier("x")).receive(&first, Nonce::new(SERVER)) {
            prop_assert!(server.receive(&last).is_err());
        }
        let server = Challenge::known(verifier("x")).receive(b"n,,n=,r=abc", Nonce::new(SERVER));
        prop_assert!(server.unwrap().receive(&last).is_err());
    }

    #[test]
    fn a_flipped_bit_in_the_proof_message_is_never_accepted(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let client = ClientFirst::new(plain("secret"), Nonce::new(CLIENT));
        let challenge = Challenge::known(verifier("secret"));
        let server = challenge.receive(client.message().as_bytes(), Nonce::new(SERVER)).unwrap();
        let client = client.receive(server.message().as_bytes()).unwrap();
        let mut message = client.message().as_bytes().to_vec();
        let at = at.index(message.len());
        message[at] ^= 1 << bit;
        prop_assert!(server.receive(&message).is_err());
    }

    #[test]
    fn no_bytes_of_a_server_panic_or_are_trusted(first in message(), last in message()) {
        let client = ClientFirst::new(plain("x"), Nonce::new(CLIENT));
        prop_assert!(client.receive(&first).is_err());
        let honest = format!("r={}x,s=AAAA,i=1", Nonce::new(CLIENT).text());
        let client = ClientFirst::new(plain("x"), Nonce::new(CLIENT));
        prop_assert!(client.receive(honest.as_bytes()).unwrap().receive(&last).is_err());
    }
}

/// Whether a client with this password gets in.
fn admits(users: &Users, password: &str) -> bool {
    exchange(users.challenge("u"), plain(password)).is_ok()
}

#[test]
fn while_a_password_is_changed_both_get_in_and_then_the_new_one_alone() {
    let as_plain = |text: &str| Password::Plain(Secret::new(text));
    let as_verifier = |text: &str| Password::Verifier(verifier(text));
    let makers: [&dyn Fn(&str) -> Password; 2] = [&as_plain, &as_verifier];
    for (before, after) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let old = makers[before]("old");
        let users = Users::new([("u".to_owned(), old.clone())], Seed::new([3; 32])).unwrap();
        let changing = users.clone().with("u", makers[after]("new"), Some(&old));
        assert!(admits(&changing, "old") && admits(&changing, "new"), "{before} {after}");
        assert!(!admits(&changing, "other"), "{before} {after}");
        let changed = changing.with("u", makers[after]("new"), None);
        assert!(!admits(&changed, "old") && admits(&changed, "new"), "{before} {after}");
    }
}

#[test]
fn of_two_verifiers_with_salts_of_their_own_the_new_one_counts_at_once() {
    let old = Password::Verifier(Arc::new(Verifier::derive(&Secret::new("old"), b"other", 2)));
    let users = Users::new([("u".to_owned(), old.clone())], Seed::new([3; 32])).unwrap();
    let changing = users.with("u", Password::Verifier(verifier("new")), Some(&old));
    assert!(admits(&changing, "new") && !admits(&changing, "old"));
}

#[test]
fn a_change_is_no_way_in_for_somebody_who_does_not_exist() {
    let mock = Challenge::mock(verifier("a")).or(Some(verifier("b")));
    assert_eq!(exchange(mock, plain("b")).unwrap_err(), Error::UnknownUser);
    assert_eq!(
        exchange(Challenge::mock(verifier("a")), plain("a")).unwrap_err(),
        Error::UnknownUser
    );
}

#[test]
fn keys_disclosed_with_the_old_password_are_the_old_ones() {
    let challenge = || Challenge::known(verifier("new")).or(Some(verifier("old")));
    let (of_old, _) = exchange(challenge(), plain("old")).unwrap();
    assert!(of_old.belong_to(&verifier("old")) && !of_old.belong_to(&verifier("new")));
    let (of_new, _) = exchange(challenge(), plain("new")).unwrap();
    assert!(of_new.belong_to(&verifier("new")) && of_new != of_old);
}
