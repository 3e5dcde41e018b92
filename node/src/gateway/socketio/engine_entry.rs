//! Engine connection that polls, as seen by its requests: the calls to its two tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::engine_packet::{EnginePacket, EnginePacketError};
use super::engine_query::EngineRefusal;
use crate::forwarding::POST_STEP;
use crate::session::messages::Disconnect;

/// Bound of the queued calls of one connection. One request of each kind is served at a time.
const CALLS: usize = 4;

/// Connection that polls, as seen by its requests.
#[derive(Clone)]
pub(super) struct EngineEntry {
    output: mpsc::Sender<OutputCall>,
    input: mpsc::Sender<InputCall>,
    /// True while a payload of a request to this node is served.
    is_posting: Arc<AtomicBool>,
    /// Has no permit while the packets of a forwarded payload are not accepted.
    forwarded: Arc<Semaphore>,
    /// True while an upgrade is in progress, and after it.
    has_upgrade: Arc<AtomicBool>,
    is_identified: Arc<AtomicBool>,
    /// Result of a forwarded payload whose packets were not accepted yet when its node last asked.
    pending_post: Arc<Mutex<Option<oneshot::Receiver<PostResult>>>>,
}

/// Ends of the channels for the two tasks of a connection.
pub(super) struct EngineCalls {
    pub(super) output: mpsc::Receiver<OutputCall>,
    pub(super) input: mpsc::Receiver<InputCall>,
    /// Set once the client is authenticated.
    pub(super) is_identified: Arc<AtomicBool>,
}

/// Call to the output of a connection.
pub(super) enum OutputCall {
    /// Answers with the next payload. A second poll at once gets no answer, and ends the connection.
    Poll(EnginePoll, oneshot::Sender<Bytes>),
    /// Announces an upgrade, during which no poll waits for long.
    Probe(oneshot::Sender<()>),
    /// Ends an upgrade that did not come about.
    EndProbe,
    /// Sends all payloads to this channel from now on.
    Upgrade(mpsc::Sender<Bytes>),
}

/// Poll of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnginePoll {
    /// Text that the client makes anew for each poll; `None`: it makes none.
    pub(super) id: Option<String>,
    /// True if another node forwards the poll, and its answer may be lost with that node.
    pub(super) is_forwarded: bool,
}

/// Call to the input of a connection.
pub(super) enum InputCall {
    Post(PostCall),
    /// Packets of the WebSocket that replaced the polls.
    Packets(Vec<SocketMessage>, oneshot::Sender<()>),
    Disconnect(Disconnect),
}

/// Payload of a request. Answered once its packets are accepted.
pub(super) struct PostCall {
    pub(super) payload: String,
    result: oneshot::Sender<PostResult>,
    _forwarded: Option<OwnedSemaphorePermit>,
}

