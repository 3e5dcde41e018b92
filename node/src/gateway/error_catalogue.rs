//! Catalogue of errors: for each error code and each close code the cause, the reaction of the client, and the place
//! where an operator looks. It is a part of the documentation page; the `type` of a problem links to its entry.

use std::fmt::Write as _;

use protocol::{CloseAdvice, CloseCode, ErrorCode};

/// Path of the page with the catalogue.
const PAGE: &str = "/v1/docs";

/// Entry of the catalogue. The texts are HTML.
struct Explanation {
    happened: &'static str,
    client: &'static str,
    operator: &'static str,
}

/// Returns the address of an error code's entry, the `type` of its problems.
pub(super) fn link(code: ErrorCode) -> String {
    format!("{PAGE}#{}", error_anchor(code))
}

/// Returns the catalogue as two sections of HTML.
pub(super) fn html() -> String {
    let mut html = String::new();
    html.push_str("<section><h2 id=\"errors\">Errors</h2>\n");
    html.push_str(
        "<p>The <code>code</code> of a refused command (<code>err</code>) and of a problem over HTTP.</p>\n",
    );
    for code in ErrorCode::ALL {
        let kind = if code.temporary() {
            "temporary"
        } else {
            "permanent"
        };
        let head = format!(
            "<code>{code}</code> <span class=\"dim\">{}, {kind}</span>",
            code.http()
        );
        entry(&mut html, &error_anchor(code), &head, &of_error(code));
    }
    html.push_str("</section>\n<section><h2 id=\"closes\">Close codes</h2>\n");
    html.push_str("<p>The code with which the server closes a WebSocket; an event stream names it in <code>event: close</code>.</p>\n");
    for code in CloseCode::ALL {
        let head = format!(
            "<code>{}</code> {} <span class=\"dim\">{}</span>",
            code.code(),
            words(&format!("{code:?}")),
            advice(code.verdict()),
        );
        entry(&mut html, &close_anchor(code), &head, &of_close(code));
    }
    html.push_str("</section>\n");
    html
}

fn error_anchor(code: ErrorCode) -> String {
    format!("error-{code}")
}

fn close_anchor(code: CloseCode) -> String {
    format!("close-{}", code.code())
}

fn entry(html: &mut String, anchor: &str, head: &str, explanation: &Explanation) {
    let Explanation {
        happened,
        client,
        operator,
    } = explanation;
    let _infallible = writeln!(
        html,
        "<details id=\"{anchor}\"><summary>{head}</summary><div><dl>\
         <dt>Cause</dt><dd>{happened}</dd>\
         <dt>Client</dt><dd>{client}</dd>\
         <dt>Operator</dt><dd>{operator}</dd></dl></div></details>",
    );
}

/// Splits the name of a variant: `SlowConsumer` is `slow consumer`.
fn words(variant: &str) -> String {
    let mut words = String::new();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn advice(advice: CloseAdvice) -> &'static str {
    match advice {
        CloseAdvice::Resume => "reconnect and resume",
        CloseAdvice::NewSession => "reconnect with a new session",
        CloseAdvice::Stop => "do not reconnect",
    }
}

