//! MQTT client: connects with a persistent session, subscribes, publishes on its schedule, and reconnects after a
//! failure.

mod on_command;
mod on_packet;

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, Packet, Subscribe, SubscribeFilter};
use rumqttc::mqttbytes::{self, QoS};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::delivery_checker::DeliveryChecker;
use super::session::MqttSession;
use super::{MqttCommand, TopicSubscription};
use crate::clock::{Nanos, SECOND};
use crate::load::SharedRun;
use crate::pacing::{PreciseTimer, Schedule};
use crate::payload::ClientIx;

/// One client and its connection.
pub(super) struct MqttClient {
    me: ClientIx,
    name: String,
    common: Rc<SharedRun>,
    judge: Rc<RefCell<DeliveryChecker>>,
    subscriptions: Vec<TopicSubscription>,
    /// Indexes of the topics that it publishes to, and the position of the next one.
    speaks: Vec<usize>,
    turn: usize,
    commands: mpsc::UnboundedReceiver<MqttCommand>,
    session: MqttSession,
    rng: StdRng,
    pacer: MqttPacer,
    alarm: PreciseTimer,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// `true` while the client is connected and subscribed.
    online: bool,
    /// `true` if the broker has stored a session of this client before.
    known: bool,
    quit: bool,
}

enum MqttPacer {
    Silent,
    Window(usize),
    Open(Schedule),
}

/// Reason for the end of a connection.
type Lost = String;

/// Maximum size of a packet in bytes; a message is far smaller.
const PACKET: usize = 1 << 20;
/// Maximum number of bytes that are read before pending output is written.
const READ: usize = 64 * 1024;
/// Timeout of a handshake.
const PATIENCE: Duration = Duration::from_secs(5);

// === impl MqttClient ===

impl MqttClient {
    pub(super) fn new(
        me: ClientIx,
        common: Rc<SharedRun>,
        judge: Rc<RefCell<DeliveryChecker>>,
        subscriptions: Vec<TopicSubscription>,
        commands: mpsc::UnboundedReceiver<MqttCommand>,
        seed: u64,
    ) -> MqttClient {
        let name = common.context.borrow().payload.user(me);
        let speaks = subscriptions
            .iter()
            .enumerate()
            .filter(|(_, subscription)| subscription.speaks);
        MqttClient {
            me,
            name,
            alarm: common.alarms.alarm(),
            common,
            judge,
            speaks: speaks.map(|(position, _)| position).collect(),
            subscriptions,
            turn: 0,
            commands,
            session: MqttSession::default(),
            rng: StdRng::seed_from_u64(seed ^ (u64::from(me) << 32)),
            pacer: MqttPacer::Silent,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            online: false,
            known: false,
            quit: false,
        }
    }

    /// Runs until the quit command.
    pub(super) async fn run(mut self) {
        let mut tries = 0u32;
        while !self.quit {
            // Boxed: the handshake's future is larger than what an online client needs, and soon dropped.
            let lost = match Box::pin(self.connect(false)).await {
                Ok(stream) => {
                    tries = 0;
                    self.converse(stream).await.err()
                }
                Err(why) => Some(why),
            };
            if std::mem::take(&mut self.online) {
                self.common.online.set(self.common.online.get() - 1);
            }
            // A packet that was cut in two by the end of the connection must not precede the next CONNACK.
            self.incoming.clear();
            self.outgoing.clear();
            let again = self.session.disconnected();
            let Some(why) = lost else { break };
            {
                let context = &mut *self.common.context.borrow_mut();
                let line = format!(
                    "client {} lost its connection to the broker: {why}; resending {again} messages",
                    self.me
                );
                context.oracle.note(context.clock.now(), line);
                context.recorder.error("connection lost");
            }
            self.pause(tries).await;
            tries += 1;
        }
        // A connect with a clean session deletes the stored one, or the broker would queue messages for it forever.
        if let Ok(stream) = Box::pin(self.connect(true)).await {
            let _ = self.put(&Packet::Disconnect);
            let _ = stream.try_write(&self.outgoing);
        }
    }

    /// Delays the next attempt, with full jitter, so that the clients do not reconnect at the same time.
    async fn pause(&mut self, tries: u32) {
        let most = Duration::from_millis(100 << tries.min(10)).min(self.common.backoff_max);
        let mut pause = pin!(tokio::time::sleep(most.mul_f64(self.rng.random())));
        while !self.quit {
            tokio::select! {
                () = &mut pause => return,
                command = self.commands.recv() => self.command(command),
            }
        }
    }

