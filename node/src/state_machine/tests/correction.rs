//! Shards that were read at different moments, as by a backup, are restored together: the rows of users are those that
//! their conversations know.

use bytes::Bytes;
use cluster::{CommittedBatch, ShardId, StateMachine};
use protocol::response::LastEvent;
use protocol::{ClientMessageId, ConversationId, ConversationKind, UserId};
use storage::{MemoryDisk, MemoryOptions, ShardState, Store};

use super::{LEVEL, create, text, u};
use crate::state_machine::outcome::OutboxId;
use crate::state_machine::rows::{BlockRow, IndexRow, VersionedRow};
use crate::state_machine::{
    ActivityNote, ChatTable, CommandOrigin, ConversationOp, CorrectedRows, DeviceCursors, ErasedMessages,
    ErasureId, ErasureStep, OutboxOp, ShardCommand, ShardStateMachine, TABLES, UserOp, correct_user_rows,
    keys, query,
};

const SHARDS: u16 = 2;
/// Time of the commands, and that of the restoration.
const NOW_MS: u64 = 1_000;
const LATER_MS: u64 = 9_000;

/// Shards of a cluster, with the index of the next batch of each.
struct Shards {
    store: Store,
    next: [u64; SHARDS as usize],
    cids: u64,
}

// === impl Shards ===

impl Shards {
    fn new() -> Shards {
        Shards {
            store: Store::memory(TABLES, &MemoryDisk::new(), MemoryOptions::default()),
            next: [1; SHARDS as usize],
            cids: 0,
        }
    }

    fn state(&self, shard: ShardId) -> ShardState {
        self.store.state(shard)
    }

    fn run(&mut self, shard: ShardId, command: &ShardCommand) {
        let index = self.next[usize::from(shard.0)];
        self.next[usize::from(shard.0)] += 1;
        let mut transaction = self.state(shard).transaction();
        let batch = CommittedBatch {
            shard,
            index,
            epoch: 1,
            level: LEVEL,
            now_ms: NOW_MS,
            reached_ms: NOW_MS,
            commands: &[command.encode()],
        };
        ShardStateMachine.apply(&mut transaction, &batch).unwrap();
        transaction
            .commit(Bytes::copy_from_slice(&index.to_be_bytes()))
            .unwrap();
    }

    fn does(&mut self, user: &str, conv: &ConversationId, op: ConversationOp) {
        self.cids += 1;
        let command = ShardCommand::Conversation {
            conversation: conv.clone(),
            origin: CommandOrigin {
                user: u(user),
                cid: ClientMessageId::parse(&format!("k{}", self.cids)).ok(),
                exclude_session: 0,
            },
            op,
        };
        self.run(shard_of(conv.as_str()), &command);
    }

    /// Sends what is in the outbox of every shard to the users' shards, and ticks it off.
    fn dispatch(&mut self) {
        for shard in (0..SHARDS).map(ShardId) {
            let entries = query::outbox(&self.state(shard), None, 100).unwrap();
            let ids: Vec<OutboxId> = entries.iter().map(|entry| entry.id).collect();
            for entry in entries {
                let ShardCommand::User { user, .. } = &entry.command else {
                    panic!("{:?}", entry.command)
                };
                self.run(shard_of(user.as_str()), &entry.command);
            }
            if !ids.is_empty() {
                self.run(shard, &ShardCommand::Outbox(OutboxOp::OutboxDone { ids }));
            }
        }
    }

    /// Copies a shard as it is now, like a backup that is restored.
    fn take(&self, shard: ShardId, restored: &mut Shards) {
        let mut export = self.state(shard).export().unwrap();
        let mut import = restored.state(shard).import().unwrap();
        while let Some(chunk) = export.next_archive_chunk(&|_, _| true).unwrap() {
            import.add_archived(&chunk.bytes).unwrap();
        }
        import.complete();
        import.finish(export.applied().unwrap_or_default()).unwrap();
        restored.next[usize::from(shard.0)] = self.next[usize::from(shard.0)];
    }

