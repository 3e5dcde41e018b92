//! Durable cursors of a device: written while a session has a client that continues by its device, and read when that
//! session is lost with its node or by an overflow. The stream is then rebuilt from the log.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use actix::Context;
use futures::FutureExt;
use protocol::UserId;
use protocol::response::NotResumed;

use super::Session;
use super::open::SessionSetup;
use crate::rpc::SessionId;
use crate::session::catch_up;
use crate::session::cursor_schedule::ATTACHED_VALIDITY;
use crate::session::ready::ResumeResult;
use crate::session::registry::SessionIdentity;
use crate::shard_client::{CommandError, ShardClient};
use crate::state_machine::DeviceCursors;
use crate::telemetry::metrics::{ErrorLabel, ResumeLabels};

/// Maximum time for the read of the cursors. Without a response the client starts anew.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

// === impl Session: device cursors ===

impl Session {
    /// Writes the cursors of the session's device, if that is due.
    pub(super) fn write_cursors(&mut self, ctx: &mut Context<Session>) {
        let Some(device) = self.cursors.device().map(Box::<str>::from) else {
            return;
        };
        let Some(feed) = self.subscriber() else {
            return;
        };
        let now = Instant::now();
        self.cursors
            .note_gateway_revision(self.link.gateway_revision(), now);
        if !self.cursors.is_due(now) {
            return;
        }
        if self.lifecycle.is_exported() {
            return self.cursors.end();
        }
        let expiry = self.policy.cursor_timeout(&self.worker.config);
        let is_attached = !self.lifecycle.is_detached();
        if expiry.is_zero() && !self.cursors.may_be_stored() {
            return self.cursors.end();
        }
        if expiry.is_zero() && !is_attached {
            // The session ends now, so the result of a write that is under way is not awaited: the removal follows it in
            // the same queue.
            return self.remove_cursors();
        }
        if !expiry.is_zero() && !feed.is_ready() {
            return self.cursors.postpone(now);
        }
        // A session that ends with its connection leaves nothing, and removes what was written before that was agreed.
        let cursors = (!expiry.is_zero()).then(|| DeviceCursors {
            gateway_state: self.link.gateway_state(),
            positions: feed.confirmed_positions(),
        });
        let validity = expiry
            + if is_attached {
                ATTACHED_VALIDITY
            } else {
                Duration::ZERO
            };
        let hash = hash_of(&(&cursors, validity));
        if !self.cursors.begin_write(hash, now) {
            return;
        }
        let user = feed.user_id().clone();
        let written = self
            .worker
            .conversations
            .put_device_cursors(user, device, cursors, validity);
        self.wait(ctx, written, move |session, _ctx, result| {
            match &result {
                Ok(()) => {
                    session.worker.metrics.device_cursors_written.inc();
                }
                Err(refusal) => tracing::debug!(%refusal, "write of device cursors failed, will retry"),
            }
            session.cursors.end_write(hash, result.is_ok(), Instant::now());
            session.link.request_check();
        });
    }

    /// Removes the cursors of the session's device, because the session must not be continued.
    pub(super) fn remove_cursors(&mut self) {
        if let (Some(device), Some(user)) = (self.cursors.device().map(str::to_owned), self.user().cloned()) {
            // Best effort, because they expire. Not awaited: the deadline of the shard client bounds it.
            let removed = remove_stored(&self.worker.conversations, &user, &device);
            actix_web::rt::spawn(removed.map(drop));
            self.cursors.end();
        }
    }

    /// Removes the cursors of a session that hangs up and that no other may continue.
    pub(super) fn remove_unkept_cursors(&mut self) {
        let expiry = self.policy.cursor_timeout(&self.worker.config);
        if self.lifecycle.is_open() && expiry.is_zero() && self.cursors.may_be_stored() {
            self.remove_cursors();
        }
    }

