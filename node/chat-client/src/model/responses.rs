//! Responses of the server: each changes the state and produces actions.

use std::time::Duration;

use protocol::command::{Authenticate, ListConversations, ResumeSession, ResumeTarget};
use protocol::response::{
    Ack, ConversationList, ErrorResponse as Refused, HistoryResponse as Page, ReadyResponse, SyncResponse,
};
use protocol::{ClientCommand, ConversationKind, ErrorCode, Response};

use super::{ChatModel, ClientAction, LineTarget, cid_of};
use crate::words;

// === impl ChatModel: responses ===

impl ChatModel {
    pub(super) fn answered(&mut self, id: Option<i64>, answer: Response) -> Vec<ClientAction> {
        match answer {
            Response::Hello(hello) => {
                self.node.1 = hello.server;
                // Never zero, which would end every connection at once.
                self.heartbeat = Duration::from_millis(hello.heartbeat_interval_ms.max(1_000));
                let token = self.token.clone();
                let session_seq = self.n;
                let resume = self.session.clone().map(|session_id| {
                    ResumeTarget::Session(ResumeSession {
                        session_id,
                        session_seq,
                    })
                });
                vec![self.ask(ClientCommand::Auth(Authenticate {
                    token,
                    device: None,
                    instance: None,
                    resume,
                }))]
            }
            Response::Ready(ready) => self.established(ready),
            Response::Ack(ack) => self.acked(&ack),
            Response::Conv(conv) => {
                self.unanswered.retain(|(pending, _)| Some(*pending) != id);
                let open = LineTarget::Conv(conv.conversation.clone());
                let mut acts = vec![ClientAction::Print(format!("-- {}", words::title(&conv)))];
                if self.open.as_ref() != Some(&open) && conv.kind != ConversationKind::Direct {
                    self.open = Some(open);
                }
                acts.extend(self.conv(conv));
                acts
            }
            Response::Inbox(inbox) => self.inbox(inbox),
            Response::Hist(Page { events, .. }) => events
                .iter()
                .filter_map(|raw| raw.event())
                .filter_map(|event| self.show(&event))
                .collect(),
            Response::Delta(SyncResponse { items, next, .. }) => {
                let events = items
                    .iter()
                    .flat_map(|item| item.events.iter())
                    .filter_map(|raw| raw.event());
                let mut acts: Vec<_> = events
                    .collect::<Vec<_>>()
                    .into_iter()
                    .flat_map(|e| self.event(e))
                    .collect();
                self.syncing = self.syncing.filter(|last| Some(*last) != id);
                if let Some(cursor) = next {
                    acts.push(self.sync_from(Some(cursor)));
                }
                acts
            }
            Response::Err(refused) => self.refused(id, &refused),
            // Answers to commands that this client never sends, or that need no action.
            Response::Members(_)
            | Response::Me(_)
            | Response::Users(_)
            | Response::Ok(_)
            | Response::Hb(_) => Vec::new(),
        }
    }

    /// Continues the session, or catches up in a new one.
    fn established(&mut self, ready: ReadyResponse) -> Vec<ClientAction> {
        self.ready = true;
        self.session = Some(ready.session_id);
        (self.n, self.confirmed) = (ready.session_seq, ready.session_seq);
        let (address, name) = &self.node;
        let end = match (self.greeted, ready.resumed) {
            (false, _) => "; /help lists the commands",
            (true, true) => ", session resumed",
            (true, false) => ", new session",
        };
        let line = format!("-- connected as {} to {name} at {address}{end}", ready.user);
        let mut acts = vec![ClientAction::Print(line)];
        // The list is shown once. After a reconnect, the events are enough.
        if !std::mem::replace(&mut self.greeted, true) {
            acts.push(self.ask(ClientCommand::List(ListConversations {
                cursor: None,
                limit: None,
                data_kind: None,
            })));
        }
        // A resumed session repeats the events that this client has not received. The response to an earlier `sync` is
        // lost with its connection.
        if !ready.resumed || self.syncing.is_some() {
            acts.push(self.sync());
        }
        // Resent under their old `cid`: a change that was applied before the disconnect is not applied again.
        acts.extend(self.pending());
        acts
    }

    fn acked(&mut self, ack: &Ack) -> Vec<ClientAction> {
        let known = self
            .unanswered
            .iter()
            .position(|(_, command)| cid_of(command) == Some(&ack.client_message_id));
        let sent = known.map(|at| self.unanswered.remove(at).1);
        if let (Some(ClientCommand::Send(_)), Some(s)) = (&sent, ack.seq) {
            // The server sends no event for the client's own message (`echo: false`); the ack carries its position.
            let known = self.convs.entry(ack.conversation.clone()).or_default();
            // A jump leaves the position as it is, so that the next event starts a sync.
            if s == known.s + 1 {
                known.s = s;
            }
        }
        let Some(s) = ack.seq else { return Vec::new() };
        vec![ClientAction::Print(format!(
            "   sent #{s}{}",
            if ack.duplicate {
                " (already sent before)"
            } else {
                ""
            }
        ))]
    }

    fn refused(&mut self, id: Option<i64>, refused: &Refused) -> Vec<ClientAction> {
        let pending = self
            .unanswered
            .iter()
            .position(|(pending, _)| Some(*pending) == id);
        match (pending, refused.temporary, refused.retry_ms) {
            // All pending changes are resent after the pause, which keeps the order of messages.
            (Some(_), true, retry) => {
                vec![ClientAction::Retry(Duration::from_millis(retry.unwrap_or(1_000)))]
            }
            (Some(at), false, _) => {
                self.unanswered.remove(at);
                vec![ClientAction::Print(format!("! refused: {}", refused.message))]
            }
            // The close frame that follows decides about reconnecting.
            (None, _, _) if refused.code == ErrorCode::Unauthenticated => {
                vec![ClientAction::Print(format!("! {}", refused.message))]
            }
            (None, _, _) => vec![ClientAction::Print(format!(
                "! {}: {}",
                refused.code, refused.message
            ))],
        }
    }

    fn inbox(&mut self, inbox: ConversationList) -> Vec<ClientAction> {
        if inbox.items.is_empty() {
            return vec![ClientAction::Print(
                "-- no conversations yet: /open bob".to_owned(),
            )];
        }
        let mut acts = Vec::new();
        for item in inbox.items {
            let name = item
                .peer
                .as_ref()
                .map(|peer| peer.user.to_string())
                .or_else(|| item.title.clone());
            let last = item
                .last
                .and_then(|raw| raw.event())
                .and_then(|event| words::event(&event, &self.user));
            acts.push(ClientAction::Print(words::row(
                &item.conversation,
                name.as_deref(),
                item.unread,
                last.as_deref(),
            )));
            self.convs.entry(item.conversation).or_default().name = name;
        }
        acts
    }
}
