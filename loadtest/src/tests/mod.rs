//! Tests of the whole tool.
//!
//! The clients and the oracle against a cluster of the harness's own: a sound one that refuses, disconnects and
//! resyncs passes, and each promise that it breaks is caught.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use protocol::ConversationKind;
use tokio::net::TcpSocket;

mod distributed;
mod mqtt;
mod tool_run;
mod wires;

use crate::fake_server::{Defect, FakeServer};
use crate::load::{ClientPool, SharedRun};
use crate::measure::Reconnects;
use crate::oracle::{JudgedCounts, ViolationKind};
use crate::pacing::{ArrivalProcess, LoadPace};
use crate::spec::{ActivityMix, ClientBehavior, PlannedConversation, ScenarioPlan};

/// Returns a free address that no other socket gets while the test runs: the kernel gives a bound port to none that asks
/// for any, and refuses connections to it until a listener binds it, too.
pub(crate) fn reserved_addr() -> SocketAddr {
    static RESERVED: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    RESERVED.lock().unwrap().push(socket);
    addr
}

/// Two groups of three, all talking.
fn plan() -> ScenarioPlan {
    let group = |group: u32| PlannedConversation {
        kind: ConversationKind::Group,
        members: (group * 3..group * 3 + 3).collect(),
        speakers: 3,
        absent: 0,
    };
    ScenarioPlan {
        clients: 6,
        conversations: vec![group(0), group(1)],
        ..ScenarioPlan::default()
    }
}

/// One run against the fake.
struct Case {
    rough: bool,
    defect: Defect,
    pace: LoadPace,
    behavior: ClientBehavior,
    messages: u64,
    quiesce: Duration,
    /// When half is sent the last member of each group is removed.
    kicks: bool,
}

/// What came of it.
struct CaseOutcome {
    kinds: Vec<ViolationKind>,
    counts: JudgedCounts,
    reconnects: Reconnects,
    /// The violations and the history.
    text: String,
}

fn run(case: &Case) -> CaseOutcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let fake = FakeServer::start(3, 11, case.rough, case.defect).await;
        let common = SharedRun::of_fake(&fake, case.messages);
        let mut plan = plan();
        plan.behaviors = (0..plan.clients).map(|client| (client, case.behavior)).collect();
        let pool = ClientPool::assemble(common.clone(), plan, 5, Duration::from_secs(30))
            .await
            .unwrap();
        pool.behave();
        pool.pace(&case.pace);
        let mut kicks = if case.kicks {
            vec![(0, 2), (1, 5)]
        } else {
            Vec::new()
        };
        while common.budget.get() > 0 && common.context.borrow().oracle.counts().violations == 0 {
            if common.budget.get() < case.messages / 2
                && let Some((group, member)) = kicks.pop()
            {
                pool.kick(group, member).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pool.pace(&LoadPace::Silent);
        pool.stop_behaviors();
        fake.quiet();
        pool.quiesce(case.quiesce).await;
        if common.context.borrow().oracle.counts().violations == 0 {
            pool.inboxes(case.quiesce).await;
            pool.reread(case.quiesce).await;
        }
        pool.quit();
        let context = &mut *common.context.borrow_mut();
        context.oracle.finish();
        let violations = context.oracle.violations();
        let kinds = violations.iter().map(|violation| violation.kind).collect();
        let lines: Vec<_> = context.oracle.history().lines().cloned().collect();
        CaseOutcome {
            kinds,
            counts: context.oracle.counts(),
            reconnects: context.recovery.figures(),
            text: format!("{violations:#?}\n{}", lines.join("\n")),
        }
    })
}

const CLOSED: LoadPace = LoadPace::Closed { window: 8 };

fn open(rate: f64) -> LoadPace {
    LoadPace::Open {
        rate: rate.into(),
        arrival: ArrivalProcess::Poisson,
    }
}

/// Connections that drop again and again.
fn flapping() -> ClientBehavior {
    ClientBehavior {
        stays: Some(Duration::from_millis(100)),
        ..ClientBehavior::default()
    }
}