    /// Connects and completes the handshake up to the CONNACK. With `clean`, the stored session is deleted.
    async fn connect(&mut self, clean: bool) -> Result<TcpStream, Lost> {
        let common = self.common.clone();
        // Held until the handshake ends: it limits the rate of new connections.
        let _permit = common.dialer.turn().await;
        let nodes = common.nodes.borrow().clone();
        let node = &nodes[self.me as usize % nodes.len().max(1)];
        let stream = common
            .dialer
            .connect(node)
            .await
            .map_err(|error| error.to_string())?;
        let mut connect = Connect::new(self.name.clone());
        connect.clean_session = clean;
        // Two intervals: a delayed ping must not make the broker close the connection.
        connect.keep_alive = (self.keepalive() * 2 / SECOND) as u16;
        if let Some((user, password)) = common.token.split_once('=') {
            connect.set_login(
                user.replace("{user}", &self.name),
                password.replace("{user}", &self.name),
            );
        }
        self.put(&Packet::Connect(connect))?;
        let answer = async {
            loop {
                self.write(&stream)?;
                if let Some(Packet::ConnAck(answer)) = self.take()? {
                    return Ok::<ConnAck, Lost>(answer);
                }
                stream.readable().await.map_err(|error| error.to_string())?;
                self.read(&stream)?;
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let answer = answer.map_err(|_| "no CONNACK".to_owned())??;
        if answer.code != ConnectReturnCode::Success {
            return Err(format!("refused: {:?}", answer.code));
        }
        if clean {
            return Ok(stream);
        }
        // A stored session still has its subscriptions, so the client is online without a SUBACK.
        let resumed = self.known && answer.session_present;
        if self.known && !resumed {
            let context = &mut *self.common.context.borrow_mut();
            // Counted here alone: the checker reports the messages that were lost with the session.
            context.recorder.error("the broker has forgotten a session");
        }
        if resumed || self.subscriptions.is_empty() {
            self.subscribed();
        } else {
            let filter = |subscription: &TopicSubscription| {
                SubscribeFilter::new(subscription.topic.to_string(), QoS::AtLeastOnce)
            };
            let mut subscribe = Subscribe::new_many(self.subscriptions.iter().map(filter));
            subscribe.pkid = u16::MAX; // its answer is told apart by its kind
            self.put(&Packet::Subscribe(subscribe))?;
        }
        Ok(stream)
    }

    /// Runs the connection until either side ends it. `Ok` if the harness did.
    async fn converse(&mut self, stream: TcpStream) -> Result<(), Lost> {
        let clock = self.common.context.borrow().clock;
        let keepalive = self.keepalive();
        let (mut last_received, mut spoken) = (clock.now(), clock.now());
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            // Before any wait: the handshake may have read packets behind the CONNACK.
            while let Some(packet) = self.take()? {
                self.packet(packet)?;
            }
            let now = clock.now();
            self.produce(now);
            if self.online {
                self.publish()?;
            }
            // Independent of other traffic: an idle client sends nothing else, and the broker would close its
            // connection.
            if now >= spoken + keepalive {
                spoken = now;
                self.put(&Packet::PingReq)?;
            }
            if now >= last_received + keepalive * 5 / 2 {
                return Err("no data received before the timeout".to_owned());
            }
            self.write(&stream)?;
            let own = (spoken + keepalive).min(last_received + keepalive * 5 / 2);
            if timer.deadline() != clock.instant(own) {
                timer.as_mut().reset(clock.instant(own));
            }
            let due = self.next_due(now);
            // Every branch is safe to cancel: readiness and timers lose no data.
            tokio::select! {
                ready = stream.readable() => {
                    ready.map_err(|error| error.to_string())?;
                    if self.read(&stream)? > 0 {
                        last_received = clock.now();
                        self.common.context.borrow_mut().received = last_received;
                    }
                }
                ready = stream.writable(), if !self.outgoing.is_empty() => ready.map_err(|error| error.to_string())?,
                command = self.commands.recv() => self.command(command),
                () = self.alarm.until(due) => {}
                () = &mut timer => {}
            }
            if self.quit {
                self.put(&Packet::Disconnect)?;
                return self.write(&stream);
            }
        }
    }

    /// Returns the interval of the keepalive pings.
    fn keepalive(&self) -> Nanos {
        self.common.heartbeat
    }

    fn put(&mut self, packet: &Packet) -> Result<(), Lost> {
        let put = packet.write(&mut self.outgoing, PACKET);
        put.map(drop).map_err(|error| error.to_string())
    }

    /// Removes the next complete packet from the received bytes; `None` if there is none.
    fn take(&mut self) -> Result<Option<Packet>, Lost> {
        match Packet::read(&mut self.incoming, PACKET) {
            Ok(packet) => Ok(Some(packet)),
            Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(format!("malformed packet: {error:?}")),
        }
    }

    fn read(&mut self, stream: &TcpStream) -> Result<usize, Lost> {
        // On the stack, not per client: most clients read rarely.
        let mut buffer = [0; 16 * 1024];
        let mut all = 0;
        while all < READ {
            match stream.try_read(&mut buffer) {
                Ok(0) => return Err("end of stream".to_owned()),
                Ok(read) => {
                    self.incoming.extend_from_slice(&buffer[..read]);
                    all += read;
                    // A short read has emptied the socket. Another call would only return `WouldBlock`.
                    if read < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(all)
    }

    fn write(&mut self, stream: &TcpStream) -> Result<(), Lost> {
        while !self.outgoing.is_empty() {
            match stream.try_write(&self.outgoing) {
                Ok(written) => self.outgoing.advance(written),
                // The rest is written when the socket is writable, by the next pass of the loop.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}
