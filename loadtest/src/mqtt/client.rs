//! One MQTT client: connects with a persistent session, subscribes, publishes on its schedule, and comes back when it
//! was cut off.

mod orders;

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, Subscribe, SubscribeFilter,
    SubscribeReasonCode,
};
use rumqttc::mqttbytes::{self, QoS};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::judge::Judge;
use super::session::Session;
use super::{Command, Place};
use crate::client::Common;
use crate::clock::{Nanos, SECOND};
use crate::oracle::Kind;
use crate::pacing::{Alarm, Schedule};
use crate::payload::{ClientIx, Tag};

/// One client and its connection.
pub(super) struct Client {
    me: ClientIx,
    name: String,
    common: Rc<Common>,
    judge: Rc<RefCell<Judge>>,
    places: Vec<Place>,
    /// Positions of the places where it publishes, and whose turn it is.
    speaks: Vec<usize>,
    turn: usize,
    commands: mpsc::UnboundedReceiver<Command>,
    session: Session,
    rng: StdRng,
    pacer: Pacer,
    /// Rings when the next message is due.
    alarm: Alarm,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Connected and subscribed.
    online: bool,
    /// The broker has kept a session of this client before.
    known: bool,
    quit: bool,
}

enum Pacer {
    Silent,
    Window(usize),
    Open(Schedule),
}

/// Why a connection ended.
type Lost = String;

/// Bytes of a packet; a message is far smaller.
const PACKET: usize = 1 << 20;
/// Bytes that are read before anything is written again.
const READ: usize = 64 * 1024;
/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(5);

// === impl Client ===

impl Client {
    pub(super) fn new(
        me: ClientIx,
        common: Rc<Common>,
        judge: Rc<RefCell<Judge>>,
        places: Vec<Place>,
        commands: mpsc::UnboundedReceiver<Command>,
        seed: u64,
    ) -> Client {
        let name = common.world.borrow().payload.user(me);
        let speaks = places.iter().enumerate().filter(|(_, place)| place.speaks);
        Client {
            me,
            name,
            alarm: common.alarms.alarm(),
            common,
            judge,
            speaks: speaks.map(|(position, _)| position).collect(),
            places,
            turn: 0,
            commands,
            session: Session::default(),
            rng: StdRng::seed_from_u64(seed ^ (u64::from(me) << 32)),
            pacer: Pacer::Silent,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            online: false,
            known: false,
            quit: false,
        }
    }

    /// Runs until it is told to quit.
    pub(super) async fn run(mut self) {
        let mut tries = 0u32;
        while !self.quit {
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
            self.incoming.clear();
            self.outgoing.clear();
            let again = self.session.disconnected();
            let Some(why) = lost else { break };
            {
                let world = &mut *self.common.world.borrow_mut();
                let line = format!(
                    "client {} lost the broker: {why}; {again} messages go out again",
                    self.me
                );
                world.oracle.note(world.clock.now(), line);
                world.recorder.error("connection lost");
            }
            self.pause(tries).await;
            tries += 1;
        }
        // A clean session takes the kept one away.
        if let Ok(stream) = Box::pin(self.connect(true)).await {
            let _ = self.put(&Packet::Disconnect);
            let _ = stream.try_write(&self.outgoing);
        }
    }

    /// Full jitter, so that not all come back at once.
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

    /// Opens a connection up to the broker's CONNACK.
    async fn connect(&mut self, clean: bool) -> Result<TcpStream, Lost> {
        let common = self.common.clone();
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
        connect.keep_alive = (self.beat() * 2 / SECOND) as u16;
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
        let kept = self.known && answer.session_present;
        if self.known && !kept {
            let world = &mut *self.common.world.borrow_mut();
            world.recorder.error("the broker has forgotten a session");
        }
        if kept || self.places.is_empty() {
            self.subscribed();
        } else {
            let filter = |place: &Place| SubscribeFilter::new(place.topic.to_string(), QoS::AtLeastOnce);
            let mut subscribe = Subscribe::new_many(self.places.iter().map(filter));
            subscribe.pkid = u16::MAX; // its answer is told apart by its kind
            self.put(&Packet::Subscribe(subscribe))?;
        }
        Ok(stream)
    }

