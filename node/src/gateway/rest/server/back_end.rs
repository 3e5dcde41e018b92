//! Extractor of a back end: checks the state of the node, the API key and its scope, and applies the key's rate.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use futures::future::LocalBoxFuture;
use protocol::{ErrorCode, UserId};

use super::key_rates::KeyRates;
use crate::auth::{ApiKeys, AuditNote, UserAccessCache, VerifiedKey};
use crate::commands::{ClientQuery, ClientQueryContext};
use crate::gateway::admission;
use crate::gateway::connection::TrackedConnection;
use crate::gateway::problem::Problem;
use crate::gateway::rest::caller::serving;
use crate::session::{CloseSocket, WorkerContext};
use crate::shard_client::{CommandError, ShardClient};
use crate::state_machine::{ApiKeyId, KeyScope};
use crate::telemetry::metrics::{CodeLabels, ErrorLabel};

/// Scopes as constants, by which a handler names the one that it needs.
pub(super) const USERS: u8 = KeyScope::Users as u8;
pub(super) const CONVERSATIONS: u8 = KeyScope::Conversations as u8;
pub(super) const MESSAGES: u8 = KeyScope::Messages as u8;
pub(super) const READ: u8 = KeyScope::Read as u8;
pub(super) const ERASE: u8 = KeyScope::Erase as u8;

/// Back end whose key has the scope `SCOPE`.
pub(super) struct BackEnd<const SCOPE: u8> {
    key: ApiKeyId,
    worker: Rc<WorkerContext>,
    keys: web::Data<ApiKeys>,
    access: web::Data<UserAccessCache>,
    rates: web::Data<KeyRates>,
}

// === impl BackEnd ===

impl<const SCOPE: u8> BackEnd<SCOPE> {
    /// Returns the key of the request.
    pub(super) fn key(&self) -> ApiKeyId {
        self.key
    }

    /// Returns the shard client.
    pub(super) fn conversations(&self) -> &ShardClient {
        &self.worker.conversations
    }

    /// Returns the context of this thread.
    pub(super) fn worker(&self) -> &WorkerContext {
        &self.worker
    }

    /// Validates a query of users, and runs it as the system, which reads every conversation.
    pub(super) async fn ask<Q: ClientQuery>(&self, question: Q) -> Result<Q::Response, Problem> {
        question.command().check()?;
        let context = ClientQueryContext {
            conversations: &self.worker.conversations,
            sessions: &self.worker.sessions,
            user: &UserId::system(),
        };
        let answer = question.run(&context).await;
        answer.map_err(|refusal| self.refused(refusal))
    }

    /// Charges a request with this number of items to the rate of the key.
    pub(super) fn pay(&self, items: usize) -> Result<(), Problem> {
        let items = u32::try_from(items).unwrap_or(u32::MAX).max(1);
        let charged = self.rates.take(self.key, items, Instant::now());
        charged.map_err(|wait| self.refused(too_fast(wait)))
    }

    /// Waits until the rate of the key permits one more item, for the pages of an answer that has begun.
    pub(super) async fn pace(&self) -> Result<(), Problem> {
        loop {
            serving(&self.worker)?;
            match self.rates.take(self.key, 1, Instant::now()) {
                Ok(()) => return Ok(()),
                Err(wait) => actix_web::rt::time::sleep(wait).await,
            }
        }
    }

    /// Records a change in the audit log. Called before the change, so that a crash between the two leaves an entry
    /// without a change and never a change without an entry.
    pub(super) async fn record(&self, act: &'static str, target: &str, items: usize) -> Result<(), Problem> {
        let note = AuditNote {
            key: self.key,
            act,
            target: target.into(),
            count: u32::try_from(items).unwrap_or(u32::MAX),
        };
        let recorded = self.keys.record(note).await;
        recorded.map_err(|refusal| self.refused(refusal))
    }

    /// Checks that the back end may act as a user: nobody acts as a deactivated one.
    pub(super) async fn may_act_as(&self, user: &UserId) -> Result<(), Problem> {
        match user.is_system() {
            true => Ok(()),
            false => Ok(self.access.may_act(user).await?),
        }
    }

    /// Counts a refusal and converts it to a problem.
    pub(super) fn refused(&self, refusal: CommandError) -> Problem {
        let code = ErrorLabel(refusal.code.as_str());
        let labels = CodeLabels { code };
        self.worker.metrics.refused.get_or_create(&labels).inc();
        Problem::from(refusal)
    }
}

impl<const SCOPE: u8> FromRequest for BackEnd<SCOPE> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<BackEnd<SCOPE>, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        Box::pin(recognise(request.clone()))
    }
}

async fn recognise<const SCOPE: u8>(request: HttpRequest) -> Result<BackEnd<SCOPE>, Problem> {
    let missing = || Problem::new(ErrorCode::Internal, "the request has no gateway context");
    let worker = request.app_data::<web::Data<Rc<WorkerContext>>>();
    let worker = worker.ok_or_else(missing)?;
    let keys = request.app_data::<web::Data<ApiKeys>>().ok_or_else(missing)?;
    let access = request.app_data::<web::Data<UserAccessCache>>();
    let access = access.ok_or_else(missing)?;
    let rates = request.app_data::<web::Data<KeyRates>>().ok_or_else(missing)?;
    serving(worker)?;
    let verified = match admission::bearer(request.headers()) {
        Ok(Some(key)) => keys.verify(key).await,
        Ok(None) => {
            let msg = "the request needs an API key: Authorization: Bearer rook_<id>_<secret>";
            return Err(Problem::new(ErrorCode::Unauthenticated, msg));
        }
        Err(refused) => Err(refused),
    };
    let VerifiedKey { id, scopes } = verified.inspect_err(|_| {
        worker.metrics.auth_failures.inc();
    })?;
    if let Some(scope) = KeyScope::ALL
        .into_iter()
        .find(|scope| *scope as u8 == SCOPE && !scopes.contains(*scope))
    {
        let msg = format!("the API key has no scope {}", scope.as_str());
        return Err(Problem::new(ErrorCode::Forbidden, msg));
    }
    // Lifts the bound on unidentified data before the body is read.
    if let Some(connection) = TrackedConnection::under(&request) {
        connection.identified();
    }
    Ok(BackEnd {
        key: id,
        worker: Rc::clone(worker),
        keys: keys.clone(),
        access: access.clone(),
        rates: rates.clone(),
    })
}

/// Refuses a reserved id, of the system or of an erased user, where a request names a user.
pub(super) fn of_a_person(user: &UserId) -> Result<(), Problem> {
    match user.is_reserved() {
        true => Err(Problem::bad(format!("the id {user} is reserved"))),
        false => Ok(()),
    }
}

fn too_fast(wait: Duration) -> CommandError {
    CommandError {
        code: ErrorCode::RateLimited,
        msg: "too many requests with this API key".to_owned(),
        // At least one millisecond: zero would make the back end retry at once.
        retry_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
    }
}
