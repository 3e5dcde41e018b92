//! State of one worker thread that the services of all its listeners share.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use actix_web::rt::net::TcpStream;

use super::connection::{Io, ThreadConnections};
use super::server::GatewayDeps;
use super::unserved::Unserved;
use crate::session::WorkerContext;

thread_local! {
    /// State of this thread while one of its services exists.
    static CURRENT: RefCell<Weak<WorkerThread>> = const { RefCell::new(Weak::new()) };
}

/// State of one worker thread.
pub(super) struct WorkerThread {
    pub(super) worker: Rc<WorkerContext>,
    parts: GatewayDeps,
    connections: ThreadConnections,
}

// === impl WorkerThread ===

impl WorkerThread {
    /// Returns the state of this thread. The first service of the thread creates it.
    pub(super) fn current(parts: &GatewayDeps) -> Rc<WorkerThread> {
        CURRENT.with_borrow_mut(|current| {
            current.upgrade().unwrap_or_else(|| {
                let thread = Rc::new(WorkerThread::new(parts.clone()));
                *current = Rc::downgrade(&thread);
                thread
            })
        })
    }

    fn new(parts: GatewayDeps) -> WorkerThread {
        let worker = WorkerContext::start(
            parts.config.clone(),
            parts.auth.clone(),
            parts.conversations.clone(),
            (
                parts.relay.hub(),
                parts.presence.local_presence(),
                parts.sessions.clone(),
                parts.rates.clone(),
            ),
            parts.metrics.clone(),
            format!("n{}", parts.cluster.node_id()),
            parts.admission.clone(),
        );
        let threads = parts.config.threads().clients;
        // Connections of one address are spread over the threads, which count separately.
        let per_address = parts.config.server.unauthenticated_per_address.div_ceil(threads);
        let connections = Unserved::new(parts.limiter.per_worker(threads), per_address);
        WorkerThread {
            worker,
            parts,
            connections: Rc::new(RefCell::new(connections)),
        }
    }

    /// Wraps an accepted socket of any listener.
    pub(super) fn accept(&self, stream: TcpStream) -> Io {
        Io::accepted(stream, &self.parts.config, &self.parts.limiter, &self.connections)
    }
}
