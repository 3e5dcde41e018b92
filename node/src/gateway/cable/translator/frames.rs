//! Frames of the client.

use std::borrow::Cow;

use protocol::command::SetTyping;
use protocol::{ClientCommand, DecodeError, Request};

use super::{CableTranslator, FrameSink, ReceivedCommand, RequestPurpose, server_frame};
use crate::gateway::cable::channel_stream::ChannelStream;
use crate::gateway::cable::client_frame::CableFrame;
use crate::gateway::cable::identifier::{Channel, ChannelIdentifier};
use crate::gateway::cable::stream_history::StreamHistory;
use crate::gateway::native_command::{CommandFields, quoted, refused};

/// Weight of a frame for the limits of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway::cable) enum FrameWeight {
    /// The frame made a request, which the session charges.
    Request,
    /// The session does not receive the frame.
    Ignored,
}

// === impl CableTranslator: frames ===

impl CableTranslator {
    /// Handles a frame of `bytes` bytes.
    pub(in crate::gateway::cable) fn on_frame(
        &mut self,
        frame: CableFrame<'_>,
        bytes: usize,
        sink: &mut impl FrameSink,
    ) -> FrameWeight {
        let before = self.outgoing.len();
        match frame {
            CableFrame::Subscribe { identifier, history } => {
                self.subscribe(&identifier, history.filter(|_| self.is_extended), sink);
            }
            CableFrame::Unsubscribe { identifier } => {
                if let Some(key) = self.subscriptions.find(&identifier) {
                    self.remove(key);
                }
            }
            CableFrame::Message { identifier, data } => self.perform(&identifier, &data, bytes),
            CableFrame::History { identifier, request } if self.is_extended => {
                self.read_history(&identifier, &request, sink);
            }
            CableFrame::Whisper { identifier, data } if self.is_extended => {
                self.whisper(&identifier, data, bytes)
            }
            CableFrame::Presence { identifier } if self.is_extended => {
                self.read_presence(&identifier, sink);
            }
            CableFrame::History { .. }
            | CableFrame::Whisper { .. }
            | CableFrame::Presence { .. }
            | CableFrame::Ignored => {}
        }
        if self.outgoing.len() > before {
            FrameWeight::Request
        } else {
            FrameWeight::Ignored
        }
    }

    fn subscribe(&mut self, text: &str, history: Option<StreamHistory>, sink: &mut impl FrameSink) {
        // Clients repeat the command until the confirmation, which must come once.
        if self.subscriptions.find(text).is_some() {
            return;
        }
        let reject = |sink: &mut _| reject(sink, text);
        let Ok(identifier) = ChannelIdentifier::parse(text) else {
            return reject(sink);
        };
        let conversation = identifier.conversation(&self.user);
        let start = conversation
            .as_ref()
            .zip(history.as_ref())
            .map(|(conversation, history)| history.start(conversation.as_str()));
        let stream = ChannelStream::opening(start);
        let Some(key) = self.subscriptions.add(&identifier, &self.user, stream) else {
            return reject(sink);
        };
        match conversation {
            Some(conversation) => self.open(key, conversation),
            // The session itself decides on each event.
            None => {
                let identifier = identifier.quoted();
                sink.frame(|out| server_frame::confirm_subscription(out, &identifier));
                if let Some(history) = history {
                    inbox_history(sink, &identifier, &history);
                }
            }
        }
    }

    fn read_history(&mut self, text: &str, request: &StreamHistory, sink: &mut impl FrameSink) {
        let Some(key) = self.subscriptions.find(text) else {
            return;
        };
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        match &subscription.conversation {
            Some(conversation) => {
                let start = request.start(conversation.as_str());
                let effects = subscription.stream.on_history(start);
                self.apply(key, effects, None, sink);
            }
            None => inbox_history(sink, &subscription.quoted, request),
        }
    }

