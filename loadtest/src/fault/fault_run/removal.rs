//! Removal faults: a member is removed while its node cannot receive the removal, and another one stays. Both have
//! sessions that belong to the fault.
//!
//! The log holds the removal. With retention by number (`settings` of the plan) it is trimmed before the node can read
//! it.

mod removed_view;
#[cfg(test)]
mod tests;

use std::fmt::{Display, Formatter};
use std::time::Duration;

use protocol::ClientCommand;
use serde_json::Value;
use tokio::time::Instant;

use self::removed_view::RemovedView;
use super::{FaultEffect, FaultError, FaultRun, PATIENCE, bitten, skipped};
use crate::cluster::ProcessSignal;
use crate::network_proxy::{FaultGuard, NetworkFault};
use crate::oracle::ViolationKind;
use crate::payload::ClientIx;
use crate::session::{ClientSession, Error};
use crate::wire;

/// Client index of the fault's first own member, above the clients of any run.
const OWN_MEMBERS: ClientIx = 1_000_000;
/// Time for which the sessions are observed after the node has resumed.
const LISTEN: Duration = Duration::from_secs(6);
/// Lead of the resume at another node over the wake-up: that node requests the session from the stopped one.
const RESUME_AHEAD: Duration = Duration::from_millis(100);
/// Time for which the link stays cut after the resume: events received by then are from the other node.
const HEAL_AFTER: Duration = Duration::from_secs(2);
/// Longest time for a node to detect a lost connection.
const LOSS_SEEN: Duration = Duration::from_millis(300);
const RESUMED: &str = "resumed at another node";
const MEMBER_RESUMED: &str = "a member, resumed at another node";

/// One session of a member of the fault.
struct RemovedListener {
    session: ClientSession,
    member: ClientIx,
    name: &'static str,
    view: RemovedView,
}

/// State of a session that has lost its connection: session id, session seq of its last event, and view.
type Lost = (String, u64, RemovedView);

/// Way in which the node is isolated from the removal.
#[derive(Clone, Copy)]
enum Deafness {
    Stopped,
    /// The node receives nothing from this owner.
    Cut(u64),
}

/// Isolation that is in effect.
enum Deaf {
    Stopped,
    Cut(FaultGuard),
}

/// The two members of the fault.
struct RemovedPair {
    removed: ClientIx,
    stays: ClientIx,
}

// === impl FaultRun: removal ===

