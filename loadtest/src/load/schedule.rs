//! Events of the plan beside the load: its parts, the loss of all connections, removals, and hostile sessions.

use std::convert::Infallible;
use std::time::Duration;

use protocol::UserId;

use super::hostile::{Attack, Attackers};
use super::{ClientPool, SharedRun};
use crate::clock::Nanos;
use crate::measure::ReconnectStorm;
use crate::pacing::LoadPace;
use crate::setup::Setup;
use crate::spec::{BESIDE_HOSTILE, Hostile};
use crate::wire;

/// Runs the planned events, until it is dropped.
pub(crate) async fn run_schedule(
    setup: &Setup,
    pool: &ClientPool,
    common: &SharedRun,
    began: Nanos,
) -> Infallible {
    let mut cuts = setup.plan.cuts.clone();
    cuts.sort_unstable();
    let storms = async {
        for at in cuts {
            sleep_until(common, began, at).await;
            storm(pool, common).await;
        }
    };
    let kicks = async {
        for kick in &setup.plan.kicks {
            sleep_until(common, began, kick.at).await;
            pool.kick(kick.conversation, kick.member).await;
        }
    };
    let hostile = async {
        if let Some(hostile) = setup.plan.hostile {
            sleep_until(common, began, setup.duration / 2).await;
            attack(hostile, common).await;
        }
    };
    // Concurrently: a storm that recovers slowly must not delay the removals.
    futures::future::join4(parts(setup, common, began, 0), storms, kicks, hostile).await;
    // Never returns: the caller's select would end the load.
    std::future::pending().await
}

/// Marks the parts of the load except for the first, which the start command has marked everywhere.
pub(crate) async fn later_parts(setup: &Setup, common: &SharedRun, began: Nanos) -> Infallible {
    parts(setup, common, began, 1).await;
    // Never returns, see `run_schedule`.
    std::future::pending().await
}

/// Marks the parts of the curve as phases of the report, starting with index `first`.
async fn parts(setup: &Setup, common: &SharedRun, began: Nanos, first: usize) {
    let LoadPace::Open { rate, .. } = &setup.pace else {
        return;
    };
    let mut begins = Duration::ZERO;
    let parts = rate.parts().iter().filter(|_| rate.parts().len() > 1);
    for (number, part) in parts.enumerate() {
        if number >= first {
            sleep_until(common, began, begins).await;
            // The planned time, not the current one: all workers must mark the same moment.
            let at = began + begins.as_nanos() as Nanos;
            common.context.borrow_mut().recorder.part(&part.name, at);
        }
        begins += part.length;
    }
}

/// Drops every connection, and waits until all clients are online and have caught up.
async fn storm(pool: &ClientPool, common: &SharedRun) {
    let clock = common.context.borrow().clock;
    let (at, clients) = (clock.now(), common.online.get());
    common.context.borrow_mut().recorder.phase("storm", at);
    pool.cut();
    // The clients detect the drop with a delay. Until then a count of 0 would be mistaken for a recovery.
    while common.context.borrow().recovery.behind() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while common.context.borrow().recovery.behind() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let context = &mut *common.context.borrow_mut();
    let now = clock.now();
    context.recorder.phase("after the storm", now);
    context.recovery.storm(ReconnectStorm {
        at_s: at as f64 / 1e9,
        clients,
        level_after_s: (now - at) as f64 / 1e9,
    });
}

/// Runs hostile sessions until it is dropped. Their operations are counted for the report.
async fn attack(hostile: Hostile, common: &SharedRun) {
    {
        let context = &mut *common.context.borrow_mut();
        let now = context.clock.now();
        context.recorder.phase(BESIDE_HOSTILE, now);
    }
    let attackers = Attackers {
        nodes: common.nodes.borrow().clone(),
        token: common.token.clone(),
        prefix: format!("hostile{}", common.instance),
        sessions: hostile.sessions,
        lister: lister(common),
    };
    let attack = match Attack::begin(attackers) {
        Ok(attack) => attack,
        Err(error) => {
            let context = &mut *common.context.borrow_mut();
            return context.recorder.error(&format!("hostile sessions: {error}"));
        }
    };
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        common.context.borrow_mut().recorder.hostile = attack.counts();
    }
}

/// Returns the user with the huge conversation list.
pub(crate) fn lister(common: &SharedRun) -> UserId {
    wire::user(&format!("lister{}", common.instance))
}

async fn sleep_until(common: &SharedRun, began: Nanos, at: Duration) {
    let clock = common.context.borrow().clock;
    tokio::time::sleep_until(clock.instant(began + at.as_nanos() as Nanos)).await;
}
