//! Echo applications for the conformance suites of the engine and of Socket.IO. In builds with the feature `conformance`
//! and on nodes with development tokens only.
//!
//! The suites expect them at `/v1/echo/engine.io/` and `/v1/echo/socket.io/`, with short intervals. The connections have no
//! session: a task of their own sends the pings.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use protocol::CloseCode;
use tokio::sync::Notify;

use super::connection::queued_packet;
use super::engine_app::EngineApp;
use super::engine_packet::{EnginePacket, write_binary};
use super::engine_packets::{EngineOutput, PacketSink};
use super::engine_reader::{EngineInput, EngineMessage};
use super::engine_settings::EngineSettings;
use super::packet_assembler::{AssembledPacket, PacketAssembler};
use super::server_packet;
use super::socket_packet::{PacketKind, SocketPacket};
use crate::config::Config;
use crate::gateway::websocket::{Meter, SessionOver, close_echo};
use crate::session::messages::Disconnect;
use crate::session::{CLOSE_TIMEOUT, ConnectionHandle, WorkerContext};

/// Settings that the suites expect.
const SETTINGS: EngineSettings = EngineSettings {
    ping_interval: Duration::from_millis(300),
    ping_timeout: Duration::from_millis(200),
    max_payload: 1_000_000,
};
/// Time in which a client of Socket.IO has to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Packets without a request per second.
const CONTROL_FRAMES: u32 = 1_000_000;
/// Namespaces of the suite.
const NAMESPACES: [&str; 2] = ["/", "/custom"];

/// Returns every message of the engine.
pub(super) struct EngineEcho;

/// Returns every event of Socket.IO.
pub(super) struct SocketEcho;

/// Connection of an echo.
#[derive(Default)]
pub(super) struct EchoConnection {
    ponged: Notify,
    is_connected: Cell<bool>,
    is_closed_by_client: Cell<bool>,
}

/// Messages of a client of the engine echo.
pub(super) struct EngineEchoInput {
    link: Rc<ConnectionHandle>,
    connection: Rc<EchoConnection>,
}

/// Messages of a client of the Socket.IO echo.
pub(super) struct SocketEchoInput {
    link: Rc<ConnectionHandle>,
    connection: Rc<EchoConnection>,
    assembler: PacketAssembler,
    namespaces: HashSet<String>,
}

// === impl EngineEcho, SocketEcho ===

fn meter(config: &Config) -> Meter {
    let mut config = config.clone();
    config.tuning.control_frames_per_second = CONTROL_FRAMES;
    Meter::new(&config, Instant::now())
}

impl EngineApp for EngineEcho {
    type Input = EngineEchoInput;
    type Output = EchoConnection;

    fn is_served(config: &Config) -> bool {
        config.auth.dev_tokens
    }

    fn settings(_config: &Config) -> EngineSettings {
        SETTINGS
    }

    fn meter(config: &Config) -> Meter {
        meter(config)
    }

    fn output() -> Rc<EchoConnection> {
        Rc::default()
    }

    fn input(
        _worker: &Rc<WorkerContext>,
        link: &Rc<ConnectionHandle>,
        connection: Rc<EchoConnection>,
        _settings: &EngineSettings,
    ) -> EngineEchoInput {
        actix_web::rt::spawn(ping(Rc::downgrade(link), connection.clone()));
        EngineEchoInput {
            link: link.clone(),
            connection,
        }
    }
}

impl EngineApp for SocketEcho {
    type Input = SocketEchoInput;
    type Output = EchoConnection;

    fn is_served(config: &Config) -> bool {
        config.auth.dev_tokens
    }

    fn settings(_config: &Config) -> EngineSettings {
        SETTINGS
    }

    fn meter(config: &Config) -> Meter {
        meter(config)
    }

    fn output() -> Rc<EchoConnection> {
        Rc::default()
    }

    fn input(
        _worker: &Rc<WorkerContext>,
        link: &Rc<ConnectionHandle>,
        connection: Rc<EchoConnection>,
        settings: &EngineSettings,
    ) -> SocketEchoInput {
        actix_web::rt::spawn(ping(Rc::downgrade(link), connection.clone()));
        actix_web::rt::spawn(await_connect(Rc::downgrade(link), connection.clone()));
        SocketEchoInput {
            link: link.clone(),
            connection,
            assembler: PacketAssembler::new(settings.max_payload),
            namespaces: HashSet::new(),
        }
    }
}

/// Pings a client, and closes its connection if a pong is overdue.
async fn ping(link: Weak<ConnectionHandle>, connection: Rc<EchoConnection>) {
    loop {
        tokio::time::sleep(SETTINGS.ping_interval).await;
        let Some(link) = link.upgrade().filter(|link| !link.is_closed()) else {
            return;
        };
        link.ping();
        let pong = tokio::time::timeout(SETTINGS.ping_timeout, connection.ponged.notified()).await;
        if pong.is_err() {
            return link.close(None, None, true, CLOSE_TIMEOUT);
        }
    }
}

/// Closes the connection of a client that does not connect in time.
async fn await_connect(link: Weak<ConnectionHandle>, connection: Rc<EchoConnection>) {
    tokio::time::sleep(CONNECT_TIMEOUT).await;
    if let Some(link) = link.upgrade().filter(|_| !connection.is_connected.get()) {
        link.close(None, None, false, CLOSE_TIMEOUT);
    }
}

// === impl EchoConnection ===

impl EchoConnection {
    fn disconnect(&self, link: &ConnectionHandle, disconnect: Disconnect) {
        if matches!(disconnect, Disconnect::CloseFrame(_)) {
            self.is_closed_by_client.set(true);
        }
        close_echo(link, disconnect);
    }
}