impl FaultRun<'_> {
    /// Runs the fault in five steps.
    ///
    /// 1. Two members join and connect to the node.
    /// 2. The node is stopped, or its link to the owner is cut.
    /// 3. One member is removed through another node; the hold lasts long enough for retention to trim the removal.
    /// 4. One session of each member is resumed at another node.
    /// 5. The node is resumed, or the link healed.
    pub(super) async fn kick(&self) -> FaultEffect {
        let (node, deafness) = match *self.nodes {
            [node] => (node, Deafness::Stopped),
            [owner, node] => (node, Deafness::Cut(owner)),
            _ => {
                return Err(FaultError::Skipped(
                    "applies to one node or connection".to_owned(),
                ));
            }
        };
        let other = self.all().into_iter().find(|id| !self.nodes.contains(id));
        let other = other.ok_or_else(|| FaultError::Skipped("needs another node".to_owned()))?;
        // Numbered by the fault, so that two removals of one run have different members.
        let first = OWN_MEMBERS + 2 * self.number as ClientIx;
        let members = RemovedPair {
            removed: first,
            stays: first + 1,
        };
        let admin = self.session(other, self.creator, "admin").await;
        let mut admin = admin.map_err(indeterminate)?;
        let (mut there, lost) = self.bring_in(node, &mut admin, &members).await?;

        let deaf = self.isolate(node, deafness)?;
        let known = self.while_deaf(&mut admin, &members).await;
        let took_effect = match &deaf {
            Deaf::Stopped => self.local.is_stopped(node),
            Deaf::Cut(on) => on.touched() > 0,
        };
        let resuming = self.resume_both(other, &members, lost);
        let (resumed, woken) = futures::future::join(resuming, self.wake(node, deaf)).await;
        // Errors are returned only after the node was woken, which other faults and the run depend on.
        woken?;
        let (removed_at, floor) = known?;
        let went_on = resumed.iter().filter(|listener| listener.session.resumed).count();
        there.extend(resumed);
        let until = Instant::now() + LISTEN;
        let listening = there
            .iter_mut()
            .map(|listener| self.listen(listener, members.removed, removed_at, until));
        futures::future::join_all(listening).await;
        // Last, because a new session could make the node read the removal before the listeners have observed it.
        self.is_refused(node, members.removed).await;
        // Best effort: it only cleans up the second member.
        let _ = self.change(&mut admin, self.removal(members.stays)?).await;
        self.all_ready().await?;
        let received: Vec<String> = there
            .iter()
            .map(|listener| format!("{}: {}", listener.name, listener.view.received))
            .collect();
        let evidence = format!(
            "removed at s={removed_at} while node {node} was {deafness}; the retained log began at s={floor} afterwards; {went_on} of 2 sessions resumed on other nodes; events received from then on: {}",
            received.join(", ")
        );
        bitten(took_effect && removed_at > 0, &evidence)
    }

    /// Invites the members, and connects their sessions to the node. Two of the sessions lose their connection again.
    async fn bring_in(
        &self,
        node: u64,
        admin: &mut ClientSession,
        members: &RemovedPair,
    ) -> Result<(Vec<RemovedListener>, [Lost; 2]), FaultError> {
        let (conversation, _) = self.conversation()?;
        for member in [members.removed, members.stays] {
            let who = self.user(member);
            let invitation = wire::invite(conversation, &format!("invite-{who}"), &who);
            self.change(admin, invitation).await.map_err(skipped)?;
        }
        let mut there = Vec::new();
        for (member, name) in [
            (members.removed, "connected"),
            (members.removed, "connected on a second device"),
            (members.stays, "a member, connected"),
        ] {
            there.push(self.listener(node, member, name).await?);
        }
        let removed = self.listener(node, members.removed, RESUMED).await?.lose();
        let stays = self.listener(node, members.stays, MEMBER_RESUMED).await?.lose();
        // The node must detect the lost connections before it is isolated.
        tokio::time::sleep(LOSS_SEEN).await;
        Ok((there, [removed, stays]))
    }

    fn isolate(&self, node: u64, deafness: Deafness) -> Result<Deaf, FaultError> {
        Ok(match deafness {
            Deafness::Stopped => {
                self.local.hit(node, ProcessSignal::Stop).map_err(skipped)?;
                Deaf::Stopped
            }
            Deafness::Cut(owner) => Deaf::Cut(
                self.wires()?
                    .install(vec![(owner, node), (node, owner)], NetworkFault::Cut),
            ),
        })
    }

    /// Ends the isolation shortly after the resume at another node began. A stopped node cannot export its sessions
    /// before that. A node that is cut off from the owner alone exports them as they are.
    async fn wake(&self, node: u64, deaf: Deaf) -> Result<(), FaultError> {
        match deaf {
            Deaf::Stopped => {
                tokio::time::sleep(RESUME_AHEAD).await;
                self.local.hit(node, ProcessSignal::Continue)?;
            }
            Deaf::Cut(on) => {
                tokio::time::sleep(HEAL_AFTER).await;
                drop(on);
            }
        }
        Ok(())
    }

    /// Resumes the lost sessions at another node. Omits one that could not connect.
    async fn resume_both(&self, node: u64, members: &RemovedPair, lost: [Lost; 2]) -> Vec<RemovedListener> {
        let [removed, stays] = lost;
        let both = futures::future::join(
            self.resumed(node, members.removed, RESUMED, removed),
            self.resumed(node, members.stays, MEMBER_RESUMED, stays),
        );
        let (removed, stays) = both.await;
        removed.into_iter().chain(stays).collect()
    }

    /// Removes the member, and waits for the hold. Returns the seq of the removal, and the first seq of the log
    /// afterwards.
    async fn while_deaf(
        &self,
        admin: &mut ClientSession,
        members: &RemovedPair,
    ) -> Result<(u64, u64), FaultError> {
        let began = Instant::now();
        let ack = self.change(admin, self.removal(members.removed)?).await;
        let removed_at = ack.map_err(indeterminate)?["s"].as_u64().unwrap_or(0);
        self.step.say(format!("removed at s={removed_at}"));
        loop {
            let floor = self.floor(admin).await.unwrap_or(0);
            if began.elapsed() >= self.fault.hold {
                return Ok((removed_at, floor));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Returns the first seq that the log of the conversation holds.
    async fn floor(&self, admin: &mut ClientSession) -> Option<u64> {
        let answer = admin.ask(&wire::hist(self.conversation?, 0, 1)).await.ok()?;
        answer["events"].as_array()?.first()?["s"].as_u64()
    }

    /// Returns the removal of one of the fault's members.
    fn removal(&self, member: ClientIx) -> Result<ClientCommand, FaultError> {
        let (conversation, _) = self.conversation()?;
        let who = self.user(member);
        Ok(wire::kick(conversation, &format!("kick-{who}"), &who))
    }

    /// Changes a membership. The client message id is fixed, so a retry after a lost response has no second effect.
    async fn change(&self, admin: &mut ClientSession, change: ClientCommand) -> Result<Value, Error> {
        admin.ask_until(&change, Instant::now() + PATIENCE).await
    }

    /// Connects a member's session, and waits for its first event of the conversation.
    async fn listener(
        &self,
        node: u64,
        member: ClientIx,
        name: &'static str,
    ) -> Result<RemovedListener, FaultError> {
        let session = self.session(node, member, name).await.map_err(indeterminate)?;
        let mut listener = RemovedListener {
            session,
            member,
            name,
            view: RemovedView::default(),
        };
        let (conversation, _) = self.conversation()?;
        let deadline = Instant::now() + PATIENCE;
        let opened = listener
            .session
            .ask_until(&wire::open(conversation), deadline)
            .await;
        opened.map_err(indeterminate)?;
        while listener.view.last.is_none() {
            let event = listener.session.event(deadline).await.map_err(indeterminate)?;
            let event =
                event.ok_or_else(|| FaultError::Indeterminate(format!("{name}: no event was received")))?;
            // The first event sets the position, so it cannot be a violation.
            let _ = listener.view.take(&event, conversation, None);
        }
        // Only events after the setup are evidence.
        listener.view.received = 0;
        Ok(listener)
    }

    /// Resumes a session at another node. Returns `None` if it could not connect there.
    async fn resumed(
        &self,
        node: u64,
        member: ClientIx,
        name: &'static str,
        (sid, n, view): Lost,
    ) -> Option<RemovedListener> {
        let session = self.session_of(node, member, name, Some((&sid, n))).await.ok()?;
        Some(RemovedListener {
            // A session that could not be resumed starts without a position.
            view: if session.resumed {
                view
            } else {
                RemovedView::default()
            },
            session,
            member,
            name,
        })
    }

    /// Processes the events of a session, until `until` or until a violation.
    async fn listen(
        &self,
        listener: &mut RemovedListener,
        removed: ClientIx,
        removed_at: u64,
        until: Instant,
    ) {
        let removed_at = (listener.member == removed).then_some(removed_at);
        let Some(conversation) = self.conversation else {
            return;
        };
        // The protocol may end a session, so an error only stops the observation.
        while let Ok(Some(event)) = listener.session.event(until).await {
            if let Err((kind, s, detail)) = listener.view.take(&event, conversation, removed_at) {
                let detail = format!("{}: {detail}", listener.name);
                return self.violate(kind, Some(listener.member), s, detail);
            }
        }
    }

    /// Verifies that the isolated node refuses the removed member, too.
    async fn is_refused(&self, node: u64, removed: ClientIx) {
        let Ok(mut session) = self.session(node, removed, "afterwards").await else {
            return;
        };
        let Some(open) = self.conversation.map(wire::open) else {
            return;
        };
        if let Ok(answer) = session.ask_until(&open, Instant::now() + PATIENCE).await {
            let s = answer["last"]["s"].as_u64().unwrap_or(0);
            let detail = "a removed member opened the conversation".to_owned();
            self.violate(ViolationKind::AfterRemoval, Some(removed), s, detail);
        }
    }
}

// === impl RemovedListener, Deafness ===

impl RemovedListener {
    /// Drops the connection without a close frame.
    fn lose(self) -> Lost {
        (self.session.sid.clone(), self.session.n, self.view)
    }
}

impl Display for Deafness {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Deafness::Stopped => f.write_str("stopped"),
            Deafness::Cut(owner) => write!(f, "disconnected from the shard owner {owner}"),
        }
    }
}

fn indeterminate(error: Error) -> FaultError {
    FaultError::Indeterminate(error.to_string())
}
