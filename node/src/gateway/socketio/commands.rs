//! Messages of a client of the chat: a CONNECT opens the session, and events are its commands.

use std::rc::Rc;
use std::time::{Duration, Instant};

use protocol::response::ErrorResponse;
use protocol::{CloseCode, ErrorCode, Response};

use super::client_request::{self, ConnectPayload};
use super::connection::{SocketIoConnection, queued_packet};
use super::engine_reader::{EngineInput, EngineMessage, LABELS, ignored};
use super::engine_settings::EngineSettings;
use super::packet_assembler::{AssembledPacket, PacketAssembler};
use super::server_packet;
use super::socket_packet::{MAIN_NAMESPACE, PacketKind, SocketPacketError};
use crate::gateway::websocket::{Meter, SessionOver};
use crate::session::messages::{Disconnect, ReceivedCommand};
use crate::session::{ConnectionHandle, SessionHandle, WorkerContext};
use crate::telemetry::metrics::ServerMetrics;

/// Maximum bytes of a message before authentication: the longest token and the other fields of a CONNECT.
const BEFORE_CONNECT: usize = 12_288;

/// Commands of one client, on their way to its session.
pub(super) struct SocketIoCommands {
    connection: Rc<SocketIoConnection>,
    session: SessionHandle,
    assembler: PacketAssembler,
    batch: Vec<ReceivedCommand>,
    max: usize,
    /// True once the client has left the namespace, which ends its session.
    leaves: bool,
    metrics: ServerMetrics,
}

// === impl SocketIoCommands ===

impl SocketIoCommands {
    /// Opens a session whose client authenticates by its CONNECT.
    pub(super) fn open(
        worker: &Rc<WorkerContext>,
        link: &Rc<ConnectionHandle>,
        connection: Rc<SocketIoConnection>,
        settings: &EngineSettings,
    ) -> SocketIoCommands {
        SocketIoCommands {
            connection,
            session: SessionHandle::open(worker.clone(), link.clone(), settings.policy(), None),
            assembler: PacketAssembler::new(settings.max_payload),
            batch: Vec::new(),
            max: settings.max_payload,
            leaves: false,
            metrics: worker.metrics.clone(),
        }
    }

    fn packet(
        &mut self,
        assembled: &AssembledPacket<'_>,
        bytes: usize,
        meter: &mut Meter,
    ) -> Result<(), CloseCode> {
        let packet = &assembled.packet;
        if packet.namespace != MAIN_NAMESPACE {
            return match packet.kind {
                PacketKind::Connect => {
                    ignored(meter, bytes)?;
                    self.send(|out| server_packet::invalid_namespace(out, &packet.namespace));
                    Ok(())
                }
                _ => Err(CloseCode::Protocol),
            };
        }
        match packet.kind {
            PacketKind::Connect => {
                ignored(meter, bytes)?;
                self.connect(packet.data.as_deref(), bytes)
            }
            _ if !self.connection.has_connected() => Err(CloseCode::Protocol),
            PacketKind::Disconnect => {
                self.leaves = true;
                Ok(())
            }
            PacketKind::Event | PacketKind::BinaryEvent => {
                let event = packet.event().map_err(|error| close_code(&error))?;
                let is_binary = packet.kind == PacketKind::BinaryEvent;
                let request = client_request::of_event(&event, packet.ack, is_binary);
                meter.message(bytes, Instant::now());
                self.batch.push(ReceivedCommand { request, bytes });
                Ok(())
            }
            // The server requests no acknowledgements.
            PacketKind::Ack | PacketKind::BinaryAck => {
                self.metrics.gateway_frames_ignored.get_or_create(&LABELS).inc();
                ignored(meter, bytes)
            }
            PacketKind::ConnectError => Err(CloseCode::Protocol),
        }
    }

    fn connect(&mut self, data: Option<&str>, bytes: usize) -> Result<(), CloseCode> {
        let payload = match ConnectPayload::parse(data) {
            Ok(payload) => payload,
            Err(defect) => {
                let refusal = ErrorResponse::new(ErrorCode::BadRequest, defect, None);
                let body = Response::Err(refusal).encode(None);
                let code = ErrorCode::BadRequest.as_str();
                self.send(|out| server_packet::refused(out, code, body.as_bytes()));
                return Ok(());
            }
        };
        let (request, pid) = payload.into_request();
        if !self.connection.connect(pid) {
            return Err(CloseCode::Protocol);
        }
        let request = Ok(request);
        self.batch.push(ReceivedCommand { request, bytes });
        Ok(())
    }

    /// Queues a packet of the gateway itself.
    fn send(&self, write: impl FnOnce(&mut bytes::BytesMut)) {
        let packet = queued_packet(write);
        self.session.connection().outbox(|outbox| outbox.answer(packet));
    }
}

impl EngineInput for SocketIoCommands {
    fn max_message(&self) -> usize {
        if self.session.connection().is_identified() {
            self.max
        } else {
            self.max.min(BEFORE_CONNECT)
        }
    }

    fn message(&mut self, message: EngineMessage<'_>, meter: &mut Meter) -> Result<(), CloseCode> {
        if self.leaves {
            return ignored(meter, 1);
        }
        let (assembled, bytes) = match message {
            EngineMessage::Text(text) => (self.assembler.text(text), text.len()),
            EngineMessage::Binary(bytes) => (self.assembler.binary(bytes), bytes.len()),
        };
        match assembled {
            Ok(Some(assembled)) => self.packet(&assembled, bytes, meter),
            Ok(None) => ignored(meter, bytes),
            Err(error) => {
                tracing::debug!(%error, "malformed packet, closing connection");
                Err(close_code(&error))
            }
        }
    }

    fn pong(&mut self) {
        if let Some(n) = self.connection.on_pong() {
            self.session.connection().on_pong(n);
        }
    }

    fn is_pending(&self) -> bool {
        self.leaves || !self.batch.is_empty()
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        if !self.batch.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            self.session.dispatch(batch).await.map_err(|_| SessionOver)?;
        }
        if self.leaves {
            // A client that leaves on purpose recovers nothing.
            let expiry = self.session.set_expiry(Duration::ZERO).await;
            expiry.map_err(|_| SessionOver)?;
            self.disconnect(Disconnect::CloseFrame(None)).await;
            return Err(SessionOver);
        }
        Ok(())
    }

    async fn disconnect(&mut self, disconnect: Disconnect) {
        if matches!(disconnect, Disconnect::CloseFrame(_)) {
            self.connection.on_closed_by_client();
        }
        self.session.disconnect(disconnect).await;
    }
}

fn close_code(error: &SocketPacketError) -> CloseCode {
    match error {
        SocketPacketError::TooLarge => CloseCode::TooLarge,
        _ => CloseCode::Protocol,
    }
}
