//! Presence of members, for clients of the extended protocol that ask for it.

use protocol::command::{ListMembers, WatchUsers};
use protocol::event::{MemberEvent, PresenceEvent, PresenceState};
use protocol::{ClientCommand, Event, UserId};

use super::{CableTranslator, FrameSink, RequestPurpose};
use crate::gateway::cable::presence_frame;
use crate::gateway::cable::presence_table::{MemberState, PresenceEffect};
use crate::gateway::cable::subscription_table::SubscriptionKey;
use crate::gateway::native_command::quoted;

// === impl CableTranslator: presence ===

impl CableTranslator {
    /// Handles a request for the members of a subscription's conversation that are online.
    pub(super) fn read_presence(&mut self, text: &str, sink: &mut impl FrameSink) {
        let key = self.subscriptions.find(text).filter(|key| {
            let subscription = self.subscriptions.get(*key);
            subscription.is_some_and(|known| known.conversation.is_some() && known.stream.is_confirmed())
        });
        match key {
            Some(key) => {
                let effect = self.presence.on_request(key);
                self.apply_presence(key, effect, sink);
                // The session that continues this one does not know which joins the client has.
                self.is_state_changed = true;
            }
            None => sink.frame(|out| presence_frame::presence_error(out, &quoted(text))),
        }
    }

    pub(super) fn on_members_answer(
        &mut self,
        key: SubscriptionKey,
        tag: &str,
        body: &[u8],
        sink: &mut impl FrameSink,
    ) {
        let page = (tag == "members").then(|| serde_json::from_slice(body).ok());
        let effect = self.presence.on_members(key, page.flatten());
        self.apply_presence(key, effect, sink);
    }

    pub(super) fn on_watch_answer(&mut self, key: SubscriptionKey, tag: &str, sink: &mut impl FrameSink) {
        let effect = self.presence.on_watched(key, tag == "ok");
        self.apply_presence(key, effect, sink);
    }

    /// Handles a ping of the connection: requests that wait for a state are answered without it.
    pub(in crate::gateway::cable) fn on_ping(&mut self, sink: &mut impl FrameSink) {
        for (key, effect) in self.presence.on_ping() {
            self.apply_presence(key, [effect], sink);
        }
    }

    /// Returns true if a request waits for the next ping.
    pub(in crate::gateway::cable) fn awaits_ping(&self) -> bool {
        self.presence.is_waiting()
    }

    pub(super) fn on_presence_event(&mut self, event: Option<Event>, sink: &mut impl FrameSink) {
        let Some(Event::Presence(PresenceEvent {
            user,
            state,
            last_seen_ms,
        })) = event
        else {
            return;
        };
        let state = MemberState {
            is_online: state == PresenceState::Online,
            seen_ms: last_seen_ms,
        };
        for (key, effect) in self.presence.on_presence(&user, state) {
            self.apply_presence(key, [effect], sink);
        }
    }

    /// Handles a change of the membership behind its event.
    pub(super) fn on_member_event(
        &mut self,
        keys: &[SubscriptionKey],
        member: &MemberEvent,
        sink: &mut impl FrameSink,
    ) {
        for key in keys {
            let effects = self
                .presence
                .on_member(*key, &member.member, member.role.is_some());
            self.apply_presence(*key, effects, sink);
        }
    }

    pub(super) fn apply_presence(
        &mut self,
        key: SubscriptionKey,
        effects: impl IntoIterator<Item = PresenceEffect>,
        sink: &mut impl FrameSink,
    ) {
        for effect in effects {
            match effect {
                PresenceEffect::ListMembers { cursor, limit } => self.list_members(key, cursor, limit),
                PresenceEffect::WatchRoom(users) => {
                    let command = ClientCommand::Watch(WatchUsers { users });
                    self.send(RequestPurpose::Watch(key), command);
                }
                PresenceEffect::Watch(user) => {
                    // Refused, the member is not shown: the client has too many watches.
                    self.send_unanswered(ClientCommand::Watch(WatchUsers { users: vec![user] }));
                }
                PresenceEffect::Unwatch(users) => self.unwatch(users),
                PresenceEffect::Info => {
                    if let Some(subscription) = self.subscriptions.get(key) {
                        let online = self.presence.online(key);
                        sink.frame(|out| presence_frame::presence_info(out, &subscription.quoted, &online));
                    }
                }
                PresenceEffect::Error => {
                    if let Some(subscription) = self.subscriptions.get(key) {
                        sink.frame(|out| presence_frame::presence_error(out, &subscription.quoted));
                    }
                }
                PresenceEffect::Join(user, state) => {
                    if let Some(subscription) = self.subscriptions.get(key) {
                        let identifier = &subscription.quoted;
                        sink.frame(|out| presence_frame::presence_join(out, identifier, &user, &state));
                    }
                }
                PresenceEffect::Leave(user) => {
                    if let Some(subscription) = self.subscriptions.get(key) {
                        sink.frame(|out| presence_frame::presence_leave(out, &subscription.quoted, &user));
                    }
                }
            }
        }
    }

    pub(super) fn unwatch(&mut self, users: Vec<UserId>) {
        self.send_unanswered(ClientCommand::Unwatch(WatchUsers { users }));
    }

    fn list_members(&mut self, key: SubscriptionKey, cursor: Option<String>, limit: u64) {
        let conversation = self.subscriptions.get(key);
        if let Some(conversation) = conversation.and_then(|known| known.conversation.clone()) {
            let command = ListMembers {
                conversation,
                cursor,
                limit: Some(limit),
            };
            self.send(RequestPurpose::Members(key), ClientCommand::Members(command));
        }
    }
}
