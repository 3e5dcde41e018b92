//! Begin of a connection, and its state for the session that continues this one.

use bytes::Bytes;
use protocol::response::LastEvent;
use serde::Deserialize;

use super::{CableTranslator, FrameSink, WelcomeState};
use crate::gateway::cable::channel_stream::ChannelStream;
use crate::gateway::cable::identifier::ChannelIdentifier;
use crate::gateway::cable::subscription_table::SubscriptionKey;
use crate::gateway::cable::{continued_subscriptions, server_frame};

/// Fields of the native `ready`.
#[derive(Deserialize)]
struct ReadySession {
    sid: String,
    resumed: bool,
}

// === impl CableTranslator: restore ===

impl CableTranslator {
    /// Returns the confirmed subscriptions to conversations, for the session that continues this one. A subscription
    /// whose presence the client follows is left out: the client has to read it again, which follows from a new
    /// subscription.
    pub(super) fn gateway_state(&self) -> Bytes {
        let mut subscriptions = Vec::new();
        for key in self.subscriptions.keys() {
            if let Some(subscription) = self.subscriptions.get(key)
                && subscription.conversation.is_some()
                && subscription.stream.is_confirmed()
                && !self.presence.follows(key)
            {
                subscriptions.push((&*subscription.text, subscription.stream.start()));
            }
        }
        continued_subscriptions::encode(&subscriptions)
    }

    /// Continues the subscriptions of another session, before its `ready`. Later calls do nothing.
    pub(in crate::gateway::cable) fn restore(&mut self, state: &[u8]) {
        if !self.is_extended || !matches!(self.welcome, WelcomeState::Connecting) {
            return;
        }
        for (text, start) in continued_subscriptions::decode(state) {
            if let Ok(identifier) = ChannelIdentifier::parse(text)
                && identifier.conversation(&self.user).is_some()
                && self.subscriptions.find(text).is_none()
            {
                // Those over the limits are not restored; their client subscribes anew.
                let _key = self
                    .subscriptions
                    .add(&identifier, &self.user, ChannelStream::restored(start));
            }
        }
    }

    /// Ends the wait for clients that asked for no history after their return.
    pub(in crate::gateway::cable) fn on_patience_over(&mut self, sink: &mut impl FrameSink) {
        for key in self.subscriptions.keys() {
            if let Some(subscription) = self.subscriptions.get_mut(key) {
                let effects = subscription.stream.on_patience_over();
                self.apply(key, effects, None, sink);
            }
        }
    }

    pub(super) fn on_ready(&mut self, body: &[u8], sink: &mut impl FrameSink) {
        let Ok(ReadySession { sid, resumed }) = serde_json::from_slice(body) else {
            return;
        };
        if !resumed {
            for key in self.subscriptions.keys() {
                self.remove(key);
            }
            self.welcome = WelcomeState::Welcomed;
            let sid = self.is_extended.then_some(sid);
            return sink.frame(|out| server_frame::welcome(out, sid.as_deref()));
        }
        // The memberships may have changed meanwhile.
        let keys = self.subscriptions.keys();
        self.welcome = WelcomeState::Restoring {
            sid,
            unanswered: keys.len(),
        };
        for key in &keys {
            if let Some(conversation) = self
                .subscriptions
                .get(*key)
                .and_then(|known| known.conversation.clone())
            {
                self.open(*key, conversation);
            }
        }
        self.welcome_back(sink);
    }

    /// Handles the check of a continued subscription. Returns false if it is not one.
    pub(super) fn on_restore_answer(
        &mut self,
        key: SubscriptionKey,
        opened: Option<LastEvent>,
        sink: &mut impl FrameSink,
    ) -> bool {
        let WelcomeState::Restoring { unanswered, .. } = &mut self.welcome else {
            return false;
        };
        *unanswered = unanswered.saturating_sub(1);
        match (opened, self.subscriptions.get_mut(key)) {
            (Some(last), Some(subscription)) => {
                subscription.stream.on_opened(last);
            }
            _ => self.remove(key),
        }
        self.welcome_back(sink);
        true
    }

    /// Welcomes the client once every membership was checked.
    fn welcome_back(&mut self, sink: &mut impl FrameSink) {
        let WelcomeState::Restoring { sid, unanswered: 0 } = &mut self.welcome else {
            return;
        };
        let sid = std::mem::take(sid);
        self.welcome = WelcomeState::Welcomed;
        let keys = self.subscriptions.keys();
        let identifiers = keys.iter().filter_map(|key| self.subscriptions.get(*key));
        let identifiers = identifiers.map(|subscription| &*subscription.quoted);
        sink.frame(|out| server_frame::welcome_back(out, &sid, identifiers));
    }
}
