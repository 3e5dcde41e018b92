//! Load of a run with its faults, until both are over.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use protocol::ConversationId;
use tokio::sync::watch;

use crate::clock::Nanos;
use crate::cluster::LoadTarget;
use crate::fault::{Injected, Injector};
use crate::load::SharedRun;
use crate::progress::ProgressBars;
use crate::setup::Setup;
use crate::spec::FaultPlan;

/// Runs the load with its faults, and returns its end. It ends early after a violation.
pub(super) async fn drive(
    setup: &Setup,
    plan: &FaultPlan,
    target: &LoadTarget,
    first: Option<&ConversationId>,
    common: &SharedRun,
    progress: &ProgressBars,
    began: Nanos,
) -> (Vec<Injected>, Nanos) {
    let now = || common.context.borrow().clock.now();
    let (end, over) = watch::channel(false);
    let faults = async {
        let Some(local) = &target.local else {
            return Vec::new();
        };
        let injector = Injector {
            local,
            conversation: first,
            creator: setup
                .plan
                .conversations
                .first()
                .and_then(|planned| planned.members.first().copied())
                .unwrap_or_default(),
            context: &common.context,
            token: &common.token,
            progress,
            seed: setup.seed,
            over,
            taken: RefCell::default(),
        };
        injector.carry_out(plan, began).await
    };
    let start = Instant::now();
    // Returns `true` once the load is over: every message was sent, or a promise was broken.
    let look = async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let context = &mut *common.context.borrow_mut();
        let second = context.recorder.tick(context.clock.now());
        let counts = context.oracle.counts();
        progress.tick(start.elapsed(), common.online.get(), &second, counts.violations);
        counts.violations > 0 || common.budget.get() == 0
    };
    // With a gap the load lasts as long as the faults. Otherwise it lasts for its duration, and until the last fault is
    // healed.
    let load = async { while !look().await && (plan.gap.is_some() || start.elapsed() < setup.duration) {} };
    let (mut faults, mut load) = (std::pin::pin!(faults), std::pin::pin!(load));
    let done = tokio::select! {
        injected = &mut faults => {
            // The load lasts for its duration even if the faults end earlier.
            while start.elapsed() < setup.duration && !look().await {}
            (injected, now())
        }
        () = &mut load => {
            // Faults in progress are healed, and later ones skipped. The load continues meanwhile, unless everything
            // was sent.
            end.send_replace(true);
            let ended = now();
            let watch = async {
                loop {
                    look().await;
                }
            };
            let injected = tokio::select! {
                injected = &mut faults => injected,
                never = watch => never,
            };
            // With an exhausted budget the rates count until the last message, not until the healing.
            (injected, if common.budget.get() == 0 { ended } else { now() })
        }
    };
    progress.loaded();
    done
}
