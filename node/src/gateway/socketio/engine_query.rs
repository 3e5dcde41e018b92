//! Query of a request of an engine connection, and the refusals of the engine. Pure.

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

/// Version of the engine.
const VERSION: &str = "4";
/// Maximum bytes of the id of a poll. A longer one is ignored.
const POLL_ID_BYTES: usize = 64;

/// Query of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EngineQuery {
    pub(super) transport: EngineTransport,
    /// Id of an open connection; `None` opens one.
    pub(super) sid: Option<String>,
    /// Text that a client makes anew for each request, against caches. It shows a request that a proxy repeats.
    pub(super) poll_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EngineTransport {
    Polling,
    WebSocket,
}

/// Refusal of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EngineRefusal {
    Transport = 0,
    UnknownId = 1,
    Method = 2,
    BadRequest = 3,
    Version = 5,
}

/// Parameters of a query. Others have no meaning.
#[derive(Deserialize)]
struct EngineParameters {
    #[serde(rename = "EIO")]
    version: Option<String>,
    transport: Option<String>,
    sid: Option<String>,
    #[serde(rename = "t")]
    poll_id: Option<String>,
}

/// Body of a refusal.
#[derive(Serialize)]
struct RefusalBody {
    code: u8,
    message: &'static str,
}

// === impl EngineQuery ===

impl EngineQuery {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// The refusal of the engine.
    pub(super) fn parse(query: &str) -> Result<EngineQuery, EngineRefusal> {
        let parameters = web::Query::<EngineParameters>::from_query(query);
        let EngineParameters {
            version,
            transport,
            sid,
            poll_id,
        } = parameters.map_err(|_| EngineRefusal::BadRequest)?.into_inner();
        let transport = match transport.as_deref() {
            Some("polling") => EngineTransport::Polling,
            Some("websocket") => EngineTransport::WebSocket,
            _ => return Err(EngineRefusal::Transport),
        };
        if version.as_deref() != Some(VERSION) {
            return Err(EngineRefusal::Version);
        }
        let is_id = |id: &String| !id.is_empty() && id.len() <= POLL_ID_BYTES;
        Ok(EngineQuery {
            transport,
            sid,
            poll_id: poll_id.filter(is_id),
        })
    }
}

// === impl EngineRefusal ===

impl EngineRefusal {
    pub(super) fn response(self) -> HttpResponse {
        let message = match self {
            EngineRefusal::Transport => "Transport unknown",
            EngineRefusal::UnknownId => "Session ID unknown",
            EngineRefusal::Method => "Bad handshake method",
            EngineRefusal::BadRequest => "Bad request",
            EngineRefusal::Version => "Unsupported protocol version",
        };
        HttpResponse::build(StatusCode::BAD_REQUEST)
            .insert_header((CACHE_CONTROL, "no-store"))
            .json(RefusalBody {
                code: self as u8,
                message,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_names_version_transport_and_connection() {
        let of = |query: &str| EngineQuery::parse(query);
        let polling = |sid: Option<&str>, poll_id: Option<&str>| EngineQuery {
            transport: EngineTransport::Polling,
            sid: sid.map(str::to_owned),
            poll_id: poll_id.map(str::to_owned),
        };
        assert_eq!(
            of("EIO=4&transport=polling&t=abc&b64=1"),
            Ok(polling(None, Some("abc")))
        );
        assert_eq!(
            of("EIO=4&transport=polling&sid=1-ab&t="),
            Ok(polling(Some("1-ab"), None))
        );
        let long = format!("EIO=4&transport=polling&t={}", "x".repeat(POLL_ID_BYTES + 1));
        assert_eq!(of(&long), Ok(polling(None, None)));
        for (query, refusal) in [
            ("", EngineRefusal::Transport),
            ("EIO=4", EngineRefusal::Transport),
            ("EIO=4&transport=smoke", EngineRefusal::Transport),
            ("transport=websocket", EngineRefusal::Version),
            ("EIO=3&transport=polling", EngineRefusal::Version),
            ("EIO=4&EIO=4&transport=polling", EngineRefusal::BadRequest),
        ] {
            assert_eq!(of(query), Err(refusal), "{query}");
        }
    }
}
