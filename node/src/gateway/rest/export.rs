//! `/v1/conversations/{c}/export`: the log as lines of JSON, as long as it is.
//!
//! Page by page from the owner, wherever that is, and no further than the client reads: one page is in memory. Each page
//! is a question of the user, at the rate of all its questions.

use std::io;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, get, web};
use bytes::Bytes;
use futures::stream;
use protocol::command::Open;
use protocol::{Command, ConvId, limits};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::describe::{Asked, InConversation, Tag};
use super::{Conv, Problem};
use crate::conversation::HistoryPage;

/// Which part of the log.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Part {
    /// The first event, by its `s`; the first that the caller may see, unless given.
    from: Option<u64>,
    /// The last event, by its `s`; the last of now, unless given.
    to: Option<u64>,
}

/// An export under way.
struct Lines {
    caller: Caller,
    c: ConvId,
    /// The last event written.
    after: u64,
    /// Whether it matters that events begin right behind `after`.
    joined: bool,
    to: u64,
    page: Option<HistoryPage>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(export_events);
}

/// Writes the log, one event a line, ascending, as far as the caller may see it. Where events are gone between two
/// lines, a line `{"t":"gap","c":…,"from":…,"to":…}` says which. A body that breaks off is not whole: go on with `from`.
#[utoipa::path(tag = Tag::MESSAGES, params(InConversation, Part), responses(
    (status = 200, description = "Lines of JSON.", body = String, content_type = "application/x-ndjson"), Asked
))]
#[get("/v1/conversations/{c}/export")]
async fn export_events(caller: Caller, c: Conv, part: web::Query<Part>) -> Result<HttpResponse, Problem> {
    let (c, Part { from, to }) = (c.into_inner(), part.into_inner());
    caller.may(&Command::Open(Open {
        c: c.clone(),
        have: None,
    }))?;
    let view = caller.conversations().open(&caller.user, &c, None).await;
    let last = view.map_err(|refusal| caller.refused(refusal))?.last.s;
    let mut lines = Lines {
        caller,
        c,
        after: from.unwrap_or(1).saturating_sub(1),
        joined: from.is_some_and(|from| from > 0),
        to: to.unwrap_or(last).min(last),
        page: None,
    };
    // What is refused at once is still answered as a problem.
    lines.read().await?;
    let body = stream::try_unfold(lines, |mut lines| async move {
        // The head is sent: all that can be said is that the body ends too early.
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
    /// Returns the lines of the next page; `None` at the end.
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
        let page = self
            .caller
            .conversations()
            .history(&self.caller.user, &self.c, None, Some(self.after), limits::PAGE)
            .await;
        self.page = Some(page.map_err(|refusal| self.caller.refused(refusal))?);
        Ok(())
    }

    fn write(&mut self, page: HistoryPage) -> Bytes {
        let mut text = String::new();
        if page.events.is_empty() {
            self.after = self.to;
        }
        for event in page.events {
            let known = event.event();
            let s = known.as_ref().and_then(|event| event.place()).map(|(_, s, _)| s);
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
