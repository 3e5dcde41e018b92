//! The clients and the oracle against a cluster of the harness's own: a sound one that refuses, disconnects and
//! resyncs passes, and each promise that it breaks is caught.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::client::{Common, World};
use crate::clock::{Clock, SECOND};
use crate::crew::Crew;
use crate::failover::FirstAcks;
use crate::fake::{Defect, Fake};
use crate::measure::latency::Recorder;
use crate::oracle::{Counts, Kind, Oracle};
use crate::pacing::{Arrival, Pace};
use crate::payload::Payload;
use crate::scenario::{Conversation, Plan};

fn common(fake: &Fake, messages: u64) -> Rc<Common> {
    Rc::new(Common {
        world: Rc::new(RefCell::new(World {
            clock: Clock::start(),
            payload: Payload::new(0xfa4e, 120),
            oracle: Oracle::new(),
            recorder: Recorder::new(),
            acks: FirstAcks::default(),
        })),
        nodes: RefCell::new(fake.nodes.clone()),
        token: "dev:{user}".to_owned(),
        instance: "i".to_owned(),
        budget: Cell::new(messages),
        online: Cell::new(0),
        dials: Semaphore::new(8),
        backoff_max: Duration::from_millis(20),
        heartbeat: 5 * SECOND,
        read_buffer: 4096,
    })
}

/// Two groups of three, all talking.
fn plan() -> Plan {
    let group = |group: u32| Conversation {
        kind: "group",
        members: (group * 3..group * 3 + 3).collect(),
        speakers: 3,
    };
    Plan {
        clients: 6,
        conversations: vec![group(0), group(1)],
    }
}

/// Returns what was violated, with the counts and the history.
fn run(rough: bool, defect: Defect, pace: Pace, settle: Duration) -> (Vec<Kind>, Counts, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let fake = Fake::start(3, 11, rough, defect).await;
        let common = common(&fake, 2000);
        let crew = Crew::assemble(common.clone(), plan(), 5, Duration::from_secs(30))
            .await
            .unwrap();
        crew.pace(pace);
        while common.budget.get() > 0 && common.world.borrow().oracle.counts().violations == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        crew.pace(Pace::Silent);
        fake.calm();
        crew.settle(settle).await;
        if common.world.borrow().oracle.counts().violations == 0 {
            crew.reread(Duration::from_secs(30)).await;
        }
        crew.quit();
        let world = &mut *common.world.borrow_mut();
        world.oracle.finish();
        let kinds = world
            .oracle
            .violations()
            .iter()
            .map(|violation| violation.kind)
            .collect();
        let lines: Vec<_> = world.oracle.history().lines().cloned().collect();
        let text = format!("{:#?}\n{}", world.oracle.violations(), lines.join("\n"));
        (kinds, world.oracle.counts(), text)
    })
}

const CLOSED: Pace = Pace::Closed { window: 8 };

#[test]
fn a_sound_but_rough_cluster_passes() {
    let paces = [
        CLOSED,
        Pace::Open {
            rate: 2000.0,
            arrival: Arrival::Poisson,
        },
    ];
    for pace in paces {
        let (kinds, counts, text) = run(true, Defect::None, pace, Duration::from_secs(30));
        assert_eq!(kinds, [], "{text}");
        assert_eq!((counts.sent, counts.acked, counts.refused), (2000, 2000, 0));
        assert_eq!(counts.applied, 3 * 2000);
        assert_eq!(
            counts.read_back, 2000,
            "every log from the first event that anybody saw"
        );
    }
}

#[test]
fn each_broken_promise_is_caught() {
    let cases: [(Defect, &[Kind]); 8] = [
        (Defect::LosesAcked, &[Kind::AckedOther, Kind::AckedLost]),
        (Defect::ForgetsCids, &[Kind::Duplicate]),
        (Defect::SkipsLive, &[Kind::LiveHole]),
        (Defect::SkipsNumber, &[Kind::NumberHole]),
        (Defect::AltersBody, &[Kind::Altered]),
        (Defect::Forks, &[Kind::Fork, Kind::TimeFell]),
        (Defect::AcksTwice, &[Kind::UnsolicitedAnswer]),
        (Defect::StaysSilent, &[Kind::Wedged]),
    ];
    for (defect, expected) in cases {
        let (kinds, _, text) = run(false, defect, CLOSED, Duration::from_secs(2));
        let caught = kinds.first().is_some_and(|kind| expected.contains(kind));
        assert!(caught, "{defect:?} was seen as {kinds:?}\n{text}");
    }
}
