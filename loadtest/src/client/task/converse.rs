//! A client's conversation with one node, until one of the two ends it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures::{Sink, Stream};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Client, End};
use crate::clock::{MILLISECOND, Nanos, SECOND};

/// The most frames that are handled before frames are written.
const FRAMES_PER_WAKE: usize = 256;

// === impl Client: converse ===

impl Client {
    /// Talks to the node until one of the two ends it.
    pub(super) async fn converse(&mut self, mut socket: WebSocketStream<TcpStream>, tries: &mut u32) -> End {
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
                self.read_on(now, world);
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
                let wake = [self.state.wake_at(), self.drops_at, self.probes_at, reads_at]
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
}
