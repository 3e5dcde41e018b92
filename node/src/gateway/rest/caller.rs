//! Extractor of the authenticated caller: checks the node state and the bearer token, and applies the user's rates.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix_web::dev::Payload;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpRequest, web};
use futures::future::LocalBoxFuture;
use protocol::command::SetTyping;
use protocol::{ClientCommand, ClientMessageId, CommandCost, ConversationId, ErrorCode, UserId};

use crate::auth::TokenIdentity;
use crate::commands::{ClientQuery, ClientQueryContext, ConversationChange};
use crate::gateway::admission;
use crate::gateway::connection::TrackedConnection;
use crate::gateway::problem::Problem;
use crate::session::{Account, CloseSocket, NodeState, SessionRegistry, WorkerContext};
use crate::shard_client::{CommandAck, CommandError, ShardClient};
use crate::state_machine::{CommandOrigin, ConversationOp};
use crate::telemetry::metrics::{CodeLabels, ErrorLabel};

/// Authenticated user of a request.
pub(in crate::gateway) struct AuthenticatedUser {
    pub(in crate::gateway) user: UserId,
    /// Expiry time of the token; `None` for development tokens.
    pub(in crate::gateway) expires: Option<SystemTime>,
    /// Login that the token was issued for; `None` for tokens of other issuers.
    pub(in crate::gateway) login: Option<ClientMessageId>,
    /// Only device that may use the token; `None` for any.
    pub(in crate::gateway) device: Option<Box<str>>,
    issued_s: Option<u64>,
    access_version: u64,
    worker: Rc<WorkerContext>,
    account: Arc<Account>,
}

// === impl AuthenticatedUser ===

impl AuthenticatedUser {
    /// Returns the identity of the token.
    pub(in crate::gateway) fn identity(&self) -> TokenIdentity {
        TokenIdentity {
            user: self.user.clone(),
            expires: self.expires,
            login: self.login.clone(),
            device: self.device.clone(),
            issued_s: self.issued_s,
            access_version: self.access_version,
        }
    }

    /// Returns the sessions of this node, and the client for those of others.
    pub(super) fn sessions(&self) -> &SessionRegistry {
        &self.worker.sessions
    }

    /// Returns the shard client.
    pub(super) fn conversations(&self) -> &ShardClient {
        &self.worker.conversations
    }

    /// Returns the context shared by the sessions of this thread.
    pub(in crate::gateway) fn worker(&self) -> &Rc<WorkerContext> {
        &self.worker
    }

    /// Checks that the caller may receive events, and charges `cost` to the user's query rate.
    pub(in crate::gateway) fn may_listen(
        &self,
        headers: &HeaderMap,
        cost: CommandCost,
    ) -> Result<(), Problem> {
        admission::may_open_session(&self.worker, headers)?;
        self.pay(cost)
    }

    /// Validates a command and charges its cost.
    pub(super) fn may(&self, command: &ClientCommand) -> Result<(), Problem> {
        command.check()?;
        self.pay(command.cost())
    }

    /// Validates, charges and runs a query.
    pub(super) async fn ask<Q: ClientQuery>(&self, question: Q) -> Result<Q::Response, Problem> {
        self.may(&question.command())?;
        self.ask_paid(question).await
    }

    /// Runs a query whose cost has been charged, as by [`pace`](AuthenticatedUser::pace).
    pub(super) async fn ask_paid<Q: ClientQuery>(&self, question: Q) -> Result<Q::Response, Problem> {
        let context = ClientQueryContext {
            conversations: &self.worker.conversations,
            sessions: &self.worker.sessions,
            user: &self.user,
        };
        let answer = question.run(&context).await;
        answer.map_err(|refusal| self.refused(refusal))
    }

    /// Charges a cost to the user's account.
    pub(super) fn pay(&self, cost: CommandCost) -> Result<(), Problem> {
        self.account
            .take(cost, Instant::now())
            .map_err(|wait| self.too_fast(wait))
    }

    /// Sends a typing notification, or drops it if the user exceeds the rate.
    pub(super) fn typing(&self, typing: &SetTyping) {
        let (conv, on) = (&typing.conversation, typing.active);
        if self.account.typing(conv, on, Instant::now()) {
            self.conversations().typing(&self.user, conv, on);
        }
    }

