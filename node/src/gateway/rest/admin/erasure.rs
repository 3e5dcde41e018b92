//! `/v1/admin/users/{u}/export`, `erase` and `/v1/admin/jobs/{job}`: the requests of people about their data, for operators.
//!
//! They are those of the server API, without a key and its rate. An export has what a user wrote, and a job names a user, so
//! both need the role that may change things and are in the audit log.

use std::rc::Rc;

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use protocol::{ErrorCode, UserId};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::gateway::connection::TrackedConnection;
use crate::gateway::operator::Operator;
use crate::gateway::problem::Problem;
use crate::gateway::rest::caller::serving;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, JobErrors, OfUser};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;
use crate::gateway::rest::server::{
    ErasureRequest, ExportRequester, Job, JobCreated, OfJob, export_of, no_job,
};
use crate::session::{CloseSocket, WorkerContext};
use crate::shard_client::{CommandError, ShardClient};

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type UserPath = Path<UserId>;
/// By a name of its own, for the same reason.
type JobPath = Path<String>;
/// State of this worker thread.
type Worker = web::Data<Rc<WorkerContext>>;

/// Operator who exports: at the pace of the owners of the shards.
struct OperatorExport(Rc<WorkerContext>);

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(admin_export_user)
        .service(admin_erase_user)
        .service(admin_show_job);
}

/// Writes everything that is stored about a user, as `POST /v1/server/users/{u}/export` does. A body without its last line is
/// incomplete.
#[utoipa::path(tag = ApiTag::OPERATION, params(OfUser), responses(
    (status = 200, description = "The data of the user, one JSON object per line.", body = String, content_type = "application/x-ndjson"), ChangeErrors
))]
#[post("/v1/admin/users/{u}/export")]
async fn admin_export_user(
    operator: Operator,
    request: HttpRequest,
    u: UserPath,
    worker: Worker,
) -> Result<HttpResponse, Problem> {
    let user = a_person(u)?;
    // The response may take long, and silent connections of unknown clients are closed first.
    if let Some(connection) = TrackedConnection::under(&request) {
        connection.identified();
    }
    let target = user.to_string();
    let export = export_of(OperatorExport(worker.as_ref().clone()), user);
    operator.change("users.export", &target, export).await
}

/// Erases a user, as `POST /v1/server/users/{u}/erase` does. It cannot be undone. A repeat returns the same job.
#[utoipa::path(tag = ApiTag::OPERATION, params(OfUser), request_body = ErasureRequest, responses(
    (status = 202, description = "The user is deactivated, and the job runs, or has run.", body = JobCreated), ChangeErrors
))]
#[post("/v1/admin/users/{u}/erase")]
async fn admin_erase_user(
    operator: Operator,
    u: UserPath,
    worker: Worker,
    input: Input<ErasureRequest>,
) -> Result<HttpResponse, Problem> {
    let user = a_person(u)?;
    let (target, messages) = (user.to_string(), input.fields.messages);
    let erasing = async { Ok(worker.conversations.erase(user, messages).await?) };
    let job = operator
        .change("users.erase", &target, erasing)
        .await?
        .to_string();
    Ok(HttpResponse::Accepted()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((LOCATION, format!("/v1/admin/jobs/{job}")))
        .json(JobCreated { job }))
}

/// Shows a job with the counts of each shard. The answer of a job that is done is the proof of the erasure.
#[utoipa::path(tag = ApiTag::OPERATION, params(OfJob), responses(
    (status = 200, description = "The job.", body = Job), JobErrors
))]
#[get("/v1/admin/jobs/{job}")]
async fn admin_show_job(operator: Operator, job: JobPath, worker: Worker) -> Result<HttpResponse, Problem> {
    let reading = async { Job::find(&worker, &job).await?.ok_or_else(no_job) };
    let found = operator.change("jobs.read", &job, reading).await?;
    Ok(response::json(&found))
}

fn a_person(u: UserPath) -> Result<UserId, Problem> {
    let user = u.into_inner();
    match user.is_reserved() {
        true => Err(Problem::new(
            ErrorCode::BadRequest,
            format!("the id {user} is reserved"),
        )),
        false => Ok(user),
    }
}

// === impl OperatorExport ===

impl ExportRequester for OperatorExport {
    fn shards(&self) -> &ShardClient {
        &self.0.conversations
    }

    fn refuse(&self, refusal: CommandError) -> Problem {
        Problem::from(refusal)
    }

    async fn wait_for_page(&self) -> Result<(), Problem> {
        serving(&self.0)
    }
}
