//! What happens beside the load as the plan says: its parts begin, all connections are cut, members are removed,
//! hostile sessions come.

use std::convert::Infallible;
use std::time::Duration;

use crate::client::Common;
use crate::clock::Nanos;
use crate::crew::Crew;
use crate::hostile::{Attack, Attackers};
use crate::measure::recovery::Storm;
use crate::pacing::Pace;
use crate::scenario::{Hostile, Setup};

/// The phase of the load with hostile sessions.
pub(crate) const BESIDE_HOSTILE: &str = "beside hostile sessions";

/// Goes on until it is dropped.
pub(crate) async fn run(setup: &Setup, crew: &Crew, common: &Common, began: Nanos) -> Infallible {
    let mut cuts = setup.plan.cuts.clone();
    cuts.sort_unstable();
    let storms = async {
        for at in cuts {
            sleep_until(common, began, at).await;
            storm(crew, common).await;
        }
    };
    let kicks = async {
        for kick in &setup.plan.kicks {
            sleep_until(common, began, kick.at).await;
            crew.kick(kick.conversation, kick.member).await;
        }
    };
    let hostile = async {
        if let Some(hostile) = setup.plan.hostile {
            sleep_until(common, began, setup.duration / 2).await;
            attack(hostile, common).await;
        }
    };
    futures::future::join4(parts(setup, common, began, 0), storms, kicks, hostile).await;
    std::future::pending().await
}

/// Marks the parts of the load but the first, with which it began everywhere.
pub(crate) async fn later_parts(setup: &Setup, common: &Common, began: Nanos) -> Infallible {
    parts(setup, common, began, 1).await;
    std::future::pending().await
}

/// Marks the parts of the curve as phases of the report, from one on.
async fn parts(setup: &Setup, common: &Common, began: Nanos, first: usize) {
    let Pace::Open { rate, .. } = &setup.pace else {
        return;
    };
    let mut begins = Duration::ZERO;
    let parts = rate.parts().iter().filter(|_| rate.parts().len() > 1);
    for (number, part) in parts.enumerate() {
        if number >= first {
            sleep_until(common, began, begins).await;
            let at = began + begins.as_nanos() as Nanos;
            common.world.borrow_mut().recorder.part(&part.name, at);
        }
        begins += part.length;
    }
}

/// Cuts everybody, and waits until all are back and level.
async fn storm(crew: &Crew, common: &Common) {
    let clock = common.world.borrow().clock;
    let (at, clients) = (clock.now(), common.online.get());
    common.world.borrow_mut().recorder.phase("storm", at);
    crew.cut();
    // Each of them sees that it is cut before it can be back.
    while common.world.borrow().recovery.behind() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while common.world.borrow().recovery.behind() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let world = &mut *common.world.borrow_mut();
    let now = clock.now();
    world.recorder.phase("after the storm", now);
    world.recovery.storm(Storm {
        at_s: at as f64 / 1e9,
        clients,
        level_after_s: (now - at) as f64 / 1e9,
    });
}

/// Hostile sessions, until this is dropped. What they do is counted among the errors, for the report.
async fn attack(hostile: Hostile, common: &Common) {
    {
        let world = &mut *common.world.borrow_mut();
        let now = world.clock.now();
        world.recorder.phase(BESIDE_HOSTILE, now);
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
            let world = &mut *common.world.borrow_mut();
            return world.recorder.error(&format!("hostile sessions: {error}"));
        }
    };
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        common.world.borrow_mut().recorder.hostile = attack.counts();
    }
}

/// The user with the huge inbox.
pub(crate) fn lister(common: &Common) -> String {
    format!("lister{}", common.instance)
}

async fn sleep_until(common: &Common, began: Nanos, at: Duration) {
    let clock = common.world.borrow().clock;
    tokio::time::sleep_until(clock.instant(began + at.as_nanos() as Nanos)).await;
}
