//! Injector of a fault plan: each fault starts at its time, overlapping ones run concurrently, and all are healed at
//! the end.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use protocol::ConversationId;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::fault_run::{FaultError, FaultRun};
use super::{FaultOutcome, Injected};
use crate::clock::Nanos;
use crate::cluster::LocalProcesses;
use crate::measure::SharedContext;
use crate::payload::ClientIx;
use crate::progress::ProgressBars;
use crate::spec::{Fault, FaultKind, FaultPlan};

/// Injects the faults of a plan into a cluster.
pub(crate) struct Injector<'a> {
    pub(crate) local: &'a LocalProcesses,
    /// Conversation whose shard owner is the target "owner".
    pub(crate) conversation: Option<&'a ConversationId>,
    pub(crate) creator: ClientIx,
    pub(crate) context: &'a SharedContext,
    /// Token template; `{user}` is replaced by the user's name.
    pub(crate) token: &'a str,
    pub(crate) progress: &'a ProgressBars,
    pub(crate) seed: u64,
    /// Becomes `true` at the end of the load, after which no fault starts.
    pub(crate) over: watch::Receiver<bool>,
    /// Nodes whose process is reserved by a fault.
    pub(crate) taken: RefCell<HashSet<u64>>,
}

/// Guard for nodes that a fault has reserved; releases them on drop.
struct NodeLock<'a>(&'a RefCell<HashSet<u64>>, Vec<u64>);

// === impl Injector ===

impl Injector<'_> {
    /// Injects every fault of the plan, and returns once all are healed. Times count from `began`.
    pub(crate) async fn carry_out(&self, plan: &FaultPlan, began: Nanos) -> Vec<Injected> {
        let clock = self.context.borrow().clock;
        if let Some(gap) = plan.gap {
            let mut injected = Vec::new();
            // One at a time: the result must not depend on the speed of the machine.
            for (number, fault) in plan.faults.iter().enumerate() {
                // The gap counts from the end of the previous fault.
                let at = clock.now() + gap.as_nanos() as Nanos;
                injected.push(self.inject_at(clock.instant(at), fault, number).await);
            }
            return injected;
        }
        let faults = plan.faults.iter().enumerate().map(|(number, fault)| {
            let at = began + fault.at.as_nanos() as Nanos;
            self.inject_at(clock.instant(at), fault, number)
        });
        futures::future::join_all(faults).await
    }

    /// Injects one fault at its time, unless the load has ended by then.
    async fn inject_at(&self, at: Instant, fault: &Fault, number: usize) -> Injected {
        let mut over = self.over.clone();
        // The fault runs in the handler of the select: the end of the load cannot cancel it before it is healed.
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(at) => self.inject(fault, number).await,
            _ = over.wait_for(|over| *over) => {
                let now = self.context.borrow().clock.now() as f64 / 1e9;
                Injected {
                    fault: fault.to_string(),
                    nodes: Vec::new(),
                    from_s: now,
                    until_s: now,
                    outcome: FaultOutcome::Skipped,
                    problem: Some("the load ended before the time of the fault".to_owned()),
                    evidence: None,
                }
            }
        }
    }

    async fn inject(&self, fault: &Fault, number: usize) -> Injected {
        // Seeded per fault: concurrent faults would consume shared random numbers in a varying order.
        let mut rng = StdRng::seed_from_u64(self.seed.wrapping_add(number as u64));
        let nodes = fault.targets(self.local, self.conversation, &mut rng).await;
        // Held until the fault is healed.
        let _taken = self.take(fault, &nodes).await;
        let clock = self.context.borrow().clock;
        let from = clock.now();
        let name = format!("{fault} on {nodes:?}");
        let step = self.progress.timed(&format!("{fault}"), fault.hold);
        step.say(format!("on nodes {nodes:?}"));
        self.phase(&fault.how.to_string(), format_args!("fault {name} begins"));
        let fault_run = FaultRun {
            fault,
            local: self.local,
            nodes: &nodes,
            conversation: self.conversation,
            creator: self.creator,
            context: self.context,
            token: self.token,
            number,
            step: &step,
        };
        let done = fault_run.run(&mut rng).await;
        step.done();
        self.phase("healed", format_args!("fault {name} is over: {done:?}"));
        let (outcome, evidence, problem) = match done {
            Ok(evidence) => (FaultOutcome::Installed, Some(evidence), None),
            Err(FaultError::Skipped(why)) => (FaultOutcome::Skipped, None, Some(why)),
            Err(FaultError::Indeterminate(why)) => (FaultOutcome::Indeterminate, None, Some(why)),
        };
        Injected {
            fault: fault.to_string(),
            nodes,
            from_s: from as f64 / 1e9,
            until_s: clock.now() as f64 / 1e9,
            outcome,
            problem,
            evidence,
        }
    }

    fn phase(&self, name: &str, note: std::fmt::Arguments<'_>) {
        let context = &mut *self.context.borrow_mut();
        let now = context.clock.now();
        context.recorder.phase(name, now);
        context.oracle.note(now, note);
    }

    /// Reserves the processes of the nodes, and waits while another fault holds one. Link faults reserve none.
    async fn take(&self, fault: &Fault, nodes: &[u64]) -> NodeLock<'_> {
        let wanted: Vec<u64> = match fault.how {
            how if how.is_of_links() => Vec::new(),
            // Their later targets are not known yet, so they reserve every node.
            FaultKind::Chase | FaultKind::PauseKill | FaultKind::Move => {
                self.local.nodes().iter().map(|node| node.id).collect()
            }
            _ => nodes.to_vec(),
        };
        while wanted.iter().any(|node| self.taken.borrow().contains(node)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // All at once and without an await since the check: faults with one node each would wait for each other
        // forever.
        self.taken.borrow_mut().extend(&wanted);
        NodeLock(&self.taken, wanted)
    }
}

// === impl NodeLock ===

impl Drop for NodeLock<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().retain(|node| !self.1.contains(node));
    }
}
