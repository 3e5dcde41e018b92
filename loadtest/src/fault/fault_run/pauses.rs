//! Pause faults: an owner is stopped for longer than its lease, and is cut off meanwhile.
//!
//! After it resumes it must not answer a read with a state older than what the others have acknowledged.

use std::cell::Cell;
use std::time::Duration;

use super::{FaultEffect, FaultError, FaultRun, bitten, skipped};
use crate::cluster::ProcessSignal;
use crate::fault::rest_reader::RestReader;
use crate::network_proxy::NetworkFault;
use crate::spec::FaultKind;

/// Duration of the stop: longer than a lease, and than an election of the others.
const PAUSE: Duration = Duration::from_millis(1100);
/// Time in which messages in flight arrive after the stop; too short for an election.
const IN_FLIGHT: Duration = Duration::from_millis(50);
/// Number of readers, each of which sends its next read after the previous response.
const READERS: usize = 4;

// === impl FaultRun: pauses ===

impl FaultRun<'_> {
    /// Stops the node, cuts its links, resumes it, and heals the links after the hold. Readers read from it all the
    /// time.
    pub(super) async fn pause_cut(&self) -> FaultEffect {
        let [node] = *self.nodes else {
            return Err(FaultError::Skipped("applies to one node".to_owned()));
        };
        let answered = Cell::new(0);
        let readers: Vec<RestReader> = self.readers(node)?;
        let reading = readers
            .iter()
            .map(|reader| reader.run(self.context, self.token, &answered));
        let reading = futures::future::join_all(reading);
        tokio::select! {
            done = self.pause_and_cut(node, &answered) => done,
            never = reading => Err(FaultError::Indeterminate(format!("{} readers ended", never.len()))),
        }
    }

    fn readers(&self, node: u64) -> Result<Vec<RestReader>, FaultError> {
        let Some(at) = self.local.node(node) else {
            return Ok(Vec::new());
        };
        let (conversation, conv) = self.conversation()?;
        let reader = |number| RestReader {
            node: at.http.clone(),
            conversation: conversation.clone(),
            conv,
            member: self.creator,
            device: format!("pause-{}-{number}", self.number),
            pause: Duration::from_millis(2),
        };
        Ok((0..READERS).map(reader).collect())
    }

    async fn pause_and_cut(&self, node: u64, answered: &Cell<u64>) -> FaultEffect {
        let (local, links) = (self.local, self.wires()?);
        let ways = FaultKind::Cut.ways(false, self.nodes, &self.all());
        // The readers must be connected before the stop: a connect to a stopped node would only block.
        self.until(async |_: &Self| (answered.get() > 0).then_some(()))
            .await
            .ok_or_else(|| FaultError::Indeterminate(format!("node {node} answered no query")))?;
        local.hit(node, ProcessSignal::Stop).map_err(skipped)?;
        // Confirmations sent before the stop stay in the node's sockets; later commits of the others are cut off. The
        // node resumes with this mixture, the most dangerous one.
        tokio::time::sleep(IN_FLIGHT).await;
        let on = links.install(ways, NetworkFault::Cut);
        tokio::time::sleep(PAUSE - IN_FLIGHT).await;
        // Recorded right before the node resumes, so that only responses after the stop are counted.
        let stood = local.is_stopped(node);
        let before = answered.get();
        local.hit(node, ProcessSignal::Continue)?;
        self.hold().await;
        let (touched, read) = (on.touched(), answered.get() - before);
        drop(on);
        self.all_ready().await?;
        bitten(
            stood && touched > 0,
            &format!(
                "it was stopped for {PAUSE:?}, the network proxy then affected its connections {touched} times, and it answered {read} queries"
            ),
        )
    }
}
