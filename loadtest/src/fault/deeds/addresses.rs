//! Nodes that come back with other addresses, as containers and virtual machines do.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::{Deed, Done, Trouble, bitten};

/// How long nodes may take to meet again: the dialling backs off, and a node that was alone for long is patient.
const MEET: Duration = Duration::from_secs(60);

// === impl Deed: addresses ===

impl Deed<'_> {
    /// Kills the nodes, and starts them with their other addresses. Where all are moved, each is told of the others by
    /// `cluster.join`; where some stay, those that come back know them from before.
    pub(super) async fn change_addresses(&self) -> Done {
        let (local, nodes) = (self.local, self.nodes);
        let hint = nodes.len() == self.all().len();
        for node in nodes {
            local.kill(*node).await?;
        }
        local.change_addresses(nodes, hint)?;
        self.hold().await;
        for node in nodes {
            local.restart(*node).await?;
        }
        let began = Instant::now();
        let met = self.until_ready(MEET).await;
        let took = began.elapsed().as_secs_f64();
        if !met {
            // The run goes on where they know each other.
            for node in nodes {
                local.kill(*node).await?;
            }
            local.change_addresses(nodes, hint)?;
            for node in nodes {
                local.restart(*node).await?;
            }
            self.all_ready().await?;
            return Err(Trouble::Indeterminate(format!(
                "the nodes did not meet at their new addresses within {MEET:?}"
            )));
        }
        let mut there = 0;
        for node in nodes {
            there += usize::from(TcpStream::connect(local.listens(*node)).await.is_ok());
        }
        bitten(
            there == nodes.len(),
            &format!("{there} nodes listened at new addresses, and all were ready after {took:.1} s"),
        )
    }

    async fn until_ready(&self, patience: Duration) -> bool {
        let all = self.all();
        let ready = async {
            for node in all {
                self.local.ready(node).await?;
            }
            Ok::<(), crate::local::Error>(())
        };
        matches!(tokio::time::timeout(patience, ready).await, Ok(Ok(())))
    }
}
