//! What is no request is refused in a way that names it, quickly, and without harm to the reader.

use protocol::{ClientCommand, DecodeError, ErrorCode, Request, limits};

fn refused(text: &str) -> DecodeError {
    Request::decode(text).expect_err(text)
}

#[test]
fn what_is_not_an_object_is_a_bad_request_without_id() {
    for text in [
        "",
        " ",
        "nonsense",
        "[]",
        "7",
        "\"x\"",
        "null",
        "{",
        "{}{}",
        "\u{feff}{\"t\":\"hb\"}",
        "{\"t\":\"hb\",}",
    ] {
        let error = refused(text);
        assert_eq!((error.id, error.code), (None, ErrorCode::BadRequest), "{text:?}");
    }
}

#[test]
fn unknown_t_is_refused_with_an_id_and_ignored_without() {
    let error = refused(r#"{"t":"hologram","id":7}"#);
    assert_eq!((error.id, error.code), (Some(7), ErrorCode::BadRequest));
    assert_eq!(Request::decode(r#"{"t":"hologram","x":[1,{}]}"#), Ok(None));
    let error = refused(&format!(r#"{{"t":"{}","id":7}}"#, "ü".repeat(5000)));
    assert!(error.message.len() < 200, "{}", error.message);
}

#[test]
fn unknown_fields_are_ignored() {
    let request = Request::decode(r#"{"moon":{"phase":1e99},"t":"hb","n":3,"id":null}"#)
        .unwrap()
        .unwrap();
    assert_eq!(
        request,
        Request {
            id: None,
            command: ClientCommand::Hb(protocol::command::Heartbeat { session_seq: Some(3) })
        }
    );
}

#[test]
fn unparsable_command_is_refused_with_its_readable_id() {
    let deep = format!(
        r#"{{"t":"send","id":7,"b":{}{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let long = format!(r#"{{"t":"send","id":7,"b":{{"x":{}}}}}"#, "9".repeat(5_000));
    for (text, why) in [
        (deep.as_str(), "nested too deeply"),
        (long.as_str(), "more than 64 characters"),
        (
            r#"{"t":"send","id":7,"b":{"x":"\ud83d"}}"#,
            "half of a surrogate pair",
        ),
        (
            r#"{"b":{"x":"\ud83d"},"t":"send","id":7}"#,
            "half of a surrogate pair",
        ),
        (
            r#"{"t":"send","id":7,"b":{"x":1,"x":2}}"#,
            "duplicate key in an object",
        ),
        (r#"{"t":"send","id":7,"b":{"x":1e999}}"#, "not finite"),
        (r#"{"t":"send","id":7,"b":{"x":1"#, "EOF"),
        (r#"{"t":"send","id":7,"b":{"x":01}}"#, "invalid number"),
        (
            r#"{"t":"set","id":7,"c":"g_1","cid":"k","title":"a\u202eb"}"#,
            "title must have",
        ),
        (
            r#"{"t":"create","id":7,"kind":"group","cid":"k","title":"\u200b"}"#,
            "a visible character",
        ),
    ] {
        let error = refused(text);
        assert_eq!((error.id, error.code), (Some(7), ErrorCode::BadRequest), "{text}");
        assert!(error.message.contains(why), "{}: {text}", error.message);
    }
}

#[test]
fn a_malformed_command_keeps_its_id_in_the_refusal() {
    let table = [
        (r#"{"id":7}"#, "t must be a string"),
        (r#"{"t":5,"id":7}"#, "t must be a string"),
        (r#"{"t":"send","id":7,"c":"g_1","b":{}}"#, "cid"),
        (r#"{"t":"send","id":7,"c":"g_1","cid":"","b":{}}"#, "1-64 bytes"),
        (r#"{"t":"send","id":7,"c":"g_1","cid":"k"}"#, "b"),
        (
            r#"{"t":"send","id":7,"c":"g_1","cid":"k","b":[]}"#,
            "b must be an object",
        ),
        (
            r#"{"t":"send","id":7,"c":"g_1","cid":"k","b":null}"#,
            "b must be an object",
        ),
        (
            r#"{"t":"send","id":7,"c":"g_1","cid":"k","cid":"l","b":{}}"#,
            "duplicate key in an object",
        ),
        (
            r#"{"t":"send","id":7,"cid":"k","b":{}}"#,
            "exactly one of c and to",
        ),
        (
            r#"{"t":"send","id":7,"c":"g_1","to":"bob","cid":"k","b":{}}"#,
            "exactly one of c and to",
        ),
        (r#"{"t":"send","id":7,"to":"b b","cid":"k","b":{}}"#, "user id"),
        (
            r#"{"t":"send","id":7,"c":"g/1","cid":"k","b":{}}"#,
            "conversation id",
        ),
        (r#"{"t":"create","id":7,"kind":"party","cid":"k"}"#, "party"),
        (r#"{"t":"edit","id":7,"c":"g_1","of":3,"cid":"k"}"#, "b"),
        (
            r#"{"t":"edit","id":7,"c":"g_1","of":3,"cid":"k","b":[]}"#,
            "b must be an object",
        ),
        (r#"{"t":"del","id":7,"c":"g_1","cid":"k"}"#, "of"),
        (
            r#"{"t":"react","id":7,"c":"g_1","of":3,"cid":"k","k":"","on":true}"#,
            "k must be 1 to 32 bytes",
        ),
        (
            r#"{"t":"react","id":7,"c":"g_1","of":3,"cid":"k","k":"\u0000","on":true}"#,
            "k must have no control characters",
        ),
        (r#"{"t":"react","id":7,"c":"g_1","of":3,"cid":"k","k":"x"}"#, "on"),
        (
            r#"{"t":"role","id":7,"c":"g_1","cid":"k","who":"bob","role":"king"}"#,
            "king",
        ),
        (
            r#"{"t":"role","id":7,"c":"g_1","cid":"k","who":"bob"}"#,
            "one of role and data",
        ),
        (
            r#"{"t":"role","id":7,"c":"g_1","cid":"k","who":"bob","data":"x"}"#,
            "data must be an object",
        ),
        (r#"{"t":"ban","id":7,"c":"g_1","cid":"k"}"#, "who"),
        (
            r#"{"t":"set","id":7,"c":"g_1","cid":"k"}"#,
            "one of title, history, data, muted and pinned",
        ),
        (r#"{"t":"watch","id":7}"#, "users"),
        (r#"{"t":"block","id":7,"who":"b b"}"#, "user id"),
        (r#"{"t":"users","id":7}"#, "ids"),
        (
            r#"{"t":"me","id":7,"name":""}"#,
            "name must have a visible character",
        ),
        (
            r#"{"t":"me","id":7,"name":"a\u202eb"}"#,
            "name must have no control",
        ),
        (
            r#"{"t":"me","id":7,"avatar":"javascript:x"}"#,
            "avatar must be an http",
        ),
        (r#"{"t":"me","id":7,"data":[]}"#, "data must be an object"),
        (r#"{"t":"typing","id":7,"c":"g_1"}"#, "on"),
        (
            r#"{"t":"hist","id":7,"c":"g_1","before":3,"after":1}"#,
            "only one of before and after",
        ),
        (r#"{"t":"read","id":7,"c":"g_1","s":1.0}"#, "1.0"),
        (r#"{"t":"read","id":7,"c":"g_1","s":-1}"#, "-1"),
        (r#"{"t":"read","id":7,"c":"g_1","s":18446744073709551616}"#, "u64"),
        (r#"{"t":"read","id":7,"c":"g_1","s":1e308}"#, "u64"),
    ];
    for (text, why) in table {
        let error = refused(text);
        assert_eq!((error.id, error.code), (Some(7), ErrorCode::BadRequest), "{text}");
        assert!(error.message.contains(why), "{text}: {}", error.message);
    }
}

#[test]
fn an_id_that_is_no_64_bit_integer_is_refused() {
    for id in ["1.5", "\"7\"", "9223372036854775808", "1e308", "[]", "7,\"id\":8"] {
        let error = refused(&format!(r#"{{"t":"hb","id":{id}}}"#));
        assert_eq!((error.id, error.code), (None, ErrorCode::BadRequest), "{id}");
    }
    let exact = Request::decode(r#"{"t":"hb","id":9007199254740993}"#)
        .unwrap()
        .unwrap();
    assert_eq!(exact.id, Some(9_007_199_254_740_993));
}

#[test]
fn sizes_are_bounded() {
    let text = "x".repeat(limits::BODY_BYTES);
    let error = refused(&format!(
        r#"{{"t":"send","id":7,"c":"g_1","cid":"k","b":{{"x":"{text}"}}}}"#
    ));
    assert_eq!((error.id, error.code), (Some(7), ErrorCode::TooLarge));
    let edit = format!(r#"{{"t":"edit","id":7,"c":"g_1","of":3,"cid":"k","b":{{"x":"{text}"}}}}"#);
    assert_eq!(refused(&edit).code, ErrorCode::TooLarge);
    let k = "x".repeat(limits::REACTION_BYTES + 1);
    let react = format!(r#"{{"t":"react","id":7,"c":"g_1","of":3,"cid":"k","k":"{k}","on":true}}"#);
    assert_eq!(refused(&react).code, ErrorCode::BadRequest);
    let title = "x".repeat(limits::TITLE_BYTES + 1);
    let set = format!(r#"{{"t":"set","id":7,"c":"g_1","cid":"k","title":"{title}"}}"#);
    assert_eq!(refused(&set).code, ErrorCode::BadRequest);
    let users = vec!["\"u\""; limits::WATCH_USERS + 1].join(",");
    let watch = format!(r#"{{"t":"watch","id":7,"users":[{users}]}}"#);
    assert_eq!(refused(&watch).code, ErrorCode::BadRequest);
    let ids = vec!["\"u\""; limits::USERS + 1].join(",");
    let users = format!(r#"{{"t":"users","id":7,"ids":[{ids}]}}"#);
    assert_eq!(refused(&users).code, ErrorCode::BadRequest);
    let name = "x".repeat(limits::NAME_BYTES + 1);
    let me = format!(r#"{{"t":"me","id":7,"name":"{name}"}}"#);
    assert_eq!(refused(&me).code, ErrorCode::BadRequest);
    let avatar = "x".repeat(limits::AVATAR_BYTES + 1);
    let me = format!(r#"{{"t":"me","id":7,"avatar":"{avatar}"}}"#);
    assert_eq!(refused(&me).code, ErrorCode::BadRequest);
    let kind = "x".repeat(limits::DATA_KIND_BYTES + 1);
    let list = format!(r#"{{"t":"list","id":7,"data_kind":"{kind}"}}"#);
    assert_eq!(refused(&list).code, ErrorCode::BadRequest);
    let data = "x".repeat(limits::DATA_BYTES);
    for command in [
        r#""set","c":"g_1""#,
        r#""role","c":"g_1","who":"u""#,
        r#""create","kind":"group""#,
    ] {
        let command = format!(r#"{{"t":{command},"id":7,"cid":"k","data":{{"x":"{data}"}}}}"#);
        assert_eq!(refused(&command).code, ErrorCode::TooLarge, "{command}");
    }
    let me = format!(r#"{{"t":"me","id":7,"data":{{"x":"{data}"}}}}"#);
    assert_eq!(refused(&me).code, ErrorCode::TooLarge);
    let users = vec!["\"u\""; limits::MENTIONS + 1].join(",");
    let send = format!(r#"{{"t":"send","id":7,"c":"g_1","cid":"k","b":{{}},"mentions":[{users}]}}"#);
    assert_eq!(refused(&send).code, ErrorCode::BadRequest);
    let users = vec!["\"u\""; limits::MEMBERS_AT_CREATE + 1].join(",");
    let create = format!(r#"{{"t":"create","id":7,"kind":"group","cid":"k","members":[{users}]}}"#);
    assert_eq!(refused(&create).code, ErrorCode::BadRequest);
    let have = vec!["[\"g_1\",0]"; limits::SYNC_HAVE + 1].join(",");
    assert_eq!(
        refused(&format!(r#"{{"t":"sync","id":7,"have":[{have}]}}"#)).code,
        ErrorCode::BadRequest
    );
}

#[test]
fn numbers_in_a_body_are_passed_on_exactly() {
    let body = r#"{"big":9007199254740993,"huge":1e308,"small":-0.0,"nul":"\u0000"}"#;
    let text = format!(r#"{{"t":"send","id":7,"c":"g_1","cid":"k","b":{body}}}"#);
    let Some(Request {
        command: ClientCommand::Send(send),
        ..
    }) = Request::decode(&text).unwrap()
    else {
        panic!("no send")
    };
    assert_eq!(send.body.as_str(), body);
}

#[test]
fn hostile_text_is_refused_without_a_deep_stack() {
    let deep = "[".repeat(100_000);
    let nested = format!("{}{}", "{\"a\":".repeat(100_000), "1");
    let keys = (0..1_000_000).map(|i| format!("\"k{i}\":1,")).collect::<String>();
    let slashes = "\\".repeat(1_000_000);
    let texts = [
        deep.clone(),
        nested,
        format!(r#"{{"t":"send","id":7,"c":"g_1","cid":"k","b":{{"a":{deep}"#),
        format!(
            r#"{{"t":"send","id":7,"c":"g_1","cid":"k","b":{{"a":{}1{}}}}}"#,
            "[".repeat(70),
            "]".repeat(70)
        ),
        r#"{"t":"send","id":7,"c":"g_1","cid":"k","b":{"a":"\ud800"}}"#.to_owned(),
        format!(r#"{{"t":"send","id":7,"c":"g_1","cid":"k","b":{{{keys}"z":1}}}}"#),
        format!(r#"{{"t":"send","id":7,"c":"g_1","cid":"k","b":{{"a":"{slashes}"}}}}"#),
        "{\"t\":\"hb\",\"id\":7,\"n\":\u{0}}".to_owned(),
        format!("{}{{\"t\":\"hb\"", " ".repeat(1_000_000)),
    ];
    for text in texts {
        let error = refused(&text);
        assert!(matches!(error.code, ErrorCode::BadRequest | ErrorCode::TooLarge));
    }
}

#[test]
fn a_debug_print_shows_no_secret() {
    let text = r#"{"t":"auth","id":1,"token":"tok3n","resume":{"sid":"s3cret","n":1}}"#;
    let printed = format!("{:?}", Request::decode(text).unwrap());
    assert!(
        !printed.contains("tok3n") && !printed.contains("s3cret"),
        "{printed}"
    );
}
