//! Somebody who talks all the time, over REST, to a node that lives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{ask, eventually};

/// Sends one message after the other until it is told to stop; each until it is acknowledged.
pub(crate) struct SendingClient {
    acked: Arc<AtomicU64>,
    enough: Arc<AtomicU64>,
    talking: JoinHandle<Vec<(String, u64)>>,
}

// === impl SendingClient ===

impl SendingClient {
    /// Begins. The messages are called `<prefix>0`, `<prefix>1` and so on.
    pub(crate) fn start(
        addr: SocketAddr,
        user: &'static str,
        c: &str,
        prefix: &'static str,
    ) -> SendingClient {
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
                // A person of flesh and blood is slower: what waits for somebody who is away fits.
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

    /// Waits until so many more messages were acknowledged.
    pub(crate) async fn says(&self, more: u64) {
        let least = self.acked.load(Ordering::SeqCst) + more;
        eventually("messages are acknowledged", async || {
            (self.acked.load(Ordering::SeqCst) >= least).then_some(())
        })
        .await;
    }

    /// Ends after the message under way, and returns every message's key and place.
    pub(crate) async fn stop(self) -> Vec<(String, u64)> {
        self.enough.store(0, Ordering::SeqCst);
        self.talking.await.unwrap()
    }
}

fn seq_of(ack: &Value) -> u64 {
    ack["s"].as_u64().unwrap_or_else(|| panic!("{ack}"))
}
