//! Operators: extractors that check the token of a request and its role, and record changes in the audit log.

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::http::header::{HOST, HeaderMap};
use actix_web::{FromRequest, HttpRequest, web};
use protocol::ErrorCode;

use super::admission;
use super::problem::Problem;
use crate::auth::{AdminIdentity, AdminTokens, ApiKeys, OperatorNote};
use crate::config::{AdminRole, Config};
use crate::session::WorkerContext;

/// Refusal of a request without the token of an operator.
const NO_OPERATOR: &str = "this request needs the admin token";
/// Name of an operator on a development node without tokens.
const DEVELOPER: &str = "development";

/// Operator whose token permits requests that change nothing.
pub(super) struct Reader;

/// Operator whose token permits all requests.
pub(super) struct Operator {
    /// Name of the token.
    who: String,
    log: web::Data<ApiKeys>,
}

/// Refusal of an operator's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NoToken,
    ReadOnly,
    ForeignHost,
}

// === impl Operator, Reader ===

impl Operator {
    /// Makes a change between its two records in the audit log: `begun` before it, and its outcome.
    ///
    /// # Errors
    /// The problem of the change, or the refusal of the first record, without which nothing is changed.
    pub(super) async fn change<T>(
        &self,
        act: &'static str,
        target: &str,
        change: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let note = OperatorNote::new(&self.who, act, target);
        self.log.begin(&note).await?;
        let done = change.await;
        let outcome = match &done {
            Ok(_) => "done".to_owned(),
            Err(problem) => format!("failed: {}", problem.code()),
        };
        // The change is made by now: its own result counts, and the entry says that it was begun.
        if let Err(error) = self.log.conclude(&note, &outcome).await {
            tracing::warn!(
                act,
                target,
                outcome,
                reason = %error.msg,
                "outcome missing in the audit log"
            );
        }
        done
    }
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Operator, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(identify(request, AdminRole::Operate).and_then(|who| {
            let log = request.app_data::<web::Data<ApiKeys>>().ok_or_else(no_context)?;
            Ok(Operator {
                who,
                log: log.clone(),
            })
        }))
    }
}

impl FromRequest for Reader {
    type Error = Problem;
    type Future = Ready<Result<Reader, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(identify(request, AdminRole::Read).map(|_| Reader))
    }
}

/// Returns the name of the operator, if the token has the role.
fn identify(request: &HttpRequest, needed: AdminRole) -> Result<String, Problem> {
    let worker = request.app_data::<web::Data<std::rc::Rc<WorkerContext>>>();
    let tokens = request.app_data::<web::Data<AdminTokens>>();
    let (worker, tokens) = worker.zip(tokens).ok_or_else(no_context)?;
    let who = permit(request.headers(), tokens, &worker.config, needed);
    who.map_err(Refusal::problem)
}

/// Decides by the headers of a request. Without configured tokens only development nodes are open, and only under
/// addresses that no page of another host can take on.
fn permit(
    headers: &HeaderMap,
    tokens: &AdminTokens,
    config: &Config,
    needed: AdminRole,
) -> Result<String, Refusal> {
    if tokens.is_empty() {
        // Metrics must not become public by omission.
        if !config.auth.dev_tokens {
            return Err(Refusal::NoToken);
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        return match host.is_none_or(is_address) {
            true => Ok(DEVELOPER.to_owned()),
            false => Err(Refusal::ForeignHost),
        };
    }
    let token = admission::bearer(headers).ok().flatten();
    let identity = token.and_then(|token| tokens.identify(token));
    let AdminIdentity { role, name } = identity.ok_or(Refusal::NoToken)?;
    if *role < needed {
        return Err(Refusal::ReadOnly);
    }
    Ok(name.to_string())
}

/// Returns `true` if a `Host` is an IP address or a name of this machine. The name of a page whose owner lets it resolve
/// to this node (DNS rebinding) is neither.
fn is_address(host: &str) -> bool {
    // The colons of an IPv6 address are in brackets.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

fn no_context() -> Problem {
    Problem::new(ErrorCode::Internal, "the request has no gateway context")
}

// === impl Refusal ===

impl Refusal {
    fn problem(self) -> Problem {
        match self {
            Refusal::NoToken => Problem::new(ErrorCode::Unauthenticated, NO_OPERATOR),
            Refusal::ReadOnly => Problem::new(
                ErrorCode::Forbidden,
                "the admin token may read only: this request needs one with the role operate",
            ),
            Refusal::ForeignHost => Problem::new(
                ErrorCode::Forbidden,
                "without an admin token operators use an IP address or localhost, no other name",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{AUTHORIZATION, HeaderValue};

    use super::*;
    use crate::config::SecretString;

    fn decide(
        tokens: &str,
        dev: bool,
        header: Option<&'static str>,
        needed: AdminRole,
    ) -> Result<String, Refusal> {
        let mut config = Config::default();
        config.server.admin_token = SecretString(tokens.to_owned());
        config.auth.dev_tokens = dev;
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
        }
        let tokens = AdminTokens::open(&config.server).unwrap();
        permit(&headers, &tokens, &config, needed)
    }

    #[test]
    fn an_operator_needs_a_token_with_the_role() {
        const TOKENS: &str = "operate:ci:0123456789abcdef read:monitor:abcdef0123456789";
        let (read, operate) = (Some("Bearer abcdef0123456789"), Some("bearer 0123456789abcdef"));
        for dev in [false, true] {
            let decide = |header, needed| decide(TOKENS, dev, header, needed);
            for needed in [AdminRole::Read, AdminRole::Operate] {
                assert_eq!(decide(operate, needed), Ok("ci".to_owned()));
                for wrong in [
                    None,
                    Some("Bearer 0123456789abcdeF"),
                    Some("Basic 0123456789abcdef"),
                ] {
                    assert_eq!(decide(wrong, needed), Err(Refusal::NoToken), "{wrong:?}");
                }
            }
            assert_eq!(decide(read, AdminRole::Read), Ok("monitor".to_owned()));
            assert_eq!(decide(read, AdminRole::Operate), Err(Refusal::ReadOnly));
        }
        assert_eq!(
            decide("", true, None, AdminRole::Operate),
            Ok(DEVELOPER.to_owned())
        );
        assert_eq!(decide("", false, None, AdminRole::Read), Err(Refusal::NoToken));
    }

    #[test]
    fn development_node_has_no_foreign_name() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "10.1.2.3:80",
            "LocalHost:8080",
        ] {
            assert!(is_address(host), "{host}");
        }
        for host in [
            "",
            "evil.example.org:8080",
            "localhost.evil.example.org",
            "127.0.0.1.evil.example.org",
            "node-1:8080",
        ] {
            assert!(!is_address(host), "{host}");
        }
    }
}
