//! Who the client is: the first `auth`, and later ones that renew the token.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix::{AsyncContext, Context};
use cluster::Clock;
use protocol::answer::{Limits, NotResumed, Ready};
use protocol::command::{Auth, Resume};
use protocol::{Answer, Cid, CloseCode, Cost, UserId};
use tokio::sync::oneshot;

use super::actor::{Open, Phase, Session, Transport};
use super::dispatch::too_fast;
use super::feed::Feed;
use super::following;
use super::registry::Who;
use super::sid::Sid;
use crate::conversation::Refusal;
use crate::gateway::auth::{Identity, Refused};
use crate::user::{Device, SessionMark};

/// A client that is known, and what it says of itself.
pub struct Newcomer {
    /// Who the token says it is.
    pub identity: Identity,
    /// The device, if it has a name.
    pub device: Option<String>,
    /// The start of the app.
    pub instance: Option<String>,
    /// The session to go on with.
    pub resume: Option<Point>,
    /// Who is told beside the client.
    pub told: Option<oneshot::Sender<Ready>>,
}

/// A point in the events of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Behind event `n` of this session.
    Behind(Sid, u64),
    /// The client named what can't be a session.
    Nowhere,
}

/// A session that is about to open.
pub(super) struct Opening {
    pub(super) sid: Sid,
    pub(super) who: Who,
    pub(super) device: Option<Device>,
    pub(super) feed: Rc<Feed>,
    pub(super) expires: Option<SystemTime>,
    pub(super) login: Option<Cid>,
    pub(super) told: Option<oneshot::Sender<Ready>>,
}

// === impl Newcomer, Point ===

impl Newcomer {
    fn device(&self) -> Option<Device> {
        let name = self.device.clone()?;
        // Who names no start is taken for the same one.
        let instance = self.instance.clone().unwrap_or_default();
        Some(Device { name, instance })
    }
}

impl Point {
    /// Reads `<sid>:<n>`.
    #[must_use]
    pub fn parse(text: &str) -> Point {
        let split = text.trim().split_once(':');
        split
            .and_then(|(sid, n)| Some(Point::Behind(sid.parse().ok()?, n.parse().ok()?)))
            .unwrap_or(Point::Nowhere)
    }
}

impl From<&Resume> for Point {
    fn from(Resume { sid, n }: &Resume) -> Point {
        sid.parse().map_or(Point::Nowhere, |sid| Point::Behind(sid, *n))
    }
}

// === impl Session: authenticate ===

impl Session {
    /// `auth`.
    pub(super) fn authenticate(&mut self, ctx: &mut Context<Session>, id: Option<i64>, auth: Auth) {
        // Of a client that is known: it costs a verification. One that is not has one try, more or less.
        if !self.may(id) {
            return;
        }
        match self.worker.auth.check(&auth.token) {
            Err(refused) => self.turn_away(ctx, id, refused),
            Ok(identity) => match self.user() {
                Some(user) if *user != identity.user => self.turn_away(ctx, id, Refused::Invalid),
                Some(_) => self.renew(id, &identity),
                None if !self.may_begin(id, &identity.user) => {}
                None => {
                    let newcomer = Newcomer {
                        identity,
                        resume: auth.resume.as_ref().map(Point::from),
                        device: auth.device,
                        instance: auth.instance,
                        told: None,
                    };
                    self.arrive(ctx, id, newcomer);
                }
            },
        }
    }

    /// Pays for the begin of a session; if that is not possible, the client stays unknown and may try again.
    fn may_begin(&self, id: Option<i64>, user: &UserId) -> bool {
        let now = Instant::now();
        let account = self.worker.rates.of(user, now);
        match account.take(Cost::SESSION, now) {
            Ok(()) => true,
            Err(wait) => {
                self.refuse(id, too_fast(wait));
                false
            }
        }
    }

    /// Takes a seat for a client that is known, and opens its session.
    pub(super) fn arrive(&mut self, ctx: &mut Context<Session>, id: Option<i64>, newcomer: Newcomer) {
        let (user, device) = (newcomer.identity.user.clone(), newcomer.device());
        self.account = Some(self.worker.rates.of(&user, Instant::now()));
        self.link.identify();
        let login = newcomer.identity.login.clone();
        let sid = self.worker.sessions.draw();
        let goes_on = match newcomer.resume {
            Some(Point::Behind(sid, _)) => Some(sid.mark()),
            Some(Point::Nowhere) | None => None,
        };
        let mark = SessionMark {
            own: sid.mark(),
            goes_on,
        };
        let seat = (device.clone(), mark);
        self.admit(ctx, id, &user, login, seat, move |session, ctx| {
            session.ready(ctx, id, newcomer, (sid, device));
        });
    }

