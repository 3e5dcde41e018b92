//! All the clients of a run: brought online, set up as the plan says, paced, and at the end brought level and read
//! back, so that the oracle's verdict is about everything.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use tokio::sync::oneshot;

use crate::client::{self, Command, Common, Enrol, Habit, Handle};
use crate::oracle::{ConvIx, Kind};
use crate::pacing::Pace;
use crate::payload::ClientIx;
use crate::scenario::{Conversation, Plan};

/// The clients, online and members of their conversations.
pub(crate) struct Crew {
    common: Rc<Common>,
    handles: Vec<Handle>,
    plan: Plan,
    seed: u64,
    /// In the plan's order.
    conversations: Vec<(String, ConvIx)>,
}

/// Why there is no crew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("only {online} of {wanted} clients were online after {waited:?}; last: {last}")]
    Offline {
        online: usize,
        wanted: usize,
        waited: Duration,
        last: String,
    },
    #[error("only {done} of {wanted} conversations were set up after {waited:?}; last: {last}")]
    Unfinished {
        done: usize,
        wanted: usize,
        waited: Duration,
        last: String,
    },
}

/// How many conversations are set up at once.
const SET_UP_AT_ONCE: usize = 32;

// === impl Crew ===

impl Crew {
    /// Connects the plan's clients, evenly over the nodes, and sets up its conversations.
    pub(crate) async fn assemble(
        common: Rc<Common>,
        plan: Plan,
        seed: u64,
        patience: Duration,
    ) -> Result<Crew, Error> {
        let began = Instant::now();
        let nodes = common.nodes.borrow().len().max(1);
        let handles = (0..plan.clients)
            .map(|me| client::spawn(me, common.clone(), me as usize % nodes, seed))
            .collect();
        let mut crew = Crew {
            common,
            handles,
            plan,
            seed,
            conversations: Vec::new(),
        };
        let wanted = crew.handles.len();
        while crew.common.online.get() < wanted {
            if began.elapsed() > patience {
                return Err(Error::Offline {
                    online: crew.common.online.get(),
                    wanted,
                    waited: patience,
                    last: crew.last_line(),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let made = crew
            .plan
            .conversations
            .iter()
            .enumerate()
            .map(|(number, planned)| crew.set_up(number, planned));
        let made = stream::iter(made).buffered(SET_UP_AT_ONCE).collect::<Vec<_>>();
        match tokio::time::timeout(patience, made).await {
            Ok(conversations) => crew.conversations = conversations.into_iter().flatten().collect(),
            Err(_) => crew.conversations.clear(),
        }
        let (done, wanted) = (crew.conversations.len(), crew.plan.conversations.len());
        if done < wanted {
            Err(Error::Unfinished {
                done,
                wanted,
                waited: patience,
                last: crew.last_line(),
            })
        } else {
            Ok(crew)
        }
    }

    fn last_line(&self) -> String {
        self.common
            .world
            .borrow()
            .oracle
            .history()
            .lines()
            .next_back()
            .cloned()
            .unwrap_or_default()
    }

    async fn set_up(&self, number: usize, planned: &Conversation) -> Option<(String, ConvIx)> {
        let user = |client: &u32| self.common.world.borrow().payload.user(*client);
        let creator = &self.handles[*planned.members.first()? as usize];
        let others: Vec<String> = planned.members[1..].iter().map(user).collect();
        // Nobody is brought into a channel: its members come by themselves, and some are permitted to speak then.
        let comes = planned.kind == "channel";
        let at_once = if comes {
            0
        } else {
            protocol::limits::MEMBERS_AT_CREATE
        };
        let (now, later) = others.split_at(others.len().min(at_once));
        let (reply, name) = oneshot::channel();
        let cid = format!("create-{}-{number}", user(&planned.members[0]));
        creator.tell(Command::Create {
            kind: planned.kind,
            cid,
            members: now.to_vec(),
            reply,
        });
        let name = name.await.ok()?;
        let conv = self.common.world.borrow_mut().oracle.conversation(&name);
        if comes {
            let members = planned.members[1..].iter();
            let come = members.map(|member| enrol(&self.handles[*member as usize], &name, Enrol::Join));
            all(come).await?;
            all(self.absent(number).map(|client| self.come_and_go(client, &name))).await?;
            for who in others.iter().take(planned.speakers.saturating_sub(1)) {
                enrol(creator, &name, Enrol::Speaker(who.clone())).await?;
            }
        } else {
            for who in later {
                enrol(creator, &name, Enrol::Invite(who.clone())).await?;
            }
        }
        self.join(creator, &name, conv, planned.speakers > 0).await?;
        let others = planned.members.iter().enumerate().skip(1);
        let joins = others.map(|(position, member)| {
            self.join(
                &self.handles[*member as usize],
                &name,
                conv,
                position < planned.speakers,
            )
        });
        all(joins).await?;
        Some((name, conv))
    }

    /// The numbers of the members of a conversation who are not connected: they follow those of the clients.
    fn absent(&self, number: usize) -> std::ops::Range<ClientIx> {
        let before = &self.plan.conversations[..number];
        let first = self.plan.clients + before.iter().map(|planned| planned.absent).sum::<u32>();
        first..first + self.plan.conversations[number].absent
    }

    /// A member who comes once, and is not connected afterwards.
    async fn come_and_go(&self, client: ClientIx, name: &str) -> Option<()> {
        let nodes = self.common.nodes.borrow().len().max(1);
        let handle = client::spawn(client, self.common.clone(), client as usize % nodes, self.seed);
        let came = enrol(&handle, name, Enrol::Join).await;
        handle.tell(Command::Quit);
        came
    }

    async fn join(&self, client: &Handle, name: &str, conv: ConvIx, speak: bool) -> Option<()> {
        let (reply, joined) = oneshot::channel();
        client.tell(Command::Join {
            name: name.to_owned(),
            conv,
            speak,
            reply,
        });
        joined.await.ok()
    }

    /// The first conversation's name.
    pub(crate) fn first(&self) -> &str {
        self.conversations.first().map_or("", |(name, _)| name.as_str())
    }

    pub(crate) fn conversations(&self) -> &[(String, ConvIx)] {
        &self.conversations
    }

    pub(crate) fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// Tells every speaker how to send from now on.
    pub(crate) fn pace(&self, pace: &Pace) {
        for (speaker, share) in self.plan.speakers() {
            self.handles[speaker as usize].tell(Command::Pace {
                pace: pace.clone(),
                share,
            });
        }
    }

    /// The clients take up their habits.
    pub(crate) fn behave(&self) {
        for (client, habit) in &self.plan.habits {
            self.handles[*client as usize].tell(Command::Behave(*habit));
        }
    }

    /// Everybody is there, and reads.
    pub(crate) fn calm(&self) {
        for client in self.plan.habits.keys() {
            self.handles[*client as usize].tell(Command::Behave(Habit::default()));
        }
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.handles.iter().for_each(|handle| handle.tell(Command::Cut));
    }

    /// Waits until nothing is unanswered any more. `false` if that took too long.
    pub(crate) async fn drained(&self, patience: Duration) -> bool {
        let began = Instant::now();
        loop {
            if self.unanswered().await == 0 {
                return true;
            }
            if began.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn unanswered(&self) -> usize {
        let mut unanswered = 0;
        for handle in &self.handles {
            let (reply, answer) = oneshot::channel();
            handle.tell(Command::Unanswered(reply));
            if let Ok(Ok(more)) = tokio::time::timeout(Duration::from_secs(10), answer).await {
                unanswered += more;
            }
        }
        unanswered
    }

    /// Every member reads the whole inbox, and the oracle counts the unread again. One that doesn't become complete is a
    /// violation.
    pub(crate) async fn inboxes(&self, patience: Duration) {
        let mut members: Vec<ClientIx> = self
            .plan
            .conversations
            .iter()
            .flat_map(|planned| planned.members.iter().copied())
            .collect();
        members.sort_unstable();
        members.dedup();
        let wanted = members.len();
        let inboxes = members.into_iter().map(|member| async move {
            let (reply, done) = oneshot::channel();
            self.handles[member as usize].tell(Command::Inbox(reply));
            done.await.ok()
        });
        if tokio::time::timeout(patience, all(inboxes))
            .await
            .ok()
            .flatten()
            .is_none()
        {
            let detail = format!("not all of {wanted} inboxes were complete within {patience:?}");
            self.common
                .world
                .borrow_mut()
                .oracle
                .violate(Kind::Wedged, None, None, 0, detail);
        }
    }

    /// Has everybody speak until every conversation has acked a message from now. One that doesn't in time is a
    /// violation: after the faults have healed, all must be alive again.
    pub(crate) async fn everywhere(&self, patience: Duration) {
        {
            let world = &mut *self.common.world.borrow_mut();
            let now = world.clock.now();
            world.recorder.phase("liveness", now);
            world.acks.watch(now);
        }
        self.common.budget.set(u64::MAX);
        self.pace(&Pace::Closed { window: 1 });
        let spoken_in = || self.plan.conversations.iter().zip(&self.conversations);
        let silent = || {
            let world = self.common.world.borrow();
            let mut silent = spoken_in()
                .filter(|(planned, (_, conv))| planned.speakers > 0 && world.acks.first(*conv).is_none());
            silent.next().map(|(_, (_, conv))| *conv)
        };
        let began = Instant::now();
        while let Some(conv) = silent() {
            {
                let oracle = &mut self.common.world.borrow_mut().oracle;
                if oracle.counts().violations > 0 {
                    return;
                }
                if began.elapsed() > patience {
                    let detail = format!("no ack within {patience:?} after the faults were healed");
                    oracle.violate(Kind::Wedged, Some(conv), None, 0, detail);
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every message is answered and every member has everything. What isn't so in time is a
    /// violation: after the faults have healed, nothing may stay stuck.
    pub(crate) async fn settle(&self, patience: Duration) {
        let began = Instant::now();
        loop {
            let unanswered = self.unanswered().await;
            if self.settled(unanswered, began, patience) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn settled(&self, unanswered: usize, began: Instant, patience: Duration) -> bool {
        let oracle = &mut self.common.world.borrow_mut().oracle;
        if unanswered == 0 && oracle.level() || oracle.counts().violations > 0 {
            return true;
        }
        if began.elapsed() <= patience {
            return false;
        }
        if unanswered > 0 {
            let detail =
                format!("{unanswered} messages have no answer {patience:?} after the last one was due");
            oracle.violate(Kind::Wedged, None, None, 0, detail);
        }
        true
    }

    /// Reads every conversation again from its beginning and compares it with what the clients saw.
    pub(crate) async fn reread(&self, patience: Duration) {
        let readings =
            self.plan
                .conversations
                .iter()
                .zip(&self.conversations)
                .map(|(planned, (name, conv))| async {
                    let (reply, done) = oneshot::channel();
                    let after = self.common.world.borrow().oracle.reread_after(*conv);
                    let reader = &self.handles[planned.members[0] as usize];
                    reader.tell(Command::Reread {
                        name: name.clone(),
                        after,
                        reply,
                    });
                    done.await.is_ok()
                });
        let all = stream::iter(readings)
            .buffer_unordered(SET_UP_AT_ONCE)
            .collect::<Vec<_>>();
        let finished = tokio::time::timeout(patience, all)
            .await
            .is_ok_and(|all| all.into_iter().all(|done| done));
        if !finished {
            let detail = format!("the log could not be read back within {patience:?}");
            self.common
                .world
                .borrow_mut()
                .oracle
                .violate(Kind::Wedged, None, None, 0, detail);
        }
    }

    /// Ends every client.
    pub(crate) fn quit(&self) {
        self.handles.iter().for_each(|handle| handle.tell(Command::Quit));
    }
}

/// Changes a membership by one of the two concerned.
async fn enrol(by: &Handle, name: &str, change: Enrol) -> Option<()> {
    let (reply, done) = oneshot::channel();
    by.tell(Command::Enrol {
        name: name.to_owned(),
        change,
        reply,
    });
    done.await.ok()
}

/// Waits for all of them, some at once. `None` if one of them came to nothing.
async fn all<F: Future<Output = Option<()>>>(steps: impl Iterator<Item = F>) -> Option<()> {
    let done: Vec<_> = stream::iter(steps)
        .buffer_unordered(SET_UP_AT_ONCE)
        .collect()
        .await;
    done.into_iter().collect()
}
