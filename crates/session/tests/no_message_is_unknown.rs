//! Every message of the protocol is known; anything else ends in a violation, nothing in a
//! panic.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use session::{
    Catalog, Frame, Mode, Sent, ServerState, Session, Then, ToServer, Violation, client_need,
};
use support::client::*;
use support::scene::{LOGIN, Scene};
use wire::{HEADER_LEN, Header};

#[test]
fn a_function_call_is_answered_and_ends_its_lease() {
    let mut scene = Scene::new(1, 2);
    assert_eq!(scene.say(0, function_call()), "VZ");
    assert!(!scene.is_leased(0));
    assert_eq!(scene.say(0, [query("begin"), function_call(), query("commit")].concat()), "CZVZCZ");
    assert_eq!(scene.say(1, [parse("", "select 1"), function_call(), run("")].concat()), "1VZ2DCZ");
}

#[test]
fn a_notice_is_passed_on_where_it_comes_and_changes_nothing() {
    let mut scene = Scene::new(1, 1);
    assert_eq!(scene.say(0, unnamed("notice")), "12nNCZ");
    assert_eq!(scene.say(0, query("notice; select 1")), "NCTDCZ");
    assert!(!scene.is_leased(0));
}

#[test]
fn an_unknown_message_of_the_client_is_a_violation_leased_or_not() {
    for tag in 0..=u8::MAX {
        if b"QPBDECFHSXdcf".contains(&tag) {
            continue;
        }
        let mut scene = Scene::new(1, 1);
        let unknown = [tag, 0, 0, 0, 4];
        let in_transaction = tag.is_multiple_of(2);
        if in_transaction {
            assert_eq!(scene.say(0, query("begin")), "CZ");
        }
        scene.say(0, unknown);
        let violation = scene.relay.clients[0].violation.clone().expect("a violation");
        assert!(violation.to_string().contains("08P01"), "{violation}");
    }
}

#[test]
fn an_answer_that_nothing_asked_for_is_the_servers_violation() {
    let (mut session, mut server) = pair();
    for tag in *b"1CDGHIKRTVWZcdnst23v" {
        let body: &[u8] = if tag == b'Z' { b"I" } else { b"" };
        let answer = on_server(&mut session, &mut server, tag, body);
        assert!(matches!(answer, Err(Violation::Server(_))), "{}", char::from(tag));
    }
    // A last word may come at any time.
    assert!(on_server(&mut session, &mut server, b'E', b"SFATAL\0C57P01\0\0").is_ok());
}

#[test]
fn a_malformed_message_of_the_client_is_its_violation() {
    for (tag, body) in [
        (b'P', &b"no end"[..]),
        (b'P', b"s\0text\0\0\x01"),
        (b'P', b"s\0text\0\xff\xff"),
        (b'B', b"portal\0no end"),
        (b'D', b"X\0"),
        (b'D', b"Sname"),
        (b'C', b""),
        (b'C', b"Sname\0more"),
    ] {
        let (mut session, mut server) = pair();
        let verdict = on_client(&mut session, &mut server, tag, body);
        assert!(matches!(verdict, Err(Violation::Client(_))), "{} {body:?}", char::from(tag));
    }
}

#[test]
fn a_statement_with_as_many_types_as_postgres_takes_is_read() {
    let (mut session, mut server) = pair();
    let mut body = b"s1\0select 1\0\xff\xff".to_vec();
    body.resize(body.len() + 65_535 * 4, 0);
    assert!(on_client(&mut session, &mut server, b'P', &body).is_ok());
}

fn pair() -> (Session, ServerState) {
    let catalog = Arc::new(Catalog::default());
    let parameters = catalog.parameters(LOGIN);
    let server = ServerState::new(Arc::clone(&parameters), 3);
    (Session::new(catalog, parameters, Mode::Transaction), server)
}

fn shown<'a>(tag: u8, body: &'a [u8], need: impl Fn(Header) -> usize) -> Frame<'a> {
    let header = Header { tag, body_len: u32::try_from(body.len()).expect("small") };
    // As much as must be shown and no more.
    Frame { header, body: &body[..need(header) - HEADER_LEN] }
}

fn on_client(
    session: &mut Session,
    server: &mut ServerState,
    tag: u8,
    body: &[u8],
) -> Result<ToServer, Violation> {
    let frame = shown(tag, body, client_need);
    session.on_client(&frame, server, &mut Vec::new(), &mut Vec::new())
}

fn on_server(
    session: &mut Session,
    server: &mut ServerState,
    tag: u8,
    body: &[u8],
) -> Result<Then, Violation> {
    let frame = shown(tag, body, |header| server.need(header));
    let verdict = session.on_server(&frame, server, &mut Vec::new(), &mut Vec::new())?;
    Ok(verdict.then)
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(prop::sample::select(b"\0SPIETs1:pgmesh01 \xff".to_vec()), 0..40),
        prop::sample::select(vec![
            b"I".to_vec(),
            b"T".to_vec(),
            b"E".to_vec(),
            b"\0\0".to_vec(),
            b"\0select 1\0\0\0".to_vec(),
            b"s1\0select 1\0\0\0".to_vec(),
            b"\0s1\0\0\0\0\0\0\0".to_vec(),
            b"Ss1\0".to_vec(),
            b"SERROR\0C26000\0M\"pgmesh:2\" is lost\0\0".to_vec(),
            b"SERROR\0C0A000\0RRevalidateCachedQuery\0\0".to_vec(),
            b"DISCARD ALL\0".to_vec(),
            b"DEALLOCATE ALL\0".to_vec(),
            b"RESET\0".to_vec(),
            b"TimeZone\0x\0".to_vec(),
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_messages_in_any_order_of_both_sides_are_dealt_with_or_refused(
        messages in prop::collection::vec(
            (any::<bool>(), prop_oneof![
                prop::sample::select(b"QPBDECFHSXdcf12CDEGHIKNASTVWZnstv3".to_vec()), any::<u8>(),
            ], any_body()),
            0..60,
        ),
        is_lost: bool,
        last_frame_incomplete: bool,
    ) {
        let (mut session, mut server) = pair();
        for (is_client, tag, body) in messages {
            if is_client {
                let _ = on_client(&mut session, &mut server, tag, &body);
            } else if let Ok(Then::Release(_)) = on_server(&mut session, &mut server, tag, &body) {
                prop_assert!(server.is_quiet() && !server.is_preparing());
            }
            if server.is_preparing() && server.is_quiet() {
                session.take_preparation_failure(tag, &mut server, &mut Vec::new());
            }
        }
        if is_lost {
            let sent = Sent { last_frame_incomplete };
            let _ = session.on_server_lost(&mut server, sent, &mut Vec::new());
            let _ = session.on_client_unleased(&shown(b'S', b"", client_need), &mut Vec::new());
        } else {
            let _ = session.abandon(&mut server, false, &mut Vec::new());
        }
    }

    #[test]
    fn any_message_without_a_server_is_dealt_with_or_refused(
        messages in prop::collection::vec((any::<u8>(), any_body()), 0..30)
    ) {
        let (mut session, _) = pair();
        for (tag, body) in messages {
            let frame = shown(tag, &body, client_need);
            let _ = session.on_client_unleased(&frame, &mut Vec::new());
        }
    }

    #[test]
    fn an_idle_server_may_say_anything(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let (_, mut server) = pair();
        let _ = server.on_idle(&Catalog::default(), &bytes);
    }
}