/// Message of a WebSocket.
#[derive(Debug)]
pub(super) enum SocketMessage {
    Text(String),
    Binary(Bytes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostResult {
    Accepted,
    /// The connection is closed.
    Refused,
}

/// Marks that a request of one kind is being served.
struct ServedRequest(Arc<AtomicBool>);

// === impl EngineEntry ===

impl EngineEntry {
    pub(super) fn new() -> (EngineEntry, EngineCalls) {
        let (output, output_calls) = mpsc::channel(CALLS);
        let (input, input_calls) = mpsc::channel(CALLS);
        let is_identified = Arc::<AtomicBool>::default();
        let entry = EngineEntry {
            output,
            input,
            is_posting: Arc::default(),
            forwarded: Arc::new(Semaphore::new(1)),
            has_upgrade: Arc::default(),
            is_identified: is_identified.clone(),
            pending_post: Arc::default(),
        };
        let calls = EngineCalls {
            output: output_calls,
            input: input_calls,
            is_identified,
        };
        (entry, calls)
    }

    /// Returns true once the client is authenticated.
    pub(super) fn is_identified(&self) -> bool {
        self.is_identified.load(Ordering::Relaxed)
    }

    /// Waits for the next payload.
    ///
    /// # Errors
    /// A second poll at once, which ends the connection, and a connection that has ended or was upgraded.
    pub(super) async fn poll(&self, request: EnginePoll) -> Result<Bytes, EngineRefusal> {
        let (sender, payload) = oneshot::channel();
        let called = self.output.send(OutputCall::Poll(request, sender)).await;
        called.map_err(|_| EngineRefusal::UnknownId)?;
        payload.await.map_err(|_| EngineRefusal::BadRequest)
    }

    /// Hands over a payload, and waits until its packets are accepted.
    ///
    /// # Errors
    /// A second request at once and a malformed payload, which both end the connection, and a connection that has ended
    /// or was upgraded.
    pub(super) async fn post(&self, payload: String) -> Result<(), EngineRefusal> {
        let Some(_served) = ServedRequest::begin(&self.is_posting) else {
            self.end(Disconnect::Lost).await;
            return Err(EngineRefusal::BadRequest);
        };
        accepted(&mut self.hand_over(payload, None).await?).await
    }

    /// Hands over a payload that another node forwards. Returns false if its packets are not accepted yet after
    /// `POST_STEP`: that node asks again by [`await_post`](Self::await_post).
    ///
    /// # Errors
    /// Those of [`post`](Self::post). A second payload waits for the first one instead, whose node may have died.
    pub(super) async fn forwarded_post(&self, payload: String) -> Result<bool, EngineRefusal> {
        let deadline = Instant::now() + POST_STEP;
        let turn = tokio::time::timeout_at(deadline, self.forwarded.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            self.end(Disconnect::Lost).await;
            return Err(EngineRefusal::BadRequest);
        };
        let post = self.hand_over(payload, Some(turn)).await?;
        self.accepted_by(deadline, post).await
    }

    /// Waits for the payload that another node has forwarded. Returns false as `forwarded_post` does.
    ///
    /// # Errors
    /// Those of [`post`](Self::post). No payload is pending if nobody has forwarded one.
    pub(super) async fn await_post(&self) -> Result<bool, EngineRefusal> {
        let post = self.pending_post.lock().take();
        let post = post.ok_or(EngineRefusal::BadRequest)?;
        self.accepted_by(Instant::now() + POST_STEP, post).await
    }

    async fn accepted_by(
        &self,
        deadline: Instant,
        mut post: oneshot::Receiver<PostResult>,
    ) -> Result<bool, EngineRefusal> {
        match tokio::time::timeout_at(deadline, accepted(&mut post)).await {
            Ok(accepted) => accepted.map(|()| true),
            Err(_) => {
                *self.pending_post.lock() = Some(post);
                Ok(false)
            }
        }
    }

    async fn hand_over(
        &self,
        payload: String,
        forwarded: Option<OwnedSemaphorePermit>,
    ) -> Result<oneshot::Receiver<PostResult>, EngineRefusal> {
        // The output takes no calls after an upgrade: its WebSocket brings the packets.
        if self.output.is_closed() {
            return Err(EngineRefusal::UnknownId);
        }
        let (sender, result) = oneshot::channel();
        let call = PostCall {
            payload,
            result: sender,
            _forwarded: forwarded,
        };
        let called = self.input.send(InputCall::Post(call)).await;
        called.map_err(|_| EngineRefusal::UnknownId)?;
        Ok(result)
    }

    /// Returns true if a WebSocket replaces the polls already, or is about to.
    pub(super) fn has_upgrade(&self) -> bool {
        self.has_upgrade.load(Ordering::Acquire)
    }

    /// Begins an upgrade. Returns false if another one has begun, or the connection has ended.
    pub(super) async fn probe(&self) -> bool {
        if self.has_upgrade.swap(true, Ordering::AcqRel) {
            return false;
        }
        let (sender, begun) = oneshot::channel();
        let called = self.output.send(OutputCall::Probe(sender)).await;
        called.is_ok() && begun.await.is_ok()
    }

    pub(super) async fn end_probe(&self) {
        // An error means that the connection has ended.
        let _over = self.output.send(OutputCall::EndProbe).await;
        self.has_upgrade.store(false, Ordering::Release);
    }

    /// Completes an upgrade. Returns the payloads of the connection from now on.
    pub(super) async fn upgrade(&self) -> Option<mpsc::Receiver<Bytes>> {
        // One payload at a time: further packets stay in the outbound queue, where the slow-consumer policy applies.
        let (sender, payloads) = mpsc::channel(1);
        let called = self.output.send(OutputCall::Upgrade(sender)).await;
        called.is_ok().then_some(payloads)
    }

    /// Hands over messages, and waits until they are accepted. Returns false if the connection has ended.
    pub(super) async fn packets(&self, messages: Vec<SocketMessage>) -> bool {
        let (sender, accepted) = oneshot::channel();
        let called = self.input.send(InputCall::Packets(messages, sender)).await;
        called.is_ok() && accepted.await.is_ok()
    }

    /// Ends the connection from the client's side.
    pub(super) async fn end(&self, disconnect: Disconnect) {
        // The waiting poll gets the close packet. An error means that the connection has ended.
        let _over = self.input.send(InputCall::Disconnect(disconnect)).await;
    }
}

// === impl SocketMessage ===

impl SocketMessage {
    /// Reads the packet that the message is.
    ///
    /// # Errors
    /// Text that is no packet.
    pub(super) fn packet(&self) -> Result<EnginePacket<'_>, EnginePacketError> {
        match self {
            SocketMessage::Text(text) => EnginePacket::parse(text),
            SocketMessage::Binary(bytes) => Ok(EnginePacket::Binary((&bytes[..]).into())),
        }
    }
}

// === impl EnginePoll ===

impl EnginePoll {
    /// Returns true if a proxy repeats the poll with this id.
    pub(super) fn repeats(&self, id: Option<&str>) -> bool {
        self.id.is_some() && self.id.as_deref() == id
    }
}

// === impl PostCall ===

impl PostCall {
    pub(super) fn answer(self, result: PostResult) {
        // An error means that nobody waits any more.
        let _cancelled = self.result.send(result);
    }
}

/// Waits until the packets of a payload are accepted.
///
/// # Errors
/// A payload that was refused, and a connection that has ended.
async fn accepted(post: &mut oneshot::Receiver<PostResult>) -> Result<(), EngineRefusal> {
    match post.await {
        Ok(PostResult::Accepted) => Ok(()),
        Ok(PostResult::Refused) | Err(_) => Err(EngineRefusal::BadRequest),
    }
}

// === impl ServedRequest ===

impl ServedRequest {
    /// Returns `None` while another request of the kind is served.
    fn begin(is_served: &Arc<AtomicBool>) -> Option<ServedRequest> {
        let was_served = is_served.swap(true, Ordering::AcqRel);
        (!was_served).then(|| ServedRequest(is_served.clone()))
    }
}

impl Drop for ServedRequest {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next_post(calls: &mut EngineCalls) -> PostCall {
        match calls.input.recv().await {
            Some(InputCall::Post(call)) => call,
            _ => panic!("a payload is handed over"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn payload_behind_one_whose_node_has_died_is_accepted() {
        let (entry, mut calls) = EngineEntry::new();
        let first = entry.forwarded_post("first".to_owned()).await;
        assert_eq!(first, Ok(false), "not accepted in time");
        // Its node does not ask again.
        let second = tokio::spawn({
            let entry = entry.clone();
            async move { entry.forwarded_post("second".to_owned()).await }
        });
        for payload in ["first", "second"] {
            let call = next_post(&mut calls).await;
            assert_eq!(call.payload, payload);
            call.answer(PostResult::Accepted);
        }
        assert_eq!(second.await.unwrap(), Ok(true));
    }

    #[tokio::test(start_paused = true)]
    async fn payload_behind_one_never_accepted_ends_the_connection() {
        let (entry, mut calls) = EngineEntry::new();
        assert_eq!(entry.forwarded_post("first".to_owned()).await, Ok(false));
        let second = entry.forwarded_post("second".to_owned()).await;
        assert_eq!(second, Err(EngineRefusal::BadRequest));
        next_post(&mut calls).await.answer(PostResult::Accepted);
        let end = calls.input.recv().await;
        assert!(matches!(end, Some(InputCall::Disconnect(Disconnect::Lost))));
    }

    #[tokio::test(start_paused = true)]
    async fn node_that_asks_again_gets_the_result() {
        let (entry, mut calls) = EngineEntry::new();
        assert_eq!(entry.forwarded_post("first".to_owned()).await, Ok(false));
        assert_eq!(entry.await_post().await, Ok(false));
        next_post(&mut calls).await.answer(PostResult::Accepted);
        assert_eq!(entry.await_post().await, Ok(true));
        assert_eq!(entry.await_post().await, Err(EngineRefusal::BadRequest));
    }
}
