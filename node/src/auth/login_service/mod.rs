//! Login service: one-time codes, refresh tokens, and the keys behind both.
//!
//! ```text
//! identifier ─ ask ─▶ limits of IP and identifier, code stored as a hash (their shards) ─▶ delivery
//! challenge, code ─ verify ─▶ attempts counted (the identifier's shard) ─▶ token family (the user's shard)
//! refresh token ─ refresh ─▶ next token of the family, or its end
//! ```
//! All decisions are made in the log (`state_machine::login`), so any node
//! can serve any step. Parts: [`identifier`](super::identifier), [`keyring`](super::keyring) (the cluster's keys and everything derived from them),
//! [`key_refresh`] (fetches them), `otp_delivery`,
//! [`revocation_list`](super::revocation_list) (ended logins), and `login_gc` of the shards (removes expired rows).

mod key_refresh;

use std::net::IpAddr;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use protocol::{ErrorCode, UserId};

use super::identifier::LoginIdentifier;
use super::keyring::{AccessTokenClaims, ActiveKeyring, KeyringCache, OtpChallenge, RefreshToken};
pub(crate) use super::otp_delivery::CONCURRENT as CONCURRENT_DELIVERIES;
use super::otp_delivery::OtpDelivery;
use crate::config::{self, Config};
use crate::shard_client::{CommandError, ShardClient};
use crate::state_machine::{AttemptLimit, LoginOp as Step, LoginOutcome};
use crate::webhook;

/// Number of wrong attempts after which a code of six digits is invalid.
const CODE_TRIES: u32 = 5;

/// Login service of a node. Cheap to clone.
#[derive(Clone)]
pub struct LoginService {
    inner: Arc<Inner>,
}

struct Inner {
    conversations: ShardClient,
    keys: Arc<KeyringCache>,
    settings: config::LoginConfig,
    audience: String,
    /// Time in milliseconds for which a token is accepted after its expiry.
    tuning: config::Tuning,
    dev: bool,
    delivery: OtpDelivery,
    steps: Family<LoginLabels, Counter>,
}

/// Response to a code request.
pub struct CodeRequested {
    /// Sealed id of the code.
    pub challenge: String,
    /// Seconds until the code expires.
    pub expires_in: u64,
    /// Code in plain text, in development only.
    pub code: Option<String>,
}

/// Tokens of a successful login or refresh.
pub struct Tokens {
    /// JWT with the user's claims.
    pub access: String,
    /// Refresh token, usable once.
    pub refresh: String,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    pub user: UserId,
}

/// Labels of the step counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    step: &'static str,
    outcome: &'static str,
}

// === impl LoginService ===

impl LoginService {
    /// Creates the login service.
    ///
    /// # Errors
    /// If the webhook's settings are unusable.
    pub fn new(
        config: &Config,
        conversations: ShardClient,
        keys: Arc<KeyringCache>,
        posts: webhook::Metrics,
    ) -> Result<LoginService, webhook::UnusableSecret> {
        let clock = conversations.clock().clone();
        let inner = Inner {
            conversations,
            keys,
            settings: config.login.clone(),
            audience: config.auth.audience.clone(),
            tuning: config.tuning.clone(),
            dev: config.auth.dev_tokens,
            delivery: OtpDelivery::new(&config.login, config.auth.dev_tokens, posts, clock)?,
            steps: Family::default(),
        };
        Ok(LoginService {
            inner: Arc::new(inner),
        })
    }

    /// Registers the step counter.
    pub fn register(&self, registry: &mut Registry) {
        // The outcomes to watch begin with 0, so that the first one is an increase.
        let watched = ["ask", "verify", "refresh", "logout"].map(|step| (step, "done"));
        for (step, outcome) in watched.into_iter().chain([("refresh", "reused")]) {
            drop(self.inner.steps.get_or_create(&LoginLabels { step, outcome }));
        }
        registry.register(
            "login_steps",
            "Login requests, by outcome",
            self.inner.steps.clone(),
        );
    }

    /// Returns the public keys as a JWK set, and the seconds for which others may cache it. A key is published for
    /// longer before it signs.
    #[must_use]
    pub fn jwks(&self) -> (serde_json::Value, u64) {
        let age_s = (self.inner.tuning.key_overlap.as_millis() / 4_000).min(300);
        match self.inner.keys.ring() {
            Some(ring) => (ring.jwks(), age_s),
            None => (serde_json::json!({ "keys": [] }), 0),
        }
    }

    /// Refreshes this node's keys until it is aborted.
    pub async fn keep(self) {
        key_refresh::run(self).await;
    }