    /// Talks to the broker until one of the two ends it. `Ok` if the harness did.
    async fn converse(&mut self, stream: TcpStream) -> Result<(), Lost> {
        let clock = self.common.world.borrow().clock;
        let beat = self.beat();
        let (mut heard, mut spoken) = (clock.now(), clock.now());
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            while let Some(packet) = self.take()? {
                self.packet(packet)?;
            }
            let now = clock.now();
            self.produce(now);
            if self.online {
                self.publish()?;
            }
            if now >= spoken + beat {
                spoken = now;
                self.put(&Packet::PingReq)?;
            }
            if now >= heard + beat * 5 / 2 {
                return Err("nothing was heard for too long".to_owned());
            }
            self.write(&stream)?;
            let own = (spoken + beat).min(heard + beat * 5 / 2);
            if timer.deadline() != clock.instant(own) {
                timer.as_mut().reset(clock.instant(own));
            }
            let due = self.next_due(now);
            tokio::select! {
                ready = stream.readable() => {
                    ready.map_err(|error| error.to_string())?;
                    if self.read(&stream)? > 0 {
                        heard = clock.now();
                        self.common.world.borrow_mut().heard = heard;
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

    /// How often a client says that it lives.
    fn beat(&self) -> Nanos {
        self.common.heartbeat
    }

    fn put(&mut self, packet: &Packet) -> Result<(), Lost> {
        let put = packet.write(&mut self.outgoing, PACKET);
        put.map(drop).map_err(|error| error.to_string())
    }

    /// Takes the next whole packet.
    fn take(&mut self) -> Result<Option<Packet>, Lost> {
        match Packet::read(&mut self.incoming, PACKET) {
            Ok(packet) => Ok(Some(packet)),
            Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(format!("a packet that is none: {error:?}")),
        }
    }

    fn read(&mut self, stream: &TcpStream) -> Result<usize, Lost> {
        // Not a buffer per client: most of them have nothing to read most of the time.
        let mut buffer = [0; 16 * 1024];
        let mut all = 0;
        while all < READ {
            match stream.try_read(&mut buffer) {
                Ok(0) => return Err("end of stream".to_owned()),
                Ok(read) => {
                    self.incoming.extend_from_slice(&buffer[..read]);
                    all += read;
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    fn subscribed(&mut self) {
        self.known = true;
        self.online = true;
        self.common.online.set(self.common.online.get() + 1);
    }

    fn packet(&mut self, packet: Packet) -> Result<(), Lost> {
        match packet {
            Packet::SubAck(answer) => {
                let wanted =
                    |code: &SubscribeReasonCode| *code == SubscribeReasonCode::Success(QoS::AtLeastOnce);
                if !answer.return_codes.iter().all(wanted) {
                    return Err(format!("no subscription at QoS 1: {:?}", answer.return_codes));
                }
                self.subscribed();
            }
            Packet::PubAck(ack) => self.acked(ack.pkid),
            Packet::Publish(publish) => {
                self.received(&publish);
                if publish.qos == QoS::AtLeastOnce {
                    self.put(&Packet::PubAck(PubAck::new(publish.pkid)))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn acked(&mut self, id: u16) {
        let world = &mut *self.common.world.borrow_mut();
        let Some(pending) = self.session.acked(id) else {
            let detail = format!("a PUBACK of {id}, which waits for none");
            return world
                .oracle
                .violate(Kind::UnsolicitedAnswer, None, Some(self.me), 0, detail);
        };
        let tag = Tag {
            sender: self.me,
            ordinal: pending.ordinal,
        };
        let judge = &mut *self.judge.borrow_mut();
        judge.acked(pending.conv, tag);
        world.oracle.heard(judge.counts);
        world.recorder.acked(pending.due, world.heard);
    }

    fn received(&mut self, publish: &Publish) {
        let world = &mut *self.common.world.borrow_mut();
        let judge = &mut *self.judge.borrow_mut();
        let place = self.places.iter().find(|place| *place.topic == *publish.topic);
        let verdict = match place.map(|place| (place, world.payload.open(&publish.topic, &publish.payload))) {
            None => Err((Kind::Phantom, format!("a message of topic {:?}", publish.topic))),
            Some((_, None)) => Err((Kind::Altered, format!("{:?}", publish.payload))),
            Some((place, Some((tag, due)))) => judge
                .received(place.conv, self.me, tag)
                .map(|first| (tag, due, first)),
        };
        match verdict {
            Ok((tag, due, true)) if tag.sender != self.me => world.recorder.delivered(due, world.heard),
            Ok(_) => {}
            Err((kind, detail)) => {
                let conv = place.map(|place| place.conv);
                world.oracle.violate(kind, conv, Some(self.me), 0, detail);
            }
        }
        world.oracle.heard(judge.counts);
    }
}
