//! Loop over one connection of a client, until either side ends it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures::{Sink, Stream};
use tokio_tungstenite::tungstenite::Message;

use super::{DisconnectCause, LoadClient};
use crate::clock::{MILLISECOND, Nanos, SECOND};
use crate::load::client::client_socket::ClientSocket;
use crate::measure::RunContext;
use crate::oracle::ViolationKind;
use crate::wire::WireEnd;

/// Maximum number of frames read before frames are written.
const FRAMES_PER_WAKE: usize = 256;

// === impl LoadClient: connection loop ===

impl LoadClient {
    /// Runs the connection until it ends, and returns the cause. Resets `tries` once the client is online.
    pub(super) async fn converse(&mut self, mut socket: ClientSocket, tries: &mut u32) -> DisconnectCause {
        let common = self.common.clone();
        self.state.connected(&self.token, &self.common.instance);
        self.out.clear();
        self.wire.begin(&mut self.out);
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let began = common.context.borrow().clock.now();
        let (mut last_received, mut last_heartbeat) = (began, began);
        self.cut = false;
        self.drops_at = self.behavior.drops_at(began, &mut self.rng);
        loop {
            // The borrow must end before `wait`: the other clients need the context meanwhile.
            let (wake, due, frames) = {
                let context = &mut *common.context.borrow_mut();
                let now = context.clock.now();
                self.produce(now, context);
                self.read_on(now, context);
                // The shorter one: a run may ask for faster detection than the node's own interval.
                let interval = common.heartbeat.min(self.state.hb_ms * MILLISECOND);
                if self.state.online && now >= last_heartbeat + interval {
                    last_heartbeat = now;
                    self.state.heartbeat();
                }
                self.state.flush(context);
                let (frames, reads_at) = self.may_read(now);
                // A client that reads slowly on purpose cannot detect a silent node.
                if frames < FRAMES_PER_WAKE {
                    last_received = now; // one who doesn't listen cannot tell
                }
                if self.cut || self.drops_at.is_some_and(|at| now >= at) {
                    return DisconnectCause::Dropped;
                }
                // A stopped or isolated node sends nothing, not even a TCP reset. Only this timeout detects it.
                let patience = match self.wire.liveness_timeout() {
                    Some(timeout) if self.state.online => timeout,
                    None if self.state.online => interval * 5 / 2,
                    _ => 5 * SECOND,
                };
                if now >= last_received + patience {
                    return DisconnectCause::Lost(format!(
                        "no data received for {} ms",
                        patience / MILLISECOND
                    ));
                }
                let own = (last_heartbeat + interval).min(last_received + patience);
                let wake = [self.state.wake_at(), self.drops_at, self.probes_at, reads_at]
                    .into_iter()
                    .flatten()
                    .fold(own, Nanos::min);
                (context.clock.instant(wake), self.next_due(now), frames)
            };
            // Queued without a flush: `wait` flushes all frames of this wake with one write.
            for text in self.state.out.drain(..) {
                self.wire.send(text, &mut self.out);
            }
            for message in self.out.drain(..) {
                if let Err(error) = Pin::new(&mut socket).start_send(message) {
                    return DisconnectCause::Lost(error.to_string());
                }
            }
            // Resetting a timer is costly for thousands of clients, so an unchanged deadline is left alone.
            if timer.deadline() != wake {
                timer.as_mut().reset(wake);
            }
            // Compared after the wait: a `ready` may arrive there.
            let was_online = self.state.online;
            match self.wait(&mut socket, timer.as_mut(), due, frames).await {
                Err(end) => return end,
                Ok(0) => {}
                Ok(_) => {
                    last_received = common.context.borrow().clock.now();
                    self.reads_at = last_received + self.behavior.reading_gap().unwrap_or(0);
                }
            }
            if self.state.online && !was_online {
                *tries = 0;
                self.counted = true;
                common.online.set(common.online.get() + 1);
            }
            if self.quit {
                // The close handshake is optional: a failure or a silent node must not delay the end of the run.
                let _ = tokio::time::timeout(Duration::from_secs(1), socket.close()).await;
                return DisconnectCause::Quit;
            }
            // Checked on every wake: the move command only wakes this loop.
            if !self.common.nodes.borrow().contains(&self.node) {
                return DisconnectCause::Lost("moved".to_owned());
            }
        }
    }

