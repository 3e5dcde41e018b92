//! `/v1/admin/backups/shards/{shard}`: the rows of a shard, for `rookery backup`.
//!
//! It changes nothing and sends everything that users wrote, so it needs the role that may change things, and is recorded
//! in the audit log before the first byte.
//!
//! The node requests one chunk after the other from the owner of the shard, as fast as the client reads the body and at
//! most at `cluster.snapshot_rate`, so one chunk is in memory.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use cluster::{CallError, Cluster, NodeId, ShardId, ShardPosition};
use futures::stream;
use protocol::ErrorCode;
use serde::Deserialize;
use storage::RowSummary;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::backup::{Frame, ShardEnd, ShardHead};
use crate::gateway::connection::TrackedConnection;
use crate::gateway::operator::Operator;
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, QueryErrors};
use crate::rpc::{self, ExportRows, ExportedRows, RpcError};
use crate::session::{CloseSocket, WorkerContext};

/// Time in which a shard without an owner must get one.
const OWNER_TIME: Duration = Duration::from_secs(10);
/// Pause before the owner of a shard is looked up again.
const RETRY: Duration = Duration::from_millis(200);

/// Shard in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
struct OfShard {
    /// The number of the shard, from 0.
    shard: u16,
}

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type ShardPath = web::Path<u16>;

/// Parts of a backup.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BackupParts {
    /// Includes the rows with key material, from which tokens of any user can be made; default false.
    #[serde(default)]
    keys: bool,
}

/// Copy of a shard at its owner.
struct ShardCopy {
    cluster: Cluster,
    owner: NodeId,
    copy: u64,
}

/// Body of a response in progress.
struct ShardStream {
    source: ShardCopy,
    includes_keys: bool,
    next: StreamStep,
    rows: RowSummary,
    keys: RowSummary,
    /// Maximum bytes per second.
    rate: u64,
    sent: u64,
    began: Instant,
}

enum StreamStep {
    Head(ShardHead),
    Rows,
    Keys,
    End,
    Done,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(backup_shard);
}

/// Sends the rows of a shard at one index of its log, for a backup by `rookery backup`. The body is a sequence of frames; one
/// without the frame of the end is incomplete.
#[utoipa::path(tag = ApiTag::OPERATION, params(OfShard, BackupParts), responses(
    (status = 200, description = "The rows of the shard.", body = String, content_type = "application/octet-stream"), QueryErrors
))]
#[get("/v1/admin/backups/shards/{shard}")]
async fn backup_shard(
    operator: Operator,
    request: HttpRequest,
    shard: ShardPath,
    parts: web::Query<BackupParts>,
    cluster: web::Data<Cluster>,
    worker: web::Data<Rc<WorkerContext>>,
) -> Result<HttpResponse, Problem> {
    let (shard, includes_keys) = (ShardId(shard.into_inner()), parts.keys);
    if shard.0 >= cluster.shard_count() {
        let detail = format!("the cluster has {} shards, from 0", cluster.shard_count());
        return Err(Problem::bad(detail));
    }
    // The response may take long, and silent connections of unknown clients are closed first.
    if let Some(connection) = TrackedConnection::under(&request) {
        connection.identified();
    }
    let cluster = Cluster::clone(&cluster);
    let target = match includes_keys {
        true => format!("shard {shard} with keys"),
        false => format!("shard {shard}"),
    };
    let opening = ShardCopy::open(cluster.clone(), shard);
    let (source, position) = operator.change("backups.read", &target, opening).await?;
    let head = ShardHead::new(cluster.cluster_id(), cluster.shard_count(), shard.0, &position);
    let stream = ShardStream {
        source,
        includes_keys,
        next: StreamStep::Head(head),
        rows: RowSummary::default(),
        keys: RowSummary::default(),
        rate: worker.config.cluster.snapshot_rate.0.max(1),
        sent: 0,
        began: Instant::now(),
    };
    let body = stream::try_unfold(stream, |mut stream| async move {
        let frame = stream.next().await?;
        Ok::<_, std::io::Error>(frame.map(|frame| (frame, stream)))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(body))
}

// === impl ShardCopy ===

impl ShardCopy {
    /// Opens a copy at the owner of a shard.
    async fn open(cluster: Cluster, shard: ShardId) -> Result<(ShardCopy, ShardPosition), Problem> {
        let given_up = Instant::now() + OWNER_TIME;
        loop {
            let mut reason = "the shard has no known owner".to_owned();
            if let Some(owner) = cluster.route(shard).owner {
                match request(&cluster, owner, &ExportRows::Open { shard: shard.0 }).await {
                    Ok(ExportedRows::Opened { copy, position }) => {
                        let source = ShardCopy { cluster, owner, copy };
                        return Ok((source, position));
                    }
                    Ok(other) => reason = format!("unexpected response {other:?}"),
                    Err(error) => reason = error,
                }
            }
            if Instant::now() > given_up {
                return Err(Problem::new(ErrorCode::Unavailable, reason));
            }
            actix_web::rt::time::sleep(RETRY).await;
        }
    }

    /// Returns the next chunk with its summary; `None` after the last one of its kind.
    async fn next(&self, keys: bool) -> std::io::Result<Option<(Bytes, RowSummary)>> {
        let copy = self.copy;
        let answer = request(&self.cluster, self.owner, &ExportRows::Next { copy, keys }).await;
        match answer.map_err(std::io::Error::other)? {
            ExportedRows::Chunk { bytes, rows, digest } => Ok(Some((bytes, RowSummary { rows, digest }))),
            ExportedRows::End => Ok(None),
            other => Err(std::io::Error::other(format!("unexpected response {other:?}"))),
        }
    }
}

impl Drop for ShardCopy {
    fn drop(&mut self) {
        let body = rpc::encode(&ExportRows::Close { copy: self.copy });
        let closing = self
            .cluster
            .call(self.owner, rpc::EXPORT_ROWS, body, rpc::CALL_TIMEOUT);
        // Awaited, because a call that is dropped is not sent. Without a runtime the node stops, and the copy expires.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(closing);
        }
    }
}