    fn correct(&self) -> CorrectedRows {
        let shards: Vec<_> = (0..SHARDS)
            .map(|shard| (self.state(ShardId(shard)), self.next[usize::from(shard)] - 1))
            .collect();
        let corrected = correct_user_rows(&shards, LATER_MS).unwrap();
        assert_eq!(
            correct_user_rows(&shards, LATER_MS).unwrap(),
            CorrectedRows::default(),
            "nothing is left to correct"
        );
        corrected
    }

    fn index(&self, user: &str, conv: &ConversationId) -> Option<IndexRow> {
        let row = self.user_row(user, &keys::index(&u(user), conv))?;
        let row = IndexRow::decode(&row).unwrap();
        // The list by time repeats the row of a member, and holds no other of the conversation.
        let (start, end) = keys::orders(&u(user));
        let listed = self
            .state(shard_of(user))
            .scan(
                ChatTable::UserIndex.of_store(),
                &start..&end,
                storage::ScanOrder::Ascending,
                100,
            )
            .unwrap();
        let of_conv = listed
            .iter()
            .filter(|(key, _)| keys::ordered(&u(user), key).unwrap().1 == *conv);
        assert_eq!(of_conv.count(), usize::from(row.member), "{row:?}");
        Some(row)
    }

    fn blocks(&self, user: &str, other: &str) -> Option<BlockRow> {
        let row = self.user_row(user, &keys::block(&u(user), &u(other)))?;
        Some(BlockRow::decode(&row).unwrap())
    }

    fn user_row(&self, user: &str, key: &[u8]) -> Option<Bytes> {
        let state = self.state(shard_of(user));
        state.get(ChatTable::UserIndex.of_store(), key).unwrap()
    }
}

fn shard_of(id: &str) -> ShardId {
    cluster::shard_of(id.as_bytes(), SHARDS)
}

/// Returns an id with this beginning, in the shard.
fn id_in(shard: u16, prefix: &str) -> String {
    (0..)
        .map(|n| format!("{prefix}{n}"))
        .find(|id| shard_of(id).0 == shard)
        .unwrap()
}

fn memberships(memberships: u64) -> CorrectedRows {
    CorrectedRows {
        memberships,
        ..CorrectedRows::default()
    }
}

/// A conversation in shard 0, its creator, and a user whose shard is the other one.
fn a_group() -> (Shards, ConversationId, String, String) {
    let (conv, alice, bob) = (id_in(0, "g_"), id_in(0, "alice"), id_in(1, "bob"));
    let conv = ConversationId::parse(&conv).unwrap();
    let mut live = Shards::new();
    live.does(&alice, &conv, create(ConversationKind::Group, &["carol"]));
    live.does(&alice, &conv, text("hello"));
    live.dispatch();
    (live, conv, alice, bob)
}

#[test]
fn shards_of_one_moment_need_no_correction() {
    let (mut live, conv, alice, bob) = a_group();
    live.does(&alice, &conv, ConversationOp::Invite { who: u(&bob) });
    live.does(&alice, &conv, ConversationOp::Kick { who: u("carol") });
    let direct = ConversationId::direct(&u(&alice), &u(&bob));
    let (who, on) = (u(&bob), true);
    live.does(&alice, &direct, ConversationOp::Block { who, on });
    live.dispatch();
    assert_eq!(live.correct(), CorrectedRows::default());
}

#[test]
fn entry_that_was_ticked_off_too_late_takes_effect() {
    let (mut live, conv, alice, bob) = a_group();
    let mut restored = Shards::new();
    live.take(ShardId(1), &mut restored);
    live.does(&alice, &conv, ConversationOp::Invite { who: u(&bob) });
    live.dispatch();
    live.take(ShardId(0), &mut restored);
    assert_eq!(restored.index(&bob, &conv), None);
    assert_eq!(restored.correct(), memberships(1));
    let row = restored.index(&bob, &conv).unwrap();
    assert!(row.member);
    assert_eq!(row.version, live.index(&bob, &conv).unwrap().version);
}

