//! Task of a client: connects, runs until the connection ends, and reconnects to a random permitted node.

mod connection_loop;
mod on_command;
mod reads;

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::client_socket::ClientSocket;
use super::polling_socket::PollingSocket;
use super::state::ClientState;
use super::{DEVICE, HarnessCommand};
use crate::clock::Nanos;
use crate::load::SharedRun;
use crate::pacing::{PreciseTimer, Schedule};
use crate::payload::ClientIx;
use crate::spec::ClientBehavior;
use crate::wire::{ClientWire, Wire, WireLogin, WireTransport};

/// One client and its connection.
pub(super) struct LoadClient {
    me: ClientIx,
    common: Rc<SharedRun>,
    commands: mpsc::UnboundedReceiver<Box<HarnessCommand>>,
    state: ClientState,
    wire: Box<dyn ClientWire>,
    /// Messages of the wire to be written.
    out: Vec<Message>,
    rng: StdRng,
    token: String,
    /// Indexes of the views that this client sends to, and the position of the next one.
    speaks: Vec<usize>,
    turn: usize,
    pacer: SendPacer,
    alarm: PreciseTimer,
    behavior: ClientBehavior,
    /// Time at which the behavior drops this connection; `None` if it does not.
    drops_at: Option<Nanos>,
    /// Time at which a slow reader reads the next frame.
    reads_at: Nanos,
    /// Probe reads per second, and the time of the next one.
    reads: f64,
    probes_at: Option<Nanos>,
    cut: bool,
    node: String,
    /// `true` while the client is included in the count of online clients.
    counted: bool,
    quit: bool,
}

enum SendPacer {
    Silent,
    Window(usize),
    Open(Schedule),
}

/// Cause of a disconnect.
enum DisconnectCause {
    /// Requested by the harness.
    Quit,
    /// The connection failed or was closed; another one is opened.
    Lost(String),
    /// The client dropped it, by its behavior or by a command.
    Dropped,
}

// === impl LoadClient ===

impl LoadClient {
    /// `first` is the index of the first node.
    pub(super) fn new(
        me: ClientIx,
        wire: Wire,
        common: Rc<SharedRun>,
        commands: mpsc::UnboundedReceiver<Box<HarnessCommand>>,
        first: usize,
        seed: u64,
    ) -> LoadClient {
        let user = common.context.borrow().payload.user(me);
        let node = common.nodes.borrow().get(first).cloned().unwrap_or_default();
        let token = common.token.replace("{user}", &user);
        let wire = wire.client(WireLogin {
            token: token.clone(),
            device: DEVICE.to_owned(),
            instance: common.instance.clone(),
        });
        LoadClient {
            me,
            token,
            alarm: common.alarms.alarm(),
            common,
            commands,
            state: ClientState::new(me, wire.numbers()),
            wire,
            out: Vec::new(),
            // Each client has its own random numbers, so a run does not depend on the order of wakes.
            rng: StdRng::seed_from_u64(seed ^ (u64::from(me) << 32)),
            speaks: Vec::new(),
            turn: 0,
            pacer: SendPacer::Silent,
            behavior: ClientBehavior::default(),
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

    /// Runs until the quit command.
    pub(super) async fn run(mut self) {
        let mut tries = 0u32;
        while !self.quit {
            // Boxed: the handshake's future is larger than everything else that an online client needs, and soon
            // dropped.
            let end = match Box::pin(self.dial()).await {
                Ok(socket) => self.converse(socket, &mut tries).await,
                Err(error) => DisconnectCause::Lost(error.to_string()),
            };
            // Read before `disconnected` resets it.
            let was_online = self.state.online;
            // Counted only after `ready` was processed by the loop, so a connection may end before it is counted.
            if std::mem::take(&mut self.counted) {
                self.common.online.set(self.common.online.get() - 1);
            }
            // The borrow ends before the next await: other clients on this thread borrow the context too.
            {
                let context = &mut *self.common.context.borrow_mut();
                let why = match &end {
                    DisconnectCause::Quit => return,
                    DisconnectCause::Lost(why) => {
                        context.recorder.error(if was_online {
                            "connection lost"
                        } else {
                            "connection refused"
                        });
                        why
                    }
                    DisconnectCause::Dropped => "closed by the client",
                };
                let again = self.state.disconnected(context);
                let line = format!(
                    "client {} lost its connection to {}: {why}; resending {again} messages",
                    self.me, self.node
                );
                context.oracle.note(context.clock.now(), line);
            }
            if matches!(end, DisconnectCause::Dropped) {
                self.stay_disconnected().await;
            } else {
                self.pause(tries).await;
                tries += 1;
            }
            // A random node, so that the clients of a failed node spread over the others.
            self.node = self
                .common
                .nodes
                .borrow()
                .choose(&mut self.rng)
                .cloned()
                .unwrap_or_default();
        }
    }

    /// Stays disconnected for the drawn time, or until the behavior or the client ends.
    async fn stay_disconnected(&mut self) {
        let planned = !self.behavior.absence.is_zero();
        let mut pause = pin!(tokio::time::sleep(self.behavior.absence(&mut self.rng)));
        while !self.quit && self.behavior.stays.is_some() {
            tokio::select! {
                () = &mut pause => break,
                command = self.commands.recv() => self.command(command),
            }
        }
        // Restarted here: a planned absence is no recovery time of the cluster.
        let now = self.common.context.borrow().clock.now();
        self.state.returns(now);
        if planned {
            self.state.late(false, now);
        }
        // Scheduled messages of a planned absence are skipped, or they would count as late deliveries.
        if let (SendPacer::Open(schedule), true) = (&mut self.pacer, planned) {
            while schedule.due(now, &mut self.rng).is_some() {}
        }
    }

    /// Delays the next attempt, with full jitter: the clients of a failed node reconnect spread over time.
    async fn pause(&mut self, tries: u32) {
        // The delay that the node asked for has precedence over the backoff.
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

    async fn dial(&mut self) -> Result<ClientSocket, WsError> {
        let common = self.common.clone();
        // Held until the handshake ends: it limits the rate of new connections.
        let _permit = common.dialer.turn().await;
        // A stopped node accepts the connection in its kernel and never answers.
        let opened = tokio::time::timeout(Duration::from_secs(5), self.open()).await;
        opened.map_err(|_| WsError::Io(std::io::ErrorKind::TimedOut.into()))?
    }

    async fn open(&self) -> Result<ClientSocket, WsError> {
        if self.wire.transport() == WireTransport::Polling {
            let socket = PollingSocket::open(self.common.clone(), &self.node).await?;
            return Ok(ClientSocket::Polling(socket));
        }
        let stream = self.common.dialer.connect(&self.node).await?;
        let request = self.wire.upgrade(&self.node).map_err(std::io::Error::other)?;
        let config = WebSocketConfig::default().read_buffer_size(self.common.read_buffer);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        Ok(ClientSocket::WebSocket(Box::new(socket)))
    }
}
