//! Who asks: the user of the bearer token, within the user's rates, of a node that serves.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix_web::dev::Payload;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpRequest, web};
use protocol::command::Typing;
use protocol::{Cid, Command, ConvId, Cost, ErrorCode, UserId, cost};

use crate::commands::Change;
use crate::config::Limits;
use crate::conversation::timeline::{self, Op};
use crate::conversation::{Conversations, Done, Refusal};
use crate::gateway::admission;
use crate::gateway::connection::Connection;
use crate::gateway::problem::Problem;
use crate::session::rates::Account;
use crate::session::{Cut, Order, Worker};
use crate::telemetry::metrics::{Code, CodeLabels};

/// The user of a request. To have one is to be authenticated.
pub(in crate::gateway) struct Caller {
    /// The user.
    pub(in crate::gateway) user: UserId,
    /// When the token runs out.
    pub(in crate::gateway) expires: Option<SystemTime>,
    /// The login that the token came from.
    pub(in crate::gateway) login: Option<Cid>,
    worker: Rc<Worker>,
    account: Arc<Account>,
}

// === impl Caller ===

impl Caller {
    /// The way to the conversations.
    pub(super) fn conversations(&self) -> &Conversations {
        &self.worker.conversations
    }

    /// The node's limits.
    pub(super) fn limits(&self) -> &Limits {
        &self.worker.config.limits
    }

    /// What the sessions of this thread share.
    pub(in crate::gateway) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Whether the caller may listen: as on a WebSocket, and at the rate of questions.
    pub(in crate::gateway) fn may_listen(&self, headers: &HeaderMap, cost: Cost) -> Result<(), Problem> {
        if self.worker.order() != Order::Serve {
            return Err(Problem::new(ErrorCode::Unavailable, "the node is being stopped"));
        }
        if !admission::origin_allowed(headers, &self.worker.config.server) {
            let msg = "sessions are not opened from this origin";
            return Err(Problem::new(ErrorCode::Forbidden, msg));
        }
        self.pay(cost)
    }

    /// Checks a command, and pays for it.
    pub(super) fn may(&self, command: &Command) -> Result<(), Problem> {
        command.check()?;
        self.pay(cost(command))
    }

    /// Pays for what is asked.
    fn pay(&self, cost: Cost) -> Result<(), Problem> {
        self.account
            .take(cost, Instant::now())
            .map_err(|wait| self.too_fast(wait))
    }

    /// Shows that the user types, or drops it in silence.
    pub(super) fn typing(&self, typing: &Typing) {
        let (conv, on) = (&typing.c, typing.on);
        if self.account.typing(conv, on, Instant::now()) {
            self.conversations().typing(&self.user, conv, on);
        }
    }

    /// Pays for one more page of the same request, waiting until that is possible.
    ///
    /// # Errors
    /// The node is being stopped or lost its majority: what takes long goes on elsewhere.
    pub(super) async fn pace(&self) -> Result<(), Problem> {
        loop {
            serving(&self.worker)?;
            match self
                .account
                .take(protocol::cost::page(Some(u64::MAX)), Instant::now())
            {
                Ok(()) => return Ok(()),
                Err(wait) => actix_web::rt::time::sleep(wait).await,
            }
        }
    }

    /// Changes one conversation by what is no command of a client.
    pub(super) async fn operate(&self, conv: ConvId, cid: Cid, op: Op) -> Result<Done, Problem> {
        self.pay(Cost::CHANGE)?;
        let command = timeline::Command {
            conv,
            user: self.user.clone(),
            cid: Some(cid),
            skip: 0,
            op,
        };
        let done = self.conversations().submit(command).await;
        done.map_err(|refusal| self.refused(refusal))
    }

    /// Changes one conversation.
    pub(super) async fn change(&self, command: Command) -> Result<Done, Problem> {
        self.may(&command)?;
        let change = match command {
            Command::Send(send) => Change::send(&self.user, send, self.limits().body_bytes)?,
            Command::Edit(edit) => Change::edit(edit, self.limits().body_bytes)?,
            Command::Block(block) => Change::block(&self.user, block.who, true),
            Command::Unblock(block) => Change::block(&self.user, block.who, false),
            command => Change::of(command)
                .ok_or_else(|| Problem::new(ErrorCode::BadRequest, "this changes no conversation"))?,
        };
        let began = Instant::now();
        let done = change.submit(self.conversations(), self.user.clone(), 0).await;
        self.worker
            .metrics
            .send_seconds
            .observe(began.elapsed().as_secs_f64());
        done.map_err(|refusal| self.refused(refusal))
    }

    /// The problem that a refusal is, counted.
    pub(super) fn refused(&self, refusal: Refusal) -> Problem {
        let code = Code(refusal.code.as_str());
        self.worker
            .metrics
            .refused
            .get_or_create(&CodeLabels { code })
            .inc();
        Problem::from(refusal)
    }

    fn too_fast(&self, wait: Duration) -> Problem {
        let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        self.refused(Refusal {
            code: ErrorCode::RateLimited,
            msg: "too many requests".to_owned(),
            retry_ms: Some(retry_ms),
        })
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Caller, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(recognise(request))
    }
}

/// Refuses everything where clients are not served.
pub(super) fn serving(worker: &Worker) -> Result<(), Problem> {
    match worker.order() {
        Order::Serve | Order::HandOver => Ok(()),
        Order::Drain => Err(Problem::new(ErrorCode::Unavailable, "the node is being stopped")),
        Order::Isolated => Err(Problem::new(ErrorCode::Unavailable, "the node has no majority")),
    }
}

fn recognise(request: &HttpRequest) -> Result<Caller, Problem> {
    let missing = || Problem::new(ErrorCode::Internal, "the gateway is not set up");
    let worker = request.app_data::<web::Data<Rc<Worker>>>().ok_or_else(missing)?;
    serving(worker)?;
    let identity = match admission::bearer(request.headers()) {
        Ok(Some(token)) => worker.auth.check(token),
        Ok(None) => {
            let msg = "send a token: Authorization: Bearer <token>";
            return Err(Problem::new(ErrorCode::Unauthenticated, msg));
        }
        Err(refused) => Err(refused),
    };
    let identity = identity.inspect_err(|_| {
        worker.metrics.auth_failures.inc();
    })?;
    if let Some(connection) = Connection::under(request) {
        connection.identified();
    }
    Ok(Caller {
        account: worker.rates.of(&identity.user, Instant::now()),
        user: identity.user,
        expires: identity.expires,
        login: identity.login,
        worker: Rc::clone(worker),
    })
}
