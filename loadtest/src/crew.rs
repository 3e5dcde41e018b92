//! All the clients of a run: brought online, set up as the plan says, paced, and at the end brought level and read
//! back, so that the oracle's verdict is about everything.

mod verify;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use tokio::sync::oneshot;

use crate::client::{self, Command, Common, Enrol, Habit, Handle};
use crate::clock::Nanos;
use crate::oracle::ConvIx;
use crate::pacing::Pace;
use crate::payload::ClientIx;
use crate::run::STEADY;
use crate::scenario::{Conversation, Plan};
use crate::team::Share;

/// The clients, online and members of their conversations.
pub(crate) struct Crew {
    common: Rc<Common>,
    handles: Vec<Handle>,
    plan: Plan,
    seed: u64,
    /// In the plan's order.
    conversations: Vec<(String, ConvIx)>,
    share: Share,
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

/// How many clients make the reads that are there to be judged.
const READERS: usize = 256;
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
        let mut crew = Crew::connect(common, plan, seed, Share::ALL, patience).await?;
        let names = crew.create(patience).await?;
        crew.enter(names.into_iter().map(|(_, name)| name).collect(), patience)
            .await?;
        Ok(crew)
    }

    /// Connects this process's clients.
    pub(crate) async fn connect(
        common: Rc<Common>,
        plan: Plan,
        seed: u64,
        share: Share,
        patience: Duration,
    ) -> Result<Crew, Error> {
        let began = Instant::now();
        let nodes = common.nodes.borrow().len().max(1);
        let handle = |me| match share.owns(me) {
            true => client::spawn(me, common.clone(), me as usize % nodes, seed),
            false => Handle::elsewhere(),
        };
        let crew = Crew {
            handles: (0..plan.clients).map(handle).collect(),
            common: common.clone(),
            plan,
            seed,
            share,
            conversations: Vec::new(),
        };
        let wanted = crew.own();
        while common.online.get() < wanted {
            if began.elapsed() > patience {
                return Err(Error::Offline {
                    online: common.online.get(),
                    wanted,
                    waited: patience,
                    last: crew.last_line(),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(crew)
    }

    /// Makes the conversations whose first member is here, members and all: their names, by their number in the plan.
    pub(crate) async fn create(&self, patience: Duration) -> Result<Vec<(u32, String)>, Error> {
        let planned = (0..).zip(&self.plan.conversations);
        let own = planned.filter(|(_, planned)| self.creates(planned));
        let wanted = own.clone().count();
        let made = own.map(|(number, planned)| async move {
            let name = self.make(number, planned).await?;
            Some((number, name))
        });
        let made = stream::iter(made).buffered(SET_UP_AT_ONCE).collect::<Vec<_>>();
        self.all(wanted, patience, made).await
    }

    /// Has this process's clients take part in all conversations, given in the plan's order.
    pub(crate) async fn enter(&mut self, names: Vec<String>, patience: Duration) -> Result<(), Error> {
        let mut conversations = Vec::new();
        for (name, planned) in names.into_iter().zip(&self.plan.conversations) {
            let oracle = &mut self.common.world.borrow_mut().oracle;
            let conv = oracle.conversation(&name);
            if self.share.seen_by(&planned.members).len() > 1 {
                oracle.tell(conv);
            }
            conversations.push((name, conv));
        }
        self.conversations = conversations;
        let crew = &*self;
        let mut joins = Vec::new();
        for (planned, (name, conv)) in crew.plan.conversations.iter().zip(&crew.conversations) {
            let members = planned.members.iter().enumerate();
            for (position, member) in members.filter(|(_, member)| crew.share.owns(**member)) {
                let handle = &crew.handles[*member as usize];
                joins.push(crew.join(handle, name, *conv, position < planned.speakers));
            }
        }
        let wanted = joins.len();
        let joined = stream::iter(joins).buffer_unordered(4 * SET_UP_AT_ONCE);
        crew.all(wanted, patience, joined.collect::<Vec<_>>()).await?;
        Ok(())
    }

    async fn all<T>(
        &self,
        wanted: usize,
        patience: Duration,
        made: impl Future<Output = Vec<Option<T>>>,
    ) -> Result<Vec<T>, Error> {
        let made = tokio::time::timeout(patience, made).await.unwrap_or_default();
        let made: Vec<T> = made.into_iter().flatten().collect();
        if made.len() < wanted {
            return Err(Error::Unfinished {
                done: made.len(),
                wanted,
                waited: patience,
                last: self.last_line(),
            });
        }
        Ok(made)
    }

    /// How many clients are this process's.
    pub(crate) fn own(&self) -> usize {
        (0..self.plan.clients)
            .filter(|client| self.share.owns(*client))
            .count()
    }

    /// Whether the first member, who makes the conversation, is here.
    fn creates(&self, planned: &Conversation) -> bool {
        planned
            .members
            .first()
            .is_some_and(|first| self.share.owns(*first))
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

    async fn make(&self, number: u32, planned: &Conversation) -> Option<String> {
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
        if comes {
            let members = planned.members[1..].iter();
            let come = members.map(|member| enrol(&self.handles[*member as usize], &name, Enrol::Join));
            all(come).await?;
            all(self
                .absent(number as usize)
                .map(|client| self.come_and_go(client, &name)))
            .await?;
            for who in others.iter().take(planned.speakers.saturating_sub(1)) {
                enrol(creator, &name, Enrol::Speaker(who.clone())).await?;
            }
        } else {
            for who in later {
                enrol(creator, &name, Enrol::Invite(who.clone())).await?;
            }
        }
        Some(name)
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

    /// Has a conversation's first member remove another one; returns when that is done.
    pub(crate) async fn kick(&self, number: usize, member: ClientIx) {
        let first = self.plan.conversations[number].members[0];
        let who = self.common.world.borrow().payload.user(member);
        let by = &self.handles[first as usize];
        // Ends without an answer only if the whole run does.
        let _ = enrol(by, &self.conversations[number].0, Enrol::Kick(who)).await;
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

    /// The load begins now. With `steady` it is one part.
    pub(crate) fn begin(&self, pace: &Pace, steady: bool) -> Nanos {
        let began = {
            let world = &mut *self.common.world.borrow_mut();
            let now = world.clock.now();
            if steady {
                world.recorder.phase(STEADY, now);
            }
            now
        };
        self.pace(pace);
        began
    }

    /// All is sent, answered, delivered and read back; the clients end.
    pub(crate) fn finish(&self) {
        let world = &mut *self.common.world.borrow_mut();
        let oracle = &mut world.oracle;
        oracle.tick(world.clock.now());
        if oracle.counts().violations == 0 {
            oracle.finish();
        }
        self.quit();
    }

    /// Tells every speaker how to send from now on, and some members to read meanwhile.
    pub(crate) fn pace(&self, pace: &Pace) {
        self.probe(match pace {
            Pace::Silent => 0.0,
            _ => self.common.reads.get(),
        });
        for (speaker, share) in self.plan.speakers() {
            self.handles[speaker as usize].tell(Command::Pace {
                pace: pace.clone(),
                share,
            });
        }
    }

    /// Has members read, so many times a second all together, to be judged.
    fn probe(&self, reads: f64) {
        let members = self
            .plan
            .conversations
            .iter()
            .flat_map(|planned| &planned.members);
        let own = members.filter(|member| self.share.owns(**member));
        let readers: BTreeSet<ClientIx> = own.copied().collect();
        let some = readers.iter().step_by(readers.len().div_ceil(READERS).max(1));
        let each = reads / some.len().max(1) as f64;
        for reader in some {
            self.handles[*reader as usize].tell(Command::Probe(each));
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

    /// The conversations with members in other processes, too.
    pub(crate) fn shared(&self) -> Vec<ConvIx> {
        let planned = self.plan.conversations.iter().zip(&self.conversations);
        let own = |member: &u32| self.share.owns(*member);
        let shared = planned.filter(|(planned, _)| {
            planned.members.iter().any(own) && self.share.seen_by(&planned.members).len() > 1
        });
        shared.map(|(_, (_, conv))| *conv).collect()
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
