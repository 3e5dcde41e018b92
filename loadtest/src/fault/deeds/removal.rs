//! A member who is removed while the node that it is connected to can't learn of it, and one who stays: their sessions
//! are the fault's own. What happens to a membership meanwhile is in the log; with retention by number (`settings` of the
//! plan) it isn't there any more when the node could learn of it.

use std::fmt::{Display, Formatter};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Deed, Done, PATIENCE, Trouble, bitten, skipped};
use crate::links::{Effect, Installed};
use crate::local::Hit;
use crate::oracle::Kind;
use crate::payload::ClientIx;
use crate::session::{Error, Session};

/// Members of the fault's own are numbered from here: above the clients of any run.
const OWN_MEMBERS: ClientIx = 1_000_000;
/// How long the sessions are listened to when the node has woken.
const LISTEN: Duration = Duration::from_secs(6);
/// How far ahead of the waking a session is resumed elsewhere: that node asks the sleeping one.
const RESUME_AHEAD: Duration = Duration::from_millis(100);
/// How long the link stays cut when sessions are resumed: what they are told by then is from the other node.
const HEAL_AFTER: Duration = Duration::from_secs(2);
/// How long a node may take to see that a connection is gone.
const LOSS_SEEN: Duration = Duration::from_millis(300);
const RESUMED: &str = "resumed at another node";
const MEMBER_RESUMED: &str = "a member, resumed at another node";

/// One session of a member of the fault's own.
struct Listener {
    session: Session,
    member: ClientIx,
    /// What it is, for a violation.
    name: &'static str,
    view: View,
}

/// What a session has been told of the conversation.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    /// The last place that was applied; `None` after a `resync`, when a client asks.
    last: Option<u64>,
    received: u64,
}

/// What a session was when it lost its connection: its name, its last event, what it had been told.
type Lost = (String, u64, View);

/// Why the node doesn't learn of the removal.
#[derive(Clone, Copy)]
enum Deafness {
    Stopped,
    /// From this owner alone.
    Cut(u64),
}

/// The same, while it lasts.
enum Deaf {
    Stopped,
    Cut(Installed),
}

/// The two members.
struct Members {
    removed: ClientIx,
    stays: ClientIx,
}

// === impl Deed: removal ===

