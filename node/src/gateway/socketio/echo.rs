//! Echo applications for the conformance suites of the engine and of Socket.IO. In builds with the feature `conformance`
//! and on nodes with development tokens only.
//!
//! The suites expect them at `/v1/echo/engine.io/` and `/v1/echo/socket.io/`, with short intervals. The connections have no
//! session: a task of their own sends the pings.

use std::cell::Cell;
use std::collections::HashSet;
use std::marker::PhantomData;
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

/// Application that returns what it receives.
pub(super) struct EchoApp<E>(PhantomData<E>);

/// Rule for the messages that a client gets back.
pub(super) trait MessageEcho: Default + 'static {
    /// True if a client has to connect in time.
    const MUST_CONNECT: bool;

    /// Answers a message.
    ///
    /// # Errors
    /// Code with which the connection is closed.
    fn message(&mut self, client: &EchoClient, message: EngineMessage<'_>) -> Result<(), CloseCode>;
}

/// Returns every message of the engine.
#[derive(Default)]
pub(super) struct EngineEcho;

/// Returns every event of Socket.IO.
pub(super) struct SocketEcho {
    assembler: PacketAssembler,
    namespaces: HashSet<String>,
}

/// Connection of an echo.
#[derive(Default)]
pub(super) struct EchoConnection {
    ponged: Notify,
    is_connected: Cell<bool>,
    is_closed_by_client: Cell<bool>,
}

/// Client of an echo.
pub(super) struct EchoClient {
    link: Rc<ConnectionHandle>,
    connection: Rc<EchoConnection>,
}

/// Messages of a client of an echo.
pub(super) struct EchoInput<E> {
    client: EchoClient,
    echo: E,
}

// === impl EchoApp ===

impl<E: MessageEcho> EngineApp for EchoApp<E> {
    type Input = EchoInput<E>;
    type Output = EchoConnection;

    fn is_served(config: &Config) -> bool {
        config.auth.dev_tokens
    }

    fn settings(_config: &Config) -> EngineSettings {
        SETTINGS
    }

    fn meter(config: &Config) -> Meter {
        let mut config = config.clone();
        config.tuning.control_frames_per_second = CONTROL_FRAMES;
        Meter::new(&config, Instant::now())
    }

    fn output() -> Rc<EchoConnection> {
        Rc::default()
    }

    fn input(
        _worker: &Rc<WorkerContext>,
        link: &Rc<ConnectionHandle>,
        connection: Rc<EchoConnection>,
        _settings: &EngineSettings,
    ) -> EchoInput<E> {
        actix_web::rt::spawn(ping(Rc::downgrade(link), connection.clone()));
        if E::MUST_CONNECT {
            actix_web::rt::spawn(await_connect(Rc::downgrade(link), connection.clone()));
        }
        EchoInput {
            client: EchoClient {
                link: link.clone(),
                connection,
            },
            echo: E::default(),
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

// === impl EchoClient ===

impl EchoClient {
    fn queue(&self, write: impl FnOnce(&mut BytesMut)) {
        let packet = queued_packet(write);
        self.link.outbox(|outbox| outbox.answer(packet));
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
        self.queue(|out| {
            out.put_u8(b'4');
            packet.write(out);
        });
    }
}

// === impl EchoInput ===

impl<E: MessageEcho> EngineInput for EchoInput<E> {
    fn max_message(&self) -> usize {
        SETTINGS.max_payload
    }

    fn message(&mut self, message: EngineMessage<'_>, _meter: &mut Meter) -> Result<(), CloseCode> {
        self.echo.message(&self.client, message)
    }

    fn pong(&mut self) {
        self.client.connection.ponged.notify_one();
    }

    fn is_pending(&self) -> bool {
        false
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        Ok(())
    }

    async fn disconnect(&mut self, disconnect: Disconnect) {
        if matches!(disconnect, Disconnect::CloseFrame(_)) {
            self.client.connection.is_closed_by_client.set(true);
        }
        close_echo(&self.client.link, disconnect);
    }
}

// === impl EngineEcho ===

impl MessageEcho for EngineEcho {
    const MUST_CONNECT: bool = false;

    fn message(&mut self, client: &EchoClient, message: EngineMessage<'_>) -> Result<(), CloseCode> {
        client.queue(|out| match message {
            EngineMessage::Text(text) => EnginePacket::Message(text).write(out),
            EngineMessage::Binary(bytes) => write_binary(bytes, out),
        });
        Ok(())
    }
}

// === impl SocketEcho ===

impl Default for SocketEcho {
    fn default() -> SocketEcho {
        SocketEcho {
            assembler: PacketAssembler::new(SETTINGS.max_payload),
            namespaces: HashSet::new(),
        }
    }
}

impl MessageEcho for SocketEcho {
    const MUST_CONNECT: bool = true;

    fn message(&mut self, client: &EchoClient, message: EngineMessage<'_>) -> Result<(), CloseCode> {
        let assembled = match message {
            EngineMessage::Text(text) => self.assembler.text(text),
            EngineMessage::Binary(bytes) => self.assembler.binary(bytes),
        };
        match assembled {
            Ok(Some(assembled)) => self.packet(client, &assembled),
            Ok(None) => Ok(()),
            Err(_) => Err(CloseCode::Protocol),
        }
    }
}

impl SocketEcho {
    fn packet(&mut self, client: &EchoClient, assembled: &AssembledPacket<'_>) -> Result<(), CloseCode> {
        let packet = &assembled.packet;
        if packet.kind == PacketKind::Connect {
            self.connect(client, packet);
            return Ok(());
        }
        if !self.namespaces.contains(&*packet.namespace) {
            return Err(CloseCode::Protocol);
        }
        match packet.kind {
            PacketKind::Disconnect => {
                self.namespaces.remove(&*packet.namespace);
            }
            PacketKind::Event | PacketKind::BinaryEvent => {
                echo_event(client, packet, &assembled.attachments)?
            }
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, client: &EchoClient, packet: &SocketPacket<'_>) {
        let namespace = &packet.namespace;
        if !NAMESPACES.contains(&&**namespace) {
            return client.queue(|out| server_packet::invalid_namespace(out, namespace));
        }
        client.connection.is_connected.set(true);
        self.namespaces.insert(namespace.clone().into_owned());
        let sid = format!(r#"{{"sid":"{:032x}"}}"#, rand::random::<u128>());
        let auth = packet.data.as_deref().unwrap_or("{}");
        client.send(PacketKind::Connect, packet, None, sid);
        client.send(PacketKind::Event, packet, None, format!(r#"["auth",{auth}]"#));
    }
}

/// Returns the arguments of an event, as another event or as its acknowledgement.
fn echo_event(
    client: &EchoClient,
    packet: &SocketPacket<'_>,
    attachments: &[Bytes],
) -> Result<(), CloseCode> {
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
    client.send(kind, packet, ack, data);
    for bytes in attachments {
        client.queue(|out| write_binary(bytes, out));
    }
    Ok(())
}
