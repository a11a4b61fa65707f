//! An independent implementation of the protocol reads what we build and builds what we read.

use bytes::{Bytes, BytesMut};
use pgwire::messages::extendedquery::{
    Bind, Close, CloseComplete, Describe, Flush, ParseComplete, Sync,
};
use pgwire::messages::response::{
    CommandComplete, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus as TheirStatus,
};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::{
    Authentication, BackendKeyData, ParameterStatus, SecretKey, Startup,
};
use pgwire::messages::terminate::Terminate;
use pgwire::messages::{DecodeContext, Message, extendedquery};
use proptest::prelude::*;
use wire::message::{self, BindHead, Named, Parse, TransactionStatus};
use wire::tag::frontend;
use wire::{
    CancelKey, CancelSecret, ErrorFields, ErrorMessage, HEADER_LEN, Header, SqlState,
    StartupPacket, Version,
};

/// Reads one message with theirs; it must take all of it.
fn theirs<M: Message>(bytes: &[u8]) -> M {
    let mut buf = BytesMut::from(bytes);
    let decoded = M::decode(&mut buf, &DecodeContext::default());
    assert!(buf.is_empty(), "not all was read");
    decoded.expect("a message").expect("a whole message")
}

/// Writes one message with theirs; the body as we read it.
fn body<M: Message>(message: &M, tag: u8) -> Vec<u8> {
    let mut buf = BytesMut::new();
    message.encode(&mut buf).expect("it is small");
    let header = Header::peek(&buf).expect("a legal length").expect("a whole header");
    assert_eq!((header.tag, header.frame_len()), (tag, buf.len()));
    buf[HEADER_LEN..].to_vec()
}

fn built(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    out
}

/// Text without a zero byte, sometimes not ASCII.
fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,20}"
}

/// As text, but never empty: theirs reads an empty name as none.
fn name() -> impl Strategy<Value = String> {
    "[^\0]{1,20}"
}

fn their_status(status: TransactionStatus) -> TheirStatus {
    match status {
        TransactionStatus::Idle => TheirStatus::Idle,
        TransactionStatus::Open => TheirStatus::Transaction,
        TransactionStatus::Failed => TheirStatus::Error,
    }
}

#[test]
fn the_messages_without_a_body_are_theirs() {
    assert_eq!(theirs::<ParseComplete>(message::PARSE_COMPLETE), ParseComplete::new());
    assert_eq!(theirs::<CloseComplete>(message::CLOSE_COMPLETE), CloseComplete::new());
    assert_eq!(theirs::<Sync>(message::SYNC), Sync::new());
    assert_eq!(theirs::<Flush>(message::FLUSH), Flush::new());
    assert_eq!(theirs::<Terminate>(message::TERMINATE), Terminate::new());
    assert_eq!(theirs::<Authentication>(message::AUTHENTICATION_OK), Authentication::Ok);
}

