//! Three processes, and clients of them.

#[path = "../../gateway/support/client.rs"]
mod client;
#[path = "../../process/mod.rs"]
mod process;
#[path = "../../receiver/mod.rs"]
pub(crate) mod receiver;
#[path = "../../gateway/support/stream.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of the gateway, which need all of it"
)]
mod stream;

mod cluster;
mod http;
mod receiving_client;
mod sending_client;

pub(crate) use client::{Client, Incoming};
pub(crate) use cluster::Cluster;
pub(crate) use http::{ask, chunks, exchange, get, temporary};
pub(crate) use receiving_client::{ReceivingClient, TestTransport};
pub(crate) use sending_client::SendingClient;
pub(crate) use stream::Stream;

use std::time::Duration;

/// Long enough for a machine that is busy with other things; no test waits for it in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until it is there.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .unwrap_or_else(|_| panic!("waited in vain until {what}"))
}
