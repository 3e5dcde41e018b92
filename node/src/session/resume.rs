//! A session that goes on with another one: the other is fetched from its node, what the client missed is replayed, and
//! each conversation is followed from where the other one was.
//!
//! The client is told `resumed:true` as soon as the events are here. Nothing is missing then, because a conversation's log
//! is kept: what happened in it between the last event of the other session and the first of this subscription is read
//! from the log and comes in its order, however long that takes.

use actix::Context;

use super::actor::{Phase, Session};
use super::authenticate::Opening;
use super::ring::Kept;
use super::sid::Sid;
use super::subscribe;
use crate::rpc::resume::{Lent, Resume};

// === impl Session: resume ===

impl Session {
    /// Goes on with another session, behind event `n`. Until it is here no command is taken up.
    pub(super) fn resume(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: Opening,
        sid: Sid,
        n: u64,
    ) {
        let question = Resume {
            sid,
            user: opening.who.user.clone(),
            device: opening.who.device.clone(),
            n,
            by: opening.sid,
        };
        self.phase = Phase::Resuming(opening.feed.clone());
        self.held = true;
        let lent = self.worker.sessions.clone().resume(question);
        self.wait(ctx, lent, move |session, ctx, lent| {
            if session.link.is_closed() {
                return;
            }
            session.held = false;
            match lent {
                Ok(lent) => session.carry_on(ctx, id, opening, sid, n, lent),
                Err(why) => session.begin(ctx, id, opening, Some(why)),
            }
            session.pump_soon();
        });
    }

    fn carry_on(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: Opening,
        parent: Sid,
        n: u64,
        lent: Lent,
    ) {
        let feed = opening.feed.clone();
        self.link.outbox(|outbox| outbox.start_at(n));
        self.open_as(ctx, id, opening, Some(parent), None);
        for (tail, covers) in lent.events {
            feed.replay(Kept { tail, covers });
        }
        for (conv, cid) in &lent.quiet {
            feed.hush(conv, cid);
        }
        self.inherit(lent.delivered);
        self.watch_on(lent.watching);
        let carrying = subscribe::carry_on(self.worker.clone(), feed, lent.convs, lent.coming, lent.settled);
        self.work(carrying);
    }

    /// The client has shown that it knows this session, so the one that it goes on with is over. What the client said
    /// waits until that is certain.
    pub(super) fn settle(&mut self, ctx: &mut Context<Session>) {
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        let Some(parent) = open.parent.take() else { return };
        let settled = self.worker.sessions.clone().settle(parent, open.sid);
        self.held = true;
        self.wait(ctx, settled, |session, ctx, mine| {
            session.held = false;
            if !mine {
                session.rivalled(ctx);
            }
            session.pump_soon();
        });
    }
}
