//! Requests that the session has not answered. Pure values.

use bytes::Bytes;
use protocol::ConversationId;

use super::packet::{QualityOfService, ReasonCode};
use super::publish_topic::AnswerPolicy;

/// Receiver of an answer.
#[derive(Clone, Debug)]
pub(super) enum PendingRequest {
    Publish(PendingPublish),
    /// Check of the membership for a filter.
    Open {
        conversation: ConversationId,
        quality: QualityOfService,
        /// Number of the SUBSCRIBE, and index of the filter in it.
        subscribe: i64,
        index: usize,
    },
}

/// Command that a client has published.
#[derive(Clone, Debug)]
pub(super) struct PendingPublish {
    /// True if the client waits for an acknowledgement.
    pub(super) is_acknowledged: bool,
    /// The client's number of the command.
    pub(super) id: Option<i64>,
    pub(super) cid: Option<String>,
    pub(super) correlation: Option<Bytes>,
    pub(super) answer: AnswerPolicy,
    /// Reason code of the refusal; `None`: by the code of the answer.
    pub(super) reason: Option<ReasonCode>,
}

/// SUBSCRIBE that waits for checks of memberships.
#[derive(Clone, Debug)]
pub(super) struct PendingSubscribe {
    pub(super) number: i64,
    pub(super) packet_id: u16,
    /// Code per filter; `None`: not known yet.
    pub(super) codes: Vec<Option<u8>>,
    /// True if the client subscribes to all its events.
    pub(super) has_inbox: bool,
}
