//! State and decisions of the client, without I/O: input lines and frames produce [`ClientAction`]s.

mod responses;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use protocol::command::{Heartbeat, MoveCursor, SyncRequest};
use protocol::event::{Event, MessageEvent};
use protocol::response::ConversationSnapshot;
use protocol::{ClientCommand, ClientMessageId, ConversationId, Request, ServerFrame, UserId};

use crate::words;

/// Interval of heartbeats until the node has named its own.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Action for the I/O loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientAction {
    Send(String),
    Print(String),
    /// Resend the pending changes after this time.
    Retry(Duration),
    Quit,
}

/// State of the client; survives reconnects.
pub(crate) struct ChatModel {
    pub(crate) user: UserId,
    token: String,
    /// Host and port of the node, and its name from `hello`.
    node: (String, String),
    /// Interval at which the node expects a sign of the client. It sends pings a little more often.
    heartbeat: Duration,
    ready: bool,
    greeted: bool,
    /// Session to resume on the next connection.
    session: Option<String>,
    /// Id of the last `sync` while it is unanswered: a resumed session repeats events and no responses.
    syncing: Option<i64>,
    /// Session number of the last event, then the last confirmed one.
    n: u64,
    confirmed: u64,
    ids: i64,
    /// Unacknowledged changes in the order in which they were made.
    unanswered: Vec<(i64, ClientCommand)>,
    pub(crate) open: Option<LineTarget>,
    pub(crate) convs: HashMap<ConversationId, KnownConversation>,
}

/// Target of typed lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LineTarget {
    Conv(ConversationId),
    User(UserId),
}

/// Local state of a conversation.
#[derive(Default)]
pub(crate) struct KnownConversation {
    /// Position of the last event applied.
    pub(crate) s: u64,
    pub(crate) name: Option<String>,
}

// === impl ChatModel ===

impl ChatModel {
    pub(crate) fn new(user: UserId, token: String) -> ChatModel {
        ChatModel {
            user,
            token,
            node: (String::new(), String::new()),
            heartbeat: HEARTBEAT,
            ready: false,
            greeted: false,
            session: None,
            syncing: None,
            n: 0,
            confirmed: 0,
            ids: 0,
            unanswered: Vec::new(),
            open: None,
            convs: HashMap::new(),
        }
    }

    /// Begins a new connection to a node. The session is resumed by the `auth` that answers its `hello`.
    pub(crate) fn connected(&mut self, node: &str) {
        (self.ready, self.heartbeat) = (false, HEARTBEAT);
        node.clone_into(&mut self.node.0);
    }

    /// Returns the time without a frame after which the connection counts as lost: two of the node's pings are missing.
    pub(crate) fn receive_timeout(&self) -> Duration {
        self.heartbeat * 2
    }

    /// Makes the next connection begin a new session.
    pub(crate) fn forget_session(&mut self) {
        self.session = None;
    }

    /// Returns all unacknowledged changes for resending, in order.
    pub(crate) fn pending(&self) -> Vec<ClientAction> {
        let again = |(id, command): &(i64, ClientCommand)| {
            ClientAction::Send(
                Request {
                    id: Some(*id),
                    command: command.clone(),
                }
                .encode(),
            )
        };
        if self.ready {
            self.unanswered.iter().map(again).collect()
        } else {
            Vec::new()
        }
    }

    /// Confirms the received events, unless that is done already.
    pub(crate) fn confirm(&mut self) -> Vec<ClientAction> {
        if !self.ready || self.confirmed == self.n {
            return Vec::new();
        }
        self.confirmed = self.n;
        vec![self.ask(ClientCommand::Hb(Heartbeat {
            session_seq: Some(self.n),
        }))]
    }

    /// Processes a frame of the server.
    pub(crate) fn frame(&mut self, text: &str) -> Vec<ClientAction> {
        match ServerFrame::decode(text) {
            Ok(ServerFrame::Response { id, response }) => self.answered(id, response),
            Ok(ServerFrame::Event {
                session_seq: n,
                event,
            }) => {
                // A hole in the session numbers: events were dropped, and the sync below fetches them.
                let gap = n != self.n + 1;
                self.n = n;
                let mut acts = self.event(event);
                if gap {
                    acts.push(self.sync());
                }
                acts
            }
            Ok(ServerFrame::Unknown { session_seq: n }) => {
                // An event of an unknown type still has a number to confirm.
                self.n = n.unwrap_or(self.n);
                Vec::new()
            }
            Err(why) => vec![ClientAction::Print(format!(
                "! a frame that cannot be read: {why}"
            ))],
        }
    }

    fn conv(&mut self, conv: ConversationSnapshot) -> Vec<ClientAction> {
        let name = conv
            .peer
            .as_ref()
            .map(|peer| peer.user.to_string())
            .or_else(|| conv.title.clone());
        let last = conv.last.seq;
        self.convs.entry(conv.conversation.clone()).or_default().name = name;
        let events: Vec<_> = conv
            .events
            .unwrap_or_default()
            .iter()
            .filter_map(|raw| raw.event())
            .collect();
        if let Some(first) = events.first().and_then(target) {
            // Earlier events are not visible to this user, or available by /hist.
            let known = self.convs.entry(conv.conversation.clone()).or_default();
            known.s = known.s.max(first.1 - 1);
        }
        let acts = events.into_iter().flat_map(|event| self.event(event)).collect();
        let known = self.convs.entry(conv.conversation).or_default();
        known.s = known.s.max(last);
        acts
    }

