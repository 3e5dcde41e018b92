//! Translator of one connection: frames of the client become native requests, native answers and events become frames.
//! Pure: the shells around it are the [handler](super::handler) and the [framing](super::framing).
//!
//! It adds nothing to what the session decides. A subscription is confirmed by the answer to `open`, a history is read
//! by `hist`, and an event that the session does not deliver reaches no subscription.

mod events;
mod frames;
mod presence;
mod responses;
mod restore;

pub(super) use frames::FrameWeight;

use bytes::{Bytes, BytesMut};
use protocol::command::{GetHistory, OpenConversation};
use protocol::response::HistoryResponse;
use protocol::{ClientCommand, ConversationId, Request, UserId};

use super::presence_table::{PresenceEffect, PresenceTable};
use super::request_table::{RequestPurpose, RequestTable};
use super::server_frame::{self, EventOffset};
use super::stream_effect::{LogPage, StreamEffect};
use super::subscription_table::{SubscriptionKey, SubscriptionLimits, SubscriptionTable};
use crate::gateway::event_tail::EventTail;
use crate::session::messages::ReceivedCommand;

/// Receiver of frames for the client.
pub(super) trait FrameSink {
    /// Appends the frame that `write` appends to the buffer.
    fn frame(&mut self, write: impl FnOnce(&mut BytesMut));
}

/// Size that a request of the gateway itself counts with.
const OWN_REQUEST_BYTES: usize = 64;

/// State of one connection.
#[derive(Debug)]
pub(super) struct CableTranslator {
    user: UserId,
    is_extended: bool,
    welcome: WelcomeState,
    subscriptions: SubscriptionTable,
    presence: PresenceTable,
    /// True after a change that the next connection of the client must know.
    is_state_changed: bool,
    requests: RequestTable,
    outgoing: Vec<ReceivedCommand>,
}

/// Progress of the connection up to its first frame.
#[derive(Debug)]
enum WelcomeState {
    /// The session is not open yet.
    Connecting,
    /// The memberships of the continued subscriptions are being checked.
    Restoring {
        sid: String,
        unanswered: usize,
    },
    Welcomed,
}

// === impl CableTranslator ===

impl CableTranslator {
    /// Creates the translator of a client that is authenticated as `user`.
    pub(super) fn new(user: UserId, is_extended: bool, limits: SubscriptionLimits) -> CableTranslator {
        CableTranslator {
            user,
            is_extended,
            welcome: WelcomeState::Connecting,
            subscriptions: SubscriptionTable::new(limits),
            presence: PresenceTable::default(),
            is_state_changed: false,
            requests: RequestTable::default(),
            outgoing: Vec::new(),
        }
    }

    /// Returns true once the client may send commands.
    pub(super) fn is_welcomed(&self) -> bool {
        matches!(self.welcome, WelcomeState::Welcomed)
    }

    /// Drains the requests for the session.
    pub(super) fn take_requests(&mut self) -> Vec<ReceivedCommand> {
        std::mem::take(&mut self.outgoing)
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Returns the state for the session that continues this one, if it has changed since the last call.
    pub(super) fn take_changed_state(&mut self) -> Option<Bytes> {
        // Clients of the base protocol continue no session.
        let is_changed = std::mem::take(&mut self.is_state_changed) && self.is_extended;
        is_changed.then(|| self.gateway_state())
    }

    /// Returns true if a subscription is for events of this conversation.
    pub(super) fn covers(&self, conversation: &str) -> bool {
        self.subscriptions.covers(conversation)
    }

    fn send(&mut self, purpose: RequestPurpose, command: ClientCommand) {
        let id = Some(self.requests.add(purpose));
        self.outgoing.push(ReceivedCommand {
            request: Ok(Request { id, command }),
            bytes: OWN_REQUEST_BYTES,
        });
    }

    /// Sends a command whose answer has no receiver.
    fn send_unanswered(&mut self, command: ClientCommand) {
        let id = Some(self.requests.next_id());
        self.outgoing.push(ReceivedCommand {
            request: Ok(Request { id, command }),
            bytes: OWN_REQUEST_BYTES,
        });
    }

    /// Ends a subscription, and the presence of its members.
    fn remove(&mut self, key: SubscriptionKey) {
        self.subscriptions.remove(key);
        self.is_state_changed = true;
        if let Some(PresenceEffect::Unwatch(users)) = self.presence.remove(key) {
            self.unwatch(users);
        }
    }

    fn open(&mut self, key: SubscriptionKey, conversation: ConversationId) {
        let command = OpenConversation {
            conversation,
            have: None,
        };
        self.send(RequestPurpose::Open(key), ClientCommand::Open(command));
    }

    /// Carries out the effects on one subscription. `page`: the events that an effect may refer to.
    fn apply(
        &mut self,
        key: SubscriptionKey,
        effects: Vec<StreamEffect>,
        page: Option<&HistoryResponse>,
        sink: &mut impl FrameSink,
    ) {
        for effect in effects {
            let Some(subscription) = self.subscriptions.get(key) else {
                return;
            };
            let identifier = &subscription.quoted;
            match effect {
                StreamEffect::ConfirmSubscription => {
                    self.is_state_changed = true;
                    sink.frame(|out| server_frame::confirm_subscription(out, identifier));
                }
                StreamEffect::ConfirmHistory => {
                    sink.frame(|out| server_frame::confirm_history(out, identifier));
                }
                StreamEffect::RejectHistory => {
                    sink.frame(|out| server_frame::reject_history(out, identifier));
                }
                StreamEffect::Send(from) => {
                    let events = page.map(|page| &page.events[from..]).unwrap_or_default();
                    for event in events {
                        event_frame(sink, identifier, None, event.tail().as_bytes(), self.is_extended);
                    }
                }
                StreamEffect::SendRemoval(tail) => {
                    event_frame(sink, identifier, None, &tail, self.is_extended);
                    sink.frame(|out| server_frame::reject_subscription(out, identifier));
                    self.remove(key);
                }
                StreamEffect::Resync => {
                    sink.frame(|out| server_frame::message(out, identifier, RESYNC));
                }
                StreamEffect::Reject => {
                    sink.frame(|out| server_frame::reject_subscription(out, identifier));
                    self.remove(key);
                }
                StreamEffect::Forget => self.remove(key),
                StreamEffect::Query(LogPage { after, limit }) => {
                    if let Some(conversation) = subscription.conversation.clone() {
                        let command = GetHistory {
                            conversation,
                            before: None,
                            after,
                            limit: Some(limit),
                        };
                        self.send(RequestPurpose::Page(key), ClientCommand::Hist(command));
                    }
                }
            }
        }
    }
}

/// Message that tells a client of missing events.
const RESYNC: &[u8] = br#"{"t":"resync","why":"gone"}"#;

/// Writes an event to one subscription. Clients of the extended protocol get its position in the log.
fn event_frame(sink: &mut impl FrameSink, identifier: &str, n: Option<u64>, tail: &[u8], has_offset: bool) {
    let head = EventTail::read(tail);
    let offset = head.conversation.zip(head.seq).filter(|_| has_offset);
    let offset = offset.map(|(stream, seq)| EventOffset { stream, seq });
    sink.frame(|out| server_frame::event(out, identifier, n, tail, offset));
}

#[cfg(test)]
mod tests;
