//! Frozen numbers and bytes of the queries.

use std::collections::{BTreeMap, BTreeSet};

use protocol::response::LastEvent;
use protocol::{ConversationId, ConversationKind, GroupInvite, HistoryVisibility, Role, UserId};

use super::*;
use crate::rpc;
use crate::rpc::tests::golden;
use crate::state_machine::query::{
    ApiKeyEntry, AuditEntry, DeviceTokenEntry, Direction, ExportedConversation, ExportedDevice,
    ExportedLogin, ExportedMembership, ExportedUser, HistoryRange, LoggedEvent, MemberConversation,
    MembershipSpan, MessageView, Missed, MissedEvents, PlacedEntry, Ranged, StoredCursors, StoredProfile,
    Summary,
};
use crate::state_machine::{
    ApiKeyId, DeviceCursors, ErasedMessages, ErasedShard, ErasureId, ErasureJob, KeyScope, SecretBytes,
    TokenFamilyId, UserAccess,
};

fn conv() -> ConversationId {
    ConversationId::parse("g").unwrap()
}

fn user() -> UserId {
    UserId::parse("u").unwrap()
}

/// Checks the bytes of a query; the match asks for those of each line of the table.
fn check(method: QueryMethod) {
    let (conv, user) = (conv(), user());
    let (page, limit, have) = (HistoryRange::Before(3), 50, Some(3));
    match method {
        QueryMethod::OpenQuery => golden(OpenQuery { conv, user, have }, &[1, 1, b'g', 1, b'u', 1, 3]),
        QueryMethod::HistoryRequest => golden(
            HistoryRequest {
                conv,
                user,
                page,
                limit,
            },
            &[1, 1, b'g', 1, b'u', 1, 3, 50],
        ),
        QueryMethod::MessagesQuery => golden(
            MessagesQuery {
                conv,
                user,
                page,
                limit,
            },
            &[1, 1, b'g', 1, b'u', 1, 3, 50],
        ),
        QueryMethod::MembersQuery => golden(
            MembersQuery {
                conv,
                after: Some(user.clone()),
                user,
                limit,
            },
            &[1, 1, b'g', 1, b'u', 1, 1, b'u', 50],
        ),
        QueryMethod::BansQuery => golden(
            BansQuery {
                conv,
                after: Some(user.clone()),
                user,
                limit,
            },
            &[1, 1, b'g', 1, b'u', 1, 1, b'u', 50],
        ),
        QueryMethod::BlocksQuery => golden(
            BlocksQuery {
                user,
                after: None,
                limit,
            },
            &[1, 1, b'u', 0, 50],
        ),
        QueryMethod::DeviceCursorsQuery => {
            let device = "d".into();
            golden(DeviceCursorsQuery { user, device }, &[1, 1, b'u', 1, b'd']);
        }
        QueryMethod::WishesQuery => golden(WishesQuery { user }, &[1, 1, b'u']),
        QueryMethod::IndexQuery => golden(
            IndexQuery {
                user,
                from: Some((7, conv)),
                direction: Direction::Newer,
                limit,
            },
            &[1, 1, b'u', 1, 7, 1, b'g', 1, 50],
        ),
        QueryMethod::IndexAfter => golden(
            IndexAfter {
                user,
                after: Some(conv),
                limit,
            },
            &[1, 1, b'u', 1, 1, b'g', 50],
        ),
        QueryMethod::SharedWith => golden(
            SharedWith {
                user,
                convs: vec![conv],
            },
            &[1, 1, b'u', 1, 1, b'g'],
        ),
        QueryMethod::SyncQuery => golden(
            SyncQuery {
                user,
                wants: vec![(conv, 3)],
                limit,
            },
            &[1, 1, b'u', 1, 1, b'g', 3, 50],
        ),
        QueryMethod::SummariesQuery => golden(
            SummariesQuery {
                user,
                convs: vec![conv],
                data_kind: Some("k".into()),
            },
            &[1, 1, b'u', 1, 1, b'g', 1, 1, b'k'],
        ),
        QueryMethod::MentioningQuery => golden(
            MentioningQuery {
                user,
                convs: vec![conv],
            },
            &[1, 1, b'u', 1, 1, b'g'],
        ),
        QueryMethod::ProfilesQuery => {
            let users = vec![(user, 3)];
            let with_data = true;
            golden(ProfilesQuery { users, with_data }, &[1, 1, 1, b'u', 3, 1]);
        }
        QueryMethod::RangeQuery => golden(RangeQuery { conv, after: 3 }, &[1, 1, b'g', 3]),
        QueryMethod::SinceQuery => golden(SinceQuery { conv, user, after: 3 }, &[1, 1, b'g', 1, b'u', 3]),
        QueryMethod::KeyringQuery => golden(KeyringQuery, &[1]),
        QueryMethod::UserAccessQuery => golden(UserAccessQuery { user }, &[1, 1, b'u']),
        QueryMethod::ApiKeysQuery => golden(ApiKeysQuery, &[1]),
        QueryMethod::AuditQuery => {
            let before = Some(9);
            golden(AuditQuery { before, limit }, &[1, 1, 9, 50]);
        }
        QueryMethod::DevicesQuery => {
            let presented = Some((TokenFamilyId([7; 16]), SecretBytes([8; 32])));
            let one = [&[1, 1, b'u', 1][..], &[7; 16], &[8; 32]].concat();
            golden(
                DevicesQuery {
                    user: user.clone(),
                    presented,
                },
                &one,
            );
            let presented = None;
            golden(DevicesQuery { user, presented }, &[1, 1, b'u', 0]);
        }
        QueryMethod::ErasureQuery => {
            let id = ErasureId([7; 16]);
            golden(ErasureQuery { id }, &[&[1][..], &[7; 16]].concat());
        }
        QueryMethod::ExportedUserQuery => golden(ExportedUserQuery { user }, &[1, 1, b'u']),
        QueryMethod::ExportedConversationsQuery => golden(
            ExportedConversationsQuery {
                user,
                after: Some(conv),
            },
            &[1, 1, b'u', 1, 1, b'g'],
        ),
        QueryMethod::ExportedConversationQuery => golden(
            ExportedConversationQuery { conv, user, after: 3 },
            &[1, 1, b'g', 1, b'u', 3],
        ),
    }
}

