//! Translator of one connection: packets of the client become native requests, native answers and events become packets.
//! Pure: the shells around it are the [handler](super::handler) and the [framing](super::framing).
//!
//! It adds nothing to what the session decides. A subscription to a conversation is granted by the answer to `open`, one
//! to all events by that to `sync`, a message is acknowledged by the answer to its command, and an event that the session
//! does not deliver reaches no subscription.

mod answers;
mod begin;
mod events;
mod publishes;
mod subscriptions;

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use protocol::{ClientCommand, CloseCode, DecodeError, Request, UserId};

use super::connect_plan::{ConnectPlan, ConnectRefusal};
use super::event_window::EventWindow;
use super::filter_table::FilterTable;
use super::packet::{
    ClientPacket, ConnAck, DisconnectPacket, MqttVersion, PacketError, PublishReply, PublishReplyKind,
    ReasonCode, ServerPackets,
};
use super::pending_request::{PendingRequest, PendingSubscribe};
use super::publish_queue::{PublishOutcome, PublishQueue};
use super::saved_state::SavedState;
use super::topic_aliases::{TOPIC_ALIASES, TopicAliases};
use crate::session::messages::ReceivedCommand;

/// Size that a request of the gateway itself counts with.
const OWN_REQUEST_BYTES: usize = 64;

/// State of one connection whose client is authenticated.
#[derive(Debug)]
pub(super) struct MqttTranslator {
    user: UserId,
    packets: ServerPackets,
    accepted: ConnAck,
    is_clean: bool,
    /// Receive maximum of the client.
    receive_maximum: u16,
    phase: ConnectionPhase,
    filters: FilterTable,
    /// Largest number of conversations in the filters.
    filter_limit: usize,
    /// State of the resumed session, until its `ready`.
    saved: Option<SavedState>,
    /// Number of the last event that an earlier connection may have sent.
    repeated_up_to: u64,
    /// Number up to which the saved state says that events were sent.
    saved_up_to: u64,
    /// True if the subscriptions, or the end of the session, in the state for the next connection have changed.
    is_changed: bool,
    /// True if the number in that state has changed.
    is_ahead: bool,
    /// Reason why a kept session was not resumed, until the client has received `resync`.
    owed_resync: Option<String>,
    aliases: TopicAliases,
    window: EventWindow,
    queue: PublishQueue,
    requests: HashMap<i64, PendingRequest>,
    subscribes: Vec<PendingSubscribe>,
    last_number: i64,
    outgoing: Vec<ReceivedCommand>,
}

/// Progress of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ConnectionPhase {
    /// The session is not open yet. The refusal, if the session was not admitted.
    Opening(Option<ConnectRefusal>),
    Connected,
    /// The connection ends with this reason; nothing more is acknowledged.
    Failed(ReasonCode),
    /// The client has ended the connection.
    Disconnected,
}

/// Effect of a packet on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketEffect {
    /// The session receives a command, which it charges.
    Request,
    /// The client acknowledged an event that was sent to it.
    Acknowledged {
        /// True if the window was full: the next event may wait for this acknowledgement.
        was_full: bool,
    },
    /// The session does not receive the packet: the gateway answers it.
    Answered,
    /// The packet has no meaning: it belongs to no message that is on its way.
    Ignored,
    /// The client ends the connection.
    Disconnect(DisconnectPacket),
}

/// Changed state for the next connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChangedState {
    pub(super) state: Bytes,
    /// True if more than the number of the last event has changed.
    pub(super) is_lasting: bool,
}

// === impl MqttTranslator ===

impl MqttTranslator {
    /// Creates the translator of a client that is authenticated as `user`. `filter_limit`: largest number of
    /// subscriptions to conversations.
    pub(super) fn new(plan: &ConnectPlan, user: UserId, filter_limit: usize) -> MqttTranslator {
        MqttTranslator {
            user,
            packets: plan.packets,
            accepted: plan.accepted.clone(),
            is_clean: plan.is_clean,
            receive_maximum: plan.receive_maximum,
            phase: ConnectionPhase::Opening(None),
            filters: FilterTable::new(filter_limit),
            filter_limit,
            saved: None,
            repeated_up_to: 0,
            saved_up_to: 0,
            is_changed: false,
            is_ahead: false,
            owed_resync: None,
            aliases: TopicAliases::new(TOPIC_ALIASES),
            window: EventWindow::new(plan.receive_maximum, 0),
            queue: PublishQueue::default(),
            requests: HashMap::new(),
            subscribes: Vec::new(),
            last_number: 0,
            outgoing: Vec::new(),
        }
    }