#[test]
fn erasure_that_was_done_goes_on_where_the_user_is_named_again() {
    let (mut live, conv, alice, bob) = a_group();
    live.does(&alice, &conv, ConversationOp::Invite { who: u(&bob) });
    live.dispatch();
    let mut restored = Shards::new();
    live.take(ShardId(0), &mut restored);
    let id = ErasureId([7; 16]);
    let tombstone = UserId::tombstone(&[1; 16]);
    let messages = ErasedMessages::Delete;
    let user = |op| ShardCommand::User { user: u(&bob), op };
    let op = UserOp::Erase {
        id,
        tombstone,
        messages,
    };
    live.run(ShardId(1), &user(op));
    let version = live.index(&bob, &conv).unwrap().version;
    let op = UserOp::PutErased {
        conversation: conv.clone(),
        version,
        shard: 0,
        step: ErasureStep::default(),
    };
    live.run(ShardId(1), &user(op));
    live.run(ShardId(1), &user(UserOp::EraseRows { shard: 1 }));
    live.take(ShardId(1), &mut restored);
    let running = keys::running_erasure(id);
    assert_eq!(restored.user_row(&bob, &running), None);
    assert_eq!(restored.correct(), memberships(1));
    assert!(restored.user_row(&bob, &running).is_some());
    assert!(restored.index(&bob, &conv).unwrap().member);
}

#[test]
fn effect_of_a_lost_change_is_undone_and_the_next_one_counts() {
    let (mut live, conv, alice, bob) = a_group();
    live.does(&alice, &conv, ConversationOp::Invite { who: u(&bob) });
    live.dispatch();
    let mut restored = Shards::new();
    live.take(ShardId(0), &mut restored);
    live.does(&alice, &conv, ConversationOp::Kick { who: u(&bob) });
    live.dispatch();
    live.take(ShardId(1), &mut restored);
    assert!(!restored.index(&bob, &conv).unwrap().member);
    assert_eq!(restored.correct(), memberships(1));
    assert!(restored.index(&bob, &conv).unwrap().member);
    // In the restored log the same index holds another change, which has to count.
    restored.cids = 100;
    restored.does(&alice, &conv, ConversationOp::Kick { who: u(&bob) });
    restored.dispatch();
    assert!(!restored.index(&bob, &conv).unwrap().member);
}

#[test]
fn conversation_that_is_lost_is_in_no_list() {
    let mut restored = Shards::new();
    let (mut live, _, alice, bob) = a_group();
    live.take(ShardId(0), &mut restored);
    let lost = ConversationId::parse(&id_in(0, "g_lost")).unwrap();
    live.does(&alice, &lost, create(ConversationKind::Group, &[&bob]));
    live.dispatch();
    live.take(ShardId(1), &mut restored);
    assert!(restored.index(&bob, &lost).unwrap().member);
    assert_eq!(restored.correct(), memberships(1));
    assert_eq!(restored.index(&bob, &lost), None);
}

#[test]
fn block_lists_follow_the_flag_that_decides() {
    // The conversation is in shard 0, the list of the blocking user in the other one.
    let (alice, bob) = (0..)
        .map(|n| (format!("alice{n}"), format!("bob{n}")))
        .find(|(alice, bob)| {
            let direct = ConversationId::direct(&u(alice), &u(bob));
            shard_of(alice).0 == 1 && shard_of(direct.as_str()).0 == 0
        })
        .unwrap();
    let direct = ConversationId::direct(&u(&alice), &u(&bob));
    let block = |on: bool| ConversationOp::Block { who: u(&bob), on };
    let mut live = Shards::new();
    live.does(&bob, &direct, create(ConversationKind::Direct, &[&alice]));
    live.dispatch();
    let mut restored = Shards::new();
    live.take(ShardId(1), &mut restored);
    live.does(&alice, &direct, block(true));
    live.dispatch();
    live.take(ShardId(0), &mut restored);
    let blocks = CorrectedRows {
        blocks: 1,
        ..CorrectedRows::default()
    };
    assert_eq!(restored.correct(), blocks);
    assert!(restored.blocks(&alice, &bob).unwrap().on);
    restored.cids = 100;
    restored.does(&alice, &direct, block(false));
    restored.dispatch();
    assert!(!restored.blocks(&alice, &bob).unwrap().on);

    // The block is lost, and the list has it.
    let mut restored = Shards::new();
    live.does(&alice, &direct, block(false));
    live.dispatch();
    live.take(ShardId(0), &mut restored);
    live.does(&alice, &direct, block(true));
    live.dispatch();
    live.take(ShardId(1), &mut restored);
    assert_eq!(restored.correct(), blocks);
    assert!(!restored.blocks(&alice, &bob).unwrap().on);
    restored.cids = 100;
    restored.does(&alice, &direct, block(true));
    restored.dispatch();
    assert!(restored.blocks(&alice, &bob).unwrap().on);
}