    /// Charges the cost of one more page of the same request, and waits until the rate permits it.
    ///
    /// # Errors
    /// A node that is draining or has lost quorum: a long request must not delay the stop.
    pub(super) async fn pace(&self) -> Result<(), Problem> {
        loop {
            serving(&self.worker)?;
            // Charged as a page of the maximum size.
            match self
                .account
                .take(protocol::cost::page(Some(u64::MAX)), Instant::now())
            {
                Ok(()) => return Ok(()),
                Err(wait) => actix_web::rt::time::sleep(wait).await,
            }
        }
    }

    /// Submits a conversation operation that has no client command.
    pub(super) async fn operate(
        &self,
        conv: ConversationId,
        cid: ClientMessageId,
        op: ConversationOp,
    ) -> Result<CommandAck, Problem> {
        self.pay(CommandCost::CHANGE)?;
        let origin = CommandOrigin {
            user: self.user.clone(),
            cid: Some(cid),
            // No session to exclude: REST clients receive no events on this connection.
            exclude_session: 0,
        };
        let done = self.conversations().submit(conv, origin, op).await;
        done.map_err(|refusal| self.refused(refusal))
    }

    /// Submits a command that changes one conversation.
    pub(super) async fn change(&self, command: ClientCommand) -> Result<CommandAck, Problem> {
        self.may(&command)?;
        let change = match command {
            ClientCommand::Send(send) => ConversationChange::send(
                &self.user,
                send,
                self.worker.config.limits.max_body_size.as_usize(),
            )?,
            ClientCommand::Edit(edit) => {
                ConversationChange::edit(edit, self.worker.config.limits.max_body_size.as_usize())?
            }
            ClientCommand::Block(block) => ConversationChange::block(&self.user, block.user, true),
            ClientCommand::Unblock(block) => ConversationChange::block(&self.user, block.user, false),
            command => ConversationChange::of(command).ok_or_else(|| {
                Problem::new(
                    ErrorCode::BadRequest,
                    "this command does not change a conversation",
                )
            })?,
        };
        let began = Instant::now();
        let done = change.submit(self.conversations(), self.user.clone(), 0).await;
        self.worker.metrics.send_answered(began.elapsed());
        done.map_err(|refusal| self.refused(refusal))
    }

    /// Counts a refusal and converts it to a problem.
    pub(super) fn refused(&self, refusal: CommandError) -> Problem {
        let code = ErrorLabel(refusal.code.as_str());
        self.worker
            .metrics
            .refused
            .get_or_create(&CodeLabels { code })
            .inc();
        Problem::from(refusal)
    }

    fn too_fast(&self, wait: Duration) -> Problem {
        // At least one millisecond: zero would make the client retry at once.
        let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        self.refused(CommandError {
            code: ErrorCode::RateLimited,
            msg: "too many requests".to_owned(),
            retry_ms: Some(retry_ms),
        })
    }
}

impl FromRequest for AuthenticatedUser {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<AuthenticatedUser, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        Box::pin(recognise(request.clone()))
    }
}

/// Checks that the node serves clients.
pub(super) fn serving(worker: &WorkerContext) -> Result<(), Problem> {
    match worker.order() {
        // In lame-duck mode requests are still served, so that clients see nothing of the shard transfer.
        NodeState::Serve | NodeState::HandOver => Ok(()),
        NodeState::Drain => Err(Problem::new(ErrorCode::Unavailable, "the node is draining")),
        NodeState::Isolated => Err(Problem::new(ErrorCode::Unavailable, "the node has lost quorum")),
    }
}

async fn recognise(request: HttpRequest) -> Result<AuthenticatedUser, Problem> {
    let missing = || Problem::new(ErrorCode::Internal, "the request has no gateway context");
    let worker = request
        .app_data::<web::Data<Rc<WorkerContext>>>()
        .ok_or_else(missing)?;
    serving(worker)?;
    let identity = match admission::bearer(request.headers()) {
        Ok(Some(token)) => worker.auth.verify(token).await,
        Ok(None) => {
            let msg = "the request needs a token: Authorization: Bearer <token>";
            return Err(Problem::new(ErrorCode::Unauthenticated, msg));
        }
        Err(refused) => Err(refused),
    };
    let identity = identity.inspect_err(|_| {
        worker.metrics.auth_failures.inc();
    })?;
    // Lifts the bound on unidentified data before the body is read.
    if let Some(connection) = TrackedConnection::under(&request) {
        connection.identified();
    }
    Ok(AuthenticatedUser {
        account: worker.rates.of(&identity.user, Instant::now()),
        user: identity.user,
        expires: identity.expires,
        login: identity.login,
        device: identity.device,
        issued_s: identity.issued_s,
        access_version: identity.access_version,
        worker: Rc::clone(worker),
    })
}