impl Deed<'_> {
    /// Brings two members in at the node, stops it, removes one of the two through another node, waits until retention
    /// has let that go or the hold is over, resumes one session of each elsewhere, and wakes the node. Of a link between
    /// the owner and the node, that link is cut instead.
    pub(super) async fn kick(&self) -> Done {
        let (node, deafness) = match *self.nodes {
            [node] => (node, Deafness::Stopped),
            [owner, node] => (node, Deafness::Cut(owner)),
            _ => return Err(Trouble::Skipped("is done to one node or link".to_owned())),
        };
        let other = self.all().into_iter().find(|id| !self.nodes.contains(id));
        let other = other.ok_or_else(|| Trouble::Skipped("needs another node".to_owned()))?;
        let first = OWN_MEMBERS + 2 * self.number as ClientIx;
        let members = Members {
            removed: first,
            stays: first + 1,
        };
        let admin = self.session(other, self.creator, "admin").await;
        let mut admin = admin.map_err(indeterminate)?;
        let (mut there, lost) = self.bring_in(node, &mut admin, &members).await?;

        let deaf = self.isolate(node, deafness)?;
        let known = self.while_deaf(&mut admin, &members).await;
        let bit = match &deaf {
            Deaf::Stopped => self.local.is_stopped(node),
            Deaf::Cut(on) => on.touched() > 0,
        };
        let resuming = self.resume_both(other, &members, lost);
        let (resumed, woken) = futures::future::join(resuming, self.wake(node, deaf)).await;
        woken?;
        let (removed_at, floor) = known?;
        let went_on = resumed.iter().filter(|listener| listener.session.resumed).count();
        there.extend(resumed);
        let until = Instant::now() + LISTEN;
        let listening = there
            .iter_mut()
            .map(|listener| self.listen(listener, members.removed, removed_at, until));
        futures::future::join_all(listening).await;
        self.is_refused(node, members.removed).await;
        let _ = self.change("kick", &mut admin, members.stays).await;
        self.all_ready().await?;
        let received: Vec<String> = there
            .iter()
            .map(|listener| format!("{}: {}", listener.name, listener.view.received))
            .collect();
        let evidence = format!(
            "removed at s={removed_at} while node {node} was {deafness}, what is kept began at s={floor} afterwards; {went_on} of 2 sessions went on elsewhere; events heard from then on: {}",
            received.join(", ")
        );
        bitten(bit && removed_at > 0, &evidence)
    }

    /// Invites the members, and connects their sessions at the node: those that stay, and two that have lost their
    /// connection again.
    async fn bring_in(
        &self,
        node: u64,
        admin: &mut Session,
        members: &Members,
    ) -> Result<(Vec<Listener>, [Lost; 2]), Trouble> {
        for member in [members.removed, members.stays] {
            self.change("invite", admin, member).await.map_err(skipped)?;
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
        // The node notices that they are gone while it still can.
        tokio::time::sleep(LOSS_SEEN).await;
        Ok((there, [removed, stays]))
    }

    fn isolate(&self, node: u64, deafness: Deafness) -> Result<Deaf, Trouble> {
        Ok(match deafness {
            Deafness::Stopped => {
                self.local.hit(node, Hit::Stop).map_err(skipped)?;
                Deaf::Stopped
            }
            Deafness::Cut(owner) => Deaf::Cut(
                self.wires()?
                    .install(vec![(owner, node), (node, owner)], Effect::Cut),
            ),
        })
    }

    /// Ends the deafness, a moment after the sessions are asked for elsewhere: a node that sleeps is asked for them in
    /// vain until then, and one that is cut off from the owner alone hands them over as they are.
    async fn wake(&self, node: u64, deaf: Deaf) -> Result<(), Trouble> {
        match deaf {
            Deaf::Stopped => {
                tokio::time::sleep(RESUME_AHEAD).await;
                self.local.hit(node, Hit::Continue)?;
            }
            Deaf::Cut(on) => {
                tokio::time::sleep(HEAL_AFTER).await;
                drop(on);
            }
        }
        Ok(())
    }

    /// Goes on with the lost sessions at another node.
    async fn resume_both(&self, node: u64, members: &Members, lost: [Lost; 2]) -> Vec<Listener> {
        let [removed, stays] = lost;
        let both = futures::future::join(
            self.resumed(node, members.removed, RESUMED, removed),
            self.resumed(node, members.stays, MEMBER_RESUMED, stays),
        );
        let (removed, stays) = both.await;
        removed.into_iter().chain(stays).collect()
    }

    /// Removes the member, and waits for retention. Returns where it was removed and where the log begins by then.
    async fn while_deaf(&self, admin: &mut Session, members: &Members) -> Result<(u64, u64), Trouble> {
        let began = Instant::now();
        let ack = self.change("kick", admin, members.removed).await;
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

    /// The first place of the conversation that is kept.
    async fn floor(&self, admin: &mut Session) -> Option<u64> {
        let question = json!({"t": "hist", "c": self.conversation, "after": 0, "limit": 1});
        let answer = admin.ask(&question).await.ok()?;
        answer["events"].as_array()?.first()?["s"].as_u64()
    }

    /// Invites or kicks one of the fault's own members.
    async fn change(&self, how: &str, admin: &mut Session, member: ClientIx) -> Result<Value, Error> {
        let who = self.user(member);
        let cid = format!("{how}-{who}");
        let command = json!({"t": how, "c": self.conversation, "cid": cid, "who": who});
        admin.ask_until(&command, Instant::now() + PATIENCE).await
    }

    /// Connects a member's session, and waits until it hears the conversation.
    async fn listener(&self, node: u64, member: ClientIx, name: &'static str) -> Result<Listener, Trouble> {
        let session = self.session(node, member, name).await.map_err(indeterminate)?;
        let mut listener = Listener {
            session,
            member,
            name,
            view: View::default(),
        };
        let open = json!({"t": "open", "c": self.conversation});
        let deadline = Instant::now() + PATIENCE;
        let opened = listener.session.ask_until(&open, deadline).await;
        opened.map_err(indeterminate)?;
        while listener.view.last.is_none() {
            let event = listener.session.event(deadline).await.map_err(indeterminate)?;
            let event = event.ok_or_else(|| Trouble::Indeterminate(format!("{name}: nothing was heard")))?;
            // Nothing can be broken yet: a first event has nothing before it.
            let _ = listener.view.take(&event, self.conversation, None);
        }
        listener.view.received = 0;
        Ok(listener)
    }

    /// Goes on with a session at another node. `None` if it could not connect there at all.
    async fn resumed(
        &self,
        node: u64,
        member: ClientIx,
        name: &'static str,
        (sid, n, view): Lost,
    ) -> Option<Listener> {
        let session = self.session_of(node, member, name, Some((&sid, n))).await.ok()?;
        Some(Listener {
            // One that begins anew asks for what it missed.
            view: if session.resumed { view } else { View::default() },
            session,
            member,
            name,
        })
    }

    /// Takes what a session is told, until then or until a promise is broken.
    async fn listen(&self, listener: &mut Listener, removed: ClientIx, removed_at: u64, until: Instant) {
        let removed_at = (listener.member == removed).then_some(removed_at);
        // The end of a session is a verdict that the protocol has; what was received before it counts.
        while let Ok(Some(event)) = listener.session.event(until).await {
            if let Err((kind, s, detail)) = listener.view.take(&event, self.conversation, removed_at) {
                let detail = format!("{}: {detail}", listener.name);
                return self.violate(kind, Some(listener.member), s, detail);
            }
        }
    }

    /// What was removed is refused at the node that slept, too.
    async fn is_refused(&self, node: u64, removed: ClientIx) {
        let Ok(mut session) = self.session(node, removed, "afterwards").await else {
            return;
        };
        let open = json!({"t": "open", "c": self.conversation});
        if let Ok(answer) = session.ask_until(&open, Instant::now() + PATIENCE).await {
            let s = answer["last"]["s"].as_u64().unwrap_or(0);
            let detail = "one who was removed opens the conversation".to_owned();
            self.violate(Kind::AfterRemoval, Some(removed), s, detail);
        }
    }
}

// === impl View ===

impl View {
    /// Takes an event: nothing above the removal for one who was removed, no hole without a `resync` for a member.
    fn take(
        &mut self,
        event: &Value,
        conversation: &str,
        removed_at: Option<u64>,
    ) -> Result<(), (Kind, u64, String)> {
        if event["t"] == "resync" {
            self.last = None;
        }
        let Some(s) = event["s"].as_u64().filter(|_| event["c"] == conversation) else {
            return Ok(());
        };
        self.received += 1;
        if let Some(k) = removed_at {
            let detail = || format!("it was removed at s={k}");
            return if s > k {
                Err((Kind::AfterRemoval, s, detail()))
            } else {
                Ok(())
            };
        }
        let hole = self.last.filter(|last| s > last + 1);
        self.last = Some(s.max(self.last.unwrap_or(0)));
        hole.map_or(Ok(()), |last| {
            Err((Kind::LiveHole, s, format!("has s={last}, then comes s={s}")))
        })
    }
}

// === impl Listener, Deafness ===

impl Listener {
    /// Lets the connection drop.
    fn lose(self) -> Lost {
        (self.session.sid.clone(), self.session.n, self.view)
    }
}

impl Display for Deafness {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Deafness::Stopped => f.write_str("stopped"),
            Deafness::Cut(owner) => write!(f, "cut off from the owner {owner}"),
        }
    }
}

