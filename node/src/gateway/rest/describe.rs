//! What the descriptions of the handlers share: parameters, refusals, groups.

use std::collections::BTreeMap;

use protocol::{Cid, ConvId, UserId};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, Ref, RefOr};
use utoipa::{IntoParams, IntoResponses};

/// Groups of operations.
pub(in crate::gateway) struct Tag;

/// The conversation in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct InConversation {
    /// The conversation.
    c: ConvId,
}

/// The user in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct OfUser {
    /// The user.
    u: UserId,
}

/// The conversation and the user in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct OfMember {
    /// The conversation.
    c: ConvId,
    /// The user.
    u: UserId,
}

/// The conversation and the message in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct OfMessage {
    /// The conversation.
    c: ConvId,
    /// The message, by its place in the log.
    s: u64,
}

/// The conversation, the message and the reaction in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct OfReaction {
    /// The conversation.
    c: ConvId,
    /// The message, by its place in the log.
    s: u64,
    /// The reaction, percent-encoded: 1 to 32 bytes without control characters.
    #[param(min_length = 1, max_length = 32)]
    k: String,
}

/// The entity tag that the client has.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(in crate::gateway) struct Known {
    /// The entity tags that the client has: if the answer has one of them, it is 304 and has no body.
    #[param(rename = "If-None-Match")]
    known: Option<String>,
}

/// The idempotency key.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(super) struct IdempotencyKey {
    /// The idempotency key (`cid`): the same request may be sent again with it, and is done once. `cid` in the body does as well.
    #[param(rename = "Idempotency-Key")]
    key: Cid,
}

/// What a question may be answered instead.
pub(in crate::gateway) struct Asked;

/// What a request with a body, or a change, may be answered instead.
pub(super) struct Changed;

/// What one who isn't known yet may be answered instead.
pub(super) struct Entered;

/// What one who isn't known yet, and shows something to be, may be answered instead.
pub(super) struct Proven;

/// What an operator may be answered instead.
pub(in crate::gateway) struct Operators;

/// What an upgrade may be answered instead.
pub(in crate::gateway) struct Upgraded;

// === impl Tag, Asked, Changed, Entered, Proven, Operators, Upgraded ===

impl Tag {
    pub(super) const LOGIN: &'static str = "Login";
    pub(super) const CONVERSATIONS: &'static str = "Conversations";
    pub(super) const MESSAGES: &'static str = "Messages";
    pub(super) const CURSORS: &'static str = "Cursors";
    pub(super) const MEMBERS: &'static str = "Members";
    pub(super) const USERS: &'static str = "Users";
    pub(in crate::gateway) const EVENTS: &'static str = "Events";
    pub(in crate::gateway) const OPERATION: &'static str = "Operation";
    /// Every group, with what it is about.
    pub(in crate::gateway) const ALL: [(&'static str, &'static str); 8] = [
        (Tag::LOGIN, "One-time codes and the tokens they give."),
        (Tag::CONVERSATIONS, "The caller's conversations."),
        (Tag::MESSAGES, "What is said in a conversation."),
        (Tag::CURSORS, "What has arrived and what was read."),
        (
            Tag::MEMBERS,
            "Who is in a conversation, as what, and who is kept out.",
        ),
        (Tag::USERS, "What concerns one other user."),
        (Tag::EVENTS, "What happens, for clients without a WebSocket."),
        (Tag::OPERATION, "For probes and operators."),
    ];
}

impl IntoResponses for Asked {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 401, 403, 429, 500, 503])
    }
}

impl IntoResponses for Changed {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503, 504])
    }
}

impl IntoResponses for Entered {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 404, 408, 413, 415, 429, 500, 503])
    }
}

impl IntoResponses for Proven {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 401, 404, 408, 413, 415, 429, 500, 503])
    }
}

impl IntoResponses for Operators {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 401])
    }
}

impl IntoResponses for Upgraded {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 401, 403, 426, 503])
    }
}

/// Refusals by status.
pub(in crate::gateway) fn refusals(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let responses = statuses.iter().map(|status| {
        let about = match status {
            400 => "The request is malformed.",
            401 => "No token, or one that is not valid any more.",
            403 => "The caller is no member, or may not do this.",
            404 => "What the request names is not there.",
            405 => "The resource doesn't have this method.",
            408 => "The body took too long.",
            409 => "The state doesn't permit it.",
            413 => "The body, or the message in it, is over its limit.",
            415 => "The body is no JSON.",
            426 => "This is a WebSocket endpoint.",
            429 => "Too many requests of this user, or of this address.",
            500 => "A fault of the server.",
            503 => "A queue is full, or no owner could be reached.",
            504 => "The outcome is not known: the same key again tells.",
            _ => "Refused.",
        };
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let mut response = ResponseBuilder::new()
            .description(about)
            .content("application/problem+json", content);
        if *status == 401 {
            response = response.header("WWW-Authenticate", HeaderBuilder::new().build());
        }
        if *status == 429 || *status >= 500 {
            let about = "Seconds to wait before the next try.";
            response = response.header(
                "Retry-After",
                HeaderBuilder::new().description(Some(about)).build(),
            );
        }
        (status.to_string(), RefOr::T(response.build()))
    });
    responses.collect()
}