    /// Opens the session, or goes on with another one.
    fn ready(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        newcomer: Newcomer,
        (sid, seat): (Sid, Option<Device>),
    ) {
        let Newcomer {
            identity: Identity { user, expires, login },
            device,
            resume,
            told,
            ..
        } = newcomer;
        let feed = Feed::new(
            self.tag,
            user.clone(),
            self.link.clone(),
            self.worker.metrics.clone(),
        );
        feed.begins_at(self.now_ms());
        // First, so that no joining is missed from here on.
        self.worker.hub.attach(feed.user_id(), feed.clone());
        let opening = Opening {
            sid,
            who: Who { user, device },
            device: seat,
            feed,
            expires,
            login,
            told,
        };
        match resume {
            Some(Point::Behind(sid, n)) => self.resume(ctx, id, opening, sid, n),
            Some(Point::Nowhere) => self.begin(ctx, id, opening, Some(NotResumed::Unknown)),
            None => self.begin(ctx, id, opening, None),
        }
    }

    /// Opens a session that begins here. `why`: another one was asked for.
    pub(super) fn begin(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: Opening,
        why: Option<NotResumed>,
    ) {
        let feed = opening.feed.clone();
        feed.begins(self.worker.sessions.begins(feed.user_id()));
        self.open_as(ctx, id, opening, None, why);
        let following = following::follow_all(self.worker.clone(), feed);
        self.work(following);
    }

    /// The session is open, from the number on at which its outbox stands.
    pub(super) fn open_as(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: Opening,
        parent: Option<Sid>,
        why: Option<NotResumed>,
    ) {
        let Opening {
            sid,
            who,
            device,
            feed,
            expires,
            login,
            told,
        } = opening;
        let open = Open {
            sid,
            feed: feed.clone(),
            expires,
            login: login.clone(),
            coming: 0,
            parent,
            lent: None,
            device,
            watching: Vec::new(),
        };
        let ready = self.ready_answer(&open, parent.is_some(), why);
        if let Some(told) = told {
            // One that is gone will ask again.
            let _gone = told.send(ready.clone());
        }
        self.answer(id, &Answer::Ready(ready));
        self.phase = Phase::Open(Box::new(open));
        feed.keep_account(self.worker.sessions.clone(), sid);
        let sessions = &self.worker.sessions;
        if !sessions.opened(sid, who, login, ctx.address()) {
            return self.revoked(ctx);
        }
        if self.transport == Transport::Poll {
            // Until the first fetch.
            self.leave_waiting();
        }
        self.link.nudge();
    }

    fn renew(&mut self, id: Option<i64>, identity: &Identity) {
        if let Phase::Open(open) = &mut self.phase {
            open.expires = identity.expires;
            open.login = identity.login.clone();
            self.worker.sessions.showed(open.sid, identity.login.clone());
        }
        if let Some(seat) = &self.seat {
            seat.renew(identity.login.clone());
        }
        if let Phase::Open(open) = &self.phase {
            self.answer(id, &Answer::Ready(self.ready_answer(open, true, None)));
        }
        self.link.nudge();
    }

    fn ready_answer(&self, open: &Open, resumed: bool, why: Option<NotResumed>) -> Ready {
        let limits = &self.worker.config.limits;
        Ready {
            user: open.feed.user_id().clone(),
            sid: open.sid.to_string(),
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
        }
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

/// How long a token that ends at `at` is still good. Asked again and again and not turned into a moment of the monotonic
/// clock, which may stand still: a machine that was suspended for an hour grants nobody an hour more.
pub fn left(at: SystemTime, clock: &Clock) -> Duration {
    let now = UNIX_EPOCH + Duration::from_millis(clock.now_ms());
    at.duration_since(now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_session_and_a_number() {
        let sid = Sid { node: 3, secret: 5 };
        assert_eq!(Point::parse(&format!("{sid}:412")), Point::Behind(sid, 412));
        assert_eq!(Point::parse(&format!(" {sid}:0 ")), Point::Behind(sid, 0));
        for text in [
            "",
            ":",
            "3:4",
            &format!("{sid}"),
            &format!("{sid}:-1"),
            &format!("{sid}:"),
            &format!("{sid}:1:2"),
        ] {
            assert_eq!(Point::parse(text), Point::Nowhere, "{text}");
        }
    }
}
