//! Opening of a session: authentication, admission by presence, and the resume of another session.
//!
//! A resume fetches the snapshot of the other session, replays the missed events, and follows each conversation from the
//! snapshot's position. The client receives `resumed:true` as soon as the snapshot has arrived. Events between the
//! snapshot and the first event of the new subscription are read from the log and delivered in order, however long that
//! takes. So nothing is missing. See docs/delivery.md, "The way to the receivers".

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use actix::{AsyncContext, Context};
use protocol::answer::{NotResumed, ReadyResponse};
use protocol::command::Authenticate;
use protocol::{ClientMessageId, CloseCode, CommandCost, Response, UserId};
use tokio::sync::oneshot;

use super::{ClientTransport, Session};
use crate::auth::{TokenError, TokenIdentity};
use crate::presence::{Device, SessionMark};
use crate::rpc::SessionId;
use crate::rpc::resume::{ExportRequest, SessionSnapshot};
use crate::session::authenticated_client::{AuthenticatedClient, ResumePoint};
use crate::session::delivery::{BufferedEvent, EventSubscriber};
use crate::session::limits::too_fast;
use crate::session::presence::refusal;
use crate::session::ready::{ResumeResult, ready};
use crate::session::registry::SessionIdentity;
use crate::session::{catch_up, following};
use crate::shard_client::CommandError;

/// Maximum time that a new session waits for the owner of its user's shard. Without an owner it must still open.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(1);

/// Parameters of a session that is about to open.
struct SessionSetup {
    sid: SessionId,
    who: SessionIdentity,
    device: Option<Device>,
    feed: Rc<EventSubscriber>,
    expires: Option<SystemTime>,
    login: Option<ClientMessageId>,
    sent: Option<oneshot::Sender<ReadyResponse>>,
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
            session.start(ctx, id, client, (sid, device));
        });
    }

    /// Opens a new session, or resumes another one.
    fn start(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        client: AuthenticatedClient,
        (sid, own_device): (SessionId, Option<Device>),
    ) {
        let AuthenticatedClient {
            identity: TokenIdentity {
                user, expires, login, ..
            },
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
    fn begin(
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
    fn open_as(
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
            sent: ready_sender,
        } = opening;
        self.presence.open(device, login.clone());
        let ready = self.ready(sid, feed.user_id(), result);
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

    /// Resumes another session behind event `n`. No command is dispatched before its snapshot has arrived.
    fn resume(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: SessionSetup,
        sid: SessionId,
        n: u64,
    ) {
        let question = ExportRequest {
            sid,
            user: opening.who.user.clone(),
            device: opening.who.device.clone(),
            n,
            by: opening.sid,
        };
        self.lifecycle.begin_resume();
        self.intake.pause();
        let snapshot = self.worker.sessions.clone().resume(question);
        self.wait(ctx, snapshot, move |session, ctx, snapshot| {
            // The connection closed during the fetch. Nothing was confirmed, so the client can resume the old session
            // again.
            if session.link.is_closed() {
                return;
            }
            session.intake.resume();
            match snapshot {
                Ok(snapshot) => session.carry_on(ctx, id, opening, sid, n, snapshot),
                Err(why) => session.begin(ctx, id, opening, Some(why)),
            }
            session.schedule_backlog();
        });
    }

    fn carry_on(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: SessionSetup,
        parent: SessionId,
        n: u64,
        snapshot: SessionSnapshot,
    ) {
        let feed = opening.feed.clone();
        // Before `ready`, which reports the number that the next event continues.
        self.link.outbox(|outbox| outbox.start_at(n));
        self.open_as(ctx, id, opening, Some(parent), ResumeResult::Resumed);
        // Behind `ready`: the client expects event `n + 1` next.
        for (tail, covers) in snapshot.events {
            feed.replay(BufferedEvent { tail, covers });
        }
        // This session has another tag, so its predecessor's own messages are recognised by their ids.
        for (conv, cid) in &snapshot.quiet {
            feed.hush(conv, cid);
        }
        self.delivery.inherit(snapshot.delivered, Instant::now());
        self.watch_on(snapshot.watching);
        let carrying = catch_up::carry_on(
            self.worker.clone(),
            feed,
            snapshot.convs,
            snapshot.coming,
            snapshot.confirmed,
        );
        self.work(carrying);
    }

    /// Confirms the transfer once the client has used this session's id, which ends the resumed session. Commands are
    /// paused until the confirmation.
    pub(super) fn confirm(&mut self, ctx: &mut Context<Session>) {
        let Some((parent, own)) = self.lifecycle.confirm_resume() else {
            return;
        };
        let confirmed = self.worker.sessions.clone().confirm(parent, own);
        // If another successor was confirmed first, this session may have to end before it executes anything.
        self.intake.pause();
        self.wait(ctx, confirmed, |session, ctx, mine| {
            session.intake.resume();
            if !mine {
                session.terminate_if_superseded(ctx);
            }
            session.schedule_backlog();
        });
    }
}
