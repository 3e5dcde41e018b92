//! Client that sends messages over REST without end, to a node that runs during the whole test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{ask, eventually};

/// Sends one message after the other, each until it is acknowledged, until `stop`.
pub struct SendingClient {
    acked: Arc<AtomicU64>,
    enough: Arc<AtomicU64>,
    talking: JoinHandle<Vec<(String, u64)>>,
}

// === impl SendingClient ===

impl SendingClient {
    /// Begins to send. The messages have the keys `<prefix>0`, `<prefix>1` and so on.
    pub fn start(addr: SocketAddr, user: &'static str, c: &str, prefix: &'static str) -> SendingClient {
        let (acked, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
        let (count, most) = (acked.clone(), enough.clone());
        let path = format!("/v1/conversations/{c}/messages");
        let talking = tokio::spawn(async move {
            let mut seqs = Vec::new();
            while (seqs.len() as u64) < most.load(Ordering::SeqCst) {
                let cid = format!("{prefix}{}", seqs.len());
                let body = json!({ "b": { "text": cid } });
                let (_, ack) = ask(addr, user, ("POST", &path, &cid), body).await;
                seqs.push((cid, seq_of(&ack)));
                count.fetch_add(1, Ordering::SeqCst);
                // Slow enough for the replay buffers of absent clients to hold the messages.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            seqs
        });
        SendingClient {
            acked,
            enough,
            talking,
        }
    }

    /// Waits until this number of further messages is acknowledged.
    pub async fn says(&self, more: u64) {
        let least = self.acked.load(Ordering::SeqCst) + more;
        eventually("messages are acknowledged", async || {
            self.acked.load(Ordering::SeqCst) >= least
        })
        .await;
    }

    /// Ends after the message in flight, and returns key and position of every message.
    pub async fn stop(self) -> Vec<(String, u64)> {
        self.enough.store(0, Ordering::SeqCst);
        self.talking.await.unwrap()
    }
}

fn seq_of(ack: &Value) -> u64 {
    ack["s"].as_u64().unwrap_or_else(|| panic!("{ack}"))
}
