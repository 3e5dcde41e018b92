//! Strategies of the values in the fields.

use proptest::prelude::*;
use protocol::{
    Body, ClientMessageId, ConversationId, ConversationKind, CustomData, FieldPatch, GroupInvite,
    HistoryVisibility, Role, UserId, text,
};

pub(crate) fn user() -> impl Strategy<Value = UserId> {
    "[A-Za-z0-9_.@+-]{1,64}".prop_map(|text| UserId::parse(&text).unwrap())
}

pub(crate) fn conv() -> impl Strategy<Value = ConversationId> {
    "(g_|ch_|d_|)[A-Za-z0-9_-]{1,60}".prop_map(|text| ConversationId::parse(&text).unwrap())
}

pub(crate) fn cid() -> impl Strategy<Value = ClientMessageId> {
    "\\PC{1,16}|[\\x00-\\x7f]{1,64}".prop_map(|text| ClientMessageId::parse(&text).unwrap())
}

pub(crate) fn body() -> impl Strategy<Value = Body> {
    (any::<String>(), any::<i64>(), any::<f64>()).prop_map(|(text, int, float)| {
        let text = serde_json::to_string(&text).unwrap();
        let float = if float.is_finite() {
            format!("{float:e}")
        } else {
            "null".to_owned()
        };
        Body::new(format!(
            "{{\"text\": {text},\n\"i\":{int},\"f\":{float},\"a\":[[],{{}}]}}"
        ))
        .unwrap()
    })
}

pub(crate) fn data() -> impl Strategy<Value = CustomData> {
    body()
        .prop_map(|body| CustomData::new(body.as_str()).unwrap())
        .prop_filter("at most 4 KiB", |data| data.as_str().len() <= 4 * 1024)
}

pub(crate) fn patch<T: std::fmt::Debug + Clone + 'static>(
    of: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = FieldPatch<T>> {
    prop_oneof![
        Just(FieldPatch::Keep),
        Just(FieldPatch::Remove),
        of.prop_map(FieldPatch::Set)
    ]
}

pub(crate) fn opt<T: std::fmt::Debug + Clone>(
    of: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(of)
}

pub(crate) fn words() -> impl Strategy<Value = String> {
    "\\PC{0,16}"
}

pub(crate) fn title() -> impl Strategy<Value = String> {
    words().prop_filter("fit to be shown", |title| {
        title.is_empty() || text::visible(title).is_ok()
    })
}

pub(crate) fn reaction() -> impl Strategy<Value = String> {
    "[a-z0-9:+\"\\\\-]{1,32}|\\PC{1,8}".prop_filter("no control characters", |k| text::reaction(k).is_ok())
}

pub(crate) fn kind() -> impl Strategy<Value = ConversationKind> {
    proptest::sample::select(ConversationKind::ALL.to_vec())
}

pub(crate) fn role() -> impl Strategy<Value = Role> {
    proptest::sample::select(Role::ALL.to_vec())
}

pub(crate) fn history() -> impl Strategy<Value = HistoryVisibility> {
    proptest::sample::select(vec![HistoryVisibility::All, HistoryVisibility::Joined])
}

pub(crate) fn group_invite() -> impl Strategy<Value = GroupInvite> {
    proptest::sample::select(vec![
        GroupInvite::Anyone,
        GroupInvite::SharesConversation,
        GroupInvite::NoOne,
    ])
}

pub(crate) fn users() -> impl Strategy<Value = Vec<UserId>> {
    proptest::collection::vec(user(), 0..4)
}