#[test]
fn positions_behind_the_end_of_a_log_are_taken_back() {
    let (mut live, conv, alice, bob) = a_group();
    live.does(&alice, &conv, ConversationOp::Invite { who: u(&bob) });
    live.dispatch();
    let mut restored = Shards::new();
    live.take(ShardId(0), &mut restored);
    let known = query::last(&restored.state(ShardId(0)).view(), &conv)
        .unwrap()
        .unwrap()
        .0;
    let note = |seq: u64| {
        ShardCommand::Outbox(OutboxOp::Active {
            items: vec![ActivityNote {
                conv: conv.clone(),
                last: LastEvent {
                    seq,
                    message_number: 9,
                    timestamp_ms: NOW_MS,
                },
                large: false,
                users: vec![u(&bob)],
            }],
        })
    };
    live.run(ShardId(1), &note(known.seq + 5));
    for (device, position) in [("ahead", known.seq + 1), ("right", known.seq)] {
        let op = UserOp::PutCursors {
            device: device.into(),
            cursors: Some(DeviceCursors {
                gateway_state: Bytes::new(),
                positions: vec![(conv.clone(), position)],
            }),
            valid_ms: 1_000,
        };
        let user = u(&bob);
        live.run(ShardId(1), &ShardCommand::User { user, op });
    }
    live.take(ShardId(1), &mut restored);
    let corrected = restored.correct();
    assert_eq!((corrected.positions, corrected.devices), (1, 1), "{corrected:?}");
    assert!(restored.index(&bob, &conv).unwrap().last.seq <= known.seq);
    let cursors = |device: &str| {
        let key = keys::device_cursors(&u(&bob), device);
        let state = restored.state(ShardId(1));
        state.get(ChatTable::Login.of_store(), &key).unwrap()
    };
    assert_eq!(cursors("ahead"), None);
    assert!(cursors("right").is_some());
    // The next message of the restored log moves the conversation.
    restored.run(ShardId(1), &note(known.seq + 1));
    assert_eq!(restored.index(&bob, &conv).unwrap().last.seq, known.seq + 1);
}

#[test]
fn key_material_is_recognized_by_the_key_of_its_row() {
    use crate::state_machine::login::{LoginCodeId, LoginKey, TokenFamilyId};
    use crate::state_machine::{ApiKeyId, is_key_material};
    let login = ChatTable::Login.of_store();
    let user = UserId::parse("bob").unwrap();
    let key = LoginKey::Keyring;
    let secret = [
        keys::login_count(&key),
        keys::login_code(&key, LoginCodeId([1; 16])),
        keys::token_family(&user, TokenFamilyId([2; 16])),
        keys::device_token(&user, TokenFamilyId([3; 16])),
        keys::api_key(ApiKeyId([4; 10])),
        keys::KEYRING.to_vec(),
    ];
    let open = [
        keys::device_cursors(&user, "phone"),
        keys::AUDIT_HEAD.to_vec(),
        keys::audit_entry(7),
        keys::audit_nonce(7),
    ];
    for (keys, expected) in [(&secret[..], true), (&open[..], false)] {
        for key in keys {
            assert_eq!(is_key_material(login, key), expected, "{key:?}");
            let expiry = crate::state_machine::keys::login_expiry(5, key);
            assert_eq!(is_key_material(login, &expiry), expected, "expiry of {key:?}");
        }
    }
    // A kind of rows that this build does not know.
    assert!(is_key_material(login, &[99]));
    assert!(!is_key_material(ChatTable::Message.of_store(), &[4]));
}
