//! Opening of a session: authentication, admission by presence, and the first response. The [resume](super::resume) of
//! another session continues from here.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use actix::{AsyncContext, Context};
use protocol::command::Authenticate;
use protocol::response::{NotResumed, ReadyResponse};
use protocol::{ClientMessageId, CloseCode, CommandCost, Response, UserId};
use tokio::sync::oneshot;

use super::Session;
use super::device_resume::ResumeSource;
use crate::auth::{TokenError, TokenIdentity};
use crate::presence::{Device, SessionMark};
use crate::rpc::SessionId;
use crate::session::authenticated_client::{AuthenticatedClient, OpenedSession, ResumePoint};
use crate::session::delivery::EventSubscriber;
use crate::session::following;
use crate::session::limits::too_fast;
use crate::session::presence::refusal;
use crate::session::ready::{ResumeResult, ready};
use crate::session::registry::SessionIdentity;
use crate::shard_client::CommandError;

/// Maximum time that a new session waits for the owner of its user's shard. Without an owner it must still open.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(1);

/// Parameters of a session that is about to open.
pub(super) struct SessionSetup {
    pub(super) sid: SessionId,
    pub(super) who: SessionIdentity,
    device: Option<Device>,
    pub(super) feed: Rc<EventSubscriber>,
    expires: Option<SystemTime>,
    login: Option<ClientMessageId>,
    opened_sender: Option<oneshot::Sender<OpenedSession>>,
    /// Device whose stream is rebuilt if its last session is lost.
    pub(super) rebuilt_device: Option<Box<str>>,
}

// === impl Session: open ===

impl Session {
    pub(super) fn authenticate(&mut self, ctx: &mut Context<Session>, id: Option<i64>, auth: Authenticate) {
        // Charges renewals only, which cost a verification each. Before authentication the number of commands is
        // limited instead.
        if !self.may(id) {
            return;
        }
        // Commands are paused, because the verification of a device token may ask another node.
        self.intake.pause();
        let worker = self.worker.clone();
        let token = auth.token.clone();
        let verified = async move { worker.auth.verify(&token).await };
        self.wait(ctx, verified, move |session, ctx, verified| {
            session.intake.resume();
            if session.link.is_closed() {
                return;
            }
            session.authenticated(ctx, id, auth, verified);
            session.schedule_backlog();
        });
    }

