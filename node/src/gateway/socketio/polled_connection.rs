//! Engine connection that polls, until a WebSocket replaces the polls. It lives on one thread as two tasks:
//! `polled_input` for the packets of the client, and `polled_output` for those to it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::engine_entry::EngineCalls;
use super::engine_id::EngineId;
use super::engine_packets::{EngineOutput, PolledPackets};
use super::engine_reader::{EngineInput, EngineReader};
use super::engine_table::EngineTable;
use super::polled_input::PolledInput;
use super::polled_output::PolledOutput;
use crate::gateway::unauthenticated::UnauthenticatedGuard;
use crate::gateway::websocket::Meter;
use crate::session::{CloseSocket, ConnectionHandle};
use crate::telemetry::metrics::ServerMetrics;

/// Socket of a connection without a socket: ends its tasks.
pub(super) struct PolledSocket {
    is_identified: Arc<AtomicBool>,
    /// Counts the client as unauthenticated.
    guard: RefCell<Option<UnauthenticatedGuard>>,
    pub(super) cut: Notify,
}

// === impl PolledSocket ===

impl PolledSocket {
    pub(super) fn new(calls: &EngineCalls, guard: UnauthenticatedGuard) -> Rc<PolledSocket> {
        Rc::new(PolledSocket {
            is_identified: calls.is_identified.clone(),
            guard: RefCell::new(Some(guard)),
            cut: Notify::new(),
        })
    }

    /// Returns the handle by which a session closes the connection.
    pub(super) fn handle(self: &Rc<Self>) -> Weak<dyn CloseSocket> {
        let handle: Rc<dyn CloseSocket> = self.clone();
        Rc::downgrade(&handle)
    }
}

impl CloseSocket for PolledSocket {
    fn cut(&self) {
        self.cut.notify_one();
    }

    fn identified(&self) {
        self.is_identified.store(true, Ordering::Relaxed);
        self.guard.take();
    }
}

/// Starts the tasks of a connection. They end with it. `patience`: time within which the client polls again.
pub(super) fn start<I: EngineInput, O: EngineOutput>(
    (table, id): (EngineTable, EngineId),
    calls: EngineCalls,
    (socket, link): (Rc<PolledSocket>, Rc<ConnectionHandle>),
    (reader, packets): (EngineReader<I>, PolledPackets<O>),
    (meter, metrics): (Meter, ServerMetrics),
    patience: Duration,
) {
    let EngineCalls { output, input, .. } = calls;
    let lost = Rc::new(Notify::new());
    let read = PolledInput {
        link: link.clone(),
        reader,
        meter,
        lost: lost.clone(),
    };
    let write = PolledOutput::new(link, packets, metrics, lost, patience);
    // Detached: both tasks end with the session, which ends a client that is silent for too long.
    actix_web::rt::spawn(read.run(input));
    actix_web::rt::spawn(async move {
        write.run(output, &socket).await;
        table.remove(id);
    });
}
