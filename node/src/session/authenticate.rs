//! Authentication: the first `auth`, and later ones that renew the token.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix::{AsyncContext, Context};
use cluster::ClusterClock;
use protocol::answer::{NotResumed, ReadyResponse, SessionLimits};
use protocol::command::{Authenticate, ResumeSession};
use protocol::{ClientMessageId, CloseCode, CommandCost, Response, UserId};
use tokio::sync::oneshot;

use super::actor::{ClientTransport, Session};
use super::delivery::EventSubscriber;
use super::following;
use super::limits::too_fast;
use super::registry::SessionIdentity;
use crate::auth::{TokenError, TokenIdentity};
use crate::presence::{Device, SessionMark};
use crate::rpc::SessionId;
use crate::shard_client::CommandError;

/// Authenticated client with the parameters of its connection.
pub struct AuthenticatedClient {
    pub identity: TokenIdentity,
    /// `None`: the client named no device.
    pub device: Option<String>,
    /// Random per start of the app; `None`: not given.
    pub instance: Option<String>,
    /// `None`: the client starts a new session.
    pub resume: Option<ResumePoint>,
    /// Receives a copy of `ready`, for transports that answer by HTTP.
    pub ready_sender: Option<oneshot::Sender<ReadyResponse>>,
}

/// Position in the events of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumePoint {
    /// Behind event `n` of this session.
    Behind(SessionId, u64),
    /// The client sent an invalid session id or number.
    Invalid,
}

/// Parameters of a session that is about to open.
pub(super) struct SessionSetup {
    pub(super) sid: SessionId,
    pub(super) who: SessionIdentity,
    pub(super) device: Option<Device>,
    pub(super) feed: Rc<EventSubscriber>,
    pub(super) expires: Option<SystemTime>,
    pub(super) login: Option<ClientMessageId>,
    pub(super) sent: Option<oneshot::Sender<ReadyResponse>>,
}

// === impl AuthenticatedClient, ResumePoint ===

impl AuthenticatedClient {
    fn device(&self) -> Option<Device> {
        let name = self.device.clone()?;
        // Without an instance, every start of the app counts as the same one.
        let instance = self.instance.clone().unwrap_or_default();
        Some(Device { name, instance })
    }
}

impl ResumePoint {
    /// Parses a resume point, `<sid>:<n>`.
    #[must_use]
    pub fn parse(text: &str) -> ResumePoint {
        let split = text.trim().split_once(':');
        split
            .and_then(|(sid, n)| Some(ResumePoint::Behind(sid.parse().ok()?, n.parse().ok()?)))
            .unwrap_or(ResumePoint::Invalid)
    }
}

impl From<&ResumeSession> for ResumePoint {
    fn from(ResumeSession { sid, n }: &ResumeSession) -> ResumePoint {
        sid.parse()
            .map_or(ResumePoint::Invalid, |sid| ResumePoint::Behind(sid, *n))
    }
}

// === impl Session: authenticate ===

impl Session {
    pub(super) fn authenticate(&mut self, ctx: &mut Context<Session>, id: Option<i64>, auth: Authenticate) {
        // Charges renewals only, which cost a verification each. Before authentication the number of commands is
        // limited instead.
        if !self.may(id) {
            return;
        }
        match self.worker.auth.check(&auth.token) {
            Err(refused) => self.refuse_authentication(ctx, id, refused),
            Ok(identity) => match self.user() {
                // A session never changes its user: its subscriptions were admitted for the first one.
                Some(user) if *user != identity.user => {
                    self.refuse_authentication(ctx, id, TokenError::Invalid)
                }
                Some(_) => self.renew(id, &identity),
                None if !self.may_begin(id, &identity.user) => {}
                None => {
                    let client = AuthenticatedClient {
                        identity,
                        resume: auth.resume.as_ref().map(ResumePoint::from),
                        device: auth.device,
                        instance: auth.instance,
                        ready_sender: None,
                    };
                    self.arrive(ctx, id, client);
                }
            },
        }
    }

    /// Charges the start of a session. If the rate is exceeded, the client stays unauthenticated and may try again.
    fn may_begin(&self, id: Option<i64>, user: &UserId) -> bool {
        let now = Instant::now();
        // Charged to the user's account, which outlives connections: reconnecting must not give a full bucket.
        let account = self.worker.rates.of(user, now);
        match account.take(CommandCost::SESSION, now) {
            Ok(()) => true,
            Err(wait) => {
                self.refuse(id, too_fast(wait));
                false
            }
        }
    }

    /// Enters presence for an authenticated client, and opens its session once admitted.
    pub(super) fn arrive(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        client: AuthenticatedClient,
    ) {
        let (user, device) = (client.identity.user.clone(), client.device());
        self.limits.identify(self.worker.rates.of(&user, Instant::now()));
        self.link.identify();
        let login = client.identity.login.clone();
        let sid = self.worker.sessions.draw();
        let goes_on = match client.resume {
            Some(ResumePoint::Behind(sid, _)) => Some(sid.mark()),
            Some(ResumePoint::Invalid) | None => None,
        };
        // Presence gets only the marks: a whole session id would let its holder resume the session.
        let mark = SessionMark {
            own: sid.mark(),
            goes_on,
        };
        let device_mark = (device.clone(), mark);
        self.admit(ctx, id, &user, login, device_mark, move |session, ctx| {
            session.ready(ctx, id, client, (sid, device));
        });
    }