#[test]
fn queries_are_frozen() {
    for method in QueryMethod::ALL {
        check(*method);
    }
}

#[test]
fn method_numbers_are_frozen() {
    let methods = [
        (1, "SUBMIT"),
        (2, "REGISTER"),
        (3, "UNREGISTER"),
        (5, "HistoryRequest"),
        (6, "MessagesQuery"),
        (7, "MembersQuery"),
        (8, "BansQuery"),
        (9, "BlocksQuery"),
        (10, "WishesQuery"),
        (11, "IndexQuery"),
        (12, "IndexAfter"),
        (13, "SharedWith"),
        (14, "SyncQuery"),
        (15, "SummariesQuery"),
        (16, "MentioningQuery"),
        (17, "RangeQuery"),
        (18, "SinceQuery"),
        (19, "REGISTER_PRESENCE"),
        (20, "PRESENCE_HEARTBEAT"),
        (21, "PRESENCE_UPDATES"),
        (22, "PRESENCE"),
        (23, "KeyringQuery"),
        (24, "ENDED"),
        (26, "CONFIRM_TRANSFER"),
        (27, "CANCEL_TRANSFER"),
        (28, "DevicesQuery"),
        (29, "LAST_SESSION"),
        (30, "FORWARD"),
        (31, "DeviceCursorsQuery"),
        (32, "ApiKeysQuery"),
        (33, "AuditQuery"),
        (34, "API_KEYS_REVOKED"),
        (35, "USER_ACCESS_CHANGED"),
        (36, "UserAccessQuery"),
        (40, "ProfilesQuery"),
        (42, "END_SESSION"),
        (47, "ORDER_DRAIN"),
        (50, "ErasureQuery"),
        (51, "ExportedUserQuery"),
        (52, "ExportedConversationsQuery"),
        (53, "ExportedConversationQuery"),
        (54, "EXPORT_ROWS"),
        (57, "OpenQuery"),
        (70, "RESUME"),
        (71, "USER_SESSIONS"),
        (72, "SUPPORT_REPORT"),
        (73, "NODE_REPORT"),
    ];
    let mut found: Vec<(u16, String)> = vec![
        (rpc::SUBMIT, "SUBMIT".into()),
        (rpc::REGISTER, "REGISTER".into()),
        (rpc::UNREGISTER, "UNREGISTER".into()),
        (rpc::REGISTER_PRESENCE, "REGISTER_PRESENCE".into()),
        (rpc::PRESENCE_HEARTBEAT, "PRESENCE_HEARTBEAT".into()),
        (rpc::PRESENCE_UPDATES, "PRESENCE_UPDATES".into()),
        (rpc::PRESENCE, "PRESENCE".into()),
        (rpc::ENDED, "ENDED".into()),
        (rpc::RESUME, "RESUME".into()),
        (rpc::CONFIRM_TRANSFER, "CONFIRM_TRANSFER".into()),
        (rpc::CANCEL_TRANSFER, "CANCEL_TRANSFER".into()),
        (rpc::LAST_SESSION, "LAST_SESSION".into()),
        (rpc::FORWARD, "FORWARD".into()),
        (rpc::API_KEYS_REVOKED, "API_KEYS_REVOKED".into()),
        (rpc::USER_ACCESS_CHANGED, "USER_ACCESS_CHANGED".into()),
        (rpc::USER_SESSIONS, "USER_SESSIONS".into()),
        (rpc::END_SESSION, "END_SESSION".into()),
        (rpc::NODE_REPORT, "NODE_REPORT".into()),
        (rpc::ORDER_DRAIN, "ORDER_DRAIN".into()),
        (rpc::EXPORT_ROWS, "EXPORT_ROWS".into()),
        (rpc::SUPPORT_REPORT, "SUPPORT_REPORT".into()),
    ];
    let number = |method: &QueryMethod| (*method as u16, format!("{method:?}"));
    found.extend(QueryMethod::ALL.iter().map(number));
    found.sort();
    let found: Vec<(u16, &str)> = found.iter().map(|(number, name)| (*number, &**name)).collect();
    assert_eq!(found, methods);
}

