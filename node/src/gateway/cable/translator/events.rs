//! Events of the session.

use bytes::Bytes;
use protocol::Event;
use protocol::event::MemberEvent;
use protocol::response::LastEvent;

use super::{CableTranslator, FrameSink, event_frame};
use crate::gateway::cable::server_frame;
use crate::gateway::cable::stream_effect::EventEffect;
use crate::gateway::event_tail::{self, EventTail};

// === impl CableTranslator: events ===

impl CableTranslator {
    /// Handles event `n` of the session.
    pub(in crate::gateway::cable) fn on_event(&mut self, n: u64, tail: &[u8], sink: &mut impl FrameSink) {
        let head = EventTail::read(tail);
        match (head.name, head.conversation, head.seq) {
            // The end of the connection is announced by its own frame.
            ("bye", ..) => return,
            ("resync", ..) => self.read_all_again(sink),
            ("activity" | "conv", Some(conversation), None) => self.read_up_to(conversation, tail, sink),
            (_, Some(conversation), Some(seq)) => self.pass_log_event(n, conversation, seq, tail, sink),
            (_, Some(conversation), None) => self.pass_ephemeral(n, conversation, tail, sink),
            ("presence", None, None) if self.is_extended => {
                self.on_presence_event(event_tail::decode(tail), sink)
            }
            (_, None, _) => {}
        }
        for key in self.subscriptions.inboxes() {
            if let Some(inbox) = self.subscriptions.get(*key) {
                // Without a position: that of a conversation belongs to its own subscription.
                event_frame(sink, &inbox.quoted, Some(n), tail, false);
            }
        }
    }

    fn pass_log_event(
        &mut self,
        n: u64,
        conversation: &str,
        seq: u64,
        tail: &[u8],
        sink: &mut impl FrameSink,
    ) {
        let keys = self.subscriptions.of_conversation(conversation);
        if keys.is_empty() {
            return;
        }
        let member = member_of(tail);
        let is_removal = |member: &MemberEvent| member.member == self.user && member.role.is_none();
        let removal = member.as_ref().filter(|member| is_removal(member));
        let removal = removal.map(|_| Bytes::copy_from_slice(tail));
        for &key in &keys {
            let Some(subscription) = self.subscriptions.get_mut(key) else {
                continue;
            };
            if subscription.stream.on_event(seq, removal.as_ref()) == EventEffect::Skip {
                continue;
            }
            event_frame(sink, &subscription.quoted, Some(n), tail, self.is_extended);
            if removal.is_some() {
                let identifier = subscription.quoted.clone();
                sink.frame(|out| server_frame::reject_subscription(out, &identifier));
                self.remove(key);
            }
        }
        if let Some(member) = member {
            self.on_member_event(&keys, &member, sink);
        }
    }

    /// Passes on an event outside of the log, such as `typing`.
    fn pass_ephemeral(&self, n: u64, conversation: &str, tail: &[u8], sink: &mut impl FrameSink) {
        for key in self.subscriptions.of_conversation(conversation) {
            let subscription = self.subscriptions.get(key);
            if let Some(subscription) = subscription.filter(|subscription| subscription.stream.is_confirmed())
            {
                event_frame(sink, &subscription.quoted, Some(n), tail, false);
            }
        }
    }

    /// Reads the log up to the end that the event names. Its events up to there may not have come.
    fn read_up_to(&mut self, conversation: &str, tail: &[u8], sink: &mut impl FrameSink) {
        let keys = self.subscriptions.of_conversation(conversation);
        let Some(last) = (!keys.is_empty()).then(|| end_of_log(tail)).flatten() else {
            return;
        };
        for key in keys {
            if let Some(subscription) = self.subscriptions.get_mut(key) {
                let effects = subscription.stream.on_head(last.seq);
                self.apply(key, effects, None, sink);
            }
        }
    }

    /// Reads what was dropped: clients of this protocol do not do so by themselves.
    fn read_all_again(&mut self, sink: &mut impl FrameSink) {
        for key in self.subscriptions.keys() {
            if let Some(subscription) = self.subscriptions.get_mut(key)
                && subscription.conversation.is_some()
            {
                let effects = subscription.stream.on_loss();
                self.apply(key, effects, None, sink);
            }
        }
        for (key, effect) in self.presence.on_loss() {
            self.apply_presence(key, [effect], sink);
        }
    }
}

/// Returns the change of a membership, if the event is one.
fn member_of(tail: &[u8]) -> Option<MemberEvent> {
    // Only the rare events of this name are decoded.
    if !tail.starts_with(br#""t":"member""#) {
        return None;
    }
    match event_tail::decode(tail)? {
        Event::Member(member) => Some(member),
        _ => None,
    }
}

fn end_of_log(tail: &[u8]) -> Option<LastEvent> {
    match event_tail::decode(tail)? {
        Event::Activity(activity) => Some(activity.last),
        Event::Conv(conversation) => Some(conversation.last),
        _ => None,
    }
}
