//! `/v1/server/users/{u}/erase` and `/v1/server/jobs`: erasure of users.
//!
//! The job is rows of the user's shard, which its owner carries out. This module starts it and shows what it has done.

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::Path;
use actix_web::{HttpResponse, get, post};
use protocol::{ErrorCode, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::back_end::{BackEnd, ERASE, of_a_person};
use super::users::UserPath;
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, JobErrors, OfUser};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;
use crate::session::WorkerContext;
use crate::shard_client::CommandError;
use crate::state_machine::query::ErasureQuery;
use crate::state_machine::{ErasedMessages, ErasedShard, ErasureId, ErasureJob};

/// Compaction intervals after which removed words are in no file of a node (docs/delivery.md).
const INTERVALS: u64 = 3;

/// Job in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
pub(in crate::gateway::rest) struct OfJob {
    /// The id of the job: 26 letters and digits.
    #[param(min_length = 26, max_length = 26)]
    job: String,
}

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type JobPath = Path<String>;

/// The erasure of a user that a back end requests.
#[derive(Deserialize, ToSchema)]
pub(in crate::gateway::rest) struct ErasureRequest {
    /// `delete` deletes the user's messages for everybody, `keep-anonymous` keeps them with a random id as their author.
    pub(in crate::gateway::rest) messages: ErasedMessages,
}

/// A job that was begun.
#[derive(Serialize, ToSchema)]
pub(in crate::gateway::rest) struct JobCreated {
    /// The id of the job.
    pub(in crate::gateway::rest) job: String,
}

/// State of a job.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum JobState {
    Running,
    Done,
}

/// The erasure of a user: what it has done, for the records of the operator.
#[derive(Serialize, ToSchema)]
pub(in crate::gateway::rest) struct Job {
    /// The id of the job.
    job: String,
    /// The kind of the job, `erase`.
    kind: &'static str,
    /// The id of the user. It is not given out again.
    u: UserId,
    /// The fate of the user's messages.
    messages: ErasedMessages,
    /// The state of the job: running or done.
    state: JobState,
    /// The time of the request, in milliseconds since the epoch.
    started: u64,
    /// The time of the last step, in milliseconds since the epoch; absent while the job runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    /// The time by which the removed words are in no file of a node, in milliseconds since the epoch; absent while the job
    /// runs, and if `storage.compaction_interval` is 0. It assumes that all nodes have the interval of this one and run
    /// until then. Backups from before may hold the words.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone_by: Option<u64>,
    /// The work in each shard, without the conversations that are under way.
    shards: Vec<JobShard>,
}

/// Work of a job in one shard.
#[derive(Serialize, ToSchema)]
struct JobShard {
    /// The number of the shard.
    shard: u16,
    /// The number of conversations of the user.
    conversations: u64,
    /// The number of messages that were deleted or made anonymous.
    messages: u64,
    /// The number of other events that named the user: edits, deletions, reactions, changes of members and settings,
    /// mentions.
    events: u64,
    /// The log index up to which the shard is done. A replica that has applied it holds the result.
    index: u64,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(erase_user).service(show_job);
}

/// Erases a user: no login, no session and no message from now on; then the messages, memberships, devices, logins and the
/// profile are removed conversation by conversation, as a job that survives the failure of nodes. The events that stay name a random
/// id instead of the user. It cannot be undone. A repeat returns the same job. Scope: `erase`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(OfUser), request_body = ErasureRequest, responses(
    (status = 202, description = "The user is deactivated, and the job runs, or has run.", body = JobCreated), ChangeErrors
))]
#[post("/v1/server/users/{u}/erase")]
async fn erase_user(
    caller: BackEnd<ERASE>,
    u: UserPath,
    input: Input<ErasureRequest>,
) -> Result<HttpResponse, Problem> {
    let (user, messages) = (u.into_inner(), input.fields.messages);
    of_a_person(&user)?;
    caller.pay(1)?;
    caller.record("users.erase", user.as_str(), 1).await?;
    let begun = caller.conversations().erase(user, messages).await;
    let job = begun.map_err(|refusal| caller.refused(refusal))?.to_string();
    Ok(HttpResponse::Accepted()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((LOCATION, format!("/v1/server/jobs/{job}")))
        .json(JobCreated { job }))
}

/// Shows a job with the counts of each shard. The answer of a job that is done is the proof of the erasure. Scope: `erase`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(OfJob), responses(
    (status = 200, description = "The job.", body = Job), JobErrors
))]
#[get("/v1/server/jobs/{job}")]
async fn show_job(caller: BackEnd<ERASE>, job: JobPath) -> Result<HttpResponse, Problem> {
    caller.pay(1)?;
    let found = Job::find(caller.worker(), &job).await;
    let found = found.map_err(|refusal| caller.refused(refusal))?;
    Ok(response::json(&found.ok_or_else(no_job)?))
}

/// Returns the problem of an id that no job has.
pub(in crate::gateway::rest) fn no_job() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is no job with this id")
}

// === impl Job, JobShard ===

impl Job {
    /// Reads a job; `None` for an id that no job has.
    pub(in crate::gateway::rest) async fn find(
        worker: &WorkerContext,
        job: &str,
    ) -> Result<Option<Job>, CommandError> {
        // Any other text is the id of no job.
        let Some(id) = ErasureId::parse(job) else {
            return Ok(None);
        };
        let found = worker.conversations.query(&ErasureQuery { id }).await?;
        let interval = worker.config.storage.compaction_interval.0.as_millis();
        // Without an interval the removal is not bounded in time.
        let interval_ms = u64::try_from(interval)
            .ok()
            .filter(|interval_ms| *interval_ms > 0);
        Ok(found.map(|job| Job::of(id, job, interval_ms)))
    }

    fn of(id: ErasureId, job: ErasureJob, interval_ms: Option<u64>) -> Job {
        let gone_by = |done_ms: u64| Some(done_ms.saturating_add(interval_ms?.saturating_mul(INTERVALS)));
        Job {
            job: id.to_string(),
            kind: "erase",
            u: job.user,
            messages: job.messages,
            state: match job.done_ms {
                Some(_) => JobState::Done,
                None => JobState::Running,
            },
            started: job.started_ms,
            done: job.done_ms,
            gone_by: job.done_ms.and_then(gone_by),
            shards: job.shards.into_iter().map(JobShard::from).collect(),
        }
    }
}

impl From<ErasedShard> for JobShard {
    fn from(shard: ErasedShard) -> JobShard {
        let ErasedShard {
            shard,
            conversations,
            messages,
            events,
            index,
        } = shard;
        JobShard {
            shard,
            conversations,
            messages,
            events,
            index,
        }
    }
}