    /// Opens a new session for a client that starts clean, once the `last` one of its device has ended and its cursors are
    /// removed: until then it may write them.
    pub(super) fn begin_clean(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: SessionSetup,
        last: Option<SessionId>,
    ) {
        let sessions = &self.worker.sessions;
        let ended = last.map(|last| sessions.supersede(last, opening.sid, &opening.who));
        let SessionIdentity { user, device } = opening.who.clone();
        let conversations = self.worker.conversations.clone();
        let cleared = async move {
            let Some(device) = device else { return true };
            match ended {
                Some(ended) => {
                    // An error means that the node stops.
                    let _stopped = ended.await;
                    // A write of the session that has ended may be under way, and a read may pass it. The removal follows
                    // it in the same queue.
                    remove_stored(&conversations, &user, &device).await.is_ok()
                }
                None => clear(&conversations, &user, &device).await,
            }
        };
        // By a task of its own: the session ends with its connection, and the client has ended its last session already.
        let cleared = actix_web::rt::spawn(cleared);
        let cleared = async move { cleared.await.unwrap_or(false) };
        self.lifecycle.begin_resume();
        self.intake.pause();
        self.wait(ctx, cleared, move |session, ctx, is_cleared| {
            if session.link.is_closed() {
                return;
            }
            session.intake.resume();
            session.cursors.note_stored(!is_cleared);
            session.begin(ctx, id, opening, None);
            session.schedule_backlog();
        });
    }

    /// Rebuilds the stream of the client's device from its cursors, if there are some. Otherwise opens a new session.
    /// `why`: reason why the last session could not be resumed.
    pub(super) fn rebuild(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: SessionSetup,
        why: NotResumed,
    ) {
        let Some(device) = opening.rebuilt_device.clone() else {
            return self.begin(ctx, id, opening, Some(why));
        };
        let (conversations, user) = (self.worker.conversations.clone(), opening.who.user.clone());
        let stored = async move {
            let stored = conversations.device_cursors(user, device);
            tokio::time::timeout(READ_TIMEOUT, stored).await
        };
        self.lifecycle.begin_resume();
        self.intake.pause();
        self.wait(ctx, stored, move |session, ctx, stored| {
            if session.link.is_closed() {
                return;
            }
            session.intake.resume();
            if matches!(stored, Ok(Ok(None))) {
                session.cursors.note_stored(false);
            }
            match stored.ok().and_then(Result::ok).flatten() {
                Some(cursors) => session.open_rebuilt(ctx, id, opening, cursors),
                None => session.begin(ctx, id, opening, Some(why)),
            }
            session.schedule_backlog();
        });
    }

    fn open_rebuilt(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        opening: SessionSetup,
        cursors: DeviceCursors,
    ) {
        let result = ResumeLabels {
            result: ErrorLabel("rebuilt"),
        };
        self.worker.metrics.resumes.get_or_create(&result).inc();
        let feed = opening.feed.clone();
        // Before `ready`, as in a resume.
        self.link.rebuild_gateway_state(cursors.gateway_state);
        self.open_as(ctx, id, opening, None, ResumeResult::Resumed);
        self.work(catch_up::rebuild(self.worker.clone(), feed, cursors.positions));
    }
}

/// Removes the cursors of a device, if some are stored: a removal is a durable write. Returns false if some may be left.
async fn clear(conversations: &ShardClient, user: &UserId, device: &str) -> bool {
    let stored = conversations.device_cursors(user.clone(), device.into());
    match tokio::time::timeout(READ_TIMEOUT, stored).await {
        Ok(Ok(None)) => true,
        Ok(Ok(Some(_))) => remove_stored(conversations, user, device).await.is_ok(),
        Ok(Err(_)) | Err(_) => false,
    }
}

fn remove_stored(
    conversations: &ShardClient,
    user: &UserId,
    device: &str,
) -> impl Future<Output = Result<(), CommandError>> + use<> {
    conversations.put_device_cursors(user.clone(), device.into(), None, Duration::ZERO)
}

fn hash_of(cursors: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    cursors.hash(&mut hasher);
    hasher.finish()
}
