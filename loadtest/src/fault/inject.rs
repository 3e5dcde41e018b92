//! Carries a plan out: each fault at its time, those that overlap together, each as a phase of its own, and all of
//! them healed at the end.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::deeds::{Deed, Trouble};
use super::{Fault, How, Injected, Outcome, Plan};
use crate::client::Common;
use crate::clock::Nanos;
use crate::local::Local;
use crate::payload::ClientIx;
use crate::progress::Progress;

/// Does a plan to a cluster.
pub(crate) struct Injector<'a> {
    pub(crate) local: &'a Local,
    /// Whose owner is meant by "owner".
    pub(crate) conversation: &'a str,
    /// Its first member.
    pub(crate) creator: ClientIx,
    pub(crate) common: &'a Common,
    pub(crate) progress: &'a Progress,
    pub(crate) seed: u64,
    /// Turns true when the load is over: no fault begins any more.
    pub(crate) over: watch::Receiver<bool>,
    /// Nodes whose process is in a fault's hands.
    pub(crate) taken: RefCell<HashSet<u64>>,
}

/// Nodes that a fault has for itself, until this is dropped.
struct Taken<'a>(&'a RefCell<HashSet<u64>>, Vec<u64>);

// === impl Injector ===

impl Injector<'_> {
    /// Returns when every fault of the plan is over; its times count from `began`.
    pub(crate) async fn carry_out(&self, plan: &Plan, began: Nanos) -> Vec<Injected> {
        let clock = self.common.world.borrow().clock;
        if let Some(gap) = plan.gap {
            let mut injected = Vec::new();
            for (number, fault) in plan.faults.iter().enumerate() {
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

    /// One fault at its time, unless the load is over by then.
    async fn inject_at(&self, at: Instant, fault: &Fault, number: usize) -> Injected {
        let mut over = self.over.clone();
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(at) => self.inject(fault, number).await,
            _ = over.wait_for(|over| *over) => {
                let now = self.common.world.borrow().clock.now() as f64 / 1e9;
                Injected {
                    fault: fault.to_string(),
                    nodes: Vec::new(),
                    from_s: now,
                    until_s: now,
                    outcome: Outcome::Skipped,
                    problem: Some("the load was over before its time".to_owned()),
                    evidence: None,
                }
            }
        }
    }

    async fn inject(&self, fault: &Fault, number: usize) -> Injected {
        let mut rng = StdRng::seed_from_u64(self.seed.wrapping_add(number as u64));
        let nodes = fault.targets(self.local, self.conversation, &mut rng).await;
        let _taken = self.take(fault, &nodes).await;
        let clock = self.common.world.borrow().clock;
        let from = clock.now();
        let name = format!("{fault} on {nodes:?}");
        let step = self.progress.timed(&format!("{fault}"), fault.hold);
        step.say(format!("on nodes {nodes:?}"));
        self.phase(&fault.how.to_string(), format_args!("fault {name} begins"));
        let deed = Deed {
            fault,
            local: self.local,
            nodes: &nodes,
            conversation: self.conversation,
            creator: self.creator,
            common: self.common,
            number,
            step: &step,
        };
        let done = deed.run(&mut rng).await;
        step.done();
        self.phase("healed", format_args!("fault {name} is over: {done:?}"));
        let (outcome, evidence, problem) = match done {
            Ok(evidence) => (Outcome::Installed, Some(evidence), None),
            Err(Trouble::Skipped(why)) => (Outcome::Skipped, None, Some(why)),
            Err(Trouble::Indeterminate(why)) => (Outcome::Indeterminate, None, Some(why)),
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
        let world = &mut *self.common.world.borrow_mut();
        let now = world.clock.now();
        world.recorder.phase(name, now);
        world.oracle.note(now, note);
    }

    /// Waits until no other fault has the processes that this one is about. Links may be cut of any node.
    async fn take(&self, fault: &Fault, nodes: &[u64]) -> Taken<'_> {
        let wanted: Vec<u64> = match fault.how {
            how if how.is_of_links() => Vec::new(),
            // Whom it kills in the end isn't known yet.
            How::Chase | How::PauseKill | How::Move => {
                self.local.nodes().iter().map(|node| node.id).collect()
            }
            _ => nodes.to_vec(),
        };
        while wanted.iter().any(|node| self.taken.borrow().contains(node)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.taken.borrow_mut().extend(&wanted);
        Taken(&self.taken, wanted)
    }
}

// === impl Taken ===

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().retain(|node| !self.1.contains(node));
    }
}
