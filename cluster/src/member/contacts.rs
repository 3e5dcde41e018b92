//! Contact loop: calls the [hints](crate::membership::PeerContacts) at members' addresses while a member is unreachable.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::NodeId;
use crate::log_throttle::LogThrottle;
use crate::member::Member;
use crate::membership::Introduction;
use crate::shard::MemberMethod;
use crate::transport::Transport;

/// Pause between two rounds of contacting the hints while a member is unreachable. A round costs one connection per
/// hint.
const ROUND: Duration = Duration::from_secs(2);
/// Time limit of contacting one address.
const VISIT: Duration = Duration::from_secs(2);
/// Time after which an unreachable member is logged.
const IN_VAIN: Duration = Duration::from_secs(30);
/// Minimum time between two such log lines.
const LOG_EVERY: Duration = Duration::from_secs(60);
// === impl Member ===

impl Member {
    /// Returns the identity of this node, for a node that contacts its address.
    pub(crate) fn introduction(&self) -> Introduction {
        let dialled = self.contacts.dialled(&self.map());
        Introduction {
            cluster: self.cluster(),
            node: self.id(),
            addr: self.config.advertise.clone(),
            others: dialled
                .into_iter()
                .filter(|(node, _)| *node != self.id())
                .map(|(_, addr)| addr)
                .collect(),
        }
    }

    /// Updates the dialled address of a member from its own report.
    pub(crate) fn named_address(self: &Arc<Member>, member: NodeId, addr: &str) {
        if member != self.id() && self.contacts.name(member, addr, &self.map()) {
            tracing::info!(%member, addr, "address of a member differs from the cluster map");
            self.dial_peers();
        }
    }

    fn reaches_all(&self) -> bool {
        self.others().into_iter().all(|peer| self.health.is_up(peer))
    }

    async fn visit(self: &Arc<Member>, addr: &str) {
        let Some(met) = introduction_of(addr, self.transport().as_ref(), VISIT).await else {
            return;
        };
        // An address can belong to a node of another cluster by now.
        if met.cluster == self.cluster() {
            // The node's own address is dialled, the others are hints: no node can redirect the traffic of another.
            self.named_address(met.node, &met.addr);
            self.contacts.hint(met.others);
        }
    }
}

/// Asks the node at an address for its identity; `None` without a valid response within `deadline`.
pub(super) async fn introduction_of(
    addr: &str,
    transport: &dyn Transport,
    deadline: Duration,
) -> Option<Introduction> {
    let answer = transport.call_addr(addr, MemberMethod::GetIdentity as u16, Bytes::new(), deadline);
    postcard::from_bytes(&answer.await.ok()?).ok()
}

/// Contacts the hints while a member is unreachable, until the node stops.
pub(crate) async fn run(node: Arc<Member>) {
    let in_vain = LogThrottle::every(LOG_EVERY);
    loop {
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = node.stopping().cancelled() => return,
        }
        if node.removed() {
            return;
        }
        if node.reaches_all() {
            continue;
        }
        let hints = node
            .contacts
            .all_hints(&node.map(), &node.config.seeds, &node.config.advertise);
        let visits = hints.iter().map(|addr| node.visit(addr));
        tokio::select! {
            _ = futures::future::join_all(visits) => {}
            () = node.stopping().cancelled() => return,
        }
        report(&node, &hints, &in_vain);
    }
}

/// Logs the members that have been unreachable for [`IN_VAIN`], with their addresses.
fn report(node: &Member, hints: &BTreeSet<String>, in_vain: &LogThrottle) {
    let dialled = node.contacts.dialled(&node.map());
    let long: Vec<String> = dialled
        .into_iter()
        .filter(|(peer, _)| node.health.down_for(*peer).is_some_and(|down| down >= IN_VAIN))
        .map(|(peer, addr)| format!("{peer} at {addr}"))
        .collect();
    if !long.is_empty()
        && let Some(held_back) = in_vain.due()
    {
        tracing::warn!(members = ?long, visited = ?hints, held_back, "members unreachable");
    }
}
