//! Upgrade of a request to a WebSocket, common to all protocols spoken over one.
//!
//! An endpoint is registered by [`route_at`]. It first calls [`check`], which is cheap, then authenticates the client if it can, and at last
//! [`WebSocketUpgrade::open`].

use std::rc::Rc;

use actix_web::http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use actix_web::http::{StatusCode, Version};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, web};
use actix_web_actors::ws::handshake;

use super::frame_writer::MessageFraming;
use super::handler::MessageHandler;
use super::meter::Meter;
use super::reader::SocketReader;
use super::writer::SocketWriter;
use crate::gateway::admission;
use crate::gateway::connection::TrackedConnection;
use crate::gateway::problem::Problem;
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::session::{ConnectionHandle, OutboundQueue, QueueBounds, WorkerContext};

/// Subprotocols of an endpoint (RFC 6455, section 1.9).
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct Subprotocols {
    /// Supported names. If there are none, offers of the client are ignored.
    pub(in crate::gateway) names: &'static [&'static str],
    /// True if the client has to offer one of them. Otherwise a client that offers none speaks the first one.
    pub(in crate::gateway) required: bool,
}

/// Upgrade request that passed the checks.
pub(in crate::gateway) struct WebSocketUpgrade {
    /// Confirmed subprotocol; `None` if the client offered none.
    pub(in crate::gateway) subprotocol: Option<&'static str>,
}

/// Registers an endpoint at its path; with an empty one there is none.
pub(in crate::gateway) fn route_at<H, Args>(
    path: &str,
    endpoint: H,
) -> impl FnOnce(&mut web::ServiceConfig) + use<H, Args>
where
    H: Handler<Args>,
    Args: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    let resource = (!path.is_empty()).then(|| web::resource(path.to_owned()).route(web::get().to(endpoint)));
    move |config| {
        if let Some(resource) = resource {
            config.service(resource);
        }
    }
}

/// Checks the state of the node, the origin, the version of HTTP and the offered subprotocols.
///
/// # Errors
/// Refusal of the request.
pub(in crate::gateway) fn check(
    request: &HttpRequest,
    worker: &WorkerContext,
    subprotocols: Subprotocols,
) -> Result<WebSocketUpgrade, Problem> {
    // CORS does not apply to WebSockets, so foreign origins are refused here.
    admission::may_open_session(worker, request.headers())?;
    if request.version() < Version::HTTP_11 {
        let problem = Problem::bad("a WebSocket upgrade needs HTTP/1.1");
        return Err(problem.with_status(StatusCode::UPGRADE_REQUIRED));
    }
    let subprotocol = subprotocols.select(request.headers())?;
    Ok(WebSocketUpgrade { subprotocol })
}

// === impl Subprotocols ===

impl Subprotocols {
    /// Returns the first offered name that is supported.
    fn select(self, headers: &HeaderMap) -> Result<Option<&'static str>, Problem> {
        let mut offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).peekable();
        if self.names.is_empty() || (offers.peek().is_none() && !self.required) {
            return Ok(None);
        }
        let offered = offers.filter_map(|value| value.to_str().ok());
        let mut offered = offered.flat_map(|names| names.split(',')).map(str::trim);
        let supported = offered.find_map(|offer| self.names.iter().find(|name| **name == offer));
        // A client of another version is refused before it sends anything.
        supported.map(|name| Some(*name)).ok_or_else(|| {
            let names = self.names.join(", ");
            Problem::bad(format!("the supported subprotocols are: {names}"))
        })
    }
}

// === impl WebSocketUpgrade ===

impl WebSocketUpgrade {
    /// Upgrades the request and starts its reader and writer.
    ///
    /// `unauthenticated` counts the connection until its client is identified; `None` if it is already. `handler` gets
    /// the connection's handle.
    ///
    /// # Errors
    /// Refusal of a request that is no upgrade, or of too many unauthenticated connections.
    pub(in crate::gateway) fn open<H: MessageHandler, F: MessageFraming + Unpin + 'static>(
        self,
        (request, payload): (&HttpRequest, web::Payload),
        worker: &WorkerContext,
        unauthenticated: Option<&UnauthenticatedConnections>,
        (meter, framing): (Meter, F),
        handler: impl FnOnce(&Rc<ConnectionHandle>) -> H,
    ) -> Result<HttpResponse, Problem> {
        let Ok(mut response) = handshake(request) else {
            let problem = Problem::bad("this endpoint accepts only WebSocket upgrades");
            return Err(problem.with_status(StatusCode::UPGRADE_REQUIRED));
        };
        if let Some(name) = self.subprotocol {
            response.insert_header((SEC_WEBSOCKET_PROTOCOL, name));
        }
        // The guard is released when the client is identified or the connection ends.
        let greeting = match unauthenticated {
            None => None,
            Some(greetings) => {
                let peer = request.peer_addr().map(|peer| peer.ip());
                let address = admission::client(request.headers(), peer, &worker.config.server);
                Some(greetings.admit(address)?)
            }
        };
        // Lifts the bound on unidentified HTTP bytes; the frame guard and the meter apply instead.
        if let Some(connection) = TrackedConnection::under(request) {
            connection.upgrade(greeting);
        }
        let link = ConnectionHandle::new(
            OutboundQueue::new(QueueBounds::from(&*worker.config)),
            TrackedConnection::of(request),
        );
        let metrics = worker.metrics.clone();
        let reader = SocketReader::new(link.clone(), handler(&link), metrics.clone(), meter);
        // Detached: the task ends with the connection or the session, whichever ends first.
        actix_web::rt::spawn(reader.run(payload));
        Ok(response.streaming(SocketWriter::new(link, framing, metrics)))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn first_supported_offer_is_selected_from_all_headers() {
        let offers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value));
            }
            headers
        };
        let optional = Subprotocols {
            names: &["one", "two"],
            required: false,
        };
        let selected = |of: Subprotocols, values: &[&'static str]| of.select(&offers(values)).ok();
        assert_eq!(selected(optional, &["soap, two,one"]), Some(Some("two")));
        assert_eq!(selected(optional, &["soap", "x, one"]), Some(Some("one")));
        assert_eq!(selected(optional, &[]), Some(None));
        assert_eq!(selected(optional, &["soap"]), None);
        let required = Subprotocols {
            required: true,
            ..optional
        };
        assert_eq!(selected(required, &[]), None);
        let none = Subprotocols {
            names: &[],
            required: false,
        };
        assert_eq!(selected(none, &["soap"]), Some(None));
    }
}