    pub(super) fn version(&self) -> MqttVersion {
        self.packets.version
    }

    /// Returns true until the session is open.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.phase, ConnectionPhase::Opening(_))
    }

    /// Returns true once the client may send packets.
    pub(super) fn is_connected(&self) -> bool {
        self.phase == ConnectionPhase::Connected
    }

    /// Returns true if the gateway ends the connection.
    pub(super) fn is_failed(&self) -> bool {
        matches!(self.phase, ConnectionPhase::Failed(_))
    }

    /// Returns true if the next event may be written.
    pub(super) fn takes_event(&self) -> bool {
        self.window.has_room() && !self.is_failed()
    }

    /// Returns true if a subscription is for events of this conversation.
    pub(super) fn covers(&self, conversation: &str) -> bool {
        self.filters.route(Some(conversation)).is_some()
    }

    /// Drains the requests for the session.
    pub(super) fn take_requests(&mut self) -> Vec<ReceivedCommand> {
        std::mem::take(&mut self.outgoing)
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Returns the number up to which the client has received all events, if that has changed.
    pub(super) fn take_confirmation(&mut self) -> Option<u64> {
        self.is_connected()
            .then(|| self.window.take_confirmation())
            .flatten()
    }

    /// Returns the state for the next connection, if it has changed.
    pub(super) fn take_state(&mut self) -> Option<ChangedState> {
        let is_lasting = std::mem::take(&mut self.is_changed);
        let is_changed = std::mem::take(&mut self.is_ahead) || is_lasting;
        if !is_changed || self.is_opening() {
            return None;
        }
        let is_over = self.accepted.session_expiry == 0;
        let state = SavedState::of(&self.filters, self.saved_up_to, is_over).encode();
        Some(ChangedState { state, is_lasting })
    }

    /// Handles a packet of `bytes` bytes.
    ///
    /// # Errors
    /// The violation with which the connection ends.
    pub(super) fn on_packet(
        &mut self,
        packet: ClientPacket,
        bytes: usize,
        out: &mut BytesMut,
    ) -> Result<PacketEffect, PacketError> {
        match packet {
            ClientPacket::Publish(message) => self.publish(message, bytes, out),
            ClientPacket::PubAck(packet_id) => {
                let was_full = !self.window.has_room();
                Ok(if self.window.on_ack(packet_id) {
                    PacketEffect::Acknowledged { was_full }
                } else {
                    PacketEffect::Ignored
                })
            }
            ClientPacket::PubRel(packet_id) => self.release(packet_id, out),
            ClientPacket::PubRec(..) | ClientPacket::PubComp(_) => Ok(PacketEffect::Ignored),
            ClientPacket::Subscribe(subscribe) => Ok(self.subscribe(subscribe, out)),
            ClientPacket::Unsubscribe(unsubscribe) => {
                self.unsubscribe(&unsubscribe, out);
                Ok(PacketEffect::Answered)
            }
            ClientPacket::PingReq => {
                self.window.on_ping();
                ServerPackets::pingresp(out);
                Ok(PacketEffect::Answered)
            }
            ClientPacket::Disconnect(disconnect) => self.disconnect(disconnect),
        }
    }

    /// Ends the connection with this reason. Messages that are not acknowledged by now stay unacknowledged.
    pub(super) fn fail(&mut self, reason: ReasonCode) {
        if !matches!(
            self.phase,
            ConnectionPhase::Failed(_) | ConnectionPhase::Disconnected
        ) {
            self.phase = ConnectionPhase::Failed(reason);
        }
    }

    /// Records the end of the connection: the events that it has sent are known exactly.
    pub(super) fn on_end(&mut self) {
        self.saved_up_to = self.window.written();
        self.is_ahead = true;
    }

    /// Appends the last packet of the connection. `code`: close code of the native protocol; `None`: the connection was
    /// lost.
    pub(super) fn close(&self, code: Option<u16>, out: &mut BytesMut) {
        match &self.phase {
            ConnectionPhase::Opening(refused) => {
                let Some(code) = code else { return };
                let reason = refusal_of(code);
                let words = refused.as_ref().map(|refused| refused.words.as_str());
                let words = words.unwrap_or("the session was not admitted");
                self.packets.refusal(out, reason, words);
            }
            ConnectionPhase::Connected => {
                if let Some(code) = code {
                    self.packets.disconnect(out, reason_of(code));
                }
            }
            ConnectionPhase::Failed(reason) => self.packets.disconnect(out, *reason),
            ConnectionPhase::Disconnected => {}
        }
    }

    fn disconnect(&mut self, disconnect: DisconnectPacket) -> Result<PacketEffect, PacketError> {
        if let Some(expiry) = disconnect.session_expiry {
            // A session that ends with its connection cannot be kept after all.
            if self.accepted.session_expiry == 0 && expiry > 0 {
                return Err(PacketError::PROTOCOL);
            }
            self.accepted.session_expiry = expiry;
            self.is_changed = true;
        }
        self.phase = ConnectionPhase::Disconnected;
        Ok(PacketEffect::Disconnect(disconnect))
    }

    fn next_number(&mut self) -> i64 {
        self.last_number += 1;
        self.last_number
    }

    /// Queues a request of the gateway itself.
    fn send_own(&mut self, pending: PendingRequest, command: ClientCommand) {
        let number = self.next_number();
        self.requests.insert(number, pending);
        self.send(
            Ok(Request {
                id: Some(number),
                command,
            }),
            OWN_REQUEST_BYTES,
        );
    }

    fn send(&mut self, request: Result<Request, DecodeError>, bytes: usize) {
        self.outgoing.push(ReceivedCommand { request, bytes });
    }

    /// Acknowledges the messages whose commands have ended, as far as their order permits it.
    fn reply(&mut self, out: &mut BytesMut) {
        while let Some((packet_id, kind, PublishOutcome { reason, properties })) = self.queue.next() {
            let reply = PublishReply {
                kind,
                packet_id,
                reason,
                properties: &properties,
            };
            self.packets.reply(out, &reply);
        }
    }

    /// Completes a message of the highest quality, which only 3.1.1 has. Its command was executed before PUBREC.
    fn release(&mut self, packet_id: u16, out: &mut BytesMut) -> Result<PacketEffect, PacketError> {
        if self.version() == MqttVersion::V5 {
            return Err(PacketError::PROTOCOL);
        }
        let reply = PublishReply {
            kind: PublishReplyKind::PubComp,
            packet_id,
            reason: ReasonCode::Success,
            properties: &[],
        };
        self.packets.reply(out, &reply);
        Ok(PacketEffect::Answered)
    }
}

