//! Address faults: nodes restart with other addresses, as containers and virtual machines do.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::{FaultEffect, FaultError, FaultRun, bitten};

/// Longest time for nodes to connect again: dialling backs off, up to long delays for a node that was alone.
const MEET: Duration = Duration::from_secs(60);

// === impl FaultRun: addresses ===

impl FaultRun<'_> {
    /// Kills the nodes, and starts them with their other addresses.
    ///
    /// If all nodes move, `cluster.seeds` of each names the new addresses of the others. Otherwise the moved nodes still
    /// have the addresses of the others.
    pub(super) async fn change_addresses(&self) -> FaultEffect {
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
            // The second change restores the addresses, so that the run continues with a working cluster.
            for node in nodes {
                local.kill(*node).await?;
            }
            local.change_addresses(nodes, hint)?;
            for node in nodes {
                local.restart(*node).await?;
            }
            self.all_ready().await?;
            return Err(FaultError::Indeterminate(format!(
                "the nodes did not connect at their new addresses within {MEET:?}"
            )));
        }
        let mut there = 0;
        // Readiness alone is no proof: a node could still listen on its old address.
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
            Ok::<(), crate::cluster::Error>(())
        };
        matches!(tokio::time::timeout(patience, ready).await, Ok(Ok(())))
    }
}
