//! The clients and the oracle against a cluster of the harness's own: a sound one that refuses, disconnects and
//! resyncs passes, and each promise that it breaks is caught.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::client::{Common, Habit, World};
use crate::clock::{Clock, SECOND};
use crate::crew::Crew;
use crate::dial::Dialer;
use crate::failover::FirstAcks;
use crate::fake::{Defect, Fake};
use crate::measure::latency::Recorder;
use crate::measure::recovery::{Reconnects, Recovery};
use crate::oracle::{Counts, Kind, Oracle};
use crate::pacing::{Alarms, Arrival, Pace};
use crate::payload::Payload;
use crate::scenario::{Conversation, Plan};

pub(crate) fn common(fake: &Fake, messages: u64) -> Rc<Common> {
    let clock = Clock::start();
    Rc::new(Common {
        world: Rc::new(RefCell::new(World {
            clock,
            heard: 0,
            payload: Payload::new(0xfa4e, 120),
            oracle: Oracle::new(),
            recorder: Recorder::new(),
            acks: FirstAcks::default(),
            recovery: Recovery::new(),
        })),
        nodes: RefCell::new(fake.nodes.clone()),
        token: "dev:{user}".to_owned(),
        instance: "i".to_owned(),
        reads: Cell::new(200.0),
        budget: Cell::new(messages),
        online: Cell::new(0),
        alarms: Alarms::new(clock).unwrap(),
        dialer: Dialer::new(Vec::new(), None, 8),
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
        absent: 0,
    };
    Plan {
        clients: 6,
        conversations: vec![group(0), group(1)],
        ..Plan::default()
    }
}

/// One run against the fake.
struct Case {
    rough: bool,
    defect: Defect,
    pace: Pace,
    habit: Habit,
    messages: u64,
    settle: Duration,
    /// When half is sent the last member of each group is removed.
    kicks: bool,
}

/// What came of it.
struct Outcome {
    kinds: Vec<Kind>,
    counts: Counts,
    reconnects: Reconnects,
    /// The violations and the history.
    text: String,
}

fn run(case: &Case) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let fake = Fake::start(3, 11, case.rough, case.defect).await;
        let common = common(&fake, case.messages);
        let mut plan = plan();
        plan.habits = (0..plan.clients).map(|client| (client, case.habit)).collect();
        let crew = Crew::assemble(common.clone(), plan, 5, Duration::from_secs(30))
            .await
            .unwrap();
        crew.behave();
        crew.pace(&case.pace);
        let mut kicks = if case.kicks {
            vec![(0, 2), (1, 5)]
        } else {
            Vec::new()
        };
        while common.budget.get() > 0 && common.world.borrow().oracle.counts().violations == 0 {
            if common.budget.get() < case.messages / 2
                && let Some((group, member)) = kicks.pop()
            {
                crew.kick(group, member).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        crew.pace(&Pace::Silent);
        crew.calm();
        fake.calm();
        crew.settle(case.settle).await;
        if common.world.borrow().oracle.counts().violations == 0 {
            crew.inboxes(case.settle).await;
            crew.reread(case.settle).await;
        }
        crew.quit();
        let world = &mut *common.world.borrow_mut();
        world.oracle.finish();
        let violations = world.oracle.violations();
        let kinds = violations.iter().map(|violation| violation.kind).collect();
        let lines: Vec<_> = world.oracle.history().lines().cloned().collect();
        Outcome {
            kinds,
            counts: world.oracle.counts(),
            reconnects: world.recovery.figures(),
            text: format!("{violations:#?}\n{}", lines.join("\n")),
        }
    })
}

const CLOSED: Pace = Pace::Closed { window: 8 };

fn open(rate: f64) -> Pace {
    Pace::Open {
        rate: rate.into(),
        arrival: Arrival::Poisson,
    }
}

/// Connections that drop again and again.
fn flapping() -> Habit {
    Habit {
        stays: Some(Duration::from_millis(100)),
        ..Habit::default()
    }
}

impl Default for Case {
    fn default() -> Case {
        Case {
            rough: false,
            defect: Defect::None,
            pace: CLOSED,
            habit: Habit::default(),
            messages: 2000,
            settle: Duration::from_secs(30),
            kicks: false,
        }
    }
}

#[test]
fn a_sound_but_rough_cluster_passes() {
    for pace in [CLOSED, open(2000.0)] {
        let outcome = run(&Case {
            rough: true,
            pace,
            ..Case::default()
        });
        assert_eq!(outcome.kinds, [], "{}", outcome.text);
        let counts = outcome.counts;
        assert_eq!((counts.sent, counts.acked, counts.refused), (2000, 2000, 0));
        assert_eq!(counts.applied, 3 * 2000);
        assert!(counts.reads > 20, "{counts:?}");
        assert_eq!(
            counts.read_back, 2000,
            "every log from the first event that anybody saw"
        );
    }
}

#[test]
fn clients_whose_connections_drop_miss_nothing_whether_they_resume_or_sync() {
    let outcome = run(&Case {
        rough: true,
        pace: open(500.0),
        habit: flapping(),
        messages: 1000,
        ..Case::default()
    });
    assert_eq!(outcome.kinds, [], "{}", outcome.text);
    assert_eq!((outcome.counts.acked, outcome.counts.applied), (1000, 3000));
    let back = outcome.reconnects;
    assert!(back.resumed > 0 && back.synced > 0, "{back:?}");
    assert!(
        back.level.count > 0 && back.level.count <= back.online.count,
        "{back:?}"
    );
}

