//! A client's task: connects, talks to its node until one of the two ends it, and comes back elsewhere.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::{Sink, Stream};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::habit::{Act, Acts};
use super::state::{State, Task, World};
use super::{Command, Common, Habit};
use crate::clock::{MILLISECOND, Nanos, SECOND};
use crate::oracle::Reading;
use crate::pacing::{Alarm, Pace, Schedule};
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

/// The most frames that are handled before frames are written.
const FRAMES_PER_WAKE: usize = 256;
/// The most messages of one sender that wait while it is offline; more are counted as shed.
const BACKLOG: usize = 20_000;

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

    /// Talks to the node until one of the two ends it.
    async fn converse(&mut self, mut socket: WebSocketStream<TcpStream>, tries: &mut u32) -> End {
        let common = self.common.clone();
        self.state.connected(&self.token, &self.common.instance);
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let began = common.world.borrow().clock.now();
        let (mut heard, mut beat) = (began, began);
        self.cut = false;
        self.drops_at = self.habit.drops_at(began, &mut self.rng);
        loop {
            let (wake, due, frames) = {
                let world = &mut *common.world.borrow_mut();
                let now = world.clock.now();
                self.produce(now, world);
                let interval = common.heartbeat.min(self.state.hb_ms * MILLISECOND);
                if self.state.online && now >= beat + interval {
                    beat = now;
                    self.state.heartbeat();
                }
                self.state.flush(world);
                let (frames, reads_at) = self.may_read(now);
                if frames < FRAMES_PER_WAKE {
                    heard = now; // one who doesn't listen cannot tell
                }
                if self.cut || self.drops_at.is_some_and(|at| now >= at) {
                    return End::Dropped;
                }
                // A node that was stopped or cut off says nothing, not even that.
                let patience = if self.state.online {
                    interval * 5 / 2
                } else {
                    5 * SECOND
                };
                if now >= heard + patience {
                    return End::Lost(format!("nothing was heard for {} ms", patience / MILLISECOND));
                }
                let own = (beat + interval).min(heard + patience);
                let wake = [self.state.wake_at(), self.drops_at, reads_at]
                    .into_iter()
                    .flatten()
                    .fold(own, Nanos::min);
                (world.clock.instant(wake), self.next_due(now), frames)
            };
            for text in self.state.out.drain(..) {
                if let Err(error) = Pin::new(&mut socket).start_send(Message::text(text)) {
                    return End::Lost(error.to_string());
                }
            }
            if timer.deadline() != wake {
                timer.as_mut().reset(wake);
            }
            let was_online = self.state.online;
            match self.wait(&mut socket, timer.as_mut(), due, frames).await {
                Err(end) => return end,
                Ok(0) => {}
                Ok(_) => {
                    heard = common.world.borrow().clock.now();
                    self.reads_at = heard + self.habit.reading_gap().unwrap_or(0);
                }
            }
            if self.state.online && !was_online {
                *tries = 0;
                self.counted = true;
                common.online.set(common.online.get() + 1);
            }
            if self.quit {
                let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await;
                return End::Quit;
            }
            if !self.common.nodes.borrow().contains(&self.node) {
                return End::Lost("moved".to_owned());
            }
        }
    }

    /// How many frames may be read now, and when the next one may be if that is none.
    fn may_read(&self, now: Nanos) -> (usize, Option<Nanos>) {
        match (self.habit.reads, self.habit.reading_gap()) {
            (None, _) => (FRAMES_PER_WAKE, None),
            (Some(_), None) => (0, None),
            (Some(_), Some(_)) if now >= self.reads_at => (1, None),
            (Some(_), Some(_)) => (0, Some(self.reads_at)),
        }
    }

    /// Waits for frames, a command, the timer or the next message that is due, while writing what is left to write. Reads
    /// so many frames at most, and returns how many were handled.
    async fn wait(
        &mut self,
        socket: &mut WebSocketStream<TcpStream>,
        mut timer: Pin<&mut tokio::time::Sleep>,
        due: Option<Nanos>,
        frames: usize,
    ) -> Result<usize, End> {
        let common = self.common.clone();
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = Pin::new(&mut *socket).poll_flush(cx) {
                return Poll::Ready(Err(End::Lost(error.to_string())));
            }
            let mut handled = 0;
            let mut world = None;
            while handled < frames {
                match Pin::new(&mut *socket).poll_next(cx) {
                    Poll::Ready(Some(Ok(Message::Text(text)))) => {
                        let world = world.get_or_insert_with(|| common.world.borrow_mut());
                        world.heard = world.clock.now();
                        self.state.text(&text, world);
                        handled += 1;
                    }
                    Poll::Ready(Some(Ok(Message::Close(frame)))) => {
                        drop(world);
                        let code = frame.as_ref().map_or(1005, |frame| u16::from(frame.code));
                        let why = frame.map_or_else(String::new, |frame| {
                            format!("{} {}", u16::from(frame.code), frame.reason)
                        });
                        self.closed(code);
                        return Poll::Ready(Err(End::Lost(format!("closed by the node: {why}"))));
                    }
                    Poll::Ready(Some(Ok(_))) => handled += 1, // pings are answered below us
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(End::Lost(error.to_string()))),
                    Poll::Ready(None) => return Poll::Ready(Err(End::Lost("end of stream".to_owned()))),
                    Poll::Pending => break,
                }
            }
            drop(world);
            let mut told = false;
            while let Poll::Ready(command) = self.commands.poll_recv(cx) {
                told = true;
                self.command(command);
                if self.quit {
                    break;
                }
            }
            if handled > 0
                || told
                || self.alarm.poll(due, cx).is_ready()
                || timer.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Ok(handled));
            }
            Poll::Pending
        })
        .await
    }

    /// The close code's range is the verdict.
    fn closed(&mut self, code: u16) {
        if (4200..4600).contains(&code) {
            self.state.forget_session();
        }
        let world = &mut *self.common.world.borrow_mut();
        world.recorder.error(&format!("closed {code}"));
    }

    fn behave(&mut self, habit: Habit) {
        let world = self.common.world.borrow();
        let now = world.clock.now();
        if self.habit.reads.is_some() || habit.reads.is_some() {
            self.state.late(habit.reads.is_some(), now);
        }
        self.habit = habit;
        self.state.marks = habit.marks;
        self.drops_at = habit.drops_at(now, &mut self.rng);
        if habit.watches > 0 {
            let others = (1..=habit.watches).map(|next| world.payload.user(self.me + next));
            let others = others.collect();
            drop(world);
            self.state.watch(others);
        }
    }

    fn command(&mut self, command: Option<Box<Command>>) {
        match command.map(|command| *command) {
            Some(Command::Join {
                name,
                conv,
                speak,
                reply,
            }) => {
                let place = self.state.join(&name, conv, reply);
                if speak {
                    self.speaks.push(place);
                }
            }
            Some(Command::Create {
                kind,
                cid,
                members,
                reply,
            }) => {
                self.state.ask(Task::Create {
                    kind,
                    cid,
                    members,
                    reply,
                });
            }
            Some(Command::Enrol { name, change, reply }) => {
                self.state.ask(Task::Enrol { name, change, reply });
            }
            Some(Command::Behave(habit)) => self.behave(habit),
            Some(Command::Cut) => self.cut = true,
            Some(Command::Inbox(reply)) => {
                let now = self.common.world.borrow().clock.now();
                self.state.list(now, Some(reply));
            }
            Some(Command::Reread { name, after, reply }) => {
                if let Some(place) = self.state.place(&name) {
                    self.state.ask(Task::Reread {
                        place,
                        after,
                        reading: Reading::default(),
                        reply,
                    });
                }
            }
            Some(Command::Pace { pace, share }) => {
                let common = self.common.clone();
                let world = &mut *common.world.borrow_mut();
                let now = world.clock.now();
                self.produce(now, world); // what is due already is due, whatever comes now
                self.pacer = match pace {
                    Pace::Open { rate, arrival } if !self.speaks.is_empty() && share > 0.0 => {
                        Pacer::Open(Schedule::new(rate, share, arrival, now, &mut self.rng))
                    }
                    Pace::Closed { window } if !self.speaks.is_empty() => Pacer::Window(window),
                    _ => Pacer::Silent,
                };
            }
            Some(Command::Move) => {} // being woken is enough: the loop looks at the permitted nodes
            Some(Command::Unanswered(reply)) => {
                let unanswered = self.state.unanswered();
                if unanswered > 0 {
                    let waiting: Vec<_> = self.state.waiting().collect();
                    let world = &mut *self.common.world.borrow_mut();
                    let line = format!(
                        "client {} on {} waits for answers: {waiting:?}",
                        self.me, self.node
                    );
                    world.oracle.note(world.clock.now(), line);
                }
                let _ = reply.send(unanswered);
            }
            Some(Command::Quit) | None => self.quit = true,
        }
    }

    /// Makes the messages that are due.
    fn produce(&mut self, now: Nanos, world: &mut World) {
        let budget = &self.common.budget;
        match &mut self.pacer {
            Pacer::Silent => {}
            // A window is per sender, over all its places.
            Pacer::Window(window) if self.state.online => {
                let backlog: usize = self.speaks.iter().map(|place| self.state.backlog(*place)).sum();
                // Whoever was put out everywhere would be refused as fast as it can ask.
                let out = self.speaks.iter().all(|place| self.state.is_out(*place));
                for _ in backlog..*window {
                    if budget.get() == 0 || out {
                        break;
                    }
                    budget.set(budget.get() - 1);
                    self.turn += 1;
                    self.state
                        .offer(self.speaks[self.turn % self.speaks.len()], now, world);
                }
            }
            Pacer::Window(_) => {}
            Pacer::Open(schedule) => {
                while budget.get() > 0
                    && let Some(due) = schedule.due(now, &mut self.rng)
                {
                    self.turn += match self.habit.acts {
                        Acts::Messages => 1,
                        Acts::Team | Acts::Lists(_) => self.rng.random_range(1..64),
                    };
                    let place = self.speaks[self.turn % self.speaks.len()];
                    let act = self.habit.acts.pick(&mut self.rng);
                    if act != Act::Send {
                        self.state.act(act, place, due, world, &mut self.rng);
                        continue;
                    }
                    if self.state.backlog(place) >= BACKLOG {
                        world.recorder.error("shed: the sender's backlog is full");
                        continue;
                    }
                    budget.set(budget.get() - 1);
                    self.state.offer(place, due, world);
                }
            }
        }
    }

    fn next_due(&self, now: Nanos) -> Option<Nanos> {
        match &self.pacer {
            Pacer::Open(schedule) if self.common.budget.get() > 0 => Some(schedule.next().max(now)),
            _ => None,
        }
    }
}
