//! Frozen bytes of commands, outcomes and rows. A difference here is a new version of the encoding.

use protocol::answer::LastEvent;
use protocol::{
    ClientMessageId, ConversationId, ConversationKind, ErrorCode, GroupInvite, HistoryVisibility, Role,
};

use crate::conversation::state_machine::TableId;

use super::{TestShard, create, text, u};
use crate::conversation::state_machine::consent::AdditionLimits;
use crate::conversation::state_machine::login::{AttemptLimit, KeyRotationPolicy, LoginCommand, SecretBytes};
use crate::conversation::state_machine::row_store::RowReader;
use crate::conversation::state_machine::{
    ActivityNote, ApplyEffect, MovedMember, OutboxId, ShardCommand, ShardOp, ShardOutcome,
};

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| {
            if byte.is_ascii_graphic() {
                format!("{}", *byte as char)
            } else {
                format!("<{byte:x}>")
            }
        })
        .collect()
}

fn command(op: ShardOp) -> ShardCommand {
    let (conv, cid) = (
        ConversationId::parse("g_1").unwrap(),
        Some(ClientMessageId::parse("k").unwrap()),
    );
    ShardCommand {
        conv,
        user: u("al"),
        cid,
        skip: 300,
        op,
    }
}

#[test]
fn commands_have_frozen_bytes() {
    let id = OutboxId { index: 5, n: 2 };
    let limit = AttemptLimit {
        most: 5,
        window_ms: 1_000,
    };
    let table = [
        (
            ShardOp::Send {
                direct: Some(u("bo")),
                body: "{}".into(),
                reply_to: Some(9),
                mentions: vec![u("bo")],
            },
            "<0><1><2>bo<2>{}<1><9><1><2>bo",
        ),
        (
            ShardOp::Create {
                kind: ConversationKind::Group,
                members: vec![u("bo")],
                title: Some("T".into()),
            },
            "<1><1><1><2>bo<1><1>T",
        ),
        (ShardOp::Invite { who: u("bo") }, "<2><2>bo"),
        (ShardOp::Kick { who: u("bo") }, "<3><2>bo"),
        (ShardOp::Leave, "<4>"),
        (ShardOp::Read { s: 9 }, "<5><9>"),
        (ShardOp::Delivered { s: 9 }, "<6><9>"),
        (ShardOp::Reserve, "<7>"),
        (
            ShardOp::IndexPut {
                member: true,
                version: id,
                at_ms: 7,
            },
            "<8><1><5><2><7>",
        ),
        (ShardOp::OutboxDone { ids: vec![id] }, "<9><1><5><2>"),
        (
            ShardOp::Edit {
                of: 9,
                body: "{}".into(),
                mentions: None,
            },
            "<a><9><2>{}<0>",
        ),
        (ShardOp::Delete { of: 9 }, "<b><9>"),
        (
            ShardOp::React {
                of: 9,
                k: "+1".into(),
                on: true,
                who: None,
            },
            "<c><9><2>+1<1><0>",
        ),
        (ShardOp::Join, "<d>"),
        (ShardOp::Ban { who: u("bo") }, "<e><2>bo"),
        (ShardOp::Unban { who: u("bo") }, "<f><2>bo"),
        (
            ShardOp::SetRole {
                who: u("bo"),
                role: Role::Reader,
            },
            "<10><2>bo<3>",
        ),
        (
            ShardOp::Set {
                title: Some("T".into()),
                history: Some(HistoryVisibility::All),
                muted: Some(true),
                pinned: None,
            },
            "<11><1><1>T<1><1><1><1><0>",
        ),
        (
            ShardOp::Block {
                who: u("bo"),
                on: true,
            },
            "<12><2>bo<1>",
        ),
        (
            ShardOp::BlockPut {
                who: u("bo"),
                on: true,
                version: id,
                at_ms: 7,
            },
            "<13><2>bo<1><5><2><7>",
        ),
        (ShardOp::Seen { at_ms: 7 }, "<14><7>"),
        (ShardOp::Retain { below: 9 }, "<15><9>"),
        (
            ShardOp::Login(LoginCommand::Count { nonce: 300, limit }),
            "<16><1><ac><2><5><e8><7>",
        ),
        (ShardOp::Login(LoginCommand::EndLine { all: true }), "<16><6><1>"),
        (ShardOp::Login(LoginCommand::Sweep), "<16><7>"),
        (
            ShardOp::Hook {
                name: "ci".into(),
                on: true,
            },
            "<17><2>ci<1>",
        ),
        (ShardOp::HooksOn { members: 9 }, "<18><9>"),
        (ShardOp::WebhookDelivered { ids: vec![id] }, "<19><1><5><2>"),
        (
            ShardOp::MayAdd {
                by: u("bo"),
                cid: ClientMessageId::parse("k").unwrap(),
                shared: ConversationId::parse("g_2").ok(),
                bounds: AdditionLimits {
                    by_one: 5,
                    by_all: 300,
                },
            },
            "<1a><2>bo<1>k<1><3>g_2<5><ac><2>",
        ),
        (
            ShardOp::NotAdded {
                who: Some(u("bo")),
                why: "no".into(),
            },
            "<1b><1><2>bo<2>no",
        ),
        (
            ShardOp::Wish {
                group_invite: GroupInvite::NoOne,
            },
            "<1c><2>",
        ),
        (
            ShardOp::Active {
                items: vec![ActivityNote {
                    conv: ConversationId::parse("g_1").unwrap(),
                    last: LastEvent { s: 9, mn: 8, ts: 7 },
                    large: true,
                    users: vec![u("bo")],
                }],
            },
            "<1d><1><3>g_1<9><8><7><1><1><2>bo",
        ),
        (
            ShardOp::EndWatch {
                items: vec![(ConversationId::parse("g_1").unwrap(), 9)],
            },
            "<1e><1><3>g_1<9>",
        ),
    ];
    for (op, bytes) in table {
        let command = command(op);
        assert_eq!(
            hex(&command.encode()),
            format!("<1><3>g_1<2>al<1><1>k<ac><2>{bytes}")
        );
        assert_eq!(ShardCommand::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn logins_have_frozen_bytes() {
    let hash = |byte: u8| SecretBytes([byte; 32]);
    let (a, b) = ("a".repeat(32), "b".repeat(32));
    let limit = AttemptLimit {
        most: 5,
        window_ms: 7,
    };
    let pace = KeyRotationPolicy {
        period_ms: 1,
        overlap_ms: 2,
        keep_ms: 3,
    };
    let table = [
        (
            LoginCommand::TurnKeys {
                seed: hash(b'a'),
                pepper: hash(b'b'),
                pace,
            },
            format!("<0>{a}{b}<1><2><3>"),
        ),
        (
            LoginCommand::PutCode {
                code: hash(b'a'),
                valid_ms: 9,
                limit,
            },
            format!("<2>{a}<9><5><7>"),
        ),
        (
            LoginCommand::TryCode {
                code: hash(b'a'),
                attempt: 9,
                tries: 5,
            },
            format!("<3>{a}<9><5>"),
        ),
        (
            LoginCommand::OpenLine {
                token: hash(b'a'),
                valid_ms: 9,
            },
            format!("<4>{a}<9>"),
        ),
        (
            LoginCommand::TurnLine {
                token: hash(b'a'),
                next: hash(b'b'),
                valid_ms: 9,
                grace_ms: 8,
            },
            format!("<5>{a}{b}<9><8>"),
        ),
    ];
    for (login, bytes) in table {
        let name = ConversationId::parse("to_x").unwrap();
        let command = ShardCommand::login(name, Some(ClientMessageId::parse("k").unwrap()), login);
        assert_eq!(
            hex(&command.encode()),
            format!("<1><4>to_x<1>-<1><1>k<0><16>{bytes}")
        );
        assert_eq!(ShardCommand::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn rows_of_logins_have_frozen_bytes() {
    let mut shard = TestShard::new();
    shard.now_ms = 7;
    let hash = |byte: u8| SecretBytes([byte; 32]);
    let limit = AttemptLimit {
        most: 5,
        window_ms: 9,
    };
    let mut run = |name: &str, login| {
        let command = ShardCommand::login(
            ConversationId::parse(name).unwrap(),
            ClientMessageId::parse("k").ok(),
            login,
        );
        shard.apply(command);
    };
    run("ip_x", LoginCommand::Count { nonce: 3, limit });
    let (code, valid_ms) = (hash(b'a'), 5);
    run(
        "to_x",
        LoginCommand::PutCode {
            code,
            valid_ms,
            limit,
        },
    );
    let (code, attempt, tries) = (hash(b'b'), 4, 5);
    run("to_x", LoginCommand::TryCode { code, attempt, tries });
    let (token, next, valid_ms, grace_ms) = (hash(b'a'), hash(b'b'), 6, 0);
    run(
        "u_x",
        LoginCommand::OpenLine {
            token: token.clone(),
            valid_ms,
        },
    );
    run(
        "u_x",
        LoginCommand::TurnLine {
            token,
            next,
            valid_ms,
            grace_ms,
        },
    );
    let (seed, pepper) = (hash(b'a'), hash(b'b'));
    let pace = KeyRotationPolicy {
        period_ms: 1,
        overlap_ms: 0,
        keep_ms: 3,
    };
    run("keys", LoginCommand::TurnKeys { seed, pepper, pace });
    let rows: Vec<_> = shard
        .rows
        .0
        .iter()
        .map(|((table, key), value)| format!("{table:?} {} = {}", hex(key), hex(value)))
        .collect();
    let (a, b) = ("a".repeat(32), "b".repeat(32));
    let nonce = "<e1><c2><85><8b><96><ac><d8><b0>a";
    let expected = [
        "UserIndex <0>ip_x = <1><10><1><7><3>".to_owned(),
        format!("UserIndex <0>to_x = <1><10><1><7>{nonce}"),
        format!("UserIndex <1>to_x<0>k = <1><c>{a}<1><4><0>"),
        "UserIndex <2><0><0><0><0><0><0><0><c><1>to_x<0>k = ".to_owned(),
        "UserIndex <2><0><0><0><0><0><0><0><d>u_x<3>k = ".to_owned(),
        "UserIndex <2><0><0><0><0><0><0><0><10><0>ip_x = ".to_owned(),
        "UserIndex <2><0><0><0><0><0><0><0><10><0>to_x = ".to_owned(),
        format!("UserIndex <3> = <1>{b}<1>{a}<7>"),
        format!("UserIndex u_x<3>k = <1><d><7><1>{b}<d><1>{a}<7>"),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn outcomes_have_frozen_bytes() {
    let mut shard = TestShard::new();
    shard.now_ms = 7;
    let conv = shard.group("g_1", &["al"]);
    let applied = shard.ok("al", &conv, ShardOp::Invite { who: u("bo") });
    let moved = ApplyEffect::Cursors {
        delivered: 3,
        read: 2,
        read_moved: true,
        members: 4,
    };
    let table = [
        (
            ShardOutcome::Refused(ErrorCode::NotMember, "no".into()),
            "<1><1><4><2>no",
        ),
        (ShardOutcome::Bad("no".into()), "<1><2><2>no"),
        (
            ShardOutcome::Done(applied),
            "<1><0><2><0><7><0><1><3>g_1<2>W\"t\":\"member\",\"c\":\"g_1\",\"s\":2,\"ts\":7,\"u\":\"al\",\"who\":\"bo\",\"role\":\"member\",\"why\":\"invite\"}<0><1><2>bo<0><0><0>",
        ),
        (
            ShardOutcome::Done(super::CommandResult::silent(moved)),
            "<1><0><0><0><0><0><0><1><3><2><1><4>",
        ),
        (
            ShardOutcome::Done(super::CommandResult::silent(ApplyEffect::Reserved(conv))),
            "<1><0><0><0><0><0><0><2><3>g_1",
        ),
        (
            ShardOutcome::Done(super::CommandResult::silent(ApplyEffect::Indexed {
                changed: true,
                member: false,
            })),
            "<1><0><0><0><0><0><0><3><1><0>",
        ),
    ];
    for (outcome, bytes) in table {
        assert_eq!(hex(&outcome.encode()), bytes);
        assert_eq!(ShardOutcome::decode(&outcome.encode()), Ok(outcome));
    }
    let appended = ShardOutcome::Done(super::CommandResult::silent(ApplyEffect::OutboxAppended));
    assert_eq!(hex(&appended.encode()), "<1><0><0><0><0><0><0><4>");
    let blocked = ShardOutcome::Done(super::CommandResult::silent(ApplyEffect::Blocked {
        who: u("bo"),
        since_ms: Some(7),
    }));
    assert_eq!(hex(&blocked.encode()), "<1><0><0><0><0><0><0><5><2>bo<1><7>");
    let ended = |login| ShardOutcome::Done(super::CommandResult::silent(ApplyEffect::Ended(login)));
    assert_eq!(hex(&ended(None).encode()), "<1><0><0><0><0><0><0><6><0>");
    assert_eq!(
        hex(&ended(Some(ClientMessageId::parse("k").unwrap())).encode()),
        "<1><0><0><0><0><0><0><6><1><1>k"
    );
    let logins = vec![ClientMessageId::parse("k").unwrap()];
    let all = ShardOutcome::Done(super::CommandResult::silent(ApplyEffect::EndedAll(logins)));
    assert_eq!(hex(&all.encode()), "<1><0><0><0><0><0><0><7><1><1>k");
    let watched = ShardOutcome::Done(super::CommandResult::silent(ApplyEffect::Watched));
    assert_eq!(hex(&watched.encode()), "<1><0><0><0><0><0><0><8>");
    let moved = vec![MovedMember {
        user: u("bo"),
        conv: ConversationId::parse("g_1").unwrap(),
        last: LastEvent { s: 9, mn: 8, ts: 7 },
    }];
    let moved = ShardOutcome::Done(super::CommandResult::silent(ApplyEffect::Moved(moved)));
    assert_eq!(
        hex(&moved.encode()),
        "<1><0><0><0><0><0><0><9><1><2>bo<3>g_1<9><8><7>"
    );
    assert!(ShardOutcome::decode(b"\x02").is_err() && ShardOutcome::decode(b"").is_err());
}

#[test]
fn a_conversation_that_let_go_of_events_has_frozen_bytes() {
    let mut shard = TestShard::new();
    shard.now_ms = 7;
    let conv = shard.group("g_1", &["al"]);
    let bytes = |shard: &TestShard| {
        let row = shard.rows.get(TableId::Conversation, b"g_1").unwrap().unwrap();
        hex(&row)
    };
    shard.ok("al", &conv, text("x"));
    shard.ok("al", &conv, text("y"));
    assert_eq!(bytes(&shard), "<1><1><0><2>al<0><7><3><2><7><3><7><1><1><1><0>");
    for _ in 0..2 {
        shard.apply(ShardCommand::retain(conv.clone(), 3));
    }
    assert_eq!(
        bytes(&shard),
        "<2><1><0><2>al<0><7><3><2><7><3><7><1><1><1><0><3><3><1><0><0><0>"
    );
    shard.apply(ShardCommand::retain(conv, 4));
    assert_eq!(
        bytes(&shard),
        "<2><1><0><2>al<0><7><3><2><7><3><7><1><1><1><0><3><3><2><3><0><0>"
    );
}

#[test]
fn what_has_become_of_messages_has_frozen_bytes() {
    let mut shard = TestShard::new();
    shard.now_ms = 7;
    let conv = shard.group("g_1", &["al"]);
    for i in 0..70 {
        shard.ok("al", &conv, text(&i.to_string()));
    }
    let (body, mentions) = ("{}".into(), Some(vec![u("bo")]));
    shard.ok(
        "al",
        &conv,
        ShardOp::Edit {
            of: 2,
            body,
            mentions,
        },
    );
    let (k, on, who) = ("+1".into(), true, None);
    shard.ok("al", &conv, ShardOp::React { of: 2, k, on, who });
    // The ordinals are 65 and 66.
    for of in [66, 67] {
        shard.ok("al", &conv, ShardOp::Delete { of });
    }
    let conv = shard.rows.get(TableId::Conversation, b"g_1").unwrap().unwrap();
    assert_eq!(
        hex(&conv),
        "<2><1><0><2>al<0><7>KF<7>G<7><1><1><1><0><0><0><0><0><0>B"
    );
    let beside = shard
        .rows
        .0
        .iter()
        .filter(|((table, key), _)| *table == TableId::Message && key[3] > 0);
    let rows: Vec<_> = beside
        .map(|((_, key), value)| format!("{} = {}", hex(&key[3..]), hex(value)))
        .collect();
    let deleted = |s: u8| {
        format!(
            "<1><0><0><0><0><0><0><0>{} = <1><0><1>{}<0><0>",
            hex(&[s]),
            hex(&[s + 8])
        )
    };
    let expected = [
        "<1><0><0><0><0><0><0><0><2> = <1><1>H<0><1><2>+1<1>H".to_owned(),
        deleted(66),
        deleted(67),
        "<2><0><0><0><0><0><0><0><2>al<0>+1 = <1>I".to_owned(),
        "<3><0><0><0><0><0><0><0><0>A = <0><0><0><0><0><0><0><1>".to_owned(),
        "<3><0><0><0><0><0><0><0><0>B = <0><0><0><0><0><0><0><1>".to_owned(),
        "<3><1><0><0><0><0><0><0><0><1> = <0><0><0><0><0><0><0><2>".to_owned(),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn rows_have_frozen_bytes() {
    let mut shard = TestShard::new();
    shard.now_ms = 7;
    let conv = ConversationId::parse("g_1").unwrap();
    let cid = |text: &str| Some(ClientMessageId::parse(text).unwrap());
    let by_al = |cid, op| ShardCommand {
        conv: conv.clone(),
        user: u("al"),
        cid,
        skip: 0,
        op,
    };
    shard.apply(by_al(cid("a"), ShardOp::Reserve));
    shard.apply(by_al(cid("a"), create(ConversationKind::Group, &["bo"])));
    let ShardOp::Send { body, .. } = text("hi") else {
        panic!()
    };
    let mentions = vec![u("bo")];
    shard.apply(by_al(
        cid("b"),
        ShardOp::Send {
            direct: None,
            body,
            reply_to: None,
            mentions,
        },
    ));
    shard.apply(by_al(cid("c"), ShardOp::Ban { who: u("cy") }));
    shard.apply(ShardCommand {
        conv: ConversationId::direct(&u("al"), &u("bo")),
        ..by_al(
            None,
            ShardOp::Block {
                who: u("bo"),
                on: true,
            },
        )
    });
    let outbox = crate::conversation::state_machine::query::outbox(&shard.rows, None, 9).unwrap();
    for pending in [&outbox[0], &outbox[2]] {
        shard.apply(pending.command.clone());
    }
    shard.apply(ShardCommand::seen(u("al"), 7));
    let group_invite = GroupInvite::SharesConversation;
    shard.apply(ShardCommand::of_user(u("bo"), ShardOp::Wish { group_invite }));
    shard.apply(ShardCommand::of_user(
        u("cy"),
        ShardOp::MayAdd {
            by: u("al"),
            cid: ClientMessageId::parse("k").unwrap(),
            shared: None,
            bounds: AdditionLimits::default(),
        },
    ));
    let rows: Vec<_> = shard
        .rows
        .0
        .iter()
        .map(|((table, key), value)| format!("{table:?} {} = {}", hex(key), hex(value)))
        .collect();
    let expected = [
        r#"Conversation g_1 = <1><1><0><2>al<0><7><4><1><7><3><7><1><2><1><0>"#,
        r#"Message g_1<0><0><0><0><0><0><0><0><1> = <1><2><0><0><0><0><0><0><0><0><2>al"t":"member","c":"g_1","s":1,"ts":7,"u":"al","who":"al","role":"owner","why":"create"}"#,
        r#"Message g_1<0><0><0><0><0><0><0><0><2> = <1><2><0><0><0><0><0><0><0><0><2>al"t":"member","c":"g_1","s":2,"ts":7,"u":"al","who":"bo","role":"member","why":"create"}"#,
        r#"Message g_1<0><0><0><0><0><0><0><0><3> = <1><1><0><0><0><0><0><0><0><1><2>al"t":"msg","c":"g_1","s":3,"mn":1,"ts":7,"u":"al","cid":"b","b":{"text":"hi"},"mentions":["bo"]}"#,
        r#"Message g_1<0><0><0><0><0><0><0><0><4> = <1><2><0><0><0><0><0><0><0><1><2>al"t":"member","c":"g_1","s":4,"ts":7,"u":"al","who":"cy","role":null,"why":"ban"}"#,
        r#"Member d_5tlyatbsagggpjfqnpnafs747g<0>bo = <1><0><0><0><0><0><0><0><0><0><0><0><0><0><0><1><0><0><0>"#,
        r#"Member g_1<0>al = <1><1><0><1><3><1><3><0><2><0><3><7><0><0><0><0><0><0><0><0>"#,
        r#"Member g_1<0>bo = <1><1><2><1><2><0><2><1><3><2><1><0><0><0><0><0><0><0><0><0><0>"#,
        r#"Member g_1<0>cy = <1><0><0><0><0><0><0><0><0><0><0><0><0><0><0><1><0><0><0>"#,
        r#"Member g_1<1>cy = <1><2>al<7>"#,
        r#"Member g_1<2><0><0><0><0><0><0><0><0><1>al = "#,
        r#"Member g_1<2><2><0><0><0><0><0><0><0><1>bo = "#,
        r#"Dedup <0>al = <1><1><7><0><0>"#,
        r#"Dedup <0>al<0>a = <1><0><7><0><0><1><3>g_1"#,
        r#"Dedup g_1<0>al<0>a = <1><0><7><2><0><0>"#,
        r#"Dedup g_1<0>al<0>b = <1><1><7><3><1><0>"#,
        r#"Dedup g_1<0>al<0>c = <1><2><7><4><0><0>"#,
        r#"UserIndex al<0>g_1 = <1><1><2><0><7><0><0><0><0>"#,
        r#"UserIndex al<1>bo = <1><1><5><0><7>"#,
        r#"UserIndex al<2> = <1><7>"#,
        r#"UserIndex al<4><ff><ff><ff><ff><ff><ff><ff><f8>g_1 = <1><1><2><0><7><0><0><0><0>"#,
        r#"UserIndex bo<8> = <1><1>"#,
        r#"UserIndex cy<9>al<0>-<0>k = <1><7>"#,
        r#"Outbox <0><0><0><0><0><0><0><2><0><0><0><0> = <1><3>g_1<2>al<1><7>"#,
        r#"Outbox <0><0><0><0><0><0><0><2><0><0><0><1> = <1><3>g_1<2>bo<1><7>"#,
        r#"Outbox <0><0><0><0><0><0><0><5><0><0><0><0> = <1><1c>d_5tlyatbsagggpjfqnpnafs747g<2>al<2><2>bo<1><7>"#,
        r#"Outbox <2>g_1 = "#,
    ];
    assert_eq!(rows, expected);
}
