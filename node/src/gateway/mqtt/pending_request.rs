//! Requests that the session has not answered. Pure values.

use bytes::Bytes;

use super::event_filter::EventFilter;
use super::packet::{QualityOfService, ReasonCode};
use super::publish_topic::AnswerPolicy;

/// Receiver of an answer.
#[derive(Clone, Debug)]
pub(super) enum PendingRequest {
    Publish(PendingPublish),
    /// Filters that one answer confirms: one of a conversation, or all that mean every event.
    Filters(Vec<PendingFilter>),
}

/// Filter that waits for its confirmation: that of a conversation for the check of the membership, that of all events
/// until the session follows every conversation of its user.
#[derive(Clone, Debug)]
pub(super) struct PendingFilter {
    pub(super) filter: EventFilter,
    pub(super) quality: QualityOfService,
    /// Number of the SUBSCRIBE, and index of the filter in it.
    pub(super) subscribe: i64,
    pub(super) index: usize,
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

/// SUBSCRIBE that waits for confirmations.
#[derive(Clone, Debug)]
pub(super) struct PendingSubscribe {
    pub(super) number: i64,
    pub(super) packet_id: u16,
    /// Code per filter; `None`: not known yet.
    pub(super) codes: Vec<Option<u8>>,
    /// True if the client subscribes to all its events.
    pub(super) has_inbox: bool,
}
