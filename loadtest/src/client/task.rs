//! A client's task: connects, talks to its node until one of the two ends it, and comes back elsewhere.

mod converse;
mod orders;
mod reads;

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::state::State;
use super::{Command, Common, Habit};
use crate::clock::Nanos;
use crate::pacing::{Alarm, Schedule};
use crate::payload::ClientIx;
use crate::wire;

/// One client and its connection.
pub(super) struct Client {
    me: ClientIx,
    common: Rc<Common>,
    commands: mpsc::UnboundedReceiver<Box<Command>>,
    state: State,
    rng: StdRng,
    token: String,
    /// The places where this client speaks, and whose turn it is.
    speaks: Vec<usize>,
    turn: usize,
    pacer: Pacer,
    /// Rings when the next message is due.
    alarm: Alarm,
    habit: Habit,
    /// When this connection drops, by habit.
    drops_at: Option<Nanos>,
    /// When one who reads slowly reads the next frame.
    reads_at: Nanos,
    /// Reads a second that are there to be judged, and when the next one is due.
    reads: f64,
    probes_at: Option<Nanos>,
    cut: bool,
    node: String,
    /// Among those who are online.
    counted: bool,
    quit: bool,
}

enum Pacer {
    Silent,
    Window(usize),
    Open(Schedule),
}

/// Why a conversation with a node ended.
enum End {
    /// The harness said so.
    Quit,
    /// To be opened again, elsewhere.
    Lost(String),
    /// The client let it drop, by habit or as it was told.
    Dropped,
}

// === impl Client ===

impl Client {
    /// `first` is the node to begin with.
    pub(super) fn new(
        me: ClientIx,
        common: Rc<Common>,
        commands: mpsc::UnboundedReceiver<Box<Command>>,
        first: usize,
        seed: u64,
    ) -> Client {
        let user = common.world.borrow().payload.user(me);
        let node = common.nodes.borrow().get(first).cloned().unwrap_or_default();
        Client {
            me,
            token: common.token.replace("{user}", &user),
            alarm: common.alarms.alarm(),
            common,
            commands,
            state: State::new(me),
            rng: StdRng::seed_from_u64(seed ^ (u64::from(me) << 32)),
            speaks: Vec::new(),
            turn: 0,
            pacer: Pacer::Silent,
            habit: Habit::default(),
            drops_at: None,
            reads_at: 0,
            reads: 0.0,
            probes_at: None,
            cut: false,
            node,
            counted: false,
            quit: false,
        }
    }

    /// Runs until it is told to quit.
    pub(super) async fn run(mut self) {
        let mut tries = 0u32;
        while !self.quit {
            // Boxed: the handshake's future is larger than all that an online client needs, and soon over.
            let end = match Box::pin(self.dial()).await {
                Ok(socket) => self.converse(socket, &mut tries).await,
                Err(error) => End::Lost(error.to_string()),
            };
            let was_online = self.state.online;
            // One that was lost in the moment it came online was not counted yet.
            if std::mem::take(&mut self.counted) {
                self.common.online.set(self.common.online.get() - 1);
            }
            {
                let world = &mut *self.common.world.borrow_mut();
                let why = match &end {
                    End::Quit => return,
                    End::Lost(why) => {
                        world.recorder.error(if was_online {
                            "connection lost"
                        } else {
                            "connection refused"
                        });
                        why
                    }
                    End::Dropped => "dropped by itself",
                };
                let again = self.state.disconnected(world);
                let line = format!(
                    "client {} lost {}: {why}; {again} messages go out again",
                    self.me, self.node
                );
                world.oracle.note(world.clock.now(), line);
            }
            if matches!(end, End::Dropped) {
                self.stay_away().await;
            } else {
                self.pause(tries).await;
                tries += 1;
            }
            self.node = self
                .common
                .nodes
                .borrow()
                .choose(&mut self.rng)
                .cloned()
                .unwrap_or_default();
        }
    }

    /// Away for as long as the habit says, or until it ends.
    async fn stay_away(&mut self) {
        let planned = !self.habit.away.is_zero();
        let mut pause = pin!(tokio::time::sleep(self.habit.stays_away(&mut self.rng)));
        while !self.quit && self.habit.stays.is_some() {
            tokio::select! {
                () = &mut pause => break,
                command = self.commands.recv() => self.command(command),
            }
        }
        let now = self.common.world.borrow().clock.now();
        self.state.returns(now);
        if planned {
            self.state.late(false, now);
        }
        // Who is away by habit has nothing to say meanwhile.
        if let (Pacer::Open(schedule), true) = (&mut self.pacer, planned) {
            while schedule.due(now, &mut self.rng).is_some() {}
        }
    }

    /// Full jitter: clients of a dead node come back one by one, not all at once.
    async fn pause(&mut self, tries: u32) {
        let wanted = self.state.retry_ms.take().map(Duration::from_millis);
        let most = Duration::from_millis(100 << tries.min(10)).min(self.common.backoff_max);
        let pause = wanted.unwrap_or_else(|| most.mul_f64(self.rng.random()));
        let mut pause = pin!(tokio::time::sleep(pause));
        loop {
            tokio::select! {
                () = &mut pause => return,
                command = self.commands.recv() => self.command(command),
            }
            if self.quit {
                return;
            }
        }
    }

    async fn dial(&mut self) -> Result<WebSocketStream<TcpStream>, WsError> {
        let common = self.common.clone();
        let _permit = common.dialer.turn().await;
        let stream = common.dialer.connect(&self.node).await?;
        let mut request = format!("ws://{}{}", self.node, wire::PATH).into_client_request()?;
        request.headers_mut().insert(
            "sec-websocket-protocol",
            HeaderValue::from_static(wire::SUBPROTOCOL),
        );
        let config = WebSocketConfig::default().read_buffer_size(self.common.read_buffer);
        let handshake = client_async_with_config(request, stream, Some(config));
        let answer = tokio::time::timeout(Duration::from_secs(5), handshake).await;
        Ok(answer
            .map_err(|_| WsError::Io(std::io::ErrorKind::TimedOut.into()))??
            .0)
    }
}
