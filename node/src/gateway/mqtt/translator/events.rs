//! Events of the session.

use bytes::BytesMut;
use smallvec::SmallVec;

use super::MqttTranslator;
use crate::gateway::event_tail::{self, EventTail};
use crate::gateway::mqtt::event_window::EventWindow;
use crate::gateway::mqtt::filter_table::EventRoute;
use crate::gateway::mqtt::packet::{OutgoingPublish, QualityOfService};

/// Lifetime of a notice of typing in seconds, after which clients drop it.
const TYPING_EXPIRY: u32 = 6;
/// Number of events for which the state is set once. A state that says too much makes the client see a repeated
/// event that is none.
const SAVED_AHEAD: u64 = 63;

// === impl MqttTranslator: events ===

impl MqttTranslator {
    /// Handles event `n` of the session.
    pub(in crate::gateway::mqtt) fn on_event(&mut self, n: u64, tail: &[u8], out: &mut BytesMut) {
        let head = EventTail::read(tail);
        let route = match head.name {
            // DISCONNECT, or the end of the connection, follows.
            "bye" => None,
            _ => self.filters.route(head.conversation),
        };
        let Some(route) = route else {
            if head.name == "resync" {
                self.publish_resync_per_conversation(n, tail, out);
            }
            return self.window.on_written(n, false);
        };
        let (quality, topic) = match route {
            EventRoute::Conversation(quality) => {
                (quality, ["c/", head.conversation.unwrap_or_default(), "/events"])
            }
            EventRoute::Inbox(inbox) => (inbox.quality, ["u/", inbox.name.text(&self.user), "/events"]),
        };
        let is_ephemeral = matches!(head.name, "typing" | "presence" | "profile");
        let quality = if is_ephemeral {
            QualityOfService::AtMostOnce
        } else {
            quality
        };
        let start = event_start(n);
        let message = OutgoingPublish {
            is_repeated: n <= self.repeated_up_to,
            quality,
            topic,
            packet_id: EventWindow::packet_id(n),
            expiry: (head.name == "typing").then_some(TYPING_EXPIRY),
            correlation_data: None,
            payload: [&start, tail],
        };
        let is_written = self.packets.publish(out, &message);
        let is_acknowledged = is_written && quality == QualityOfService::AtLeastOnce;
        self.window.on_written(n, is_acknowledged);
        if is_acknowledged && n > self.saved_up_to {
            self.saved_up_to = n + SAVED_AHEAD;
            self.is_ahead = true;
        }
        if let EventRoute::Conversation(_) = route
            && event_tail::removes(tail, &self.user)
            && let Some(conversation) = head.conversation
        {
            // It is the last event of the conversation that the session delivers.
            self.filters.remove_conversation(conversation);
            self.is_changed = true;
        }
    }

    /// Tells a client without a subscription to all its events that it has missed some, on the topic of each conversation
    /// that it has subscribed to. The event has one number, and so no packet id for each topic.
    fn publish_resync_per_conversation(&self, n: u64, tail: &[u8], out: &mut BytesMut) {
        let start = event_start(n);
        for (conversation, _) in self.filters.conversations() {
            let message = OutgoingPublish {
                is_repeated: false,
                quality: QualityOfService::AtMostOnce,
                topic: ["c/", conversation, "/events"],
                packet_id: 0,
                expiry: None,
                correlation_data: None,
                payload: [&start, tail],
            };
            self.packets.publish(out, &message);
        }
    }
}

/// Returns the start of the payload of event `n`, which its tail follows.
fn event_start(n: u64) -> SmallVec<[u8; 32]> {
    let mut start = SmallVec::new();
    start.extend_from_slice(b"{\"n\":");
    start.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    start.push(b',');
    start
}