impl Default for Case {
    fn default() -> Case {
        Case {
            rough: false,
            defect: Defect::None,
            pace: CLOSED,
            behavior: ClientBehavior::default(),
            messages: 2000,
            quiesce: Duration::from_secs(30),
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
fn flapping_clients_miss_nothing_by_resume_or_by_sync() {
    let outcome = run(&Case {
        rough: true,
        pace: open(500.0),
        behavior: flapping(),
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
        behavior: flapping(),
        messages: 300,
        ..Case::default()
    });
    assert_eq!(outcome.kinds, [], "{}", outcome.text);
    assert_eq!(outcome.counts.acked, 300);
}

#[test]
fn a_removed_member_gets_nothing_more_and_is_refused() {
    for behavior in [ClientBehavior::default(), flapping()] {
        let outcome = run(&Case {
            rough: true,
            kicks: true,
            pace: open(800.0),
            behavior,
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
        quiesce: Duration::from_secs(2),
        ..Case::default()
    });
    let first = outcome.kinds.first();
    assert!(
        matches!(
            first,
            Some(ViolationKind::AfterRemoval | ViolationKind::ExMemberAccepted)
        ),
        "{}",
        outcome.text
    );
}

#[test]
fn events_to_a_removed_member_are_caught_without_its_removal() {
    for defect in [Defect::SkipsRemoval, Defect::AnswersRemoved] {
        let outcome = run(&Case {
            defect,
            kicks: true,
            pace: open(800.0),
            messages: 1600,
            quiesce: Duration::from_secs(2),
            ..Case::default()
        });
        // Not always the first violation: until the removed client notices, its own messages are accepted too.
        assert!(
            outcome.kinds.contains(&ViolationKind::AfterRemoval),
            "{defect:?}: {}",
            outcome.text
        );
    }
}

#[test]
fn reads_of_every_kind_are_checked_against_earlier_acks() {
    for read in ["hist", "open", "sync", "members", "list", "messages"] {
        let outcome = run(&Case {
            defect: Defect::ReadsOld(read),
            pace: open(1000.0),
            quiesce: Duration::from_secs(2),
            ..Case::default()
        });
        let first = outcome.kinds.first();
        assert_eq!(first, Some(&ViolationKind::StaleRead), "{read}: {}", outcome.text);
    }
}

#[test]
fn a_day_of_a_team_passes_on_a_sound_but_rough_cluster() {
    let outcome = run(&Case {
        rough: true,
        pace: open(1000.0),
        behavior: ClientBehavior {
            acts: ActivityMix::Team,
            ..ClientBehavior::default()
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
    let acts = ClientBehavior {
        acts: ActivityMix::Team,
        ..ClientBehavior::default()
    };
    let plain = ClientBehavior::default();
    let cases: [(Defect, ClientBehavior, &[ViolationKind]); 21] = [
        (Defect::Garbles, plain, &[ViolationKind::Malformed]),
        (
            Defect::LosesAcked,
            plain,
            &[ViolationKind::AckedOther, ViolationKind::AckedLost],
        ),
        (Defect::ForgetsCids, plain, &[ViolationKind::Duplicate]),
        (Defect::SkipsLive, plain, &[ViolationKind::LiveHole]),
        (Defect::SkipsNumber, plain, &[ViolationKind::NumberHole]),
        (Defect::AltersBody, plain, &[ViolationKind::Altered]),
        (
            Defect::Forks,
            plain,
            &[ViolationKind::Fork, ViolationKind::TimeFell],
        ),
        (Defect::AcksTwice, plain, &[ViolationKind::UnsolicitedResponse]),
        (Defect::StaysSilent, plain, &[ViolationKind::Wedged]),
        (Defect::ResumeSkips, flapping(), &[ViolationKind::LiveHole]),
        (Defect::ResumeElsewhere, flapping(), &[ViolationKind::ResumeWrong]),
        (Defect::CursorFalls, acts, &[ViolationKind::CursorFell]),
        (Defect::Miscounts, acts, &[ViolationKind::UnreadWrong]),
        (Defect::ServesDeleted, acts, &[ViolationKind::Undeleted]),
        (
            Defect::RefusesMember("send"),
            acts,
            &[ViolationKind::RefusedWrongly],
        ),
        (
            Defect::RefusesMember("read"),
            acts,
            &[ViolationKind::RefusedWrongly],
        ),
        (
            Defect::RefusesMember("open"),
            acts,
            &[ViolationKind::RefusedWrongly],
        ),
        (
            Defect::RefusesMember("hist"),
            acts,
            &[ViolationKind::RefusedWrongly],
        ),
        (Defect::RefusesAndKeeps, acts, &[ViolationKind::RefusedWrongly]),
        (Defect::LeavesOut, acts, &[ViolationKind::LeftOut]),
        (Defect::SyncLeavesOut, plain, &[ViolationKind::Wedged]),
    ];
    for (defect, behavior, expected) in cases {
        let pace = if behavior == plain { CLOSED } else { open(1000.0) };
        let outcome = run(&Case {
            defect,
            behavior,
            pace,
            quiesce: Duration::from_secs(2),
            ..Case::default()
        });
        let kinds = outcome.kinds;
        let caught = kinds.first().is_some_and(|kind| expected.contains(kind));
        assert!(caught, "{defect:?} was seen as {kinds:?}\n{}", outcome.text);
    }
}
