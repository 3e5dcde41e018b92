//! `/v1/conversations/{c}/export`: the whole log of a conversation as lines of JSON.
//!
//! Pages are read from the shard owner as fast as the client reads the body, so one page is in memory. Each page is
//! charged to the user's query rate.

use std::io;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, get, web};
use bytes::Bytes;
use futures::stream;
use protocol::command::{GetHistory, OpenConversation};
use protocol::response::HistoryResponse;
use protocol::{ConversationId, limits};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::describe::{ApiTag, InConversation, QueryErrors};
use super::{ConversationPath, Problem};

/// Range of the log to export.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// The position `s` of the first event; default: the first event that the caller may see.
    from: Option<u64>,
    /// The position `s` of the last event; default: the last event at the time of the request.
    to: Option<u64>,
}

struct Lines {
    caller: AuthenticatedUser,
    c: ConversationId,
    /// Position of the last event written.
    after: u64,
    /// Set if a jump after `after` is a gap. Without `from`, the export begins at the first visible event instead.
    joined: bool,
    to: u64,
    page: Option<HistoryResponse>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(export_events);
}

/// Writes the log in ascending order, one event per line, as far as the caller may see it. A line
/// `{"t":"gap","c":…,"from":…,"to":…}` names a range of events that were removed between two lines. A body that breaks off is
/// incomplete; the client continues with `from`.
#[utoipa::path(tag = ApiTag::MESSAGES, params(InConversation, ExportQuery), responses(
    (status = 200, description = "The events of the conversation, one JSON object per line.", body = String, content_type = "application/x-ndjson"), QueryErrors
))]
#[get("/v1/conversations/{c}/export")]
async fn export_events(
    caller: AuthenticatedUser,
    c: ConversationPath,
    part: web::Query<ExportQuery>,
) -> Result<HttpResponse, Problem> {
    let (c, ExportQuery { from, to }) = (c.into_inner(), part.into_inner());
    let open = OpenConversation {
        conversation: c.clone(),
        have: None,
    };
    // Fixed at the start: the export of a busy conversation would otherwise never end.
    let last = caller.ask(open).await?.last.seq;
    let mut lines = Lines {
        caller,
        c,
        after: from.unwrap_or(1).saturating_sub(1),
        joined: from.is_some_and(|from| from > 0),
        to: to.unwrap_or(last).min(last),
        page: None,
    };
    // Read before the response begins, so that a refusal is still a problem response.
    lines.read().await?;
    let body = stream::try_unfold(lines, |mut lines| async move {
        // The head has been sent: an error can only end the body early.
        let text = lines
            .next()
            .await
            .map_err(|problem| io::Error::other(problem.to_string()))?;
        Ok::<_, io::Error>(text.map(|text| (text, lines)))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(body))
}

// === impl Lines ===

impl Lines {
    /// Returns the lines of the next page, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.page.is_none() && self.after < self.to {
            self.caller.pace().await?;
            self.read().await?;
        }
        Ok(self.page.take().map(|page| self.write(page)))
    }

    async fn read(&mut self) -> Result<(), Problem> {
        if self.after >= self.to {
            return Ok(());
        }
        // Charged by `pace`, or as the `open` before the first page.
        let hist = GetHistory {
            conversation: self.c.clone(),
            before: None,
            after: Some(self.after),
            limit: u64::try_from(limits::PAGE).ok(),
        };
        self.page = Some(self.caller.ask_paid(hist).await?);
        Ok(())
    }

    fn write(&mut self, page: HistoryResponse) -> Bytes {
        let mut text = String::new();
        // The rest of the range is not visible or was removed. Without this the loop would request the same page again.
        if page.events.is_empty() {
            self.after = self.to;
        }
        for event in page.events {
            let known = event.event();
            let s = known
                .as_ref()
                .and_then(|event| event.position())
                .map(|(_, s, _)| s);
            // An event that cannot be parsed counts as the next position, so that the export still advances.
            let s = s.unwrap_or(self.after + 1);
            if self.joined && s > self.after + 1 {
                let (c, from, to) = (&self.c, self.after + 1, (s - 1).min(self.to));
                text.push_str(&format!(
                    "{{\"t\":\"gap\",\"c\":\"{c}\",\"from\":{from},\"to\":{to}}}\n"
                ));
            }
            (self.after, self.joined) = (s, true);
            if s > self.to {
                break;
            }
            text.push_str(event.as_str());
            text.push('\n');
        }
        text.into()
    }
}