#[test]
fn a_node_that_hangs_up_right_after_ready_is_left_for_another() {
    let outcome = run(&Case {
        defect: Defect::HangsUp,
        pace: open(500.0),
        habit: flapping(),
        messages: 300,
        ..Case::default()
    });
    assert_eq!(outcome.kinds, [], "{}", outcome.text);
    assert_eq!(outcome.counts.acked, 300);
}

#[test]
fn a_removed_member_is_told_nothing_more_and_refused_wherever_it_was_when_it_happened() {
    for habit in [Habit::default(), flapping()] {
        let outcome = run(&Case {
            rough: true,
            kicks: true,
            pace: open(800.0),
            habit,
            messages: 1600,
            ..Case::default()
        });
        assert_eq!(outcome.kinds, [], "{}", outcome.text);
        let counts = outcome.counts;
        assert_eq!(counts.acked + counts.refused, 1600, "{counts:?}");
        assert!(counts.refused > 10, "they went on sending: {counts:?}");
    }
}

#[test]
fn a_cluster_that_keeps_a_removed_member_is_caught() {
    let outcome = run(&Case {
        defect: Defect::KeepsMember,
        kicks: true,
        pace: open(800.0),
        messages: 1600,
        settle: Duration::from_secs(2),
        ..Case::default()
    });
    let first = outcome.kinds.first();
    assert!(
        matches!(first, Some(Kind::AfterRemoval | Kind::ExMemberAccepted)),
        "{}",
        outcome.text
    );
}

#[test]
fn a_cluster_that_tells_a_removed_member_more_is_caught_although_the_removal_itself_never_came() {
    for defect in [Defect::SkipsRemoval, Defect::AnswersRemoved] {
        let outcome = run(&Case {
            defect,
            kicks: true,
            pace: open(800.0),
            messages: 1600,
            settle: Duration::from_secs(2),
            ..Case::default()
        });
        assert_eq!(
            outcome.kinds.first(),
            Some(&Kind::AfterRemoval),
            "{defect:?}: {}",
            outcome.text
        );
    }
}

#[test]
fn reads_of_every_kind_are_held_against_what_was_acknowledged_before_them() {
    for read in ["hist", "open", "sync", "members", "list", "messages"] {
        let outcome = run(&Case {
            defect: Defect::ReadsOld(read),
            pace: open(1000.0),
            settle: Duration::from_secs(2),
            ..Case::default()
        });
        let first = outcome.kinds.first();
        assert_eq!(first, Some(&Kind::StaleRead), "{read}: {}", outcome.text);
    }
}

#[test]
fn a_day_of_a_team_passes_on_a_sound_but_rough_cluster() {
    let outcome = run(&Case {
        rough: true,
        pace: open(1000.0),
        habit: Habit {
            acts: crate::client::Acts::Team,
            ..Habit::default()
        },
        messages: 1500,
        ..Case::default()
    });
    assert_eq!(outcome.kinds, [], "{}", outcome.text);
    let counts = outcome.counts;
    assert_eq!(counts.acked, 1500);
    assert!(
        counts.changed > 50 && counts.receipts > 100 && counts.recounted > 20,
        "{counts:?}"
    );
}

#[test]
fn each_broken_promise_is_caught() {
    let acts = Habit {
        acts: crate::client::Acts::Team,
        ..Habit::default()
    };
    let plain = Habit::default();
    let cases: [(Defect, Habit, &[Kind]); 21] = [
        (Defect::Garbles, plain, &[Kind::Malformed]),
        (Defect::LosesAcked, plain, &[Kind::AckedOther, Kind::AckedLost]),
        (Defect::ForgetsCids, plain, &[Kind::Duplicate]),
        (Defect::SkipsLive, plain, &[Kind::LiveHole]),
        (Defect::SkipsNumber, plain, &[Kind::NumberHole]),
        (Defect::AltersBody, plain, &[Kind::Altered]),
        (Defect::Forks, plain, &[Kind::Fork, Kind::TimeFell]),
        (Defect::AcksTwice, plain, &[Kind::UnsolicitedAnswer]),
        (Defect::StaysSilent, plain, &[Kind::Wedged]),
        (Defect::ResumeSkips, flapping(), &[Kind::LiveHole]),
        (Defect::ResumeElsewhere, flapping(), &[Kind::ResumeWrong]),
        (Defect::CursorFalls, acts, &[Kind::CursorFell]),
        (Defect::Miscounts, acts, &[Kind::UnreadWrong]),
        (Defect::ServesDeleted, acts, &[Kind::Undeleted]),
        (Defect::RefusesMember("send"), acts, &[Kind::RefusedWrongly]),
        (Defect::RefusesMember("read"), acts, &[Kind::RefusedWrongly]),
        (Defect::RefusesMember("open"), acts, &[Kind::RefusedWrongly]),
        (Defect::RefusesMember("hist"), acts, &[Kind::RefusedWrongly]),
        (Defect::RefusesAndKeeps, acts, &[Kind::RefusedWrongly]),
        (Defect::LeavesOut, acts, &[Kind::LeftOut]),
        (Defect::SyncLeavesOut, plain, &[Kind::Wedged]),
    ];
    for (defect, habit, expected) in cases {
        let pace = if habit == plain { CLOSED } else { open(1000.0) };
        let outcome = run(&Case {
            defect,
            habit,
            pace,
            settle: Duration::from_secs(2),
            ..Case::default()
        });
        let kinds = outcome.kinds;
        let caught = kinds.first().is_some_and(|kind| expected.contains(kind));
        assert!(caught, "{defect:?} was seen as {kinds:?}\n{}", outcome.text);
    }
}
