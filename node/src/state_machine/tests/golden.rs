//! Frozen bytes of commands, outcomes and rows. A difference here is a new version of the encoding.

use bytes::Bytes;
use protocol::response::LastEvent;
use protocol::{
    ClientMessageId, ConversationId, ConversationKind, GroupInvite, HistoryVisibility, Role, UserId,
};

use crate::state_machine::ChatTable;

use super::{TestCommand, TestShard, create, id16, login_key, of_user, text, u};
use crate::state_machine::consent::{AdditionLimits, AdditionVerdict};
use crate::state_machine::login::{
    AttemptLimit, KeyRotationPolicy, LoginCodeId, LoginOutcome, SecretBytes, TokenFamilyId,
};
use crate::state_machine::outcome::ErasureOutcome;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::{
    ActivityNote, ApiKeyId, ApplyEffect, CommandHeader, CommandKind, CommandResult, ConversationOp,
    DeviceCursors, ErasedMessages, ErasureId, ErasureOp, ErasureStep, KeyScope, LoginOp, MovedMember,
    OutboxId, OutboxOp, OutboxOutcome, RetentionOp, RetentionOutcome, ShardCommand, ShardOutcome, UserOp,
    UserOutcome, WebhookOp,
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

fn conv() -> ConversationId {
    ConversationId::parse("g_1").unwrap()
}

/// One command of each kind, with the bytes behind the version.
pub(super) fn commands() -> Vec<(ShardCommand, &'static str)> {
    let id = OutboxId { index: 5, n: 2 };
    let bo = || u("bo");
    let key = || ClientMessageId::parse("k").unwrap();
    let of_conversation = |op| {
        ShardCommand::from(TestCommand {
            conv: conv(),
            user: u("al"),
            cid: Some(key()),
            skip: 300,
            op,
        })
    };
    let by_user = |op| of_user(u("al"), op);
    let login = |name: &str, op| ShardCommand::Login {
        key: login_key(name),
        op,
    };
    let hash = |byte: u8| SecretBytes([byte; 32]);
    let (code, family) = (LoginCodeId([b'c'; 16]), TokenFamilyId([b'f'; 16]));
    let tombstone = UserId::tombstone(&[b't'; 16]);
    let step = ErasureStep {
        done: true,
        messages: 8,
        events: 9,
        index: 300,
    };
    let limit = AttemptLimit {
        most: 5,
        window_ms: 1_000,
    };
    let pace = KeyRotationPolicy {
        period_ms: 1,
        overlap_ms: 2,
        keep_ms: 3,
    };
    vec![
        (
            of_conversation(ConversationOp::Send {
                direct: Some(bo()),
                body: "{}".into(),
                reply_to: Some(9),
                mentions: vec![bo()],
            }),
            "<1><1><3>g_1<1><2>al<1><1>k<ac><2><1><2>bo<2>{}<1><9><1><2>bo",
        ),
        (
            of_conversation(ConversationOp::Edit {
                of: 9,
                body: "{}".into(),
                mentions: None,
            }),
            "<2><1><3>g_1<1><2>al<1><1>k<ac><2><9><2>{}<0>",
        ),
        (
            of_conversation(ConversationOp::Delete { of: 9 }),
            "<3><1><3>g_1<1><2>al<1><1>k<ac><2><9>",
        ),
        (
            of_conversation(ConversationOp::React {
                of: 9,
                k: "+1".into(),
                on: true,
                who: None,
            }),
            "<4><1><3>g_1<1><2>al<1><1>k<ac><2><9><2>+1<1><0>",
        ),
        (
            of_conversation(ConversationOp::Read { s: 9 }),
            "<5><1><3>g_1<1><2>al<1><1>k<ac><2><9>",
        ),
        (
            of_conversation(ConversationOp::Delivered { s: 9 }),
            "<6><1><3>g_1<1><2>al<1><1>k<ac><2><9>",
        ),
        (
            of_conversation(ConversationOp::Create {
                kind: ConversationKind::Group,
                members: vec![bo()],
                title: Some("T".into()),
                data: Some("{}".into()),
            }),
            "<7><1><3>g_1<1><2>al<1><1>k<ac><2><1><1><2>bo<1><1>T<1><2>{}",
        ),
        (
            of_conversation(ConversationOp::NotAdded {
                who: Some(bo()),
                why: "no".into(),
            }),
            "<8><1><3>g_1<1><2>al<1><1>k<ac><2><1><2>bo<2>no",
        ),
        (
            of_conversation(ConversationOp::Invite { who: bo() }),
            "<9><1><3>g_1<1><2>al<1><1>k<ac><2><2>bo",
        ),
        (
            of_conversation(ConversationOp::Kick { who: bo() }),
            "<a><1><3>g_1<1><2>al<1><1>k<ac><2><2>bo",
        ),
        (
            of_conversation(ConversationOp::Leave),
            "<b><1><3>g_1<1><2>al<1><1>k<ac><2>",
        ),
        (
            of_conversation(ConversationOp::Join),
            "<c><1><3>g_1<1><2>al<1><1>k<ac><2>",
        ),
        (
            of_conversation(ConversationOp::Ban { who: bo() }),
            "<d><1><3>g_1<1><2>al<1><1>k<ac><2><2>bo",
        ),
        (
            of_conversation(ConversationOp::Unban { who: bo() }),
            "<e><1><3>g_1<1><2>al<1><1>k<ac><2><2>bo",
        ),
        (
            of_conversation(ConversationOp::SetRole {
                who: bo(),
                role: Some(Role::Reader),
                data: Some("{}".into()),
            }),
            "<f><1><3>g_1<1><2>al<1><1>k<ac><2><2>bo<1><3><1><2>{}",
        ),
        (
            of_conversation(ConversationOp::Set {
                title: Some("T".into()),
                history: Some(HistoryVisibility::All),
                muted: Some(true),
                pinned: None,
                data: Some("".into()),
            }),
            "<10><1><3>g_1<1><2>al<1><1>k<ac><2><1><1>T<1><1><1><1><0><1><0>",
        ),
        (
            of_conversation(ConversationOp::Block { who: bo(), on: true }),
            "<11><1><3>g_1<1><2>al<1><1>k<ac><2><2>bo<1>",
        ),
        (
            of_conversation(ConversationOp::Hook {
                name: "ci".into(),
                on: true,
            }),
            "<12><1><3>g_1<1><2>al<1><1>k<ac><2><2>ci<1>",
        ),
        (
            of_conversation(ConversationOp::PutMember {
                who: bo(),
                role: Some(Role::Reader),
            }),
            "<13><1><3>g_1<1><2>al<1><1>k<ac><2><2>bo<1><3>",
        ),
        (
            by_user(UserOp::Reserve {
                conversation: conv(),
                cid: key(),
            }),
            "@<2><1><2>al<0><0><3>g_1<1>k",
        ),
        (
            by_user(UserOp::IndexPut {
                conversation: conv(),
                member: true,
                version: id,
                at_ms: 7,
            }),
            "A<2><1><2>al<0><0><3>g_1<1><5><2><7>",
        ),
        (
            by_user(UserOp::BlockPut {
                who: bo(),
                on: true,
                version: id,
                at_ms: 7,
            }),
            "B<2><1><2>al<0><0><2>bo<1><5><2><7>",
        ),
        (by_user(UserOp::Seen { at_ms: 7 }), "C<2><1><2>al<0><0><7>"),
        (
            by_user(UserOp::MayAdd {
                by: bo(),
                conversation: conv(),
                cid: key(),
                shared: ConversationId::parse("g_2").ok(),
                bounds: AdditionLimits {
                    by_one: 5,
                    by_all: 300,
                },
            }),
            "D<2><1><2>al<0><0><2>bo<3>g_1<1>k<1><3>g_2<5><ac><2>",
        ),
        (
            by_user(UserOp::Wish {
                group_invite: GroupInvite::NoOne,
            }),
            "E<2><1><2>al<0><0><2>",
        ),
        (
            by_user(UserOp::PutCursors {
                device: "d1".into(),
                cursors: Some(DeviceCursors {
                    gateway_state: Bytes::from_static(b"G"),
                    positions: vec![(conv(), 5)],
                }),
                valid_ms: 9,
            }),
            "F<2><1><2>al<0><0><2>d1<1><1>G<1><3>g_1<5><9>",
        ),
        (
            by_user(UserOp::PutAccess {
                deactivated: Some(true),
                before_s: Some(300),
            }),
            "G<2><1><2>al<0><0><1><1><1><ac><2>",
        ),
        (
            by_user(UserOp::PutProfile {
                name: Some("Al".into()),
                avatar: Some("".into()),
                data: None,
            }),
            "H<2><1><2>al<0><0><1><2>Al<1><0><0>",
        ),
        (
            by_user(UserOp::Erase {
                id: ErasureId([b'e'; 16]),
                tombstone: tombstone.clone(),
                messages: ErasedMessages::Delete,
            }),
            "I<2><1><2>al<0><0>eeeeeeeeeeeeeeee!erased_or2hi5duor2hi5duor2hi5duoq<1>",
        ),
        (
            by_user(UserOp::PutErased {
                conversation: conv(),
                version: id,
                shard: 3,
                step,
            }),
            "J<2><1><2>al<0><0><3>g_1<5><2><3><1><8><9><ac><2>",
        ),
        (
            by_user(UserOp::EraseRows { shard: 300 }),
            "K<2><1><2>al<0><0><ac><2>",
        ),
        (
            login(
                "keys",
                LoginOp::TurnKeys {
                    seed: hash(b'a'),
                    pepper: hash(b'b'),
                    pace,
                },
            ),
            "`<3><1><0><0><0><0>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb<1><2><3>",
        ),
        (
            login("ip_x", LoginOp::Count { nonce: 300, limit }),
            "a<3><11><1>ip_x<0><0><0><0><0><0><0><0><0><0><0><0><0><0><0><ac><2><5><e8><7>",
        ),
        (
            login(
                "to_x",
                LoginOp::PutCode {
                    id: code,
                    code: hash(b'a'),
                    valid_ms: 9,
                    limit,
                },
            ),
            "b<3><11><2>to_x<0><0><0><0><0><0><0><0><0><0><0><0><0><0><0>ccccccccccccccccaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa<9><5><e8><7>",
        ),
        (
            login(
                "to_x",
                LoginOp::TryCode {
                    id: code,
                    code: hash(b'a'),
                    attempt: 9,
                    tries: 5,
                },
            ),
            "c<3><11><2>to_x<0><0><0><0><0><0><0><0><0><0><0><0><0><0><0>ccccccccccccccccaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa<9><5>",
        ),
        (
            login(
                "u_x",
                LoginOp::OpenLine {
                    id: family,
                    token: hash(b'a'),
                    valid_ms: 9,
                },
            ),
            "d<3><4><3>u_x<0><0><0>ffffffffffffffffaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa<9>",
        ),
        (
            login(
                "u_x",
                LoginOp::TurnLine {
                    id: family,
                    token: hash(b'a'),
                    next: hash(b'b'),
                    valid_ms: 9,
                    grace_ms: 8,
                },
            ),
            "e<3><4><3>u_x<0><0><0>ffffffffffffffffaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb<9><8>",
        ),
        (
            login(
                "u_x",
                LoginOp::EndLine {
                    id: family,
                    all: true,
                },
            ),
            "f<3><4><3>u_x<0><0><0>ffffffffffffffff<1>",
        ),
        (
            login(
                "u_x",
                LoginOp::OpenDevice {
                    id: family,
                    token: hash(b'a'),
                    device: "d1".into(),
                    name: Some("n".into()),
                    login: Some(family),
                    valid_ms: 9,
                },
            ),
            "g<3><4><3>u_x<0><0><0>ffffffffffffffffaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa<2>d1<1><1>n<1>ffffffffffffffff<9>",
        ),
        (
            login("u_x", LoginOp::EndDevice { id: family }),
            "h<3><4><3>u_x<0><0><0>ffffffffffffffff",
        ),
        (
            login("to_x", LoginOp::ReleaseCode { id: code, attempt: 9 }),
            "i<3><11><2>to_x<0><0><0><0><0><0><0><0><0><0><0><0><0><0><0>cccccccccccccccc<9>",
        ),
        (
            login(
                "keys",
                LoginOp::CreateApiKey {
                    id: ApiKeyId([b'k'; 10]),
                    secret: hash(b'a'),
                    name: "n".into(),
                    scopes: [KeyScope::Users, KeyScope::Read].into_iter().collect(),
                    expires_ms: Some(9),
                },
            ),
            "j<3><1><0><0><0><0>kkkkkkkkkkaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa<1>n<9><1><9>",
        ),
        (
            login(
                "keys",
                LoginOp::RevokeApiKey {
                    id: ApiKeyId([b'k'; 10]),
                },
            ),
            "k<3><1><0><0><0><0>kkkkkkkkkk",
        ),
        (
            login(
                "keys",
                LoginOp::Audit {
                    nonce: 300,
                    key: ApiKeyId([b'k'; 10]),
                    act: "a.b".into(),
                    target: "g_1".into(),
                    count: 2,
                },
            ),
            "l<3><1><0><0><0><0><ac><2>kkkkkkkkkk<3>a.b<3>g_1<2>",
        ),
        (
            login(
                "keys",
                LoginOp::AuditOperator {
                    nonce: 300,
                    who: "w".into(),
                    act: "a.b".into(),
                    target: "3".into(),
                    outcome: "begun".into(),
                },
            ),
            "p<3><1><0><0><0><0><ac><2><1>w<3>a.b<1>3<5>begun",
        ),
        (
            ShardCommand::Outbox(OutboxOp::OutboxDone { ids: vec![id] }),
            "<80><0><0><0><0><1><5><2>",
        ),
        (
            ShardCommand::Outbox(OutboxOp::Active {
                items: vec![ActivityNote {
                    conv: conv(),
                    last: LastEvent {
                        seq: 9,
                        message_number: 8,
                        timestamp_ms: 7,
                    },
                    large: true,
                    users: vec![bo()],
                }],
            }),
            "<81><0><0><0><0><1><3>g_1<9><8><7><1><1><2>bo",
        ),
        (
            ShardCommand::Outbox(OutboxOp::EndWatch {
                items: vec![(conv(), 9)],
            }),
            "<82><0><0><0><0><1><3>g_1<9>",
        ),
        (
            ShardCommand::Webhook(WebhookOp::HooksOn { members: 9 }),
            "<90><0><0><0><0><9>",
        ),
        (
            ShardCommand::Webhook(WebhookOp::WebhookDelivered { ids: vec![id] }),
            "<91><0><0><0><0><1><5><2>",
        ),
        (
            ShardCommand::Retention(RetentionOp::Retain {
                conversation: conv(),
                below: 9,
            }),
            "<a0><0><0><0><0><3>g_1<9>",
        ),
        (
            ShardCommand::Retention(RetentionOp::SweepLogins),
            "<a1><0><0><0><0>",
        ),
        (
            ShardCommand::Erasure(ErasureOp::EraseIn {
                conversation: conv(),
                user: u("al"),
                tombstone,
                messages: ErasedMessages::KeepAnonymous,
            }),
            "<b0><0><0><0><0><3>g_1<2>al!erased_or2hi5duor2hi5duor2hi5duoq<0>",
        ),
    ]
}

#[test]
fn every_command_has_frozen_bytes() {
    let table = commands();
    let kinds: Vec<CommandKind> = table.iter().map(|(command, _)| command.kind()).collect();
    assert_eq!(kinds, CommandKind::ALL, "one command of each kind");
    for (command, bytes) in table {
        let encoded = command.encode();
        assert_eq!(hex(&encoded), format!("<2>{bytes}"));
        assert_eq!(CommandHeader::check(&encoded).unwrap().kind, command.kind());
        for len in 0..encoded.len() {
            let cut = &encoded[..len];
            assert!(CommandHeader::check(cut).is_err() && ShardCommand::decode(cut).is_err());
        }
        assert_eq!(ShardCommand::decode(&encoded), Ok(command));
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
    let mut run = |name: &str, op| {
        let key = login_key(name);
        shard.apply(ShardCommand::Login { key, op });
    };
    run("ip_x", LoginOp::Count { nonce: 3, limit });
    let id = LoginCodeId(id16("k"));
    let (code, valid_ms) = (hash(b'a'), 5);
    run(
        "to_x",
        LoginOp::PutCode {
            id,
            code,
            valid_ms,
            limit,
        },
    );
    let (code, attempt, tries) = (hash(b'b'), 4, 5);
    run(
        "to_x",
        LoginOp::TryCode {
            id,
            code,
            attempt,
            tries,
        },
    );
    let id = TokenFamilyId(id16("k"));
    let (token, next, valid_ms, grace_ms) = (hash(b'a'), hash(b'b'), 6, 0);
    run(
        "u_x",
        LoginOp::OpenLine {
            id,
            token: token.clone(),
            valid_ms,
        },
    );
    run(
        "u_x",
        LoginOp::TurnLine {
            id,
            token,
            next,
            valid_ms,
            grace_ms,
        },
    );
    let device = LoginOp::OpenDevice {
        id: TokenFamilyId(id16("e")),
        token: hash(b'c'),
        device: "d1".into(),
        name: Some("n".into()),
        login: Some(id),
        valid_ms: 8,
    };
    run("u_x", device);
    let (seed, pepper) = (hash(b'a'), hash(b'b'));
    let pace = KeyRotationPolicy {
        period_ms: 1,
        overlap_ms: 0,
        keep_ms: 3,
    };
    run("keys", LoginOp::TurnKeys { seed, pepper, pace });
    let key = ApiKeyId([b'k'; 10]);
    let created = LoginOp::CreateApiKey {
        id: key,
        secret: hash(b'c'),
        name: "n".into(),
        scopes: [KeyScope::Read].into_iter().collect(),
        expires_ms: Some(9),
    };
    run("keys", created);
    let change = LoginOp::Audit {
        nonce: 2,
        key,
        act: "a.b".into(),
        target: "g_1".into(),
        count: 3,
    };
    run("keys", change);
    for outcome in ["begun", "done"] {
        let change = LoginOp::AuditOperator {
            nonce: 3,
            who: "w".into(),
            act: "a.b".into(),
            target: "3".into(),
            outcome: outcome.into(),
        };
        run("keys", change);
    }
    let cursors = UserOp::PutCursors {
        device: "d1".into(),
        cursors: Some(DeviceCursors {
            gateway_state: Bytes::from_static(b"G"),
            positions: vec![(ConversationId::parse("g_1").unwrap(), 5)],
        }),
        valid_ms: 9,
    };
    shard.apply(of_user(u("u_x"), cursors));
    let rows: Vec<_> = shard
        .rows
        .0
        .iter()
        .map(|((table, key), value)| format!("{table:?} {} = {}", hex(key), hex(value)))
        .collect();
    let [a, b, c] = ["a", "b", "c"].map(|byte| byte.repeat(32));
    let nonce = "<e1><c2><85><8b><96><ac><d8><b0>a";
    let (twelve, fifteen) = ("<0>".repeat(12), "<0>".repeat(15));
    let (ip, to) = (format!("<1>ip_x{twelve}"), format!("<2>to_x{twelve}"));
    let expiry = "<3><0><0><0><0><0><0><0>";
    let zero = "<0>".repeat(7);
    let expected = [
        format!("Login <0>{ip} = <1><10><1><7><3>"),
        format!("Login <0>{to} = <1><10><1><7>{nonce}"),
        format!("Login <1>{to}k{fifteen} = <1><c>{a}<1><4><0>"),
        format!("Login <2>u_x<0>k{fifteen} = <1><d><7><1>{b}<d><1>{a}<7>"),
        format!("Login {expiry}<c><1>{to}k{fifteen} = "),
        format!("Login {expiry}<d><2>u_x<0>k{fifteen} = "),
        format!("Login {expiry}<f><5>u_x<0>e{fifteen} = "),
        format!("Login {expiry}<10><0>{ip} = "),
        format!("Login {expiry}<10><0>{to} = "),
        format!("Login {expiry}<10><6>u_x<0>d1 = "),
        format!("Login <4> = <1>{b}<1>{a}<7>"),
        format!("Login <5>u_x<0>e{fifteen} = <1><f><7>{c}<2>d1<1><1>n<1>k{fifteen}"),
        "Login <6>u_x<0>d1 = <1><10><1>G<1><3>g_1<5>".to_owned(),
        format!("Login <7>kkkkkkkkkk = <1>{c}<1>n<8><7><1><9>"),
        "Login <8> = <1><2>".to_owned(),
        format!("Login <9>{zero}<0> = <1><7><2><1>kkkkkkkkkk<3>a.b<3>g_1<3><0><0>"),
        format!("Login <9>{zero}<1> = <1><7><3><0><3>a.b<1>3<1><1>w<4>done"),
        format!("Login <a>{zero}<2> = {zero}<0>"),
        format!("Login <a>{zero}<3> = {zero}<1>"),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn outcomes_have_frozen_bytes() {
    let mut shard = TestShard::new();
    shard.now_ms = 7;
    let conv = shard.group("g_1", &["al"]);
    let op = ConversationOp::Invite { who: u("bo") };
    let applied = shard.run("al", &conv, op);
    let moved = ApplyEffect::Cursors {
        delivered: 3,
        read: 2,
        read_moved: true,
        members: 4,
    };
    let silent = |effect| ShardOutcome::Conversation(CommandResult::silent(effect));
    let family = TokenFamilyId([b'f'; 16]);
    let f16 = "f".repeat(16);
    let table = [
        (
            applied,
            "<0><1><2><0><7><0><1><3>g_1<2>W\"t\":\"member\",\"c\":\"g_1\",\"s\":2,\"ts\":7,\"u\":\"al\",\"who\":\"bo\",\"role\":\"member\",\"why\":\"invite\"}<0><1><2>bo<0><0><0>".to_owned(),
        ),
        (silent(ApplyEffect::None), "<0><0><0><0><0><0><0>".to_owned()),
        (silent(moved), "<0><0><0><0><0><0><1><3><2><1><4>".to_owned()),
        (silent(ApplyEffect::OutboxAppended), "<0><0><0><0><0><0><2>".to_owned()),
        (silent(ApplyEffect::Watched), "<0><0><0><0><0><0><3>".to_owned()),
        (ShardOutcome::User(UserOutcome::Recorded), "<1><0>".to_owned()),
        (
            ShardOutcome::User(UserOutcome::Reserved {
                conversation: conv.clone(),
                dup: true,
            }),
            "<1><1><3>g_1<1>".to_owned(),
        ),
        (
            ShardOutcome::User(UserOutcome::Indexed {
                conversation: conv.clone(),
                changed: true,
                member: false,
            }),
            "<1><2><3>g_1<1><0>".to_owned(),
        ),
        (
            ShardOutcome::User(UserOutcome::Blocked {
                who: u("bo"),
                since_ms: Some(7),
            }),
            "<1><3><2>bo<1><7>".to_owned(),
        ),
        (
            ShardOutcome::User(UserOutcome::AccessChanged {
                logins: vec![family],
                closes: true,
            }),
            format!("<1><6><1>{f16}<1>"),
        ),
        (
            ShardOutcome::User(UserOutcome::Addition(AdditionVerdict::SharedOnly)),
            "<1><4><2>".to_owned(),
        ),
        (
            ShardOutcome::User(UserOutcome::Profile { ver: 3, changed: true }),
            "<1><5><3><1>".to_owned(),
        ),
        (
            ShardOutcome::User(UserOutcome::Erasing {
                id: ErasureId([b'e'; 16]),
                logins: vec![family],
            }),
            format!("<1><7>{}<1>{f16}", "e".repeat(16)),
        ),
        (
            ShardOutcome::User(UserOutcome::RowsErased {
                more: true,
                profile: Some(3),
            }),
            "<1><8><1><1><3>".to_owned(),
        ),
        (ShardOutcome::Login(LoginOutcome::Accepted), "<2><0>".to_owned()),
        (ShardOutcome::Login(LoginOutcome::Refused), "<2><1>".to_owned()),
        (
            ShardOutcome::Login(LoginOutcome::Limited { wait_ms: 9 }),
            "<2><2><9>".to_owned(),
        ),
        (
            ShardOutcome::Login(LoginOutcome::Reused(family)),
            format!("<2><3>{f16}"),
        ),
        (
            ShardOutcome::Login(LoginOutcome::Ended {
                families: vec![family],
                all: true,
            }),
            format!("<2><4><1>{f16}<1>"),
        ),
        (
            ShardOutcome::Login(LoginOutcome::ReusedWithDevices {
                families: vec![family, family],
            }),
            format!("<2><5><2>{f16}{f16}"),
        ),
        (
            ShardOutcome::Login(LoginOutcome::ApiKeyRevoked),
            "<2><6>".to_owned(),
        ),
        (ShardOutcome::Outbox(OutboxOutcome::Removed), "<3><0>".to_owned()),
        (
            ShardOutcome::Outbox(OutboxOutcome::Moved(vec![MovedMember {
                user: u("bo"),
                conv,
                last: LastEvent { seq: 9, message_number: 8, timestamp_ms: 7 },
            }])),
            "<3><1><1><2>bo<3>g_1<9><8><7>".to_owned(),
        ),
        (ShardOutcome::Webhook, "<4>".to_owned()),
        (
            ShardOutcome::Retention(RetentionOutcome::Trimmed),
            "<5><0>".to_owned(),
        ),
        (
            ShardOutcome::Retention(RetentionOutcome::Swept { rows: 9, more: true }),
            "<5><1><9><1>".to_owned(),
        ),
        (
            ShardOutcome::Refused(protocol::ErrorCode::NotMember, "no".into()),
            "<6><5><2>no".to_owned(),
        ),
        (
            ShardOutcome::Erasure(ErasureOutcome {
                step: ErasureStep {
                    done: true,
                    messages: 8,
                    events: 9,
                    index: 300,
                },
                events: Vec::new(),
            }),
            "<7><1><8><9><ac><2><0>".to_owned(),
        ),
    ];
    for (outcome, bytes) in table {
        assert_eq!(hex(&outcome.encode()), format!("<1>{bytes}"));
        assert_eq!(ShardOutcome::decode(&outcome.encode()), Ok(outcome));
    }
    assert!(ShardOutcome::decode(b"\x02").is_err() && ShardOutcome::decode(b"").is_err());
}

#[test]
fn a_conversation_that_let_go_of_events_has_frozen_bytes() {
    let mut shard = TestShard::new();
    shard.now_ms = 7;
    let conv = shard.group("g_1", &["al"]);
    let bytes = |shard: &TestShard| {
        let row = shard.rows.get(ChatTable::Conversation, b"g_1").unwrap().unwrap();
        hex(&row)
    };
    shard.ok("al", &conv, text("x"));
    shard.ok("al", &conv, text("y"));
    assert_eq!(
        bytes(&shard),
        "<1><1><0><2>al<0><7><3><2><7><3><7><1><1><1><0><0><0><0><0><0><0>"
    );
    for _ in 0..2 {
        shard.apply(super::retain(conv.clone(), 3));
    }
    assert_eq!(
        bytes(&shard),
        "<1><1><0><2>al<0><7><3><2><7><3><7><1><1><1><0><3><3><1><0><0><0>"
    );
    shard.apply(super::retain(conv, 4));
    assert_eq!(
        bytes(&shard),
        "<1><1><0><2>al<0><7><3><2><7><3><7><1><1><1><0><3><3><2><3><0><0>"
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
        ConversationOp::Edit {
            of: 2,
            body,
            mentions,
        },
    );
    let (k, on, who) = ("+1".into(), true, None);
    shard.ok("al", &conv, ConversationOp::React { of: 2, k, on, who });
    // The ordinals are 65 and 66.
    for of in [66, 67] {
        shard.ok("al", &conv, ConversationOp::Delete { of });
    }
    let conv = shard.rows.get(ChatTable::Conversation, b"g_1").unwrap().unwrap();
    assert_eq!(
        hex(&conv),
        "<1><1><0><2>al<0><7>KF<7>G<7><1><1><1><0><0><0><0><0><0>B"
    );
    let beside = shard
        .rows
        .0
        .iter()
        .filter(|((table, key), _)| *table == ChatTable::Message && key[3] > 0);
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
    let by_al = |cid, op| TestCommand {
        conv: conv.clone(),
        user: u("al"),
        cid,
        skip: 0,
        op,
    };
    let reserve = UserOp::Reserve {
        conversation: conv.clone(),
        cid: ClientMessageId::parse("a").unwrap(),
    };
    shard.apply(of_user(u("al"), reserve));
    shard.apply(by_al(cid("a"), create(ConversationKind::Group, &["bo"])));
    let ConversationOp::Send { body, .. } = text("hi") else {
        panic!()
    };
    let mentions = vec![u("bo")];
    shard.apply(by_al(
        cid("b"),
        ConversationOp::Send {
            direct: None,
            body,
            reply_to: None,
            mentions,
        },
    ));
    shard.apply(by_al(cid("c"), ConversationOp::Ban { who: u("cy") }));
    shard.apply(TestCommand {
        conv: ConversationId::direct(&u("al"), &u("bo")),
        ..by_al(
            None,
            ConversationOp::Block {
                who: u("bo"),
                on: true,
            },
        )
    });
    shard.apply(by_al(
        cid("d"),
        ConversationOp::SetRole {
            who: u("bo"),
            role: None,
            data: Some("{}".into()),
        },
    ));
    shard.apply(by_al(
        cid("e"),
        ConversationOp::Set {
            title: None,
            history: None,
            muted: None,
            pinned: None,
            data: Some(r#"{"kind":"x"}"#.into()),
        },
    ));
    let outbox = crate::state_machine::query::outbox(&shard.rows, None, 9).unwrap();
    for pending in [&outbox[0], &outbox[2]] {
        shard.apply(pending.command.clone());
    }
    shard.apply(of_user(u("al"), UserOp::Seen { at_ms: 7 }));
    let access = UserOp::PutAccess {
        deactivated: Some(true),
        before_s: Some(5),
    };
    shard.apply(of_user(u("bo"), access));
    let group_invite = GroupInvite::SharesConversation;
    shard.apply(of_user(u("bo"), UserOp::Wish { group_invite }));
    shard.apply(of_user(
        u("cy"),
        UserOp::MayAdd {
            by: u("al"),
            conversation: conv.clone(),
            cid: ClientMessageId::parse("k").unwrap(),
            shared: None,
            bounds: AdditionLimits {
                by_one: 50,
                by_all: 500,
            },
        },
    ));
    shard.apply(of_user(
        u("cy"),
        UserOp::PutProfile {
            name: Some("Cy".into()),
            avatar: None,
            data: Some("{}".into()),
        },
    ));
    let rows: Vec<_> = shard
        .rows
        .0
        .iter()
        .map(|((table, key), value)| format!("{table:?} {} = {}", hex(key), hex(value)))
        .collect();
    let expected = [
        r#"Conversation g_1 = <1><1><0><2>al<0><7><6><1><7><3><7><1><2><1><0><0><0><0><0><0><0>"#,
        r#"Message g_1<0><0><0><0><0><0><0><0><1> = <1><2><0><0><0><0><0><0><0><0><2>al"t":"member","c":"g_1","s":1,"ts":7,"u":"al","who":"al","role":"owner","why":"create"}"#,
        r#"Message g_1<0><0><0><0><0><0><0><0><2> = <1><2><0><0><0><0><0><0><0><0><2>al"t":"member","c":"g_1","s":2,"ts":7,"u":"al","who":"bo","role":"member","why":"create"}"#,
        r#"Message g_1<0><0><0><0><0><0><0><0><3> = <1><1><0><0><0><0><0><0><0><1><2>al"t":"msg","c":"g_1","s":3,"mn":1,"ts":7,"u":"al","cid":"b","b":{"text":"hi"},"mentions":["bo"]}"#,
        r#"Message g_1<0><0><0><0><0><0><0><0><4> = <1><2><0><0><0><0><0><0><0><1><2>al"t":"member","c":"g_1","s":4,"ts":7,"u":"al","who":"cy","role":null,"why":"ban"}"#,
        r#"Message g_1<0><0><0><0><0><0><0><0><5> = <1><2><0><0><0><0><0><0><0><1><2>al"t":"member","c":"g_1","s":5,"ts":7,"u":"al","who":"bo","role":"member","why":"role","data":{}}"#,
        r#"Message g_1<0><0><0><0><0><0><0><0><6> = <1><3><0><0><0><0><0><0><0><1><2>al"t":"meta","c":"g_1","s":6,"ts":7,"u":"al","data":{"kind":"x"}}"#,
        r#"Member d_5tlyatbsagggpjfqnpnafs747g<0>bo = <1><0><0><0><0><0><0><0><0><0><0><0><0><0><0><1><0><0><0>"#,
        r#"Member g_1<0>al = <1><1><0><1><3><1><3><0><2><0><5><7><0><0><0><0><0><0><0><0>"#,
        r#"Member g_1<0>bo = <1><1><2><1><2><0><2><1><3><2><1><0><0><0><0><0><0><0><0><0><0>"#,
        r#"Member g_1<0>cy = <1><0><0><0><0><0><0><0><0><0><0><0><0><0><0><1><0><0><0>"#,
        r#"Member g_1<1>cy = <1><2>al<7>"#,
        r#"Member g_1<2><0><0><0><0><0><0><0><0><1>al = "#,
        r#"Member g_1<2><2><0><0><0><0><0><0><0><1>bo = "#,
        r#"Member g_1<3> = <1><c>{"kind":"x"}"#,
        r#"Member g_1<4>bo = <1><2>{}"#,
        r#"Dedup <0>al = <1><1><7><0><0>"#,
        r#"Dedup <0>al<0>a = <1><0><7><0><0><1><3>g_1"#,
        r#"Dedup g_1<0>al<0>a = <1><0><7><2><0><0>"#,
        r#"Dedup g_1<0>al<0>b = <1><1><7><3><1><0>"#,
        r#"Dedup g_1<0>al<0>c = <1><2><7><4><0><0>"#,
        r#"Dedup g_1<0>al<0>d = <1><3><7><5><0><0>"#,
        r#"Dedup g_1<0>al<0>e = <1><4><7><6><0><0>"#,
        r#"UserIndex al<0>g_1 = <1><1><2><0><7><0><0><0><0>"#,
        r#"UserIndex al<1>bo = <1><1><5><0><7>"#,
        r#"UserIndex al<2> = <1><7>"#,
        r#"UserIndex al<4><ff><ff><ff><ff><ff><ff><ff><f8>g_1 = <1><1><2><0><7><0><0><0><0>"#,
        r#"UserIndex bo<8> = <1><1>"#,
        r#"UserIndex bo<a> = <1><1><5>"#,
        r#"UserIndex cy<9>al<0>g_1<0>k = <1><7>"#,
        r#"UserIndex cy<b> = <1><1><1><2>Cy<0><1><2>{}"#,
        r#"Outbox <0><0><0><0><0><0><0><0><2><0><0><0><0> = <1><3>g_1<2>al<1><7>"#,
        r#"Outbox <0><0><0><0><0><0><0><0><2><0><0><0><1> = <1><3>g_1<2>bo<1><7>"#,
        r#"Outbox <0><0><0><0><0><0><0><0><5><0><0><0><0> = <1><1c>d_5tlyatbsagggpjfqnpnafs747g<2>al<2><2>bo<1><7>"#,
        r#"Outbox <1>g_1 = "#,
    ];
    assert_eq!(rows, expected);
}
