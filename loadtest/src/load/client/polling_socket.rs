//! Engine connection by long polling. Its requests go to the nodes in turn, as behind a proxy without stickiness: the node
//! that holds the connection gets most of them from the others.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::Stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::http;
use crate::load::SharedRun;
use crate::wire::POLLING_PATH;

/// Packets of one engine connection.
pub(super) struct PollingSocket {
    /// Packets of the last payload that were not read yet.
    packets: VecDeque<Message>,
    /// Next payload, or the reason for the end. One waits at most, so that a client that reads slowly polls slowly.
    payloads: mpsc::Receiver<io::Result<String>>,
    /// Packets to be posted. `None`: the client has ended the connection.
    posts: Option<mpsc::UnboundedSender<String>>,
    task: JoinHandle<()>,
}

/// Requests of one engine connection.
struct PollingRequests {
    common: Rc<SharedRun>,
    /// Path with the id of the connection.
    path: String,
    max_payload: usize,
    /// Number of requests so far.
    count: Cell<usize>,
}

/// Handshake of the engine.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PollingOpen {
    sid: String,
    max_payload: usize,
}

/// Separator of the packets of a payload.
const SEPARATOR: char = '\x1e';
/// Packet with which the client ends the connection.
const CLOSE: &str = "1";

// === impl PollingSocket ===

impl PollingSocket {
    /// Opens a connection that `node` holds.
    pub(super) async fn open(common: Rc<SharedRun>, node: &str) -> io::Result<PollingSocket> {
        let stream = common.dialer.connect(node).await?;
        let handshake = http::request(stream, node, ("GET", POLLING_PATH), "").await?;
        let packet = accepted(handshake)?;
        let open = packet.strip_prefix('0').map(serde_json::from_str::<PollingOpen>);
        let Some(Ok(PollingOpen { sid, max_payload })) = open else {
            return Err(io::Error::other(format!("no handshake of the engine: {packet}")));
        };
        let requests = PollingRequests {
            common,
            path: format!("{POLLING_PATH}&sid={sid}"),
            max_payload,
            count: Cell::new(0),
        };
        let (posts, queued) = mpsc::unbounded_channel();
        let (sender, payloads) = mpsc::channel(1);
        Ok(PollingSocket {
            packets: VecDeque::from([Message::text(packet)]),
            payloads,
            posts: Some(posts),
            task: tokio::task::spawn_local(requests.run(queued, sender)),
        })
    }

    /// Queues a packet, which is posted behind the earlier ones.
    pub(super) fn send(&self, message: Message) -> Result<(), WsError> {
        let posts = self.posts.as_ref().ok_or(WsError::AlreadyClosed)?;
        // An error means that the task has ended, and its reason is the next item of the stream.
        let _over = posts.send(message.into_text()?.to_string());
        Ok(())
    }

    /// Ends the connection, behind the queued packets.
    pub(super) async fn close(&mut self) {
        if let Some(posts) = self.posts.take() {
            let _over = posts.send(CLOSE.to_owned());
        }
        let _over = (&mut self.task).await;
    }
}

impl Stream for PollingSocket {
    type Item = Result<Message, WsError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while this.packets.is_empty() {
            match std::task::ready!(this.payloads.poll_recv(cx)) {
                Some(Ok(payload)) => this.packets.extend(payload.split(SEPARATOR).map(Message::text)),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(this.packets.pop_front().map(Ok))
    }
}

impl Drop for PollingSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl PollingRequests ===

impl PollingRequests {
    /// Polls and posts until a request fails, or the client has ended the connection.
    async fn run(self, queued: mpsc::UnboundedReceiver<String>, payloads: mpsc::Sender<io::Result<String>>) {
        let ended = tokio::select! {
            ended = self.poll(&payloads) => ended,
            ended = self.post(queued) => ended,
        };
        if let Err(error) = ended {
            // An error means that the client has dropped the connection.
            let _over = payloads.send(Err(error)).await;
        }
    }

    async fn poll(&self, payloads: &mpsc::Sender<io::Result<String>>) -> io::Result<()> {
        // Reserved before the poll: a payload that nobody reads yet is not fetched.
        while let Ok(room) = payloads.reserve().await {
            room.send(Ok(self.request("GET", "").await?));
        }
        Ok(())
    }

    async fn post(&self, mut queued: mpsc::UnboundedReceiver<String>) -> io::Result<()> {
        let mut next = None;
        while let Some(mut payload) = match next.take() {
            Some(packet) => Some(packet),
            None => queued.recv().await,
        } {
            while let Ok(packet) = queued.try_recv() {
                if payload.len() + 1 + packet.len() > self.max_payload {
                    next = Some(packet);
                    break;
                }
                payload.push(SEPARATOR);
                payload.push_str(&packet);
            }
            self.request("POST", &payload).await?;
        }
        Ok(())
    }

    /// Sends a request to the next node, and returns the body of its response.
    async fn request(&self, method: &str, body: &str) -> io::Result<String> {
        let count = self.count.get();
        self.count.set(count + 1);
        let node = {
            let nodes = self.common.nodes.borrow();
            let node = nodes.get(count % nodes.len().max(1)).cloned();
            node.ok_or_else(|| io::Error::other("no node is permitted"))?
        };
        // The text at the end makes each request another one, for caches and for nodes that forward it.
        let path = format!("{}&t={count}", self.path);
        let stream = self.common.dialer.connect(&node).await?;
        accepted(http::request(stream, &node, (method, &path), body).await?)
    }
}

/// Returns the body of a response that accepts the request.
fn accepted((status, body): (u16, String)) -> io::Result<String> {
    if status == 200 {
        Ok(body)
    } else {
        Err(io::Error::other(format!("the engine answered {status}: {body}")))
    }
}