    /// Returns the number of frames that may be read now, and the time of the next one if that number is 0.
    fn may_read(&self, now: Nanos) -> (usize, Option<Nanos>) {
        match (self.behavior.reads, self.behavior.reading_gap()) {
            (None, _) => (FRAMES_PER_WAKE, None),
            (Some(_), None) => (0, None),
            (Some(_), Some(_)) if now >= self.reads_at => (1, None),
            (Some(_), Some(_)) => (0, Some(self.reads_at)),
        }
    }

    /// Waits for frames, a command, the timer or the next scheduled message, and writes pending output meanwhile. Reads
    /// at most `frames` frames, and returns the number processed.
    async fn wait(
        &mut self,
        socket: &mut ClientSocket,
        mut timer: Pin<&mut tokio::time::Sleep>,
        due: Option<Nanos>,
        frames: usize,
    ) -> Result<usize, DisconnectCause> {
        let common = self.common.clone();
        poll_fn(|cx| {
            // Flushed on every poll: a full socket continues when it becomes writable.
            if let Poll::Ready(Err(error)) = Pin::new(&mut *socket).poll_flush(cx) {
                return Poll::Ready(Err(DisconnectCause::Lost(error.to_string())));
            }
            let mut handled = 0;
            // Borrowed lazily, and once per wake: most polls read nothing.
            let mut context = None;
            while handled < frames {
                match Pin::new(&mut *socket).poll_next(cx) {
                    Poll::Ready(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) => {
                        let context = context.get_or_insert_with(|| common.context.borrow_mut());
                        context.received = context.clock.now();
                        if let Err(end) = self.received(&message, context) {
                            return Poll::Ready(Err(end));
                        }
                        handled += 1;
                    }
                    Poll::Ready(Some(Ok(Message::Close(frame)))) => {
                        // `closed` borrows the context itself.
                        drop(context);
                        let code = frame.as_ref().map_or(1005, |frame| u16::from(frame.code));
                        let why = frame.map_or_else(String::new, |frame| {
                            format!("{} {}", u16::from(frame.code), frame.reason)
                        });
                        self.closed(code);
                        return Poll::Ready(Err(DisconnectCause::Lost(format!("closed by the node: {why}"))));
                    }
                    Poll::Ready(Some(Ok(_))) => handled += 1, // pings are answered below us
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(DisconnectCause::Lost(error.to_string())));
                    }
                    Poll::Ready(None) => {
                        return Poll::Ready(Err(DisconnectCause::Lost("end of stream".to_owned())));
                    }
                    Poll::Pending => break,
                }
            }
            // Released before the commands, which borrow the context themselves.
            drop(context);
            let mut commanded = false;
            // All commands of a wake at once: a channel that is not polled to `Pending` registers no waker.
            while let Poll::Ready(command) = self.commands.poll_recv(cx) {
                commanded = true;
                self.command(command);
                if self.quit {
                    break;
                }
            }
            if handled > 0
                || commanded
                || self.alarm.poll(due, cx).is_ready()
                || timer.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Ok(handled));
            }
            Poll::Pending
        })
        .await
    }

    /// Processes a message of the node.
    fn received(&mut self, message: &Message, context: &mut RunContext) -> Result<(), DisconnectCause> {
        let (wire, state) = (&mut self.wire, &mut self.state);
        let received = wire.receive(message, &mut self.out, &mut |frame| state.text(frame, context));
        received.map_err(|end| {
            if let WireEnd::Malformed(detail) = &end {
                context
                    .oracle
                    .violate(ViolationKind::Malformed, None, Some(self.me), 0, detail.clone());
            }
            DisconnectCause::Lost(end.to_string())
        })
    }

    /// Records a close code. Codes from 4200 to 4599 end the session for good.
    fn closed(&mut self, code: u16) {
        if (4200..4600).contains(&code) {
            self.state.forget_session();
            self.wire.forget();
        }
        let context = &mut *self.common.context.borrow_mut();
        context.recorder.error(&format!("closed {code}"));
    }
}
