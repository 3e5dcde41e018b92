//! Users of a recording, and the messages that they sent.

use std::collections::HashMap;

use super::error::LineError;
use crate::oracle::AcknowledgedSeqs;
use crate::payload::{ClientIx, MessageTag, SentMessages};

/// Message that was sent.
#[derive(Debug)]
struct SentMessage {
    tag: MessageTag,
    conversation: String,
    body: String,
    /// Positions acknowledged before it was sent; `None` once it was answered.
    since: Option<AcknowledgedSeqs>,
}

/// Clients in the order of their first line, and everything that they sent.
#[derive(Debug, Default)]
pub(super) struct RecordedMessages {
    clients: HashMap<String, ClientIx>,
    by_cid: HashMap<String, SentMessage>,
}

// === impl RecordedMessages ===

impl RecordedMessages {
    /// Returns the client of a user, and adds it if it is new.
    pub(super) fn add_client(&mut self, user: &str) -> ClientIx {
        let next = self.clients.len() as ClientIx;
        *self.clients.entry(user.to_owned()).or_insert(next)
    }

    /// Returns `true` if the client message id was used before.
    pub(super) fn has(&self, cid: &str) -> bool {
        self.by_cid.contains_key(cid)
    }

    /// Adds a message that is about to be sent.
    pub(super) fn add(
        &mut self,
        cid: &str,
        tag: MessageTag,
        conversation: &str,
        body: &str,
        since: AcknowledgedSeqs,
    ) {
        let message = SentMessage {
            tag,
            conversation: conversation.to_owned(),
            body: body.to_owned(),
            since: Some(since),
        };
        self.by_cid.insert(cid.to_owned(), message);
    }

    /// Marks a message of the client as answered. Returns it with the positions acknowledged before it was sent.
    pub(super) fn answer(
        &mut self,
        client: ClientIx,
        conversation: &str,
        cid: &str,
    ) -> Result<(MessageTag, AcknowledgedSeqs), LineError> {
        let sent = self.by_cid.get_mut(cid);
        let own = sent.filter(|sent| sent.tag.sender == client && sent.conversation == conversation);
        own.and_then(|sent| Some((sent.tag, sent.since.take()?)))
            .ok_or_else(|| LineError::NotPending(cid.to_owned()))
    }

    /// Returns the messages that were not answered: conversation, client message id and message.
    pub(super) fn pending(&self) -> impl Iterator<Item = (&str, &str, MessageTag)> {
        self.by_cid
            .iter()
            .filter(|(_, sent)| sent.since.is_some())
            .map(|(cid, sent)| (sent.conversation.as_str(), cid.as_str(), sent.tag))
    }
}

impl SentMessages for RecordedMessages {
    fn client(&self, user: &str) -> Option<ClientIx> {
        self.clients.get(user).copied()
    }

    fn message(&self, cid: &str) -> Option<MessageTag> {
        self.by_cid.get(cid).map(|sent| sent.tag)
    }

    fn verify(&self, conversation: &str, cid: &str, body: &str) -> Option<u64> {
        let sent = self.by_cid.get(cid)?;
        // The recording has no due times. The oracle samples them for retention only.
        (sent.conversation == conversation && sent.body == body).then_some(0)
    }
}