fn of_error(code: ErrorCode) -> Explanation {
    let (happened, client, operator) = match code {
        ErrorCode::BadRequest => (
            "The request is malformed: no JSON object, a missing or malformed field, a list that is too long, an unknown command, or a method that the path does not have.",
            "Does not repeat it. The text names the field; it is a defect of the client.",
            "Nothing, unless one release of a client causes many: <code>rookery_commands_refused_total</code> by code.",
        ),
        ErrorCode::Unauthenticated => (
            "There is no token, or it is not valid: wrong signature, issuer or audience, an ended login, a revoked device token, a wrong or expired one-time code.",
            "Gets a new token or asks the user to log in. A repetition with the same token is useless.",
            "<code>rookery_auth_failures_total</code>; the settings of <code>[auth]</code>, and whether every node has the same keys.",
        ),
        ErrorCode::TokenExpired => (
            "The token was valid and has expired.",
            "Refreshes the token and repeats the request.",
            "The clocks of the issuer and of the nodes, if tokens expire too early: <code>rookery_clock_skew_ms</code>.",
        ),
        ErrorCode::Forbidden => (
            "The user is a member whose role does not permit the command, or another user does not permit it: a block, or a refused invitation.",
            "Does not repeat it, and removes the action from its interface.",
            "Nothing. The table of permissions is in section 8 of the protocol.",
        ),
        ErrorCode::NotMember => (
            "The user is no member, is no longer one, or the conversation does not exist; the answer does not tell which.",
            "Removes the conversation from its list and drops what it has queued for it.",
            "Nothing. With a restored backup: the conversation may be newer than the copy.",
        ),
        ErrorCode::NotFound => (
            "The named message, user, ban or path does not exist, or the node has no such function configured (webhook, login by code).",
            "Does not repeat it. If a message was named, its view of the conversation is old: it catches up with <code>sync</code>.",
            "<code>[webhook]</code> and <code>[login]</code> must be the same on every node.",
        ),
        ErrorCode::Conflict => (
            "The current state does not permit the command: a member is invited again, the message is deleted, a number has reached its limit, or another instance of the device holds the session.",
            "Does not repeat it. It reads the present state and shows it.",
            "Nothing. For <code>DELETE /v1/cluster/nodes</code> the text names the condition.",
        ),
        ErrorCode::TooLarge => (
            "The body of the message, or of the request, exceeds its limit.",
            "Shortens it; <code>limits.body_bytes</code> of <code>ready</code> is the limit. Large files belong elsewhere, with a link in the message.",
            "<code>limits.max_body_size</code>, the same on every node. A request without a token may have 24 KiB.",
        ),
        ErrorCode::RateLimited => (
            "The user, or the address of a login, exceeds its rate.",
            "Waits for <code>retry_ms</code>, then repeats with the same <code>cid</code>, oldest first.",
            "<code>limits.sends_per_second</code> and <code>limits.queries_per_second</code>. If many users are affected behind a proxy: <code>server.trusted_proxies</code>.",
        ),
        ErrorCode::Busy => (
            "A queue or the node is full, or an earlier send to the conversation was refused and has not been repeated yet.",
            "Waits until everything in flight to that conversation is answered, then repeats with the same <code>cid</code>, oldest first.",
            "<code>rookery_command_queue_refused_total</code>, <code>rookery_connections</code> against <code>rookery_connections_limit</code>, and the time of an fsync.",
        ),
        ErrorCode::Unavailable => (
            "No owner of the conversation could be reached, or a service that the request needs did not answer.",
            "Waits for <code>retry_ms</code>, then repeats with the same <code>cid</code>; any node will do.",
            "<code>rookery_shards_without_owner</code> and <code>/readyz</code> of every node: two of three nodes must run.",
        ),
        ErrorCode::TimeoutUnknown => (
            "The outcome is not known: the command may have been executed.",
            "Repeats it with the same <code>cid</code>, which returns the first result if there is one. It never shows the message as failed.",
            "The time of an fsync, and the network between the nodes.",
        ),
        ErrorCode::Internal => (
            "The server failed.",
            "Waits for <code>retry_ms</code>, then repeats with the same <code>cid</code>.",
            "The log at level ERROR with the request id of the response (<code>X-Request-Id</code>).",
        ),
    };
    Explanation {
        happened,
        client,
        operator,
    }
}

