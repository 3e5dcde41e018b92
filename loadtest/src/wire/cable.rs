//! Extended protocol of ActionCable, as `@anycable/core` speaks it: each conversation is a channel.
//!
//! The client subscribes to a conversation before it opens it. The next connection names the session, and asks for the
//! history of each channel behind its last offset. So nothing is missing, whether the session is continued or not.

mod cable_frames;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use self::cable_frames::{CableFrame, MessageHead};
use super::client_wire::{
    ClientWire, CommandHead, EventNumbers, WireEnd, WireLogin, malformed, quoted, upgrade_to,
};

/// ActionCable client with one channel per conversation.
pub(super) struct CableWire {
    login: WireLogin,
    /// Session that the next connection continues.
    sid: Option<String>,
    channels: BTreeMap<String, CableChannel>,
    /// `true` once every channel has its history, from when on commands are sent.
    is_ready: bool,
    /// `true` if a channel has ended, or its history could not be read: the client has to synchronise.
    has_gap: bool,
    /// `true` once any connection was ready.
    was_ready: bool,
}

/// Subscription to one conversation.
struct CableChannel {
    phase: ChannelPhase,
    /// Position behind which events are missing after an interruption; `None` before the first one.
    offset: Option<u64>,
    /// Offset of the last event.
    last_event: u64,
    /// Commands until the subscription is confirmed: events behind the response to `open` must be live.
    commands: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ChannelPhase {
    /// The node has not confirmed the subscription, for this number of its pings.
    Subscribing(u32),
    /// The history behind the offset is being sent.
    Reading,
    Live,
}

const SUBPROTOCOL: &str = "actioncable-v1-ext-json";
/// Identifier of the commands without a conversation.
const INBOX: &str = r#"{"channel":"InboxChannel"}"#;
/// Number of pings after which a subscription is requested again: 6 s.
const PATIENCE: u32 = 2;

// === impl CableWire ===

impl CableWire {
    pub(super) fn new(login: WireLogin) -> CableWire {
        CableWire {
            login,
            sid: None,
            channels: BTreeMap::new(),
            is_ready: false,
            has_gap: false,
            was_ready: false,
        }
    }

    fn welcomed(&mut self, frame: &CableFrame<'_>, out: &mut Vec<Message>) {
        self.sid.clone_from(&frame.sid);
        for (c, channel) in &mut self.channels {
            let identifier = identifier(c);
            if frame.restored_ids.contains(&identifier) {
                channel.phase = ChannelPhase::Reading;
                out.push(request("history", c, channel.offset));
            } else {
                channel.phase = ChannelPhase::Subscribing(0);
                out.push(request("subscribe", c, channel.offset));
            }
        }
    }

