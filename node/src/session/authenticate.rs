//! Who the client is: the first `auth`, and later ones that renew the token.

use std::time::{Instant, SystemTime};

use actix::Context;
use protocol::answer::{Limits, NotResumed, Ready};
use protocol::command::Auth;
use protocol::{Answer, CloseCode};

use super::actor::{Open, Phase, Session};
use super::feed::Feed;
use super::subscribe;
use crate::conversation::Refusal;
use crate::gateway::auth::{Identity, Refused};
use crate::user::Device;

// === impl Session: authenticate ===

impl Session {
    /// `auth`.
    pub(super) fn authenticate(&mut self, ctx: &mut Context<Session>, id: Option<i64>, auth: &Auth) {
        match self.worker.auth.check(&auth.token) {
            Err(refused) => self.turn_away(ctx, id, refused),
            Ok(identity) => match self.user() {
                Some(user) if *user != identity.user => self.turn_away(ctx, id, Refused::Invalid),
                Some(_) => self.renew(id, &identity),
                None => {
                    let (user, wants_resume) = (identity.user.clone(), auth.resume.is_some());
                    let device = auth.device.clone().map(|name| Device {
                        name,
                        // Who names no start is taken for the same one.
                        instance: auth.instance.clone().unwrap_or_default(),
                    });
                    self.admit(ctx, id, &user, device, move |session, _| {
                        session.ready(id, identity, wants_resume);
                    });
                }
            },
        }
    }

    /// Opens the session.
    pub(super) fn ready(&mut self, id: Option<i64>, identity: Identity, wants_resume: bool) {
        let Identity { user, expires } = identity;
        let feed = Feed::new(self.tag, user, self.link.clone(), self.worker.metrics.clone());
        let sid = format!("{:032x}", rand::random::<u128>());
        let open = Open {
            sid,
            feed: feed.clone(),
            expires: expires.map(deadline),
            syncs: Vec::new(),
        };
        // Sessions are not kept yet beyond their connection, which is an honest answer.
        let why = wants_resume.then_some(NotResumed::Unknown);
        self.answer(id, &self.ready_answer(&open, false, why));
        self.phase = Phase::Open(open);
        self.worker.hub.attach(feed.user_id(), feed.clone());
        let following = subscribe::follow_all(self.worker.clone(), feed);
        self.inflight.push(Box::pin(async move {
            following.await;
            let nothing: super::inflight::Effect<_, _> = Box::new(|_, _| ());
            nothing
        }));
        self.link.nudge();
    }

    fn renew(&mut self, id: Option<i64>, identity: &Identity) {
        if let Phase::Open(open) = &mut self.phase {
            open.expires = identity.expires.map(deadline);
        }
        if let Phase::Open(open) = &self.phase {
            self.answer(id, &self.ready_answer(open, true, None));
        }
        self.link.nudge();
    }

    fn ready_answer(&self, open: &Open, resumed: bool, why: Option<NotResumed>) -> Answer {
        let limits = &self.worker.config.limits;
        Answer::Ready(Ready {
            user: open.feed.user_id().clone(),
            sid: open.sid.clone(),
            resumed,
            n: self.link.outbox(|outbox| outbox.last_n()),
            why,
            resume_ttl_ms: self.worker.config.session.resume_ttl_ms.0,
            limits: Limits {
                body_bytes: limits.body_bytes as u64,
                sends_per_s: limits.sends_per_s,
                burst: limits.burst,
                ephemeral_per_s: limits.ephemeral_per_s,
            },
        })
    }

    fn turn_away(&mut self, ctx: &mut Context<Session>, id: Option<i64>, refused: Refused) {
        self.worker.metrics.auth_failures.inc();
        let code = refused.code();
        self.refuse(
            id,
            Refusal {
                code,
                msg: refused.to_string(),
                retry_ms: code.temporary().then_some(1_000),
            },
        );
        let close = match refused {
            // The token may be good: the client comes again.
            Refused::NotYet => CloseCode::Overloaded,
            Refused::Expired | Refused::Invalid => CloseCode::AuthFailed,
        };
        self.close(ctx, close);
    }
}

/// The moment on this process's clock.
fn deadline(at: SystemTime) -> Instant {
    Instant::now() + at.duration_since(SystemTime::now()).unwrap_or_default()
}
