//! Erasure of users: what is left of them, what changes for the others, and repeated and late steps.

use protocol::{ConversationId, ConversationKind, ErrorCode, Event, UserId};

use super::{Map, TestCommand, TestShard, create, event, id16, login_key, of_user, parse, text, u};
use crate::state_machine::apply::ERASE_STEP;
use crate::state_machine::login::{LoginOutcome, SecretBytes, TokenFamilyId};
use crate::state_machine::outcome::ErasureOutcome;
use crate::state_machine::query::{
    ErasureQuery, ExportedConversationQuery, ExportedConversationsQuery, ExportedUserQuery, ShardQuery,
    SummariesQuery, running_erasures,
};
use crate::state_machine::query::{MemberScatterQuery, QueryContext, Summary, UserAccessQuery, outbox};
use crate::state_machine::{
    ChatTable, ConversationOp, ErasedMessages, ErasureId, ErasureJob, ErasureOp, LoginOp, OutboxOp,
    ShardCommand, ShardOutcome, UserOp, UserOutcome,
};

const ID: ErasureId = ErasureId([7; 16]);

fn tombstone() -> UserId {
    UserId::tombstone(&[1; 16])
}

/// Applies the entries of the outbox, as the dispatcher does.
fn dispatch_outbox(shard: &mut TestShard) {
    let entries = outbox(&shard.rows, None, 1_000).unwrap();
    for entry in &entries {
        shard.apply(entry.command.clone());
    }
    let ids = entries.into_iter().map(|entry| entry.id).collect();
    shard.apply(ShardCommand::Outbox(OutboxOp::OutboxDone { ids }));
}

fn begin(shard: &mut TestShard, messages: ErasedMessages) -> ShardOutcome {
    let op = UserOp::Erase {
        id: ID,
        tombstone: tombstone(),
        messages,
    };
    shard.apply(of_user(u("u_bo"), op))
}