fn of_close(code: CloseCode) -> Explanation {
    let (happened, client, operator) = match code {
        CloseCode::Normal => (
            "The session ended, or another connection of the same instance replaced this one.",
            "Nothing: its newer connection continues.",
            "Nothing.",
        ),
        CloseCode::Framing => (
            "The client sent broken WebSocket framing.",
            "It has a defect, or a proxy changes its bytes; it does not reconnect by itself.",
            "The proxy in front: it must pass WebSockets through unchanged.",
        ),
        CloseCode::Binary => (
            "The client sent a binary frame on a text protocol.",
            "It has a defect; it does not reconnect by itself.",
            "Nothing.",
        ),
        CloseCode::Utf8 => (
            "The client sent text that is not UTF-8.",
            "It has a defect; it does not reconnect by itself.",
            "Nothing.",
        ),
        CloseCode::TooLarge => (
            "A frame or message exceeds <code>max_frame</code> of <code>hello</code>, or 12 KiB before the client is known.",
            "It has a defect: the limit is announced. It does not reconnect by itself.",
            "Nothing.",
        ),
        CloseCode::Internal => (
            "The server failed.",
            "Reconnects after <code>retry_ms</code> and resumes.",
            "The log at level ERROR.",
        ),
        CloseCode::SlowConsumer => (
            "The client reads more slowly than its events arrive, and its queue overflowed twice within 30 s.",
            "Reconnects and resumes. If it happens often: handle events faster, or fewer conversations at once.",
            "<code>rookery_session_resyncs_total</code>, <code>limits.outbound_queue_size</code>, and the network of the clients.",
        ),
        CloseCode::Draining => (
            "The node is being stopped.",
            "Reconnects after <code>retry_ms</code>, to any node, and resumes.",
            "Expected during a restart. Otherwise: the reason for which the process got SIGTERM.",
        ),
        CloseCode::Overloaded => (
            "The node has reached its capacity, or has not fetched the keys of the cluster yet.",
            "Reconnects after <code>retry_ms</code>, preferably to another node.",
            "<code>rookery_connections</code> against <code>rookery_connections_limit</code>; add nodes.",
        ),
        CloseCode::HeartbeatMissed => (
            "The client sent nothing for <code>session.idle_timeout</code>, not even a pong.",
            "Reconnects and resumes. It sends <code>hb</code> every <code>hb_ms</code>.",
            "The idle time of the proxy, which must be above <code>session.ping_interval</code>.",
        ),
        CloseCode::Isolated => (
            "The node has lost contact with a majority of the cluster, or was removed from it.",
            "Reconnects to another node and resumes.",
            "The network between the nodes; <code>/readyz</code> of this node gives the reason.",
        ),
        CloseCode::TokenExpired => (
            "The token of the session expired, and no other one was sent.",
            "Gets a new token, begins a new session and runs <code>sync</code>. It sends <code>auth</code> in time next time.",
            "Nothing, or the clock of the issuer.",
        ),
        CloseCode::RateAbuse => (
            "The client exceeded a rate by far and for long.",
            "Begins a new session after <code>retry_ms</code> and slows down; a loop that repeats refused commands is a defect.",
            "<code>rookery_commands_refused_total</code> by code, to see whether one client or a limit is at fault.",
        ),
        CloseCode::NoAuth => (
            "The client sent no <code>auth</code> within <code>auth_ms</code>.",
            "Connects again with a token at hand.",
            "If many: connections of something that is no client, such as a port scan.",
        ),
        CloseCode::Protocol => (
            "The client violated the protocol.",
            "It has a defect; it does not reconnect by itself.",
            "Nothing.",
        ),
        CloseCode::AuthFailed => (
            "The token is not valid, or is of another user than that of the session.",
            "Asks the user to log in.",
            "<code>rookery_auth_failures_total</code>, the settings of <code>[auth]</code>.",
        ),
        CloseCode::Banned => (
            "The user is banned, or the login was ended: a logout everywhere, a reused refresh token, a revoked device token.",
            "Deletes its tokens and asks the user to log in.",
            "<code>rookery_login_steps_total</code> with the outcome <code>reused</code> for stolen refresh tokens.",
        ),
        CloseCode::Version => (
            "The node does not support the version of the protocol.",
            "Asks for an update of the application.",
            "Clients of another generation than the servers.",
        ),
        CloseCode::Displaced => (
            "Another instance of the same device has connected.",
            "Shows that the application is in use elsewhere, and connects again only on request of the user.",
            "If many: an application that gives the same device id to several installations.",
        ),
        CloseCode::TooManySessions => (
            "The user has too many sessions.",
            "Does not reconnect by itself; the user closes another client.",
            "<code>limits.sessions_per_user</code>; a bot that never closes its sessions.",
        ),
    };
    Explanation {
        happened,
        client,
        operator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_entry() {
        let html = html();
        let anchors = ErrorCode::ALL.map(error_anchor);
        let anchors = anchors.iter().cloned().chain(CloseCode::ALL.map(close_anchor));
        let mut count = 0;
        for anchor in anchors {
            assert_eq!(html.matches(&format!("id=\"{anchor}\"")).count(), 1, "{anchor}");
            count += 1;
        }
        assert_eq!(html.matches("<details ").count(), count);
        assert_eq!(html.matches("<dd>").count(), 3 * count);
    }

    #[test]
    fn the_entry_of_a_code_names_its_status_and_its_advice() {
        let html = html();
        assert!(html.contains("<code>not_member</code> <span class=\"dim\">403, permanent</span>"));
        assert!(
            html.contains("<code>4010</code> slow consumer <span class=\"dim\">reconnect and resume</span>")
        );
        assert_eq!(link(ErrorCode::NotMember), "/v1/docs#error-not_member");
    }
}
