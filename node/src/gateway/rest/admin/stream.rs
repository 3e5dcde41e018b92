//! `/v1/admin/stream`: the overview once a second, as server-sent events.

use std::convert::Infallible;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use protocol::ErrorCode;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::admin::{NodeAdmin, Overview, OverviewFollower};
use crate::gateway::connection::TrackedConnection;
use crate::gateway::operator::Reader;
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, QueryErrors};
use crate::session::CloseSocket;

/// One event of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the stream")]
struct OverviewEvent {
    /// The name of the event, always `overview`.
    event: String,
    /// The overview, in one line of JSON.
    data: Overview,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(stream_overview);
}

/// Streams the overview as server-sent events: whole, once a second, each named `overview`. A client that reads slowly skips
/// overviews. The stream ends when the node stops; the client then asks another node.
#[utoipa::path(tag = ApiTag::OPERATION, responses(
    (status = 200, description = "The event stream.", body = OverviewEvent, content_type = "text/event-stream"), QueryErrors
))]
#[get("/v1/admin/stream")]
async fn stream_overview(
    _reader: Reader,
    request: HttpRequest,
    admin: web::Data<NodeAdmin>,
) -> Result<HttpResponse, Problem> {
    let follower = admin.follow_overview();
    let follower = follower.map_err(|full| Problem::new(ErrorCode::Unavailable, full.to_string()))?;
    // Silent connections of unknown clients are closed first.
    if let Some(connection) = TrackedConnection::under(&request) {
        connection.identified();
    }
    let events = stream::unfold(follower, |mut follower| async move {
        // Ends with the feed, when the node stops.
        follower.changed().await.ok()?;
        let event = frame(&mut follower);
        Some((Ok::<_, Infallible>(event), follower))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // nginx would buffer the response and delay events.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(Box::pin(events)))
}

/// Returns the newest overview as an event.
fn frame(follower: &mut OverviewFollower) -> Bytes {
    let overview = follower.borrow_and_update();
    let mut event = BytesMut::with_capacity(overview.len() + 32);
    event.put_slice(b"event: overview\ndata: ");
    event.put_slice(&overview);
    event.put_slice(b"\n\n");
    event.freeze()
}
