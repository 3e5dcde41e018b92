//! Bytes of one client of the topic tree.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use protocol::CloseCode;

use super::broker::{Broker, BrokerEffect, ConnectionKey};
use super::broker_connect::{BrokerConnect, BrokerRefusal};
use super::mailbox::Mailbox;
use crate::gateway::mqtt::packet::{ClientPacket, MqttVersion, PacketError, ReasonCode, ServerPackets};
use crate::gateway::mqtt::packet_stream::PacketStream;
use crate::gateway::tcp::StreamHandler;
use crate::gateway::websocket::{Meter, SessionOver};
use crate::session::messages::Disconnect;
use crate::session::{CLOSE_TIMEOUT, ConnectionHandle, Framing};

/// Largest packet in bytes: that of the largest in the suites.
const MAX_PACKET: usize = 1 << 20;
/// Interval at which silence, wills and sessions are checked.
const TICK: Duration = Duration::from_millis(100);

/// Packets of one client, on their way to the topic tree.
pub(in crate::gateway) struct TopicsHandler {
    link: Rc<ConnectionHandle>,
    broker: Arc<Mutex<Broker>>,
    mailbox: Arc<Mailbox>,
    stream: PacketStream,
    /// Connection with the encoder of its packets, from CONNECT on.
    connection: Option<(ConnectionKey, ServerPackets)>,
    discards_will: bool,
}

/// Packets to the client as they are.
pub(in crate::gateway) struct TopicsFraming;

// === impl TopicsHandler ===

impl TopicsHandler {
    pub(super) fn new(link: &Rc<ConnectionHandle>, broker: Arc<Mutex<Broker>>) -> TopicsHandler {
        TopicsHandler {
            link: link.clone(),
            broker,
            mailbox: Arc::default(),
            stream: PacketStream::new(MAX_PACKET),
            connection: None,
            discards_will: false,
        }
    }

    /// Opens the connection once CONNECT is complete. Returns false if it is not.
    fn connect(&mut self) -> Result<bool, CloseCode> {
        let connect = match self.stream.next_connect() {
            Ok(None) => return Ok(false),
            Ok(Some(connect)) => connect,
            Err(PacketError(reason)) => {
                if reason == ReasonCode::UnsupportedVersion {
                    self.refuse(MqttVersion::V3, reason);
                }
                return Err(CloseCode::Protocol);
            }
        };
        let version = connect.version;
        let connect = BrokerConnect::of(connect).map_err(|refusal| {
            if let BrokerRefusal::Reason(reason) = refusal {
                self.refuse(version, reason);
            }
            CloseCode::AuthFailed
        })?;
        let (packets, idle) = (connect.packets, connect.idle);
        self.link.identify();
        let key = self
            .broker
            .lock()
            .connect(connect, self.mailbox.clone(), Instant::now());
        self.connection = Some((key, packets));
        let (link, mailbox) = (Rc::downgrade(&self.link), self.mailbox.clone());
        actix_web::rt::spawn(watch(link, mailbox, self.broker.clone(), (packets, idle)));
        Ok(true)
    }

    fn refuse(&self, version: MqttVersion, reason: ReasonCode) {
        let packets = ServerPackets {
            version,
            max_size: usize::MAX,
            has_problem_information: true,
        };
        self.mailbox.write(|out| packets.refusal(out, reason, ""));
    }

    fn next_effect(&mut self) -> Result<Option<BrokerEffect>, PacketError> {
        let Some((key, packets)) = &self.connection else {
            return Ok(None);
        };
        let Some((header, packet)) = self.stream.next_packet()? else {
            return Ok(None);
        };
        let packet = ClientPacket::decode(packets.version, header, &packet)?;
        self.broker
            .lock()
            .on_packet(key, packet, Instant::now())
            .map(Some)
    }

    fn end_connection(&mut self) {
        if let Some((key, _)) = self.connection.take() {
            self.broker.lock().end(&key, self.discards_will, Instant::now());
        }
    }
}

impl Drop for TopicsHandler {
    fn drop(&mut self) {
        self.end_connection();
    }
}

impl StreamHandler for TopicsHandler {
    fn receive(&mut self, bytes: &[u8], _meter: &mut Meter) -> Result<(), CloseCode> {
        self.stream.push(bytes);
        if self.connection.is_none() && !self.connect()? {
            return Ok(());
        }
        loop {
            match self.next_effect() {
                Ok(None) => return Ok(()),
                Ok(Some(BrokerEffect::Continue)) => {}
                Ok(Some(BrokerEffect::Disconnect { discards_will })) => {
                    self.discards_will = discards_will;
                    return Err(CloseCode::Normal);
                }
                Err(PacketError(reason)) => {
                    if let Some((_, packets)) = &self.connection {
                        self.mailbox.write(|out| packets.disconnect(out, reason));
                    }
                    return Err(CloseCode::Protocol);
                }
            }
        }
    }

    fn is_pending(&self) -> bool {
        self.mailbox.is_filled() || self.link.outbox(|outbox| outbox.behind())
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        let (packets, is_closed) = self.mailbox.take();
        if !packets.is_empty() {
            self.link.outbox(|outbox| outbox.answer(packets));
        }
        if is_closed {
            self.link.close(None, None, false, CLOSE_TIMEOUT);
            return Err(SessionOver);
        }
        tokio::select! {
            () = self.link.room() => Ok(()),
            () = self.link.closing() => Err(SessionOver),
        }
    }

    async fn requested(&self) {
        self.mailbox.filled().await;
    }

    async fn end(mut self, _disconnect: Disconnect) {
        self.end_connection();
        self.link.close(None, None, false, CLOSE_TIMEOUT);
    }
}

/// Closes a silent connection, and does what time has made due, while the connection is open.
async fn watch(
    link: Weak<ConnectionHandle>,
    mailbox: Arc<Mailbox>,
    broker: Arc<Mutex<Broker>>,
    (packets, idle): (ServerPackets, Option<Duration>),
) {
    loop {
        tokio::time::sleep(TICK).await;
        let now = Instant::now();
        broker.lock().tick(now);
        let Some(link) = link.upgrade().filter(|link| !link.is_closed()) else {
            return;
        };
        if idle.is_some_and(|limit| link.idle_time(now) >= limit) {
            mailbox.write(|out| packets.disconnect(out, ReasonCode::KeepAliveTimeout));
            return mailbox.close();
        }
    }
}

// === impl TopicsFraming ===

impl Framing for TopicsFraming {
    fn answer(&self, out: &mut BytesMut, body: &[u8]) {
        out.extend_from_slice(body);
    }

    /// Appends nothing: there are no events without a session.
    fn event(&self, _out: &mut BytesMut, _n: u64, _tail: &[u8]) {}

    fn ping(&self, _out: &mut BytesMut, _sent: u64) {}

    fn pong(&self, _out: &mut BytesMut, _payload: &[u8]) {}

    fn close(&self, _out: &mut BytesMut, _code: Option<u16>, _reason: &str) {}
}