    fn event(&mut self, event: Event) -> Vec<ClientAction> {
        if let Event::Conv(conv) = event {
            return self.conv(conv);
        }
        if let Event::Resync(_) = event {
            return vec![self.sync()];
        }
        if let Event::Activity(activity) = event {
            let known = self.convs.entry(activity.conversation).or_default();
            return if known.s < activity.last.seq {
                vec![self.sync()]
            } else {
                Vec::new()
            };
        }
        if let Some((conv, s)) = target(&event) {
            let known = self.convs.entry(conv.clone()).or_default();
            if s <= known.s {
                return Vec::new();
            }
            // Without a known position there is nothing to catch up to: the first event sets it.
            if s > known.s + 1 && known.s > 0 {
                // Events are missing. The sync returns them together with this one.
                return vec![self.sync()];
            }
            known.s = s;
        }
        let mut acts: Vec<_> = self.show(&event).into_iter().collect();
        if let Event::Msg(MessageEvent {
            conversation: c,
            seq: s,
            user: u,
            ..
        }) = &event
            && *u != self.user
            && self.current().as_ref() == Some(c)
        {
            acts.push(self.ask(ClientCommand::Read(MoveCursor {
                conversation: c.clone(),
                seq: *s,
            })));
        }
        acts
    }

    fn show(&self, event: &Event) -> Option<ClientAction> {
        let name = target(event).and_then(|(conv, _)| self.convs.get(conv)?.name.clone());
        let text = words::event(event, &self.user)?;
        Some(ClientAction::Print(match name {
            Some(name) => format!("[{name}] {text}"),
            None => text,
        }))
    }

    pub(crate) fn current(&self) -> Option<ConversationId> {
        match self.open.as_ref()? {
            LineTarget::Conv(conv) => Some(conv.clone()),
            LineTarget::User(user) => Some(ConversationId::direct(&self.user, user)),
        }
    }

    fn sync(&mut self) -> ClientAction {
        self.sync_from(None)
    }

    /// Requests the events after the cursor. `have` is sorted by id and limited in length, as the pages of the server
    /// are.
    fn sync_from(&mut self, cursor: Option<String>) -> ClientAction {
        let mut have: Vec<_> = self
            .convs
            .iter()
            .map(|(conv, known)| (conv.clone(), known.s))
            .collect();
        have.retain(|(conv, _)| {
            cursor
                .as_ref()
                .is_none_or(|cursor| conv.as_str() > cursor.as_str())
        });
        have.sort();
        have.truncate(protocol::limits::SYNC_HAVE);
        let sync = self.ask(ClientCommand::Sync(SyncRequest { have, cursor }));
        self.syncing = Some(self.ids);
        sync
    }

    /// Records a change as unacknowledged, and sends it if the session is ready.
    pub(crate) fn change(&mut self, command: ClientCommand) -> Vec<ClientAction> {
        self.ids += 1;
        self.unanswered.push((self.ids, command.clone()));
        if self.ready {
            vec![ClientAction::Send(
                Request {
                    id: Some(self.ids),
                    command,
                }
                .encode(),
            )]
        } else {
            vec![ClientAction::Print("   pending".to_owned())]
        }
    }

    /// Sends a query. It is not stored, so a lost connection drops it.
    pub(crate) fn ask(&mut self, command: ClientCommand) -> ClientAction {
        self.ids += 1;
        ClientAction::Send(
            Request {
                id: Some(self.ids),
                command,
            }
            .encode(),
        )
    }
}

fn cid_of(command: &ClientCommand) -> Option<&ClientMessageId> {
    match command {
        ClientCommand::Send(send) => Some(&send.client_message_id),
        ClientCommand::Create(create) => Some(&create.client_message_id),
        ClientCommand::Invite(act) | ClientCommand::Kick(act) => Some(&act.client_message_id),
        ClientCommand::Leave(leave) => Some(&leave.client_message_id),
        ClientCommand::Edit(edit) => Some(&edit.client_message_id),
        ClientCommand::Del(del) => Some(&del.client_message_id),
        ClientCommand::React(react) => Some(&react.client_message_id),
        ClientCommand::Ban(act) | ClientCommand::Unban(act) => Some(&act.client_message_id),
        ClientCommand::Role(set) => Some(&set.client_message_id),
        ClientCommand::Join(join) => Some(&join.client_message_id),
        ClientCommand::Set(set) => Some(&set.client_message_id),
        // Without a wildcard: a command whose `cid` is missing here would be sent again after its `ack`.
        ClientCommand::Auth(_)
        | ClientCommand::Read(_)
        | ClientCommand::Recv(_)
        | ClientCommand::Open(_)
        | ClientCommand::List(_)
        | ClientCommand::Hist(_)
        | ClientCommand::Sync(_)
        | ClientCommand::Members(_)
        | ClientCommand::Typing(_)
        | ClientCommand::Watch(_)
        | ClientCommand::Unwatch(_)
        | ClientCommand::Block(_)
        | ClientCommand::Unblock(_)
        | ClientCommand::Me(_)
        | ClientCommand::Users(_)
        | ClientCommand::Hb(_) => None,
    }
}

/// Returns the conversation and log position of a durable event.
fn target(event: &Event) -> Option<(&ConversationId, u64)> {
    event.position().map(|(conv, s, _)| (conv, s))
}