fn erase_in(
    shard: &mut TestShard,
    conversation: &ConversationId,
    messages: ErasedMessages,
) -> ErasureOutcome {
    let op = ErasureOp::EraseIn {
        conversation: conversation.clone(),
        user: u("u_bo"),
        tombstone: tombstone(),
        messages,
    };
    match shard.apply(ShardCommand::Erasure(op)) {
        ShardOutcome::Erasure(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

/// Carries an erasure out, as the owner of the shard does. Returns the events.
fn carry_out(shard: &mut TestShard) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let Some(erasure) = running_erasures(&shard.rows, 9, 2).unwrap().pop() else {
            return events;
        };
        let user = erasure.job.user.clone();
        for (conversation, version) in &erasure.conversations {
            let step = loop {
                let outcome = erase_in(shard, conversation, erasure.job.messages);
                events.extend(outcome.events.iter().map(event));
                if outcome.step.done {
                    break outcome.step;
                }
            };
            let (conversation, version) = (conversation.clone(), *version);
            let op = UserOp::PutErased {
                conversation,
                version,
                shard: 3,
                step,
            };
            shard.apply(of_user(user.clone(), op));
        }
        dispatch_outbox(shard);
        if erasure.conversations.is_empty() {
            shard.apply(of_user(user, UserOp::EraseRows { shard: 4 }));
        }
    }
}

fn job(shard: &TestShard) -> ErasureJob {
    ErasureQuery { id: ID }.read(&shard.rows).unwrap().unwrap()
}

/// Returns the rows that contain the text, but for those that stay for ever.
fn rows_with(rows: &Map, needle: &str) -> Vec<String> {
    let contains = |bytes: &[u8]| bytes.windows(needle.len()).any(|part| part == needle.as_bytes());
    let found = rows
        .0
        .iter()
        .filter(|((_, key), row)| contains(key) || contains(row));
    let named = found.map(|((table, key), row)| {
        let (key, row) = (String::from_utf8_lossy(key), String::from_utf8_lossy(row));
        format!("{table:?} {key:?} = {row:?}")
    });
    named.collect()
}

fn read(shard: &TestShard, conv: &ConversationId, user: &str) -> Summary {
    let query = SummariesQuery {
        user: u(user),
        convs: vec![conv.clone()],
        data_kind: None,
    };
    let member = QueryContext::of(&shard.rows, conv, &u(user)).unwrap();
    query.read_item(&shard.rows, conv, &member).unwrap().unwrap()
}

fn log(shard: &TestShard, conv: &ConversationId) -> Vec<Event> {
    let found = crate::state_machine::query::range(&shard.rows, conv, 0, 1_000).unwrap();
    found.iter().map(|event| parse(&event.tail)).collect()
}

/// A group, a direct conversation and a former membership of `u_bo`, with rows of every kind.
fn populated() -> (TestShard, ConversationId, ConversationId) {
    let mut shard = TestShard::new();
    let group = shard.group("g_1", &["u_bo", "ann", "cy"]);
    let (say, react) = (text("words-of-bo"), |of, k: &str| ConversationOp::React {
        of,
        k: k.into(),
        on: true,
        who: None,
    });
    shard.ok("u_bo", &group, say);
    let body = r#"{"text":"hello"}"#.into();
    let (direct, reply_to, mentions) = (None, Some(4), vec![u("u_bo"), u("cy")]);
    let answer = ConversationOp::Send {
        direct,
        body,
        reply_to,
        mentions,
    };
    shard.ok("ann", &group, answer);
    let edit = ConversationOp::Edit {
        of: 4,
        body: r#"{"text":"words-again"}"#.into(),
        mentions: Some(vec![u("ann")]),
    };
    shard.ok("u_bo", &group, edit);
    shard.ok("u_bo", &group, react(5, "+1"));
    shard.ok("ann", &group, react(5, "+1"));
    shard.ok("u_bo", &group, ConversationOp::Ban { who: u("eve") });
    let data = Some(r#"{"name":"Bo"}"#.into());
    shard.ok(
        "u_bo",
        &group,
        ConversationOp::SetRole {
            who: u("u_bo"),
            role: None,
            data,
        },
    );
    let direct = ConversationId::direct(&u("u_bo"), &u("ann"));
    let op = ConversationOp::Send {
        direct: Some(u("ann")),
        body: r#"{"text":"words-for-ann"}"#.into(),
        reply_to: None,
        mentions: vec![],
    };
    shard.ok("u_bo", &direct, op);
    shard.ok("ann", &direct, text("to bo"));
    let former = shard.group("g_2", &["ann", "u_bo"]);
    shard.ok("u_bo", &former, text("words-left-behind"));
    shard.ok("u_bo", &former, ConversationOp::Leave);
    let by = |op| of_user(u("u_bo"), op);
    shard.apply(by(UserOp::PutProfile {
        name: Some("Bo Words".into()),
        avatar: None,
        data: None,
    }));
    shard.apply(by(UserOp::Seen { at_ms: 5 }));
    shard.apply(by(UserOp::Reserve {
        conversation: group.clone(),
        cid: "k".parse().unwrap(),
    }));
    let cursors = UserOp::PutCursors {
        device: "phone".into(),
        cursors: Some(Default::default()),
        valid_ms: 9_000,
    };
    shard.apply(by(cursors));
    let open = LoginOp::OpenLine {
        id: TokenFamilyId(id16("l")),
        token: SecretBytes([1; 32]),
        valid_ms: 60_000,
    };
    let key = login_key("u_bo");
    shard.apply(ShardCommand::Login { key, op: open });
    dispatch_outbox(&mut shard);
    (shard, group, direct)
}

#[test]
fn of_an_erased_user_only_the_mark_is_left() {
    for messages in [ErasedMessages::KeepAnonymous, ErasedMessages::Delete] {
        let (mut shard, _, _) = populated();
        assert!(rows_with(&shard.rows, "u_bo").len() > 20);
        let begun = begin(&mut shard, messages);
        let logins = vec![TokenFamilyId(id16("l"))];
        assert_eq!(begun, ShardOutcome::User(UserOutcome::Erasing { id: ID, logins }));
        carry_out(&mut shard);
        let left = rows_with(&shard.rows, "u_bo");
        // The job, the mark, the access and the version of the profile.
        let kinds = [r#""u_bo\u{c}""#, r#""u_bo\n""#, r#""u_bo\u{b}""#, r"\u{7}\u{7}"];
        assert_eq!(left.len(), kinds.len(), "{left:#?}");
        for kind in kinds {
            assert!(left.iter().any(|row| row.contains(kind)), "{kind}: {left:#?}");
        }
        assert!(left.iter().all(|row| row.starts_with("UserIndex")), "{left:#?}");
        let words = ["Bo Words", "\"Bo\"", "words-"];
        for word in &words[..2] {
            assert_eq!(rows_with(&shard.rows, word), Vec::<String>::new());
        }
        let found = rows_with(&shard.rows, words[2]).len();
        assert_eq!(found, if messages == ErasedMessages::Delete { 0 } else { 4 });
        // Nothing leads from the user to the tombstone id.
        let job = job(&shard);
        assert_eq!((job.tombstone, job.done_ms), (None, Some(shard.now_ms)));
    }
}

#[test]
fn positions_and_counts_of_others_stay_the_same() {
    let (mut shard, group, direct) = populated();
    let before = [
        read(&shard, &group, "ann"),
        read(&shard, &group, "cy"),
        read(&shard, &direct, "ann"),
    ];
    let events = log(&shard, &group);
    begin(&mut shard, ErasedMessages::KeepAnonymous);
    carry_out(&mut shard);
    let after = [
        read(&shard, &group, "ann"),
        read(&shard, &group, "cy"),
        read(&shard, &direct, "ann"),
    ];
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            (before.last, before.unread, before.mentions, before.read),
            (after.last, after.unread, after.mentions, after.read)
        );
    }
    // The peer of the direct conversation has no name any more, and the same cursors.
    let peers = [&before[2], &after[2]].map(|summary| summary.peer.clone().unwrap());
    assert_eq!((&peers[0].user, &peers[1].user), (&u("u_bo"), &tombstone()));
    assert_eq!(
        (peers[0].read, peers[0].delivered),
        (peers[1].read, peers[1].delivered)
    );
    // Each event has the same bytes but for the user, behind them a successor and the end of the membership.
    let now = log(&shard, &group);
    assert_eq!(now.len(), events.len() + 2);
    for (mut before, after) in events.into_iter().zip(&now) {
        before.replace_user(&u("u_bo"), &tombstone());
        assert_eq!(&before, after);
    }
    assert!(matches!(&now[now.len() - 1], Event::Member(left) if left.member == tombstone()));
    assert_eq!(read(&shard, &group, "ann").role, protocol::Role::Owner);
    // The reaction is counted under the new id, and removable by nobody else.
    let reactions = |shard: &TestShard, user: &UserId| {
        let key = crate::state_machine::keys::reaction(&group, 5, user, "+1");
        shard.rows.0.contains_key(&(ChatTable::Message, key))
    };
    assert!(reactions(&shard, &tombstone()) && !reactions(&shard, &u("u_bo")));
}

#[test]
fn deleted_messages_are_announced_and_in_no_answer() {
    let (mut shard, group, direct) = populated();
    let unread = read(&shard, &direct, "ann").unread;
    begin(&mut shard, ErasedMessages::Delete);
    let events = carry_out(&mut shard);
    let deleted = events.iter().filter_map(|event| match event {
        Event::Del(del) => Some((del.conversation.clone(), del.target_seq, del.user.clone())),
        _ => None,
    });
    let deleted: Vec<_> = deleted.collect();
    assert_eq!(deleted.len(), 3, "{deleted:?}");
    assert!(deleted.contains(&(group.clone(), 4, tombstone())));
    assert!(deleted.iter().all(|(_, _, user)| *user == tombstone()));
    // `unread` counts no deleted message.
    assert!(read(&shard, &direct, "ann").unread <= unread);
    let Some(Event::Msg(message)) = log(&shard, &group).into_iter().nth(3) else {
        panic!("the message keeps its place")
    };
    assert!(message.deleted && message.user == tombstone() && message.body.as_str() == "{}");
    let job = job(&shard);
    assert_eq!(job.shards.len(), 2);
    let (conversations, own) = (&job.shards[0], &job.shards[1]);
    assert_eq!((conversations.conversations, conversations.messages), (3, 3));
    assert!(conversations.index > 0 && own.index > conversations.index);
}

#[test]
fn erasure_begun_twice_is_one() {
    let (mut shard, _, _) = populated();
    begin(&mut shard, ErasedMessages::Delete);
    let again = UserOp::Erase {
        id: ErasureId([9; 16]),
        tombstone: UserId::tombstone(&[9; 16]),
        messages: ErasedMessages::Delete,
    };
    let same = UserOutcome::Erasing {
        id: ID,
        logins: Vec::new(),
    };
    for _ in 0..2 {
        let outcome = shard.apply(of_user(u("u_bo"), again.clone()));
        assert_eq!(outcome, ShardOutcome::User(same.clone()));
        carry_out(&mut shard);
    }
    let other = UserOp::Erase {
        id: ID,
        tombstone: tombstone(),
        messages: ErasedMessages::KeepAnonymous,
    };
    let refused = shard.apply(of_user(u("u_bo"), other.clone()));
    assert!(matches!(refused, ShardOutcome::Refused(ErrorCode::Conflict, _)));
    for reserved in [UserId::system(), tombstone()] {
        let refused = shard.apply(of_user(reserved, other.clone()));
        assert!(matches!(refused, ShardOutcome::Refused(ErrorCode::BadRequest, _)));
    }
    // Steps that are repeated late change nothing.
    let rows = shard.rows.clone();
    let (group, messages) = (ConversationId::parse("g_1").unwrap(), ErasedMessages::Delete);
    let step = erase_in(&mut shard, &group, messages);
    assert!(step.step.done && step.events.is_empty());
    let op = UserOp::PutErased {
        conversation: group,
        version: crate::state_machine::OutboxId { index: 1, n: 0 },
        shard: 3,
        step: step.step,
    };
    shard.apply(of_user(u("u_bo"), op));
    shard.apply(of_user(u("u_bo"), UserOp::EraseRows { shard: 4 }));
    assert_eq!(shard.rows, rows);
}

#[test]
fn rows_of_an_erased_user_do_not_come_back() {
    let (mut shard, group, _) = populated();
    begin(&mut shard, ErasedMessages::KeepAnonymous);
    carry_out(&mut shard);
    let rows = shard.rows.clone();
    let version = crate::state_machine::OutboxId { index: 999, n: 0 };
    let late = [
        UserOp::IndexPut {
            conversation: group.clone(),
            member: false,
            version,
            at_ms: 5,
        },
        UserOp::BlockPut {
            who: u("ann"),
            on: true,
            version,
            at_ms: 5,
        },
        UserOp::Seen { at_ms: 900_000 },
        UserOp::Wish {
            group_invite: protocol::GroupInvite::NoOne,
        },
        UserOp::PutAccess {
            deactivated: Some(false),
            before_s: None,
        },
        UserOp::PutProfile {
            name: Some("Bo".into()),
            avatar: None,
            data: None,
        },
    ];
    for op in late {
        shard.apply(of_user(u("u_bo"), op));
    }
    let open = LoginOp::OpenLine {
        id: TokenFamilyId(id16("m")),
        token: SecretBytes([1; 32]),
        valid_ms: 60_000,
    };
    let key = login_key("u_bo");
    assert_eq!(
        shard.apply(ShardCommand::Login { key, op: open }),
        ShardOutcome::Login(LoginOutcome::Refused)
    );
    assert_eq!(shard.rows, rows);
    assert!(
        UserAccessQuery { user: u("u_bo") }
            .read(&shard.rows)
            .unwrap()
            .deactivated
    );
    assert_eq!(shard.no("u_bo", &group, text("x")), ErrorCode::NotMember);
}

#[test]
fn user_who_is_added_after_the_erasure_is_erased_again() {
    let (mut shard, _, _) = populated();
    begin(&mut shard, ErasedMessages::Delete);
    carry_out(&mut shard);
    let late = shard.group("g_9", &["ann"]);
    shard.ok(
        "ann",
        &late,
        ConversationOp::PutMember {
            who: u("u_bo"),
            role: None,
        },
    );
    dispatch_outbox(&mut shard);
    let [erasure] = &running_erasures(&shard.rows, 9, 9).unwrap()[..] else {
        panic!("the erasure runs again")
    };
    assert_eq!((erasure.id, erasure.job.tombstone.as_ref()), (ID, None));
    begin(&mut shard, ErasedMessages::Delete);
    carry_out(&mut shard);
    let left = rows_with(&shard.rows, "u_bo");
    assert_eq!(left.len(), 4, "{left:#?}");
    assert_eq!(job(&shard).shards[0].conversations, 4);
}

#[test]
fn long_conversation_is_erased_in_bounded_steps() {
    let mut shard = TestShard::new();
    let group = shard.group("g_1", &["ann", "u_bo"]);
    for n in 0..700 {
        let user = if n % 2 == 0 { "u_bo" } else { "ann" };
        shard.ok(user, &group, text(&format!("m{n}")));
    }
    dispatch_outbox(&mut shard);
    begin(&mut shard, ErasedMessages::Delete);
    let mut steps = Vec::new();
    loop {
        let before = shard.rows.clone();
        let outcome = erase_in(&mut shard, &group, ErasedMessages::Delete);
        let changed = shard
            .rows
            .0
            .iter()
            .filter(|(key, row)| before.0.get(key) != Some(row))
            .count();
        assert!(changed <= 12 * ERASE_STEP, "{changed} rows");
        steps.push(outcome.step);
        if outcome.step.done {
            break;
        }
    }
    assert!(steps.len() > 2, "{steps:?}");
    assert!(steps.is_sorted_by_key(|step| step.messages));
    assert_eq!(steps.last().unwrap().messages, 350);
    assert_eq!(read(&shard, &group, "ann").unread, 0);
    assert!(
        log_tails(&shard, &group)
            .iter()
            .all(|tail| !tail.contains("u_bo"))
    );
}

fn log_tails(shard: &TestShard, conv: &ConversationId) -> Vec<String> {
    let rows = shard.rows.0.iter();
    let rows = rows.filter(|((table, key), _)| {
        *table == ChatTable::Message && key.starts_with(conv.as_str().as_bytes())
    });
    rows.map(|(_, row)| String::from_utf8_lossy(row).into_owned())
        .collect()
}

#[test]
fn export_has_everything_of_the_user_and_nothing_of_others() {
    let (shard, group, direct) = populated();
    let user = u("u_bo");
    let own = ExportedUserQuery { user: user.clone() }
        .read(&shard.rows)
        .unwrap();
    assert_eq!(own.profile.name.as_deref(), Some("Bo Words"));
    assert_eq!((own.logins.len(), own.devices[0].device.as_str()), (1, "phone"));
    assert_eq!(own.last_seen_ms, Some(5));
    let mut found = Vec::new();
    let mut page = ExportedConversationsQuery {
        user: user.clone(),
        after: None,
    };
    loop {
        let convs = page.read(&shard.rows).unwrap();
        let Some(last) = convs.last() else { break };
        page.after = Some(last.clone());
        found.extend(convs);
    }
    let former = ConversationId::parse("g_2").unwrap();
    assert_eq!(found, [direct.clone(), group.clone(), former.clone()]);
    let export = |conv: &ConversationId| {
        let (conv, user) = (conv.clone(), user.clone());
        let query = ExportedConversationQuery { conv, user, after: 0 };
        query.read(&shard.rows).unwrap()
    };
    let exported = export(&group);
    let membership = exported.membership.unwrap();
    assert_eq!(membership.role, Some(protocol::Role::Owner));
    assert_eq!(membership.data.as_deref(), Some(r#"{"name":"Bo"}"#));
    let kinds: Vec<bool> = exported
        .events
        .iter()
        .map(|tail| matches!(parse(tail), Event::Msg(_)))
        .collect();
    assert_eq!((kinds, exported.next), (vec![true, false], None));
    let left = export(&former).membership.unwrap();
    assert!(left.role.is_none() && left.until > 0);
    assert_eq!(export(&ConversationId::parse("g_8").unwrap()).membership, None);
}

#[test]
fn export_of_a_long_conversation_has_pages() {
    let mut shard = TestShard::new();
    let group = shard.group("g_1", &["ann", "u_bo"]);
    let mut sent = 0;
    for n in 0..1_500 {
        let user = if n % 5 == 0 { "u_bo" } else { "ann" };
        sent += u64::from(n % 5 == 0);
        shard.ok(user, &group, text(&"x".repeat(if n < 100 { 14_000 } else { 1 })));
    }
    let (mut after, mut events, mut pages) = (0, 0, 0);
    loop {
        let (conv, user) = (group.clone(), u("u_bo"));
        let page = ExportedConversationQuery { conv, user, after }
            .read(&shard.rows)
            .unwrap();
        events += page.events.len() as u64;
        pages += 1;
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(events, sent);
    assert!(pages > 3, "{pages}");
}

#[test]
fn rows_of_erasures_have_frozen_bytes() {
    let mut shard = TestShard::new();
    shard.now_ms = 7;
    let group = shard.group("g_1", &["ann", "u_bo"]);
    dispatch_outbox(&mut shard);
    begin(&mut shard, ErasedMessages::Delete);
    erase_in(&mut shard, &group, ErasedMessages::Delete);
    let row = |table: ChatTable, key: &[u8]| shard.rows.0[&(table, key.to_vec())].to_vec();
    let id = [7; 16];
    let mut expected = b"\x01\x04u_bo\x01\x01!".to_vec();
    expected.extend(tombstone().as_str().as_bytes());
    expected.extend([7, 0, 0]);
    assert_eq!(row(ChatTable::UserIndex, &[&[0][..], &id].concat()), expected);
    assert_eq!(row(ChatTable::UserIndex, &[&[1][..], &id].concat()), b"");
    assert_eq!(row(ChatTable::UserIndex, b"u_bo\x0c"), [&[1][..], &id].concat());
    let progress = [b"g_1\x05", tombstone().as_str().as_bytes()].concat();
    // The events are the beginning and the end of the membership.
    assert_eq!(row(ChatTable::Member, &progress), [1, 3, 0, 2, 0]);
}

#[test]
fn first_message_to_an_erased_user_is_erased_too() {
    let (mut shard, _, _) = populated();
    begin(&mut shard, ErasedMessages::Delete);
    carry_out(&mut shard);
    let direct = ConversationId::direct(&u("cy"), &u("u_bo"));
    let op = ConversationOp::Send {
        direct: Some(u("u_bo")),
        body: "{}".into(),
        reply_to: None,
        mentions: vec![],
    };
    shard.ok("cy", &direct, op);
    dispatch_outbox(&mut shard);
    begin(&mut shard, ErasedMessages::Delete);
    carry_out(&mut shard);
    assert_eq!(rows_with(&shard.rows, "u_bo").len(), 4);
    // Nobody is a tombstone.
    let direct = ConversationId::direct(&u("cy"), &tombstone());
    let op = ConversationOp::Send {
        direct: Some(tombstone()),
        body: "{}".into(),
        reply_to: None,
        mentions: vec![],
    };
    assert_eq!(shard.no("cy", &direct, op), ErrorCode::BadRequest);
    let command = TestCommand {
        conv: ConversationId::parse("g_7").unwrap(),
        user: u("cy"),
        cid: Some("z".parse().unwrap()),
        skip: 0,
        op: create(ConversationKind::Group, &[tombstone().as_str()]),
    };
    assert!(matches!(
        shard.apply(command),
        ShardOutcome::Refused(ErrorCode::BadRequest, _)
    ));
}