    /// Creates a code for a login identifier and delivers it.
    ///
    /// # Errors
    /// A malformed identifier, an exceeded limit, or a failed delivery.
    pub async fn ask(&self, ip: IpAddr, to: &str) -> Result<CodeRequested, CommandError> {
        let asked = self.asked(ip, to).await;
        self.count("ask", &asked);
        asked
    }

    /// Exchanges a code for tokens.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthenticated`] for any defect of the code or challenge.
    pub async fn verify(&self, challenge: &str, code: &str) -> Result<Tokens, CommandError> {
        let tokens = self.verified(challenge, code).await;
        self.count("verify", &tokens);
        tokens
    }

    /// Exchanges a refresh token for new tokens; the old one is replaced.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthenticated`] for any defect of the token.
    pub async fn refresh(&self, token: &str) -> Result<Tokens, CommandError> {
        let tokens = self.refreshed(token).await;
        self.count("refresh", &tokens);
        tokens
    }

    /// Ends the token family of a refresh token, or all families of its user, with their sessions on all nodes. An
    /// invalid token ends nothing and is not reported.
    ///
    /// # Errors
    /// If the user's shard cannot be reached.
    pub async fn logout(&self, token: &str, all_devices: bool) -> Result<(), CommandError> {
        let ended = self.ended(token, all_devices).await;
        self.count("logout", &ended);
        ended
    }

    async fn asked(&self, ip: IpAddr, to: &str) -> Result<CodeRequested, CommandError> {
        let ring = self.ring()?;
        let address =
            LoginIdentifier::parse(to).map_err(|why| CommandError::new(ErrorCode::BadRequest, why))?;
        let settings = &self.inner.settings;
        let (window_ms, code_ttl) = (
            self.inner.tuning.code_window.as_millis(),
            self.inner.tuning.code_ttl,
        );
        let limit = AttemptLimit {
            most: settings.codes_per_ip,
            window_ms,
        };
        // The nonce is per request: only resends by the command queue count once.
        let count = Step::Count {
            nonce: rand::random(),
            limit,
        };
        // The IP address counts first: a flood from one address must not use up the limit of another person's
        // identifier.
        let counted = self.inner.conversations.login(ring.ip(ip), count).await;
        within(counted.map_err(not_now)?)?;

        let challenge = OtpChallenge::new(&ring, address.as_str());
        let code = format!("{:06}", rand::random_range(0..1_000_000u32));
        let put = Step::PutCode {
            id: challenge.id(),
            code: ring.code(&challenge, &code),
            valid_ms: code_ttl.as_millis(),
            limit: AttemptLimit {
                most: settings.codes_per_identifier,
                window_ms,
            },
        };
        let put = self.inner.conversations.login(challenge.key(), put).await;
        within(put.map_err(not_now)?)?;

        let expires_in = code_ttl.as_millis() / 1_000;
        // Delivered after the commit, so that every delivered code can be verified.
        self.inner.delivery.deliver(&address, &code, expires_in).await?;
        Ok(CodeRequested {
            challenge: challenge.seal(&ring),
            expires_in,
            code: self.inner.dev.then_some(code),
        })
    }