    /// Translates an action. It needs no subscription: the session knows the memberships.
    fn perform(&mut self, text: &str, data: &str, bytes: usize) {
        let Ok(identifier) = ChannelIdentifier::parse(text) else {
            return;
        };
        let (id, action) = match CommandFields::parse(data) {
            Ok(mut fields) => match take_id(&mut fields) {
                Ok(id) => (id, self.action(&identifier, fields)),
                Err(msg) => (None, Err(msg)),
            },
            Err(msg) => (None, Err(msg)),
        };
        let is_answered = !matches!(&action, Ok((tag, _)) if tag == "typing");
        let number = if is_answered {
            let identifier = identifier.quoted().into();
            self.requests.add(RequestPurpose::Action { identifier, id })
        } else {
            self.requests.next_id()
        };
        let request = match action {
            Ok((tag, fields)) => fields.request(&tag, number),
            Err(msg) => Err(refused(number, msg)),
        };
        if let (false, Err(_)) = (is_answered, &request) {
            // A malformed notice is refused like any other command.
            let identifier = identifier.quoted().into();
            return self.refuse(RequestPurpose::Action { identifier, id }, request, bytes);
        }
        self.outgoing.push(ReceivedCommand { request, bytes });
    }

    fn refuse(&mut self, purpose: RequestPurpose, request: Result<Request, DecodeError>, bytes: usize) {
        let number = self.requests.add(purpose);
        let request = request.map_err(|error| DecodeError {
            id: Some(number),
            ..error
        });
        self.outgoing.push(ReceivedCommand { request, bytes });
    }

    /// Returns the native tag and the fields of an action.
    fn action<'a>(
        &self,
        identifier: &ChannelIdentifier,
        mut fields: CommandFields<'a>,
    ) -> Result<(String, CommandFields<'a>), String> {
        let action = match fields.take("action") {
            None => "receive".to_owned(),
            Some(json) => serde_json::from_str(&json).map_err(|_| "action must be a string".to_owned())?,
        };
        let tag = match &*action {
            // Names of Rails: a message whose content is the data itself.
            "speak" | "receive" => {
                if !fields.has("b") {
                    let cid = fields.take("cid");
                    let body = Cow::Owned(fields.object());
                    fields = CommandFields::default();
                    fields.set("b", body);
                    if let Some(cid) = cid {
                        fields.set("cid", cid);
                    }
                }
                "send".to_owned()
            }
            _ => action,
        };
        match identifier.channel() {
            Channel::Conversation(conversation) => fields.set_string("c", conversation.as_str()),
            // The first message makes the conversation.
            Channel::Direct(peer) if tag == "send" => {
                fields.take("c");
                fields.set_string("to", peer.as_str());
            }
            Channel::Direct(_) => {
                if let Some(conversation) = identifier.conversation(&self.user) {
                    fields.set_string("c", conversation.as_str());
                }
            }
            Channel::Inbox => {}
        }
        Ok((tag, fields))
    }

    /// Translates a whisper: `{"event":"typing"}` or `{"typing":true}`. Others are dropped.
    fn whisper(&mut self, text: &str, data: &str, bytes: usize) {
        let subscription = self
            .subscriptions
            .find(text)
            .and_then(|key| self.subscriptions.get(key));
        let Some(conversation) = subscription.and_then(|subscription| subscription.conversation.clone())
        else {
            return;
        };
        let Ok(mut fields) = CommandFields::parse(data) else {
            return;
        };
        let event = fields.take_string("event");
        let typing = fields
            .take("typing")
            .and_then(|json| serde_json::from_str(&json).ok());
        let on = match (event.as_deref(), typing) {
            (_, Some(on)) => on,
            (Some("typing"), None) => true,
            _ => return,
        };
        let command = ClientCommand::Typing(SetTyping {
            conversation,
            active: on,
        });
        let request = Ok(Request {
            id: Some(self.requests.next_id()),
            command,
        });
        self.outgoing.push(ReceivedCommand { request, bytes });
    }
}

fn reject(sink: &mut impl FrameSink, text: &str) {
    let identifier = quoted(text);
    sink.frame(|out| server_frame::reject_subscription(out, &identifier));
}

/// Answers a request for the history of all conversations, which has no single position.
fn inbox_history(sink: &mut impl FrameSink, identifier: &str, request: &StreamHistory) {
    if request.has_positions() {
        sink.frame(|out| server_frame::reject_history(out, identifier));
    } else {
        sink.frame(|out| server_frame::confirm_history(out, identifier));
    }
}

/// Removes the client's number of an action.
fn take_id(fields: &mut CommandFields<'_>) -> Result<Option<i64>, String> {
    let Some(json) = fields.take("id") else {
        return Ok(None);
    };
    let id = serde_json::from_str(&json);
    id.map(Some).map_err(|_| "id must be a 64-bit integer".to_owned())
}