    /// Opens a new session, or resumes another one.
    fn ready(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        client: AuthenticatedClient,
        (sid, own_device): (SessionId, Option<Device>),
    ) {
        let AuthenticatedClient {
            identity: TokenIdentity { user, expires, login },
            device,
            resume,
            ready_sender,
            ..
        } = client;
        let feed = EventSubscriber::new(
            self.tag,
            user.clone(),
            self.link.clone(),
            self.worker.metrics.clone(),
        );
        feed.begins_at(self.now_ms());
        self.delivery.attach(feed.clone());
        // Attached before the conversations are listed: a joining from here on is announced.
        self.worker.hub.attach(feed.user_id(), feed.clone());
        let opening = SessionSetup {
            sid,
            who: SessionIdentity { user, device },
            device: own_device,
            feed,
            expires,
            login,
            sent: ready_sender,
        };
        match resume {
            Some(ResumePoint::Behind(sid, n)) => self.resume(ctx, id, opening, sid, n),
            Some(ResumePoint::Invalid) => self.begin(ctx, id, opening, Some(NotResumed::Unknown)),
            None => self.begin(ctx, id, opening, None),
        }
    }

    /// Opens a new session. `why`: reason why the requested resume failed.
    pub(super) fn begin(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: SessionSetup,
        why: Option<NotResumed>,
    ) {
        let feed = opening.feed.clone();
        // Before `ready`: a `sync` that follows it has to wait for the subscriptions.
        feed.begins(self.worker.sessions.begins(feed.user_id()));
        self.open_as(ctx, id, opening, None, why);
        let following = following::follow_all(self.worker.clone(), feed);
        self.work(following);
    }

    /// Opens the session at the current number of its outbound queue, and sends `ready`.
    pub(super) fn open_as(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: SessionSetup,
        parent: Option<SessionId>,
        why: Option<NotResumed>,
    ) {
        let SessionSetup {
            sid,
            who,
            device,
            feed,
            expires,
            login,
            sent: ready_sender,
        } = opening;
        self.presence.open(device, login.clone());
        let ready = self.ready_answer(sid, feed.user_id(), parent.is_some(), why);
        if let Some(ready_sender) = ready_sender {
            // The receiver may have been dropped; its client asks again.
            let _gone = ready_sender.send(ready.clone());
        }
        self.answer(id, &Response::Ready(ready));
        self.lifecycle.open(sid, expires, parent);
        feed.keep_account(self.worker.sessions.clone(), sid);
        let sessions = &self.worker.sessions;
        // The login may have been revoked since the token was verified.
        if !sessions.opened(sid, who, login, ctx.address()) {
            return self.revoked(ctx);
        }
        if self.transport == ClientTransport::Poll {
            // Detached until the first poll.
            self.leave_waiting();
        }
        self.link.request_check();
    }

    fn renew(&mut self, id: Option<i64>, identity: &TokenIdentity) {
        self.lifecycle.renew(identity.expires);
        if let Some(sid) = self.lifecycle.sid() {
            self.worker.sessions.showed(sid, identity.login.clone());
        }
        self.presence.renew(identity.login.clone());
        if let (Some(sid), Some(feed)) = (self.lifecycle.sid(), self.subscriber()) {
            self.answer(
                id,
                &Response::Ready(self.ready_answer(sid, feed.user_id(), true, None)),
            );
        }
        self.link.request_check();
    }

    fn ready_answer(
        &self,
        sid: SessionId,
        user: &UserId,
        resumed: bool,
        why: Option<NotResumed>,
    ) -> ReadyResponse {
        let limits = &self.worker.config.limits;
        ReadyResponse {
            user: user.clone(),
            sid: sid.to_string(),
            resumed,
            n: self.link.outbox(|outbox| outbox.last_n()),
            why,
            resume_ttl_ms: self.worker.config.session.resume_timeout.as_millis(),
            limits: SessionLimits {
                body_bytes: limits.max_body_size.0,
                sends_per_s: limits.sends_per_second,
                burst: self.worker.config.sends_burst(),
                ephemeral_per_s: super::TYPING_PER_SECOND,
            },
        }
    }

    fn refuse_authentication(&mut self, ctx: &mut Context<Session>, id: Option<i64>, refused: TokenError) {
        self.worker.metrics.auth_failures.inc();
        let code = refused.code();
        self.refuse(
            id,
            CommandError {
                code,
                msg: refused.to_string(),
                retry_ms: code.temporary().then_some(1_000),
            },
        );
        let close = match refused {
            // The token may be valid: the client tries again.
            TokenError::NotYet => CloseCode::Overloaded,
            TokenError::Expired | TokenError::Invalid => CloseCode::AuthFailed,
        };
        self.close(ctx, close);
    }
}

/// Remaining lifetime of a token that expires at `at`. Computed at every check, not once as an `Instant`: the monotonic
/// clock may stop while a machine is suspended and would extend the token.
pub fn left(at: SystemTime, clock: &ClusterClock) -> Duration {
    let now = UNIX_EPOCH + Duration::from_millis(clock.now_ms());
    at.duration_since(now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_session_and_a_number() {
        let sid = SessionId { node: 3, secret: 5 };
        assert_eq!(
            ResumePoint::parse(&format!("{sid}:412")),
            ResumePoint::Behind(sid, 412)
        );
        assert_eq!(
            ResumePoint::parse(&format!(" {sid}:0 ")),
            ResumePoint::Behind(sid, 0)
        );
        for text in [
            "",
            ":",
            "3:4",
            &format!("{sid}"),
            &format!("{sid}:-1"),
            &format!("{sid}:"),
            &format!("{sid}:1:2"),
        ] {
            assert_eq!(ResumePoint::parse(text), ResumePoint::Invalid, "{text}");
        }
    }
}