/// Returns the reason of a DISCONNECT for a close code.
fn reason_of(code: u16) -> ReasonCode {
    match CloseCode::from_code(code) {
        // Another connection of the device continues or ends the session.
        Some(CloseCode::Normal | CloseCode::Displaced) => ReasonCode::SessionTakenOver,
        Some(CloseCode::Draining) => ReasonCode::ServerShuttingDown,
        Some(CloseCode::HeartbeatMissed) => ReasonCode::KeepAliveTimeout,
        Some(CloseCode::TokenExpired | CloseCode::AuthFailed | CloseCode::Banned) => {
            ReasonCode::NotAuthorized
        }
        Some(CloseCode::RateAbuse) => ReasonCode::MessageRateTooHigh,
        Some(CloseCode::TooManySessions) => ReasonCode::QuotaExceeded,
        Some(CloseCode::TooLarge) => ReasonCode::PacketTooLarge,
        Some(CloseCode::Protocol | CloseCode::Framing) => ReasonCode::ProtocolError,
        _ if (4_000..4_200).contains(&code) => ReasonCode::ServerBusy,
        _ => ReasonCode::Unspecified,
    }
}

/// Returns the reason of a CONNACK for the close code of a session that was not admitted.
fn refusal_of(code: u16) -> ReasonCode {
    match CloseCode::from_code(code) {
        // Two clients with this client id take the session over from each other.
        Some(CloseCode::Displaced) => ReasonCode::ConnectionRateExceeded,
        Some(CloseCode::TooManySessions) => ReasonCode::QuotaExceeded,
        Some(CloseCode::AuthFailed) => ReasonCode::BadCredentials,
        Some(CloseCode::TokenExpired | CloseCode::Banned) => ReasonCode::NotAuthorized,
        _ => ReasonCode::ServerUnavailable,
    }
}

#[cfg(test)]
mod tests;