    fn authenticated(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        auth: Authenticate,
        verified: Result<TokenIdentity, TokenError>,
    ) {
        match verified {
            Err(refused) => self.refuse_authentication(ctx, id, refused),
            Ok(identity) => match self.user() {
                // A session never changes its user: its subscriptions were admitted for the first one.
                Some(user) if *user != identity.user => {
                    self.refuse_authentication(ctx, id, TokenError::Invalid)
                }
                // Nor its device, which the owner of the user's shard has registered.
                Some(_) if !self.presence.may_use(&identity) => {
                    self.refuse_authentication(ctx, id, TokenError::OtherDevice)
                }
                Some(_) => self.renew(id, &identity),
                None if !self.may_begin(id, &identity.user) => {}
                None => self.arrive(ctx, id, AuthenticatedClient::of(auth, identity)),
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
        mut client: AuthenticatedClient,
    ) {
        // Here, where the clients of every transport come by: a token of a device opens no session of another one.
        match client.identity.device_of(client.device.as_deref()) {
            Ok(device) => client.device = device,
            Err(refused) => return self.refuse_authentication(ctx, id, refused),
        }
        let account = self.worker.rates.of(&client.identity.user, Instant::now());
        self.limits.identify(account);
        self.link.identify();
        match client.resume {
            None => self.enter(ctx, id, client, ResumeSource::Nothing),
            Some(ResumePoint::Invalid) => self.enter(ctx, id, client, ResumeSource::Missing),
            Some(ResumePoint::Behind(sid, n)) => {
                self.enter(ctx, id, client, ResumeSource::Behind(sid, Some(n)));
            }
            Some(ResumePoint::Session(sid)) => self.enter(ctx, id, client, ResumeSource::Behind(sid, None)),
            Some(ResumePoint::Device { .. } | ResumePoint::Clean) => self.find_last(ctx, id, client),
        }
    }

    /// Enters presence, and opens the session once it is admitted.
    pub(super) fn enter(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        client: AuthenticatedClient,
        source: ResumeSource,
    ) {
        let (user, device) = (client.identity.user.clone(), client.device());
        let login = client.identity.login.clone();
        let sid = self.worker.sessions.draw();
        let mark = SessionMark {
            sid,
            goes_on: source.goes_on(),
        };
        let device_mark = (device.clone(), mark);
        self.admit(ctx, id, &user, login, device_mark, move |session, ctx| {
            session.start(ctx, id, client, (sid, device), source);
        });
    }

    /// Opens a new session, or resumes another one.
    fn start(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        client: AuthenticatedClient,
        (sid, own_device): (SessionId, Option<Device>),
        source: ResumeSource,
    ) {
        let AuthenticatedClient {
            identity: TokenIdentity {
                user, expires, login, ..
            },
            device,
            resume,
            opened_sender,
            ..
        } = client;
        let feed = EventSubscriber::new(
            self.tag,
            user.clone(),
            self.link.clone(),
            self.worker.metrics.clone(),
        );
        feed.begins_at(self.now_ms());
        if let (Some(ResumePoint::Device { .. } | ResumePoint::Clean), Some(device)) = (resume, &device) {
            // The device is all that this client has to resume by.
            feed.track_positions();
            self.cursors.begin(device.as_str().into(), true, Instant::now());
        }
        let is_clean = matches!(resume, Some(ResumePoint::Clean));
        self.delivery.attach(feed.clone());
        // Attached before the conversations are listed: a joining from here on is announced.
        self.worker.hub.attach(feed.user_id(), feed.clone());
        let rebuilt_device = match resume {
            // A client with a number expects the event behind it.
            Some(ResumePoint::Device { from: None }) => device.as_deref().map(Into::into),
            _ => None,
        };
        let opening = SessionSetup {
            sid,
            rebuilt_device,
            who: SessionIdentity { user, device },
            device: own_device,
            feed,
            expires,
            login,
            opened_sender,
        };
        match source {
            ResumeSource::Behind(sid, n) | ResumeSource::OfDevice(sid, n) => {
                self.resume(ctx, id, opening, sid, n)
            }
            ResumeSource::Missing => self.rebuild(ctx, id, opening, NotResumed::Unknown),
            ResumeSource::Nothing if is_clean => self.begin_clean(ctx, id, opening, None),
            ResumeSource::Nothing => self.begin(ctx, id, opening, None),
            ResumeSource::Ends(last) => self.begin_clean(ctx, id, opening, Some(last)),
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
        self.open_as(ctx, id, opening, None, ResumeResult::New(why));
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
        result: ResumeResult,
    ) {
        let SessionSetup {
            sid,
            who,
            device,
            feed,
            expires,
            login,
            opened_sender,
            rebuilt_device: _,
        } = opening;
        self.presence.open(device, login.clone());
        let ready = self.ready(sid, feed.user_id(), result);
        if let Some(opened_sender) = opened_sender {
            let opened = OpenedSession { ready: ready.clone() };
            // The receiver may have been dropped; its client asks again.
            let _gone = opened_sender.send(opened);
        }
        self.answer(id, &Response::Ready(ready));
        self.lifecycle.open(sid, expires, parent);
        feed.keep_account(self.worker.sessions.clone(), sid);
        let sessions = &self.worker.sessions;
        // The login may have been revoked since the token was verified.
        if !sessions.opened(sid, who, login, self.now_ms(), ctx.address()) {
            return self.revoked(ctx);
        }
        if self.policy.is_polled {
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
            let ready = self.ready(sid, feed.user_id(), ResumeResult::Resumed);
            self.answer(id, &Response::Ready(ready));
        }
        self.link.request_check();
    }

    fn ready(&self, sid: SessionId, user: &UserId, result: ResumeResult) -> ReadyResponse {
        let n = self.link.outbox(|outbox| outbox.last_n());
        ready(&self.worker.config, sid, user, result, n)
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
            TokenError::NotYet | TokenError::Unverified => CloseCode::Overloaded,
            TokenError::Expired | TokenError::Invalid | TokenError::OtherDevice => CloseCode::AuthFailed,
        };
        self.close(ctx, close);
    }

    /// Registers the client in presence and continues with `then` once it is admitted. If no owner of the user's shard
    /// responds within [`ADMISSION_TIMEOUT`], the client is admitted without its decision.
    fn admit(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        user: &UserId,
        login: Option<ClientMessageId>,
        (device, mark): (Option<Device>, SessionMark),
        then: impl FnOnce(&mut Session, &mut Context<Session>) + 'static,
    ) {
        let (guard, admission, loss) = self.worker.presence.enter(user, login, device, mark);
        let patience = ADMISSION_TIMEOUT;
        // Commands are paused: a session that is refused must not execute any.
        self.intake.pause();
        let admission = async move { tokio::time::timeout(patience, admission).await };
        self.wait(ctx, admission, move |session, ctx, admission| {
            session.intake.resume();
            // The guard is dropped with this closure, which removes the entry.
            if session.link.is_closed() {
                return;
            }
            match admission {
                Ok(Err(refused)) => {
                    let (refusal, close) = refusal(refused);
                    session.refuse(id, refusal);
                    session.close(ctx, close);
                }
                // `Err` is the timeout. Presence is soft state: a shard without an owner must not keep clients out.
                Ok(Ok(())) | Err(_) => {
                    session.presence.enter(guard);
                    // From here on, a refusal that arrives late is handled like a displacement.
                    session.wait(ctx, loss, Session::leave_presence);
                    then(session, ctx);
                    session.schedule_backlog();
                }
            }
        });
    }
}