/// Sends a request to an owner; errors are texts for the operator.
async fn request(cluster: &Cluster, owner: NodeId, request: &ExportRows) -> Result<ExportedRows, String> {
    let body = rpc::encode(request);
    let answer = cluster
        .call(owner, rpc::EXPORT_ROWS, body, rpc::CALL_TIMEOUT)
        .await;
    match answer {
        Ok(body) => rpc::decode(&body).map_err(|error| error.to_string()),
        Err(CallError::Refused(body)) => Err(match rpc::decode::<RpcError>(&body) {
            Ok(refused) => format!("node {owner} refuses: {refused:?}"),
            Err(error) => error.to_string(),
        }),
        Err(error) => Err(format!("node {owner}: {error}")),
    }
}

// === impl ShardStream ===

impl ShardStream {
    /// Returns the next frame, encoded; `None` behind the end.
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            let keys = match std::mem::replace(&mut self.next, StreamStep::Done) {
                StreamStep::Head(head) => {
                    self.next = StreamStep::Rows;
                    return Ok(Some(Frame::Head(head).encode()));
                }
                StreamStep::Rows => false,
                StreamStep::Keys => true,
                StreamStep::End => {
                    let end = ShardEnd {
                        rows: self.rows.into(),
                        keys: self.includes_keys.then(|| self.keys.into()),
                    };
                    return Ok(Some(Frame::End(end).encode()));
                }
                StreamStep::Done => return Ok(None),
            };
            self.pace().await;
            let Some((bytes, summary)) = self.source.next(keys).await? else {
                self.next = match keys || !self.includes_keys {
                    true => StreamStep::End,
                    false => StreamStep::Keys,
                };
                continue;
            };
            self.sent = self.sent.saturating_add(bytes.len() as u64);
            let (total, next, frame) = match keys {
                true => (&mut self.keys, StreamStep::Keys, Frame::Keys(bytes)),
                false => (&mut self.rows, StreamStep::Rows, Frame::Rows(bytes)),
            };
            *total = total.and(summary);
            self.next = next;
            return Ok(Some(frame.encode()));
        }
    }

    /// Waits until the rate permits the next chunk: the backup must leave the disk and the network to the clients.
    async fn pace(&self) {
        let due = Duration::from_millis(self.sent.saturating_mul(1000) / self.rate);
        let early = due.saturating_sub(self.began.elapsed());
        if !early.is_zero() {
            actix_web::rt::time::sleep(early).await;
        }
    }
}