    async fn verified(&self, challenge: &str, code: &str) -> Result<Tokens, CommandError> {
        let ring = self.ring()?;
        if code.len() != 6 || !code.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(CommandError::new(ErrorCode::BadRequest, "a code has six digits"));
        }
        // A forged challenge is refused here, at no cost for the log.
        let wrong = || CommandError::new(ErrorCode::Unauthenticated, "the code is not valid");
        let challenge = OtpChallenge::open(&ring, challenge).ok_or_else(wrong)?;
        // The attempt id is per request: a resend by the command queue repeats its verdict, another request does not.
        let (id, attempt) = (challenge.id(), rand::random());
        let step = Step::TryCode {
            id,
            code: ring.code(&challenge, code),
            attempt,
            tries: CODE_TRIES,
        };
        let tried = self.inner.conversations.login(challenge.key(), step).await;
        if tried.map_err(not_now)? != LoginOutcome::Accepted {
            return Err(wrong());
        }
        // The user id is derived from the identifier's tag, so the first login needs no registration.
        let user = ring.user(&challenge);
        let token = RefreshToken::first(&user);
        let open = Step::OpenLine {
            id: token.id(),
            token: ring.token(&token),
            valid_ms: self.inner.settings.refresh_token_ttl.as_millis(),
        };
        let opened = self.inner.conversations.login(token.key(), open).await;
        let tokens = opened.map_err(not_now).and_then(|_| self.tokens(&ring, &token));
        if tokens.is_err() {
            // The client has no tokens, so the code has to work at its next try. A family that was opened all the same
            // has no client, and expires. Without success here the user needs another code.
            let release = Step::ReleaseCode { id, attempt };
            if let Err(refusal) = self.inner.conversations.login(challenge.key(), release).await {
                tracing::debug!(%refusal, "failed to release a login code");
            }
        }
        tokens
    }

    async fn refreshed(&self, token: &str) -> Result<Tokens, CommandError> {
        let ring = self.ring()?;
        let invalid = || CommandError::new(ErrorCode::Unauthenticated, "the refresh token is not valid");
        let token = RefreshToken::open(&ring, token).ok_or_else(invalid)?;
        let next = token.next();
        let turn = Step::TurnLine {
            id: token.id(),
            token: ring.token(&token),
            next: ring.token(&next),
            valid_ms: self.inner.settings.refresh_token_ttl.as_millis(),
            grace_ms: self.inner.tuning.refresh_grace.as_millis(),
        };
        let turned = self.inner.conversations.login(token.key(), turn).await;
        match turned.map_err(not_now)? {
            LoginOutcome::Accepted => self.tokens(&ring, &next),
            LoginOutcome::Reused(_) | LoginOutcome::ReusedWithDevices { .. } => {
                tracing::info!(user = %token.user, "refresh token reused, token family revoked");
                let (step, outcome) = ("refresh", "reused");
                self.inner
                    .steps
                    .get_or_create(&LoginLabels { step, outcome })
                    .inc();
                Err(invalid())
            }
            LoginOutcome::Refused | LoginOutcome::Limited { .. } | LoginOutcome::Ended { .. } => {
                Err(invalid())
            }
        }
    }

    async fn ended(&self, token: &str, all: bool) -> Result<(), CommandError> {
        let ring = self.ring()?;
        // The response to an invalid token must not reveal that it is one.
        let Some(token) = RefreshToken::open(&ring, token) else {
            return Ok(());
        };
        let end = Step::EndLine { id: token.id(), all };
        let ended = self.inner.conversations.login(token.key(), end).await;
        ended.map_err(not_now).map(|_| ())
    }

    fn tokens(&self, ring: &ActiveKeyring, token: &RefreshToken) -> Result<Tokens, CommandError> {
        let settings = &self.inner.settings;
        // By the majority's time: the nodes that check the token use it, too.
        let (issued_s, valid_s) = (
            self.inner.conversations.clock().now_ms() / 1_000,
            settings.access_token_ttl.as_millis() / 1_000,
        );
        let line = token.id().login();
        let claims = AccessTokenClaims {
            iss: super::keyring::ISSUER,
            sub: token.user.as_str(),
            aud: Some(self.inner.audience.as_str()).filter(|audience| !audience.is_empty()),
            iat: issued_s,
            exp: issued_s + valid_s,
            // Ties the token to its token family, so that a revocation covers access tokens.
            sid: line.as_str(),
        };
        let access = ring.sign(&claims).ok_or_else(no_keys)?;
        Ok(Tokens {
            access,
            refresh: token.seal(ring),
            expires_in: valid_s,
            user: token.user.clone(),
        })
    }

    /// Returns the keyring if login by code is enabled.
    fn ring(&self) -> Result<Arc<ActiveKeyring>, CommandError> {
        if !self.enabled() {
            let msg = "login by code is not enabled on this node";
            return Err(CommandError::new(ErrorCode::NotFound, msg));
        }
        self.inner.keys.ring().ok_or_else(|| {
            self.inner.keys.wake();
            no_keys()
        })
    }

    fn enabled(&self) -> bool {
        !matches!(self.inner.delivery, OtpDelivery::Disabled)
    }

    fn count<T>(&self, step: &'static str, result: &Result<T, CommandError>) {
        let outcome = match result {
            Ok(_) => "done",
            Err(refusal) => refusal.code.as_str(),
        };
        self.inner
            .steps
            .get_or_create(&LoginLabels { step, outcome })
            .inc();
    }
}

/// Converts the outcome of a limited step; a refusal carries the wait in milliseconds.
fn within(outcome: LoginOutcome) -> Result<(), CommandError> {
    match outcome {
        LoginOutcome::Limited { wait_ms } => Err(CommandError {
            code: ErrorCode::RateLimited,
            msg: "too many codes were requested".to_owned(),
            retry_ms: Some(wait_ms),
        }),
        _ => Ok(()),
    }
}

/// Converts the error of an unreachable shard into a temporary one.
fn not_now(refusal: CommandError) -> CommandError {
    CommandError {
        code: if refusal.code == ErrorCode::Busy {
            ErrorCode::Busy
        } else {
            ErrorCode::Unavailable
        },
        msg: "logins are temporarily unavailable".to_owned(),
        retry_ms: refusal.retry_ms.or(Some(1_000)),
    }
}

fn no_keys() -> CommandError {
    CommandError {
        code: ErrorCode::Unavailable,
        msg: "this node has not loaded the keys of the cluster yet".to_owned(),
        retry_ms: Some(1_000),
    }
}