/// A row of a table of methods begins with the number and the name.
#[test]
fn the_table_of_methods_in_the_documents_is_complete() {
    let page = include_str!("../../../../docs/on-disk.md");
    let named: BTreeSet<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | `"))
        .filter_map(|(number, rest)| Some((number, rest.split_once('`')?.0)))
        .collect();
    for method in QueryMethod::ALL {
        let (number, name) = ((*method as u16).to_string(), format!("{method:?}"));
        assert!(
            named.contains(&(&number, &name)),
            "docs/on-disk.md has no row {number} `{name}`"
        );
    }
}

#[test]
fn responses_are_frozen() {
    let tail = Bytes::from_static(b"{}");
    golden(
        Ranged {
            last: 9,
            events: vec![LoggedEvent {
                s: 8,
                tail: tail.clone(),
            }],
        },
        &[1, 9, 1, 8, 2, b'{', b'}'],
    );
    golden(
        Missed {
            events: vec![LoggedEvent {
                s: 8,
                tail: tail.clone(),
            }],
            last: 9,
            gap: false,
            membership: MembershipSpan::Over,
        },
        &[1, 1, 8, 2, b'{', b'}', 9, 0, 2],
    );
    golden::<Vec<Result<MissedEvents, RpcError>>>(
        vec![
            Ok(MissedEvents {
                as_of: 9,
                events: vec![tail.clone()],
                gap: false,
            }),
            Err(RpcError::Busy),
        ],
        &[1, 2, 0, 1, 2, b'{', b'}', 0, 9, 1, 2],
    );
    let summary = Summary {
        conv: conv(),
        kind: ConversationKind::Group,
        title: None,
        role: Role::Member,
        last: LastEvent {
            seq: 9,
            message_number: 8,
            timestamp_ms: 7,
        },
        message: Some(MessageView {
            tail,
            edit: None,
            mentions: Vec::new(),
            reactions: BTreeMap::new(),
        }),
        unread: 6,
        mentions: 5,
        read: 4,
        delivered: 3,
        muted: true,
        pinned: false,
        peer: None,
    };
    golden::<Vec<Result<Option<Summary>, RpcError>>>(
        vec![Ok(Some(summary)), Ok(None)],
        &[
            1, 2, 0, 1, 1, b'g', 1, 0, 2, 9, 8, 7, 1, 2, b'{', b'}', 0, 0, 0, 6, 5, 4, 3, 1, 0, 0, 0, 0,
        ],
    );
    let opened = MemberConversation {
        conv: conv(),
        kind: ConversationKind::Group,
        title: None,
        role: Role::Member,
        last: LastEvent {
            seq: 9,
            message_number: 8,
            timestamp_ms: 7,
        },
        unread: 6,
        mentions: 5,
        read: 4,
        delivered: 3,
        members: 2,
        floor: 1,
        history: HistoryVisibility::All,
        muted: true,
        pinned: false,
        peer: None,
        events: Some(vec![Bytes::from_static(b"{}")]),
        gap: true,
        data: None,
    };
    golden(
        opened,
        &[
            1, 1, b'g', 1, 0, 2, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 1, 0, 0, 1, 1, 2, b'{', b'}', 1, 0,
        ],
    );
    golden::<Vec<PlacedEntry>>(
        vec![PlacedEntry {
            conv: conv(),
            ms: 9,
            since_ms: 8,
            last: LastEvent {
                seq: 7,
                message_number: 6,
                timestamp_ms: 5,
            },
            large: true,
        }],
        &[1, 1, 1, b'g', 9, 8, 7, 6, 5, 1],
    );
    let entry = DeviceTokenEntry {
        id: TokenFamilyId([7; 16]),
        device: "d".into(),
        name: Some("n".into()),
        created_ms: 3,
        expires_ms: 4,
    };
    let bytes = [&[1, 1][..], &[7; 16], &[1, b'd', 1, 1, b'n', 3, 4]].concat();
    golden::<Vec<DeviceTokenEntry>>(vec![entry], &bytes);
    let key = ApiKeyEntry {
        id: ApiKeyId([7; 10]),
        secret: SecretBytes([8; 32]),
        name: "n".into(),
        scopes: [KeyScope::Read].into_iter().collect(),
        created_ms: 3,
        expires_ms: Some(4),
    };
    let bytes = [&[1, 1][..], &[7; 10], &[8; 32], &[1, b'n', 8, 3, 1, 4]].concat();
    golden::<Vec<ApiKeyEntry>>(vec![key], &bytes);
    let access = UserAccess {
        deactivated: true,
        before_s: 3,
    };
    golden::<UserAccess>(access, &[1, 1, 3]);
    let audited = AuditEntry {
        seq: 9,
        at_ms: 8,
        key: None,
        act: "a".into(),
        target: "t".into(),
        count: 2,
        who: "w".into(),
        outcome: "o".into(),
    };
    golden::<Vec<AuditEntry>>(
        vec![audited],
        &[1, 1, 9, 8, 0, 1, b'a', 1, b't', 2, 1, b'w', 1, b'o'],
    );
    let profile = StoredProfile {
        ver: 3,
        name: Some("n".into()),
        avatar: None,
        data: Some("{}".into()),
    };
    golden::<Vec<Result<Option<StoredProfile>, RpcError>>>(
        vec![Ok(Some(profile)), Ok(None)],
        &[1, 2, 0, 1, 3, 1, 1, b'n', 0, 1, 2, b'{', b'}', 0, 0],
    );
    let stored = StoredCursors {
        expires_ms: 4,
        cursors: DeviceCursors {
            gateway_state: Bytes::from_static(b"G"),
            positions: vec![(conv(), 5)],
        },
    };
    golden::<Option<StoredCursors>>(Some(stored), &[1, 1, 4, 1, b'G', 1, 1, b'g', 5]);
}