fn indeterminate(error: Error) -> Trouble {
    Trouble::Indeterminate(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(events: &[Value], removed_at: Option<u64>) -> Result<u64, Kind> {
        let mut view = View::default();
        for event in events {
            view.take(event, "g_1", removed_at).map_err(|(kind, ..)| kind)?;
        }
        Ok(view.received)
    }

    #[test]
    fn one_who_was_removed_is_told_nothing_above_it() {
        let at = |s: u64| json!({"t": "msg", "c": "g_1", "s": s});
        let elsewhere = json!({"t": "msg", "c": "g_2", "s": 90});
        assert_eq!(
            taken(&[at(6), at(7), elsewhere], Some(7)),
            Ok(2),
            "up to it, and elsewhere"
        );
        assert_eq!(taken(&[at(6), at(8)], Some(7)), Err(Kind::AfterRemoval));
    }

    #[test]
    fn a_member_has_no_hole_but_at_a_resync() {
        let at = |s: u64| json!({"t": "msg", "c": "g_1", "s": s});
        let resync = json!({"t": "resync", "why": "gone"});
        assert_eq!(taken(&[at(6), at(7), at(7), at(8)], None), Ok(4), "twice is once");
        assert_eq!(taken(&[at(6), resync, at(90), at(91)], None), Ok(3));
        assert_eq!(taken(&[at(6), at(8)], None), Err(Kind::LiveHole));
    }
}