#[test]
fn every_transaction_status_goes_both_ways() {
    for status in [TransactionStatus::Idle, TransactionStatus::Open, TransactionStatus::Failed] {
        let ready = built(|out| message::put_ready_for_query(out, status));
        assert_eq!(theirs::<ReadyForQuery>(&ready).status, their_status(status));
        let body = body(&ReadyForQuery::new(their_status(status)), b'Z');
        assert_eq!(TransactionStatus::parse(&body), Ok(status));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_parse_goes_both_ways(name in name(), query in text(), types in prop::collection::vec(any::<u32>(), 0..9)) {
        let parse = extendedquery::Parse::new(Some(name.clone()), query.clone(), types);
        let body = body(&parse, frontend::PARSE);
        let ours = Parse::read(&body).expect("well-formed");
        prop_assert_eq!((ours.name, ours.text()), (name.as_bytes(), query.as_bytes()));
        let again = built(|out| message::put_parse(out, name.as_bytes(), ours.definition));
        prop_assert_eq!(theirs::<extendedquery::Parse>(&again), parse);
    }

    #[test]
    fn a_parse_with_many_types_is_read(count in prop_oneof![Just(32_767_usize), Just(32_768), Just(65_535)]) {
        let parse = extendedquery::Parse::new(None, "select 1".to_owned(), vec![23; count]);
        let body = body(&parse, frontend::PARSE);
        prop_assert_eq!(Parse::read(&body).expect("well-formed").name, b"");
    }

    #[test]
    fn the_head_of_a_bind_is_read_whatever_follows(
        portal in text(), statement in text(), values in prop::collection::vec(prop::option::of(any::<[u8; 3]>()), 0..5)
    ) {
        let values: Vec<Option<Bytes>> =
            values.into_iter().map(|value| value.map(|value| Bytes::copy_from_slice(&value))).collect();
        let bind = Bind::new(Some(portal.clone()), Some(statement.clone()), vec![1], values, vec![0]);
        let body = body(&bind, frontend::BIND);
        let head = BindHead::parse(&body).expect("well-formed");
        prop_assert_eq!((head.portal, head.statement), (portal.as_bytes(), statement.as_bytes()));
        // With another name in front, the rest is the same message.
        let renamed = built(|out| message::put(out, frontend::BIND, |out| {
            message::put_c_bytes(out, portal.as_bytes());
            message::put_c_bytes(out, b"other");
            out.extend_from_slice(&body[head.len()..]);
        }));
        let renamed = theirs::<Bind>(&renamed);
        prop_assert_eq!(renamed.statement_name.as_deref(), Some("other"));
        prop_assert_eq!(renamed.parameters, bind.parameters);
    }

    #[test]
    fn a_describe_and_a_close_go_both_ways(name in name()) {
        let bytes = name.as_bytes();
        for (kind, ours) in [(b'S', Named::Statement(bytes)), (b'P', Named::Portal(bytes))] {
            let described = body(&Describe::new(kind, Some(name.clone())), frontend::DESCRIBE);
            prop_assert_eq!(Named::parse(&described), Ok(ours));
            let closed = body(&Close::new(kind, Some(name.clone())), frontend::CLOSE);
            prop_assert_eq!(Named::parse(&closed), Ok(ours));
        }
        let described = theirs::<Describe>(&built(|out| message::put_describe_statement(out, bytes)));
        prop_assert_eq!(described, Describe::new(b'S', Some(name.clone())));
        let statement = theirs::<Close>(&built(|out| message::put_close_statement(out, bytes)));
        prop_assert_eq!(statement, Close::new(b'S', Some(name.clone())));
        let portal = theirs::<Close>(&built(|out| message::put_close_portal(out, bytes)));
        prop_assert_eq!(portal, Close::new(b'P', Some(name.clone())));
    }

    #[test]
    fn texts_are_read_as_they_were_given(query in name(), value in name(), parameter in name()) {
        let built_query = built(|out| message::put_query(out, &query));
        prop_assert_eq!(theirs::<Query>(&built_query), Query::new(query.clone()));
        prop_assert_eq!(body(&Query::new(query.clone()), frontend::QUERY), [query.as_bytes(), b"\0"].concat());
        let complete = built(|out| message::put_command_complete(out, &query));
        prop_assert_eq!(theirs::<CommandComplete>(&complete), CommandComplete::new(query));
        let status = ParameterStatus::new(parameter.clone(), value.clone());
        let built_status = built(|out| message::put_parameter_status(out, &parameter, &value));
        prop_assert_eq!(&theirs::<ParameterStatus>(&built_status), &status);
        let read = body(&status, b'S');
        prop_assert_eq!(message::parameter_status(&read), Ok((&*parameter, &*value)));
    }

    #[test]
    fn an_error_goes_both_ways(text in name(), hint in prop::option::of(name()), detail in prop::option::of(name())) {
        let mut error = ErrorMessage::fatal(SqlState::TOO_MANY_CONNECTIONS, text.clone());
        error.hint = hint.clone().map(Into::into);
        error.detail = detail.clone().map(Into::into);
        let read = theirs::<ErrorResponse>(&built(|out| error.put(out)));
        let field = |code: u8| {
            read.fields.iter().find(|(known, _)| *known == code).map(|(_, value)| value.clone())
        };
        prop_assert_eq!(field(b'S'), Some("FATAL".to_owned()));
        prop_assert_eq!(field(b'V'), Some("FATAL".to_owned()));
        prop_assert_eq!(field(b'C'), Some("53300".to_owned()));
        prop_assert_eq!(field(b'M'), Some(text.clone()));
        prop_assert_eq!((field(b'H'), field(b'D')), (hint, detail));
        let fields = [(b'S', "ERREUR"), (b'V', "ERROR"), (b'C', "0A000"), (b'M', &*text), (b'R', "f")];
        let fields = fields.map(|(code, value)| (code, value.to_owned())).to_vec();
        let written = body(&ErrorResponse::new(fields.clone()), b'E');
        let ours = ErrorFields::parse(&written).expect("well-formed");
        prop_assert_eq!((ours.severity, ours.code, ours.message, ours.routine), ("ERROR", "0A000", &*text, "f"));
        let notice = body(&NoticeResponse::new(fields), b'N');
        prop_assert_eq!(ErrorFields::parse(&notice), Ok(ours));
    }

    #[test]
    fn a_cancel_key_and_a_startup_are_theirs(
        pid: i32, secret in prop::collection::vec(any::<u8>(), 4..=256),
        parameters in prop::collection::btree_map("[a-z_]{1,9}", name(), 0..5)
    ) {
        let key = CancelKey { pid, secret: CancelSecret::new(&secret).expect("a legal length") };
        let data = theirs::<BackendKeyData>(&built(|out| message::put_backend_key_data(out, &key)));
        prop_assert_eq!(data.pid, pid);
        match data.secret_key {
            SecretKey::Bytes(bytes) => prop_assert_eq!(&bytes[..], &secret[..]),
            SecretKey::I32(number) => prop_assert_eq!(&number.to_be_bytes()[..], &secret[..]),
        }
        let pairs = parameters.iter().map(|(name, value)| (&**name, &**value));
        let mut context = DecodeContext::default();
        context.awaiting_frontend_ssl = false;
        let written = built(|out| wire::put_startup(out, Version::V3_2, pairs));
        let startup = Startup::decode(&mut BytesMut::from(&written[..]), &context);
        let startup = startup.expect("well-formed").expect("whole");
        prop_assert_eq!((startup.protocol_number_major, startup.protocol_number_minor), (3, 2));
        prop_assert_eq!(&startup.parameters, &parameters);
        let mut again = BytesMut::new();
        startup.encode(&mut again).expect("it is small");
        let StartupPacket::Startup(ours) = StartupPacket::parse(&again[4..]).expect("well-formed") else {
            panic!("another packet");
        };
        prop_assert_eq!(ours.version, Version::V3_2);
        prop_assert_eq!(ours.parameters.into_iter().collect::<std::collections::BTreeMap<_, _>>(), parameters);
    }
}