#[test]
fn responses_about_erased_and_exported_users_are_frozen() {
    let job = ErasureJob {
        user: user(),
        messages: ErasedMessages::Delete,
        tombstone: None,
        started_ms: 3,
        done_ms: Some(4),
        shards: vec![ErasedShard {
            shard: 5,
            conversations: 6,
            messages: 7,
            events: 8,
            index: 9,
        }],
    };
    golden::<Option<ErasureJob>>(Some(job), &[1, 1, 1, b'u', 1, 0, 3, 1, 4, 1, 5, 6, 7, 8, 9]);
    let exported = ExportedUser {
        profile: StoredProfile::default(),
        access: UserAccess {
            deactivated: true,
            before_s: 3,
        },
        group_invite: GroupInvite::NoOne,
        last_seen_ms: Some(4),
        logins: vec![ExportedLogin {
            id: TokenFamilyId([7; 16]),
            opened_ms: 5,
            expires_ms: 6,
        }],
        device_tokens: Vec::new(),
        devices: vec![ExportedDevice {
            device: "d".into(),
            positions: vec![(conv(), 5)],
        }],
    };
    let bytes = [
        &[1, 0, 0, 0, 0, 1, 3, 2, 1, 4, 1][..],
        &[7; 16],
        &[5, 6, 0, 1, 1, b'd', 1, 1, b'g', 5],
    ];
    golden::<ExportedUser>(exported, &bytes.concat());
    let exported = ExportedConversation {
        membership: Some(ExportedMembership {
            role: None,
            since: 2,
            until: 3,
            read: 4,
            delivered: 5,
            muted: true,
            pinned: false,
            banned: true,
            data: Some("{}".into()),
        }),
        events: vec![Bytes::from_static(b"{}")],
        next: Some(9),
    };
    golden::<ExportedConversation>(
        exported,
        &[
            1, 1, 0, 2, 3, 4, 5, 1, 0, 1, 1, 2, b'{', b'}', 1, 2, b'{', b'}', 1, 9,
        ],
    );
}
