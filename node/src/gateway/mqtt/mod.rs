//! MQTT 3.1.1 and 5, over a TCP listener of its own (`mqtt.listen`) and over a WebSocket (`mqtt.path`).
//!
//! Path of a packet: the socket, or `upgrade` with the binary messages of a WebSocket → `handler` → `packet` (codec) →
//! `connect_plan` with `will_command` for the first packet, `translator` for the others → the session. Path of an event: the session's
//! outbound queue → `framing` → `translator` → `packet`.
//!
//! A client publishes commands (`publish_topic`, `published_command`) and subscribes to events (`event_filter`,
//! `filter_table`). Its messages are acknowledged in their order (`publish_queue`), its own acknowledgements confirm events
//! (`event_window`). `saved_state` travels with the session, and `last_will` is executed by it. All but the handler, the
//! framing and the will are pure.

#[cfg(feature = "testkit")]
pub(crate) mod codec_properties;
mod connect_plan;
mod connection;
mod event_filter;
mod event_window;
mod filter_table;
mod framing;
mod handler;
mod last_will;
mod packet;
mod pending_request;
mod publish_queue;
mod publish_topic;
mod published_command;
mod saved_state;
mod topic_aliases;
mod translator;
mod upgrade;
mod will_command;

use std::rc::Rc;

use super::tcp::TcpProtocol;
use crate::session::{ConnectionHandle, WorkerContext};

use connection::MqttConnection;
use framing::MqttFraming;
use handler::MqttHandler;

pub(super) use upgrade::routes;

/// Protocol of the TCP listener.
#[derive(Clone, Copy)]
pub(super) struct MqttOverTcp;

// === impl MqttOverTcp ===

impl TcpProtocol for MqttOverTcp {
    type Handler = MqttHandler;
    type Framing = MqttFraming;

    fn accept(&self, worker: &Rc<WorkerContext>, link: &Rc<ConnectionHandle>) -> (MqttHandler, MqttFraming) {
        let connection = MqttConnection::new();
        let framing = MqttFraming(connection.clone());
        (
            MqttHandler::new(worker.clone(), link.clone(), connection),
            framing,
        )
    }
}
