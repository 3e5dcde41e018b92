//! Responses of the server: each changes the state and produces actions.

use std::time::Duration;

use protocol::command::{Authenticate, ListConversations};
use protocol::response::{
    Ack, ConversationList, ErrorResponse as Refused, HistoryResponse as Page, SyncResponse,
};
use protocol::{ClientCommand, ConversationKind, ErrorCode, Response};

use super::{ChatModel, ClientAction, LineTarget, cid_of};
use crate::words;

// === impl ChatModel: responses ===

impl ChatModel {
    pub(super) fn answered(&mut self, id: Option<i64>, answer: Response) -> Vec<ClientAction> {
        match answer {
            Response::Hello(_) => {
                let token = self.token.clone();
                vec![self.ask(ClientCommand::Auth(Authenticate {
                    token,
                    device: None,
                    instance: None,
                    resume: None,
                }))]
            }
            Response::Ready(ready) => {
                self.ready = true;
                let mut acts = vec![ClientAction::Print(format!(
                    "-- connected as {}; /help lists the commands",
                    ready.user
                ))];
                // The list is shown once. After a reconnect, the sync below is enough.
                if !std::mem::replace(&mut self.greeted, true) {
                    acts.push(self.ask(ClientCommand::List(ListConversations {
                        cursor: None,
                        limit: None,
                        data_kind: None,
                    })));
                }
                // Resent under their old `cid`: a change that was applied before the disconnect is not applied again.
                acts.push(self.sync());
                acts.extend(self.pending());
                acts
            }
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
