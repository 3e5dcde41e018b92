//! Packets for one client, from the threads of all others to that of its connection.
//!
//! Queue: bounded by what the sessions of the tree hold; the tree runs in tests only. It has no metric.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Mailbox of one connection.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    content: Mutex<MailboxContent>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct MailboxContent {
    bytes: BytesMut,
    is_closed: bool,
}

// === impl Mailbox ===

impl Mailbox {
    /// Appends packets, unless the connection is closing.
    pub(super) fn write<R>(&self, write: impl FnOnce(&mut BytesMut) -> R) -> Option<R> {
        let mut content = self.content.lock();
        if content.is_closed {
            return None;
        }
        let written = write(&mut content.bytes);
        drop(content);
        self.filled.notify_one();
        Some(written)
    }

    /// Ends the connection behind the packets so far.
    pub(super) fn close(&self) {
        self.content.lock().is_closed = true;
        self.filled.notify_one();
    }

    /// Drains the packets. The second value is true if the connection ends behind them.
    pub(super) fn take(&self) -> (Bytes, bool) {
        let mut content = self.content.lock();
        (content.bytes.split().freeze(), content.is_closed)
    }

    pub(super) fn is_filled(&self) -> bool {
        let content = self.content.lock();
        !content.bytes.is_empty() || content.is_closed
    }

    /// Waits until there is something to take.
    pub(super) async fn filled(&self) {
        while !self.is_filled() {
            self.filled.notified().await;
        }
    }
}