    /// Handles a frame about a subscription.
    fn on_status(
        &mut self,
        kind: &str,
        c: &str,
        out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd> {
        let Some(channel) = self.channels.get_mut(c) else {
            return Err(WireEnd::Malformed(format!(
                "{kind} of {c}, which is no subscription"
            )));
        };
        let subscribing = matches!(channel.phase, ChannelPhase::Subscribing(_));
        match kind {
            "confirm_subscription" if subscribing => {
                channel.phase = match channel.offset {
                    Some(_) => ChannelPhase::Reading,
                    None => ChannelPhase::Live,
                };
                let commands = std::mem::take(&mut channel.commands);
                out.extend(commands.iter().map(|command| perform(command)));
            }
            "confirm_history" if channel.phase == ChannelPhase::Reading => channel.phase = ChannelPhase::Live,
            "reject_history" if channel.phase == ChannelPhase::Reading => {
                channel.phase = ChannelPhase::Live;
                self.lacks_events(frames);
            }
            // Also the end of a confirmed one, behind the removal of the member.
            "reject_subscription" => {
                // The refusals of the commands are what the client is judged by.
                out.extend(channel.commands.iter().map(|command| perform(command)));
                self.channels.remove(c);
                self.has_gap |= !self.is_ready;
            }
            _ => {
                let phase = channel.phase;
                return Err(WireEnd::Malformed(format!("{kind} of {c} while {phase:?}")));
            }
        }
        self.begin_commands(frames);
        Ok(())
    }

    /// Makes the client synchronise, now or when it is ready.
    fn lacks_events(&mut self, frames: &mut dyn FnMut(&str)) {
        self.has_gap = true;
        if std::mem::take(&mut self.is_ready) {
            self.begin_commands(frames);
        }
    }

    /// Reports readiness once every channel is live.
    fn begin_commands(&mut self, frames: &mut dyn FnMut(&str)) {
        let live = |channel: &CableChannel| channel.phase == ChannelPhase::Live;
        if self.is_ready || !self.channels.values().all(live) {
            return;
        }
        let resumed = self.was_ready && !self.has_gap;
        (self.is_ready, self.was_ready, self.has_gap) = (true, true, false);
        frames(&json!({"t": "ready", "sid": self.sid, "resumed": resumed}).to_string());
    }

    /// Handles a message of a channel: an event, or the response to a command.
    fn on_message(
        &mut self,
        frame: &CableFrame<'_>,
        text: &str,
        out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd> {
        let Some(message) = frame.message else {
            return Err(malformed("neither a type nor a message", text));
        };
        let head: MessageHead<'_> =
            serde_json::from_str(message.get()).map_err(|error| malformed(error, text))?;
        let c = frame.conversation();
        if let Some(channel) = c.as_deref().and_then(|c| self.channels.get_mut(c)) {
            match (frame.offset, head.last_seq(), head.t) {
                (Some(offset), ..) => {
                    // History and live events are joined without an overlap: clients show each message they get.
                    if offset <= channel.last_event {
                        return Err(malformed(format!("behind offset {}", channel.last_event), text));
                    }
                    channel.last_event = offset;
                    channel.offset = Some(offset);
                }
                // The client begins at the end of the log, and lacks what is behind it from then on.
                (None, Some(last), "conv") => {
                    channel.offset.get_or_insert(last);
                }
                (None, _, "resync") => {
                    // The node could not read on; a channel that is being read is joined with its end anyway.
                    if channel.phase == ChannelPhase::Live {
                        channel.phase = ChannelPhase::Reading;
                        out.extend(c.as_deref().map(|c| request("history", c, channel.offset)));
                    }
                    return Ok(());
                }
                _ => {}
            }
        }
        frames(message.get());
        Ok(())
    }

    /// Requests subscriptions again that were not answered: while a shard has no owner, there is no answer.
    fn on_ping(&mut self, out: &mut Vec<Message>) {
        for (c, channel) in &mut self.channels {
            if let ChannelPhase::Subscribing(pings) = &mut channel.phase {
                *pings += 1;
                if *pings > PATIENCE {
                    *pings = 0;
                    out.push(request("subscribe", c, channel.offset));
                }
            }
        }
    }
}

impl ClientWire for CableWire {
    fn upgrade(&self, node: &str) -> Result<Request, String> {
        let WireLogin { device, instance, .. } = &self.login;
        let sid = self
            .sid
            .as_ref()
            .map_or_else(String::new, |sid| format!("&sid={sid}"));
        let path = format!("/cable?device={device}&instance={instance}{sid}");
        let mut request = upgrade_to(node, &path, Some(SUBPROTOCOL))?;
        let token = HeaderValue::try_from(format!("Bearer {}", self.login.token));
        let token = token.map_err(|error| error.to_string())?;
        request.headers_mut().insert("authorization", token);
        Ok(request)
    }

    fn begin(&mut self, _out: &mut Vec<Message>) {
        // The server speaks first, with `welcome`.
        self.is_ready = false;
        self.has_gap = false;
        for channel in self.channels.values_mut() {
            // The client state sends them again.
            channel.commands.clear();
            channel.phase = ChannelPhase::Subscribing(0);
        }
    }

    fn send(&mut self, command: String, out: &mut Vec<Message>) {
        let head = CommandHead::read(&command);
        // The upgrade authenticates, and the node pings.
        if matches!(head.t, "auth" | "hb") {
            return;
        }
        if let (Some(c), "open") = (head.c, head.t)
            && !self.channels.contains_key(c)
        {
            out.push(request("subscribe", c, None));
            let channel = CableChannel {
                phase: ChannelPhase::Subscribing(0),
                offset: None,
                last_event: 0,
                commands: Vec::new(),
            };
            self.channels.insert(c.to_owned(), channel);
        }
        let channel = head.c.and_then(|c| self.channels.get_mut(c));
        match channel.filter(|channel| matches!(channel.phase, ChannelPhase::Subscribing(_))) {
            Some(channel) => channel.commands.push(command),
            None => out.push(perform(&command)),
        }
    }

    fn receive(
        &mut self,
        message: &Message,
        out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd> {
        let Message::Text(text) = message else {
            return Err(WireEnd::Malformed("a binary message".to_owned()));
        };
        let text = text.as_str();
        let frame: CableFrame<'_> = serde_json::from_str(text).map_err(|error| malformed(error, text))?;
        match frame.kind {
            None => self.on_message(&frame, text, out, frames),
            Some("welcome") => {
                self.welcomed(&frame, out);
                self.begin_commands(frames);
                Ok(())
            }
            Some("ping") => {
                self.on_ping(out);
                Ok(())
            }
            Some("disconnect") => {
                // A session that the node has ended is not continued.
                self.sid = None;
                Err(WireEnd::Ended(frame.reason.unwrap_or_default()))
            }
            Some(kind) => {
                let c = frame
                    .conversation()
                    .ok_or_else(|| malformed("no conversation", text))?;
                self.on_status(kind, &c, out, frames)
            }
        }
    }

    fn forget(&mut self) {
        self.sid = None;
    }

    fn numbers(&self) -> EventNumbers {
        EventNumbers::Partial
    }
}

/// Returns the identifier of a conversation's channel.
fn identifier(c: &str) -> String {
    format!(r#"{{"channel":"ChatChannel","c":"{c}"}}"#)
}

/// Returns a command about a subscription, with the history behind an offset.
fn request(command: &str, c: &str, offset: Option<u64>) -> Message {
    let mut frame = json!({"command": command, "identifier": identifier(c)});
    if let Some(offset) = offset {
        frame["history"] = json!({"streams": {c: {"epoch": "1", "offset": offset}}});
    }
    Message::text(frame.to_string())
}

/// Returns the action that a native command is, on the channel of its conversation.
fn perform(command: &str) -> Message {
    let head = CommandHead::read(command);
    let identifier = head.c.map_or_else(|| INBOX.to_owned(), identifier);
    // Tag and conversation among the fields have no meaning there.
    let fields = command.strip_prefix('{').unwrap_or(command);
    let data = format!(r#"{{"action":"{}",{fields}"#, head.t);
    let (identifier, data) = (quoted(&identifier), quoted(&data));
    Message::text(format!(
        r#"{{"command":"message","identifier":{identifier},"data":{data}}}"#
    ))
}
