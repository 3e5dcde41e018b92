//! Frozen bytes of commands, outcomes and rows. A difference here is a new version of the encoding.

use protocol::answer::Last;
use protocol::{Cid, ConvId, ErrorCode, GroupInvite, History, Kind, Role};

use storage::Table;

use super::super::consent::Bounds;
use super::super::door::Rows;
use super::super::login::{Hidden, Limit, Login, Pace};
use super::super::{Activity, Command, Effect, Moved, Op, OutboxId, Outcome};
use super::{World, create, text, u};

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

fn command(op: Op) -> Command {
    let (conv, cid) = (ConvId::parse("g_1").unwrap(), Some(Cid::parse("k").unwrap()));
    Command {
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
    let limit = Limit {
        most: 5,
        window_ms: 1_000,
    };
    let table = [
        (
            Op::Send {
                direct: Some(u("bo")),
                body: "{}".into(),
                reply_to: Some(9),
                mentions: vec![u("bo")],
            },
            "<0><1><2>bo<2>{}<1><9><1><2>bo",
        ),
        (
            Op::Create {
                kind: Kind::Group,
                members: vec![u("bo")],
                title: Some("T".into()),
            },
            "<1><1><1><2>bo<1><1>T",
        ),
        (Op::Invite { who: u("bo") }, "<2><2>bo"),
        (Op::Kick { who: u("bo") }, "<3><2>bo"),
        (Op::Leave, "<4>"),
        (Op::Read { s: 9 }, "<5><9>"),
        (Op::Delivered { s: 9 }, "<6><9>"),
        (Op::Reserve, "<7>"),
        (
            Op::IndexPut {
                member: true,
                version: id,
                at_ms: 7,
            },
            "<8><1><5><2><7>",
        ),
        (Op::OutboxDone { ids: vec![id] }, "<9><1><5><2>"),
        (
            Op::Edit {
                of: 9,
                body: "{}".into(),
                mentions: None,
            },
            "<a><9><2>{}<0>",
        ),
        (Op::Delete { of: 9 }, "<b><9>"),
        (
            Op::React {
                of: 9,
                k: "+1".into(),
                on: true,
                who: None,
            },
            "<c><9><2>+1<1><0>",
        ),
        (Op::Join, "<d>"),
        (Op::Ban { who: u("bo") }, "<e><2>bo"),
        (Op::Unban { who: u("bo") }, "<f><2>bo"),
        (
            Op::SetRole {
                who: u("bo"),
                role: Role::Reader,
            },
            "<10><2>bo<3>",
        ),
        (
            Op::Set {
                title: Some("T".into()),
                history: Some(History::All),
                muted: Some(true),
                pinned: None,
            },
            "<11><1><1>T<1><1><1><1><0>",
        ),
        (
            Op::Block {
                who: u("bo"),
                on: true,
            },
            "<12><2>bo<1>",
        ),
        (
            Op::BlockPut {
                who: u("bo"),
                on: true,
                version: id,
                at_ms: 7,
            },
            "<13><2>bo<1><5><2><7>",
        ),
        (Op::Seen { at_ms: 7 }, "<14><7>"),
        (Op::Retain { below: 9 }, "<15><9>"),
        (
            Op::Login(Login::Count { nonce: 300, limit }),
            "<16><1><ac><2><5><e8><7>",
        ),
        (Op::Login(Login::EndLine { all: true }), "<16><6><1>"),
        (Op::Login(Login::Sweep), "<16><7>"),
        (
            Op::Hook {
                name: "ci".into(),
                on: true,
            },
            "<17><2>ci<1>",
        ),
        (Op::HooksOn { members: 9 }, "<18><9>"),
        (Op::HooksTold { ids: vec![id] }, "<19><1><5><2>"),
        (
            Op::MayAdd {
                by: u("bo"),
                cid: Cid::parse("k").unwrap(),
                shared: ConvId::parse("g_2").ok(),
                bounds: Bounds {
                    by_one: 5,
                    by_all: 300,
                },
            },
            "<1a><2>bo<1>k<1><3>g_2<5><ac><2>",
        ),
        (
            Op::NotAdded {
                who: Some(u("bo")),
                why: "no".into(),
            },
            "<1b><1><2>bo<2>no",
        ),
        (
            Op::Wish {
                group_invite: GroupInvite::Nobody,
            },
            "<1c><2>",
        ),
        (
            Op::Active {
                items: vec![Activity {
                    conv: ConvId::parse("g_1").unwrap(),
                    last: Last { s: 9, mn: 8, ts: 7 },
                    large: true,
                    users: vec![u("bo")],
                }],
            },
            "<1d><1><3>g_1<9><8><7><1><1><2>bo",
        ),
        (
            Op::EndWatch {
                items: vec![(ConvId::parse("g_1").unwrap(), 9)],
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
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn logins_have_frozen_bytes() {
    let hash = |byte: u8| Hidden([byte; 32]);
    let (a, b) = ("a".repeat(32), "b".repeat(32));
    let limit = Limit {
        most: 5,
        window_ms: 7,
    };
    let pace = Pace {
        period_ms: 1,
        overlap_ms: 2,
        keep_ms: 3,
    };
    let table = [
        (
            Login::TurnKeys {
                seed: hash(b'a'),
                pepper: hash(b'b'),
                pace,
            },
            format!("<0>{a}{b}<1><2><3>"),
        ),
        (
            Login::PutCode {
                code: hash(b'a'),
                valid_ms: 9,
                limit,
            },
            format!("<2>{a}<9><5><7>"),
        ),
        (
            Login::TryCode {
                code: hash(b'a'),
                attempt: 9,
                tries: 5,
            },
            format!("<3>{a}<9><5>"),
        ),
        (
            Login::OpenLine {
                token: hash(b'a'),
                valid_ms: 9,
            },
            format!("<4>{a}<9>"),
        ),
        (
            Login::TurnLine {
                token: hash(b'a'),
                next: hash(b'b'),
                valid_ms: 9,
                grace_ms: 8,
            },
            format!("<5>{a}{b}<9><8>"),
        ),
    ];
    for (login, bytes) in table {
        let name = ConvId::parse("to_x").unwrap();
        let command = Command::login(name, Some(Cid::parse("k").unwrap()), login);
        assert_eq!(
            hex(&command.encode()),
            format!("<1><4>to_x<1>-<1><1>k<0><16>{bytes}")
        );
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn rows_of_logins_have_frozen_bytes() {
    let mut world = World::new();
    world.now_ms = 7;
    let hash = |byte: u8| Hidden([byte; 32]);
    let limit = Limit {
        most: 5,
        window_ms: 9,
    };
    let mut run = |name: &str, login| {
        let command = Command::login(ConvId::parse(name).unwrap(), Cid::parse("k").ok(), login);
        world.apply(command);
    };
    run("ip_x", Login::Count { nonce: 3, limit });
    let (code, valid_ms) = (hash(b'a'), 5);
    run(
        "to_x",
        Login::PutCode {
            code,
            valid_ms,
            limit,
        },
    );
    let (code, attempt, tries) = (hash(b'b'), 4, 5);
    run("to_x", Login::TryCode { code, attempt, tries });
    let (token, next, valid_ms, grace_ms) = (hash(b'a'), hash(b'b'), 6, 0);
    run(
        "u_x",
        Login::OpenLine {
            token: token.clone(),
            valid_ms,
        },
    );
    run(
        "u_x",
        Login::TurnLine {
            token,
            next,
            valid_ms,
            grace_ms,
        },
    );
    let (seed, pepper) = (hash(b'a'), hash(b'b'));
    let pace = Pace {
        period_ms: 1,
        overlap_ms: 0,
        keep_ms: 3,
    };
    run("keys", Login::TurnKeys { seed, pepper, pace });
    let rows: Vec<_> = world
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
    let mut world = World::new();
    world.now_ms = 7;
    let conv = world.group("g_1", &["al"]);
    let applied = world.ok("al", &conv, Op::Invite { who: u("bo") });
    let moved = Effect::Cursors {
        delivered: 3,
        read: 2,
        read_moved: true,
        members: 4,
    };
    let table = [
        (
            Outcome::Refused(ErrorCode::NotMember, "no".into()),
            "<1><1><4><2>no",
        ),
        (Outcome::Bad("no".into()), "<1><2><2>no"),
        (
            Outcome::Done(applied),
            "<1><0><2><0><7><0><1><3>g_1<2>W\"t\":\"member\",\"c\":\"g_1\",\"s\":2,\"ts\":7,\"u\":\"al\",\"who\":\"bo\",\"role\":\"member\",\"why\":\"invite\"}<0><1><2>bo<0><0><0>",
        ),
        (
            Outcome::Done(super::Applied::silent(moved)),
            "<1><0><0><0><0><0><0><1><3><2><1><4>",
        ),
        (
            Outcome::Done(super::Applied::silent(Effect::Reserved(conv))),
            "<1><0><0><0><0><0><0><2><3>g_1",
        ),
        (
            Outcome::Done(super::Applied::silent(Effect::Indexed {
                changed: true,
                member: false,
            })),
            "<1><0><0><0><0><0><0><3><1><0>",
        ),
    ];
    for (outcome, bytes) in table {
        assert_eq!(hex(&outcome.encode()), bytes);
        assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
    }
    let told = Outcome::Done(super::Applied::silent(Effect::Told));
    assert_eq!(hex(&told.encode()), "<1><0><0><0><0><0><0><4>");
    let barred = Outcome::Done(super::Applied::silent(Effect::Barred {
        who: u("bo"),
        since_ms: Some(7),
    }));
    assert_eq!(hex(&barred.encode()), "<1><0><0><0><0><0><0><5><2>bo<1><7>");
    let ended = |login| Outcome::Done(super::Applied::silent(Effect::Ended(login)));
    assert_eq!(hex(&ended(None).encode()), "<1><0><0><0><0><0><0><6><0>");
    assert_eq!(
        hex(&ended(Some(Cid::parse("k").unwrap())).encode()),
        "<1><0><0><0><0><0><0><6><1><1>k"
    );
    let logins = vec![Cid::parse("k").unwrap()];
    let all = Outcome::Done(super::Applied::silent(Effect::EndedAll(logins)));
    assert_eq!(hex(&all.encode()), "<1><0><0><0><0><0><0><7><1><1>k");
    let watched = Outcome::Done(super::Applied::silent(Effect::Watched));
    assert_eq!(hex(&watched.encode()), "<1><0><0><0><0><0><0><8>");
    let moved = vec![Moved {
        user: u("bo"),
        conv: ConvId::parse("g_1").unwrap(),
        last: Last { s: 9, mn: 8, ts: 7 },
    }];
    let moved = Outcome::Done(super::Applied::silent(Effect::Moved(moved)));
    assert_eq!(
        hex(&moved.encode()),
        "<1><0><0><0><0><0><0><9><1><2>bo<3>g_1<9><8><7>"
    );
    assert!(Outcome::decode(b"\x02").is_err() && Outcome::decode(b"").is_err());
}

#[test]
fn a_conversation_that_let_go_of_events_has_frozen_bytes() {
    let mut world = World::new();
    world.now_ms = 7;
    let conv = world.group("g_1", &["al"]);
    let bytes = |world: &World| {
        let row = world.rows.get(Table::Conversation, b"g_1").unwrap().unwrap();
        hex(&row)
    };
    world.ok("al", &conv, text("x"));
    world.ok("al", &conv, text("y"));
    assert_eq!(bytes(&world), "<1><1><0><2>al<0><7><3><2><7><3><7><1><1><1><0>");
    for _ in 0..2 {
        world.apply(Command::retain(conv.clone(), 3));
    }
    assert_eq!(
        bytes(&world),
        "<2><1><0><2>al<0><7><3><2><7><3><7><1><1><1><0><3><3><1><0><0><0>"
    );
    world.apply(Command::retain(conv, 4));
    assert_eq!(
        bytes(&world),
        "<2><1><0><2>al<0><7><3><2><7><3><7><1><1><1><0><3><3><2><3><0><0>"
    );
}

#[test]
fn what_has_become_of_messages_has_frozen_bytes() {
    let mut world = World::new();
    world.now_ms = 7;
    let conv = world.group("g_1", &["al"]);
    for i in 0..70 {
        world.ok("al", &conv, text(&i.to_string()));
    }
    let (body, mentions) = ("{}".into(), Some(vec![u("bo")]));
    world.ok(
        "al",
        &conv,
        Op::Edit {
            of: 2,
            body,
            mentions,
        },
    );
    let (k, on, who) = ("+1".into(), true, None);
    world.ok("al", &conv, Op::React { of: 2, k, on, who });
    // The ordinals are 65 and 66.
    for of in [66, 67] {
        world.ok("al", &conv, Op::Delete { of });
    }
    let conv = world.rows.get(Table::Conversation, b"g_1").unwrap().unwrap();
    assert_eq!(
        hex(&conv),
        "<2><1><0><2>al<0><7>KF<7>G<7><1><1><1><0><0><0><0><0><0>B"
    );
    let beside = world
        .rows
        .0
        .iter()
        .filter(|((table, key), _)| *table == Table::Message && key[3] > 0);
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
    let mut world = World::new();
    world.now_ms = 7;
    let conv = ConvId::parse("g_1").unwrap();
    let cid = |text: &str| Some(Cid::parse(text).unwrap());
    let by_al = |cid, op| Command {
        conv: conv.clone(),
        user: u("al"),
        cid,
        skip: 0,
        op,
    };
    world.apply(by_al(cid("a"), Op::Reserve));
    world.apply(by_al(cid("a"), create(Kind::Group, &["bo"])));
    let Op::Send { body, .. } = text("hi") else {
        panic!()
    };
    let mentions = vec![u("bo")];
    world.apply(by_al(
        cid("b"),
        Op::Send {
            direct: None,
            body,
            reply_to: None,
            mentions,
        },
    ));
    world.apply(by_al(cid("c"), Op::Ban { who: u("cy") }));
    world.apply(Command {
        conv: ConvId::direct(&u("al"), &u("bo")),
        ..by_al(
            None,
            Op::Block {
                who: u("bo"),
                on: true,
            },
        )
    });
    let told = super::super::read::outbox(&world.rows, None, 9).unwrap();
    for pending in [&told[0], &told[2]] {
        world.apply(pending.command.clone());
    }
    world.apply(Command::seen(u("al"), 7));
    let group_invite = GroupInvite::SharesConversation;
    world.apply(Command::of_user(u("bo"), Op::Wish { group_invite }));
    world.apply(Command::of_user(
        u("cy"),
        Op::MayAdd {
            by: u("al"),
            cid: Cid::parse("k").unwrap(),
            shared: None,
            bounds: Bounds::default(),
        },
    ));
    let rows: Vec<_> = world
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