impl EngineOutput for EchoConnection {
    /// Writes a packet in the form of a payload.
    fn queued(&self, body: &[u8], sink: &mut impl PacketSink) {
        match std::str::from_utf8(body).map(EnginePacket::parse) {
            Ok(Ok(EnginePacket::Binary(bytes))) => sink.binary(&bytes),
            _ => sink.packet(|out| out.put_slice(body)),
        }
    }

    /// Writes nothing: there are no events without a session.
    fn event(&self, _n: u64, _tail: &[u8], _sink: &mut impl PacketSink) {}

    fn ping(&self, _sent: u64, sink: &mut impl PacketSink) {
        sink.packet(|out| out.put_u8(b'2'));
    }

    /// Writes nothing: the end of the transport is enough.
    fn close(&self, _code: Option<u16>, _reason: &str, _sink: &mut impl PacketSink) {}

    fn is_closed_by_client(&self) -> bool {
        self.is_closed_by_client.get()
    }
}

fn queue(link: &ConnectionHandle, write: impl FnOnce(&mut BytesMut)) {
    let packet = queued_packet(write);
    link.outbox(|outbox| outbox.answer(packet));
}

// === impl EngineEchoInput ===

impl EngineInput for EngineEchoInput {
    fn max_message(&self) -> usize {
        SETTINGS.max_payload
    }

    fn message(&mut self, message: EngineMessage<'_>, _meter: &mut Meter) -> Result<(), CloseCode> {
        queue(&self.link, |out| match message {
            EngineMessage::Text(text) => EnginePacket::Message(text).write(out),
            EngineMessage::Binary(bytes) => write_binary(bytes, out),
        });
        Ok(())
    }

    fn pong(&mut self) {
        self.connection.ponged.notify_one();
    }

    fn is_pending(&self) -> bool {
        false
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        Ok(())
    }

    async fn disconnect(&mut self, disconnect: Disconnect) {
        self.connection.disconnect(&self.link, disconnect);
    }
}

// === impl SocketEchoInput ===

impl SocketEchoInput {
    fn packet(&mut self, assembled: &AssembledPacket<'_>) -> Result<(), CloseCode> {
        let packet = &assembled.packet;
        if packet.kind == PacketKind::Connect {
            self.connect(packet);
            return Ok(());
        }
        if !self.namespaces.contains(&*packet.namespace) {
            return Err(CloseCode::Protocol);
        }
        match packet.kind {
            PacketKind::Disconnect => {
                self.namespaces.remove(&*packet.namespace);
            }
            PacketKind::Event | PacketKind::BinaryEvent => self.event(packet, &assembled.attachments)?,
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, packet: &SocketPacket<'_>) {
        let namespace = &packet.namespace;
        if !NAMESPACES.contains(&&**namespace) {
            return queue(&self.link, |out| server_packet::invalid_namespace(out, namespace));
        }
        self.connection.is_connected.set(true);
        self.namespaces.insert(namespace.clone().into_owned());
        let sid = format!(r#"{{"sid":"{:032x}"}}"#, rand::random::<u128>());
        let auth = packet.data.as_deref().unwrap_or("{}");
        self.send(PacketKind::Connect, packet, None, sid);
        self.send(PacketKind::Event, packet, None, format!(r#"["auth",{auth}]"#));
    }

    /// Returns the arguments of an event, as another event or as its acknowledgement.
    fn event(&self, packet: &SocketPacket<'_>, attachments: &[Bytes]) -> Result<(), CloseCode> {
        let event = packet.event().map_err(|_| CloseCode::Protocol)?;
        let arguments: Vec<&str> = event.arguments.iter().map(|argument| argument.get()).collect();
        let arguments = arguments.join(",");
        let (plain, binary, ack, data) = match (&*event.name, packet.ack) {
            ("message", _) => {
                let separator = if arguments.is_empty() { "" } else { "," };
                let data = format!(r#"["message-back"{separator}{arguments}]"#);
                (PacketKind::Event, PacketKind::BinaryEvent, None, data)
            }
            ("message-with-ack", ack @ Some(_)) => (
                PacketKind::Ack,
                PacketKind::BinaryAck,
                ack,
                format!("[{arguments}]"),
            ),
            _ => return Ok(()),
        };
        let kind = if attachments.is_empty() { plain } else { binary };
        self.send(kind, packet, ack, data);
        for bytes in attachments {
            queue(&self.link, |out| write_binary(bytes, out));
        }
        Ok(())
    }

    /// Queues a packet to the namespace of another one, which announces as many attachments.
    fn send(&self, kind: PacketKind, of: &SocketPacket<'_>, ack: Option<u64>, data: String) {
        let packet = SocketPacket {
            kind,
            attachments: of.attachments,
            namespace: of.namespace.clone(),
            ack,
            data: Some(data.into()),
        };
        queue(&self.link, |out| {
            out.put_u8(b'4');
            packet.write(out);
        });
    }
}

impl EngineInput for SocketEchoInput {
    fn max_message(&self) -> usize {
        SETTINGS.max_payload
    }

    fn message(&mut self, message: EngineMessage<'_>, _meter: &mut Meter) -> Result<(), CloseCode> {
        let assembled = match message {
            EngineMessage::Text(text) => self.assembler.text(text),
            EngineMessage::Binary(bytes) => self.assembler.binary(bytes),
        };
        match assembled {
            Ok(Some(assembled)) => self.packet(&assembled),
            Ok(None) => Ok(()),
            Err(_) => Err(CloseCode::Protocol),
        }
    }

    fn pong(&mut self) {
        self.connection.ponged.notify_one();
    }

    fn is_pending(&self) -> bool {
        false
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        Ok(())
    }

    async fn disconnect(&mut self, disconnect: Disconnect) {
        self.connection.disconnect(&self.link, disconnect);
    }
}
