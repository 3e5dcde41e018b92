//! Hostile sessions beside a load whose clients must not be affected: large creations, unknown frames, senders that
//! reconnect, and lists of a huge conversation list.
//!
//! They run on a thread of their own, so that their cost to the harness is not attributed to the nodes. Their rates are
//! limited: the measurement is the cost of one session, not the traffic of a large attacker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::limits::MEMBERS_AT_CREATE;
use protocol::{ClientCommand, ConversationKind, UserId};
use tokio::sync::oneshot;

use crate::session::{ClientLogin, ClientSession, Error};
use crate::wire;

/// Hostile sessions of a run, which end on drop.
pub(crate) struct Attack {
    counts: Arc<AttackCounts>,
    /// Ends the thread on drop.
    _stop: oneshot::Sender<()>,
}

/// Parameters of the hostile sessions.
#[derive(Clone, Debug)]
pub(crate) struct Attackers {
    pub(crate) nodes: Vec<String>,
    /// Token template that contains `{user}`.
    pub(crate) token: String,
    /// Prefix of the names of their users.
    pub(crate) prefix: String,
    pub(crate) sessions: u32,
    /// User with the huge conversation list.
    pub(crate) lister: UserId,
}

/// Conduct of one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Conduct {
    Create,
    Unknown,
    Reconnect,
    List,
}

#[derive(Debug, Default)]
struct AttackCounts {
    created: AtomicU64,
    unknown: AtomicU64,
    sent: AtomicU64,
    listed: AtomicU64,
    refused: AtomicU64,
    connections: AtomicU64,
}

/// Conducts of the sessions, assigned in turn.
const CONDUCTS: [Conduct; 6] = [
    Conduct::Create,
    Conduct::Unknown,
    Conduct::Reconnect,
    Conduct::Create,
    Conduct::Reconnect,
    Conduct::List,
];
/// Unknown frames per burst, at this interval: twenty thousand per second.
const UNKNOWN_AT_ONCE: u32 = 200;
const UNKNOWN_EVERY: Duration = Duration::from_millis(10);
/// Messages per connection: the burst that the rate limit grants a new one.
const SENDS: u64 = 60;
/// Maximum number of unanswered commands of one session.
const WINDOW: u32 = 8;
/// Pause between two commands of a session with a full window.
const PAUSE: Duration = Duration::from_millis(1);

// === impl Attack ===

impl Attack {
    pub(crate) fn begin(attackers: Attackers) -> std::io::Result<Attack> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let counts = Arc::new(AttackCounts::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let shared = counts.clone();
        std::thread::Builder::new()
            .name("hostile".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let sessions = (0..attackers.sessions).map(|number| attackers.attack(number, &shared));
                    tokio::select! {
                        _ = stopped => {}
                        _ = futures::future::join_all(sessions) => {}
                    }
                });
            })?;
        Ok(Attack { counts, _stop: stop })
    }

    /// Returns the number of operations so far, by name.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let counts = &self.counts;
        [
            ("conversations of 257 created", &counts.created),
            ("unknown frames", &counts.unknown),
            ("sends of those who reconnect", &counts.sent),
            ("lists", &counts.listed),
            ("refusals", &counts.refused),
            ("connections", &counts.connections),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count.load(Ordering::Relaxed)))
        .collect()
    }
}

// === impl Attackers ===

impl Attackers {
    /// Runs one session, which reconnects forever.
    async fn attack(&self, number: u32, counts: &AttackCounts) {
        let conduct = CONDUCTS[number as usize % CONDUCTS.len()];
        let user = match conduct {
            Conduct::List => self.lister.clone(),
            _ => wire::user(&format!("{}-{number}", self.prefix)),
        };
        let token = self.token.replace("{user}", user.as_str());
        let node = &self.nodes[number as usize % self.nodes.len()];
        let login = ClientLogin {
            node,
            token: &token,
            device: "hostile",
            resume: None,
        };
        let mut made = 0u64;
        loop {
            if let Ok(mut session) = ClientSession::open(login).await {
                counts.connections.fetch_add(1, Ordering::Relaxed);
                // A closed connection is the expected result.
                let _ = self.once(conduct, &user, &mut session, &mut made, counts).await;
            }
            // Also after a failed connect, which must not become a busy loop.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Runs one connection until it is closed.
    async fn once(
        &self,
        conduct: Conduct,
        user: &UserId,
        session: &mut ClientSession,
        made: &mut u64,
        counts: &AttackCounts,
    ) -> Result<(), Error> {
        let (done, most) = match conduct {
            Conduct::Unknown => return shout(session, &counts.unknown).await,
            Conduct::Create => (&counts.created, u64::MAX),
            Conduct::List => (&counts.listed, u64::MAX),
            Conduct::Reconnect => (&counts.sent, SENDS),
        };
        let mut waiting = 0;
        for _ in 0..most {
            *made += 1;
            session.say(&self.command(conduct, user, *made)).await?;
            waiting += 1;
            if waiting == WINDOW {
                answered(session, done, counts).await?;
                waiting -= 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
        for _ in 0..waiting {
            answered(session, done, counts).await?;
        }
        Ok(())
    }

    fn command(&self, conduct: Conduct, user: &UserId, number: u64) -> ClientCommand {
        match conduct {
            Conduct::Create => self.large(user, number),
            Conduct::List => wire::list(None, 1),
            Conduct::Reconnect | Conduct::Unknown => {
                let to = wire::user(&format!("{}-peer", self.prefix));
                wire::send_to(to, &number.to_string(), r#"{"text":"again"}"#.to_owned())
            }
        }
    }

    /// Returns the creation of a group with as many members as one command may name.
    fn large(&self, user: &UserId, number: u64) -> ClientCommand {
        let member = |member| wire::user(&format!("{}-m{member}", self.prefix));
        let members = (0..MEMBERS_AT_CREATE).map(member).collect();
        wire::create(ConversationKind::Group, &format!("{user}-{number}"), members)
    }
}

/// Sends unknown frames, without an `id`, at the highest permitted rate.
async fn shout(session: &mut ClientSession, counted: &AtomicU64) -> Result<(), Error> {
    loop {
        for _ in 0..UNKNOWN_AT_ONCE {
            session.shout(r#"{"t":"nothing"}"#).await?;
            counted.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(UNKNOWN_EVERY).await;
    }
}

/// Receives and counts one response.
async fn answered(session: &mut ClientSession, done: &AtomicU64, counts: &AttackCounts) -> Result<(), Error> {
    let answer = session.any_answer().await?;
    let counted = match answer["t"] == "err" {
        true => &counts.refused,
        false => done,
    };
    counted.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_server::{Defect, FakeServer};

    #[test]
    fn hostile_sessions_do_their_attack_and_end_when_dropped() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let fake = FakeServer::start(1, 5, false, Defect::None).await;
            // The first two conducts: large creations, and unknown frames.
            let attack = Attack::begin(Attackers {
                nodes: fake.nodes.clone(),
                token: "dev:{user}".to_owned(),
                prefix: "h".to_owned(),
                sessions: 2,
                lister: wire::user("l"),
            })
            .unwrap();
            let done = |name: &str| attack.counts()[name];
            while done("conversations of 257 created") < 10 || done("unknown frames") < 1000 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(done("lists"), 0);
        });
    }
}
