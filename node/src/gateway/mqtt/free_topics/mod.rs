//! Topic tree in memory, on which the suites for brokers run: those of Eclipse Paho and of mosquitto. In builds with the
//! feature `conformance`, at `mqtt.listen` with `tuning.mqtt_free_topics`, and on nodes with development tokens only.
//!
//! It has what the topics of the chat exclude: free topics, wildcards, retained messages, shared subscriptions, wills of
//! every kind, and the highest quality in both directions. It takes every client, and nothing outlives the process. The
//! listener, the stream of packets, the codec and the topic aliases are those of the chat.
//!
//! Path of a packet: `handler` → the stream and the codec → `broker`, one for all threads → the `mailbox` of each receiver
//! → its own `handler`.

mod broker;
mod broker_connect;
mod client_connection;
mod client_session;
mod handler;
mod mailbox;
mod outgoing_queue;
mod topic_filter;
mod topic_message;

use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;

use self::broker::Broker;
use self::handler::{TopicsFraming, TopicsHandler};
use crate::gateway::tcp::TcpProtocol;
use crate::session::{ConnectionHandle, WorkerContext};

/// Protocol of the TCP listener: the topic tree instead of the chat.
#[derive(Clone, Default)]
pub(in crate::gateway) struct FreeTopics {
    broker: Arc<Mutex<Broker>>,
}

// === impl FreeTopics ===

impl TcpProtocol for FreeTopics {
    type Handler = TopicsHandler;
    type Framing = TopicsFraming;

    fn accept(
        &self,
        _worker: &Rc<WorkerContext>,
        link: &Rc<ConnectionHandle>,
    ) -> (TopicsHandler, TopicsFraming) {
        (TopicsHandler::new(link, self.broker.clone()), TopicsFraming)
    }
}

#[cfg(test)]
mod tests;
