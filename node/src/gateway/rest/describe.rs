//! Shared parts of the handlers' OpenAPI descriptions: parameters, error responses and tags.

use std::collections::BTreeMap;

use protocol::{ClientMessageId, ConversationId, UserId};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, Ref, RefOr};
use utoipa::{IntoParams, IntoResponses};

pub(in crate::gateway) struct ApiTag;

/// Conversation in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct InConversation {
    /// The id of the conversation.
    c: ConversationId,
}

/// User in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct OfUser {
    /// The id of the user.
    u: UserId,
}

/// Conversation and user in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct OfMember {
    /// The id of the conversation.
    c: ConversationId,
    /// The id of the user.
    u: UserId,
}

/// Conversation and message in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct OfMessage {
    /// The id of the conversation.
    c: ConversationId,
    /// The position of the message in the log of the conversation.
    s: u64,
}

/// Conversation, message and reaction in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(super) struct OfReaction {
    /// The id of the conversation.
    c: ConversationId,
    /// The position of the message in the log of the conversation.
    s: u64,
    /// The reaction, percent-encoded: 1 to 32 bytes without control characters.
    #[param(min_length = 1, max_length = 32)]
    k: String,
}

/// Entity tag of the client.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(in crate::gateway) struct EntityTag {
    /// The entity tags that the client has. If the answer matches one of them, it is 304 without a body.
    #[param(rename = "If-None-Match")]
    known: Option<String>,
}

/// Idempotency key of a change.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(super) struct IdempotencyKey {
    /// The idempotency key (`cid`). A request repeated with it is executed once. A `cid` in the body serves as well.
    #[param(rename = "Idempotency-Key")]
    key: ClientMessageId,
}

/// Error responses of queries.
pub(in crate::gateway) struct QueryErrors;

/// Error responses of queries about an object that need not exist.
pub(super) struct JobErrors;

/// Error responses of changes and of requests with a body.
pub(in crate::gateway) struct ChangeErrors;

/// Error responses of requests without authentication.
pub(super) struct Entered;

/// Error responses of requests that authenticate by a code or token in the body.
pub(super) struct Proven;

/// Error responses of operator requests.
pub(in crate::gateway) struct Operators;

/// Error responses of operator requests about one thing, which may be missing.
pub(super) struct OperatorQueryErrors;

/// Error responses of the WebSocket upgrade.
pub(in crate::gateway) struct Upgraded;

/// Error responses of requests that the server refuses before any handler.
pub(in crate::gateway) struct HeadErrors;

/// Error responses of public resources, which need no token.
pub(in crate::gateway) struct PublicErrors;

// === impl ApiTag, QueryErrors, JobErrors, ChangeErrors, Entered, Proven, Operators, OperatorQueryErrors, Upgraded, HeadErrors, PublicErrors ===

impl ApiTag {
    pub(super) const LOGIN: &'static str = "Login";
    pub(super) const CONVERSATIONS: &'static str = "Conversations";
    pub(super) const MESSAGES: &'static str = "Messages";
    pub(super) const CURSORS: &'static str = "Cursors";
    pub(super) const MEMBERS: &'static str = "Members";
    pub(super) const USERS: &'static str = "Users";
    pub(in crate::gateway) const EVENTS: &'static str = "Events";
    pub(in crate::gateway) const OPERATION: &'static str = "Operation";
    pub(super) const SERVER: &'static str = "Server API";
    /// Every tag with its description.
    pub(in crate::gateway) const ALL: [(&'static str, &'static str); 9] = [
        (
            ApiTag::LOGIN,
            "Login by one-time codes, and the tokens of a login.",
        ),
        (ApiTag::CONVERSATIONS, "The caller's conversations."),
        (ApiTag::MESSAGES, "The messages and events of a conversation."),
        (
            ApiTag::CURSORS,
            "Delivered and read cursors, and typing notifications.",
        ),
        (
            ApiTag::MEMBERS,
            "The members of a conversation, their roles, and the banned users.",
        ),
        (
            ApiTag::USERS,
            "Direct messages, presence, settings and blocks of users.",
        ),
        (ApiTag::EVENTS, "Event delivery for clients without a WebSocket."),
        (
            ApiTag::SERVER,
            "Requests of a back end with an API key, as a user or as the system.",
        ),
        (ApiTag::OPERATION, "Endpoints for health probes and operators."),
    ];
}

impl IntoResponses for QueryErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 401, 403, 429, 500, 503])
    }
}

impl IntoResponses for JobErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 401, 403, 404, 429, 500, 503])
    }
}

impl IntoResponses for ChangeErrors {
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
        refusals(&[400, 401, 403])
    }
}

impl IntoResponses for OperatorQueryErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 401, 403, 404, 429, 500, 503])
    }
}

impl IntoResponses for Upgraded {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[400, 401, 403, 426, 503])
    }
}

impl IntoResponses for HeadErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        // Answered by the HTTP server itself, without a body.
        let refused = [
            ("400", "The head of the request is malformed."),
            ("408", "The head of the request did not arrive in time."),
        ];
        let refused = refused.map(|(status, about)| {
            let response = ResponseBuilder::new().description(about).build();
            (status.to_owned(), RefOr::T(response))
        });
        refused.into()
    }
}

impl IntoResponses for PublicErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = HeadErrors::responses();
        responses.extend(refusals(&[413, 503]));
        responses
    }
}

/// Builds the descriptions of error responses by status.
pub(in crate::gateway) fn refusals(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let responses = statuses.iter().map(|status| {
        let about = match status {
            400 => "The request is malformed.",
            401 => "The request has no token, or the token is not valid.",
            403 => "The caller is not a member, or does not have the permission.",
            404 => "The conversation, message, user or job does not exist.",
            405 => "The resource does not have this method.",
            408 => "The body did not arrive in time.",
            409 => "The current state does not permit the request.",
            413 => "The body, or the message in it, exceeds its size limit.",
            415 => "The content type of the body is not JSON.",
            426 => "The endpoint accepts only WebSocket upgrades.",
            429 => "The user, or the address, exceeds its request rate.",
            500 => "The server failed.",
            503 => "The node is overloaded or draining, or the shard owner cannot be reached.",
            504 => "The outcome is unknown. Repeating the request with the same idempotency key returns it.",
            _ => "The request was refused.",
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
            let about = "The number of seconds after which the client may repeat the request.";
            response = response.header(
                "Retry-After",
                HeaderBuilder::new().description(Some(about)).build(),
            );
        }
        (status.to_string(), RefOr::T(response.build()))
    });
    responses.collect()
}
