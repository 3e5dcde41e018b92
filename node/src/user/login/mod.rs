//! Logging in by a one-time code, staying logged in by refresh tokens, and the keys behind both.
//!
//! ```text
//! address ─ ask ─▶ limits of the IP and of the address, code kept as a hash (their shards) ─▶ delivery
//! challenge, code ─ verify ─▶ tries counted (the address's shard) ─▶ a line of refresh tokens (the user's shard)
//! refresh token ─ refresh ─▶ the next token of the line, or the end of it
//! ```
//! What is decided is decided by the log ([`timeline::login`](crate::conversation::timeline::login)), so any node takes
//! any step. Here: [`address`] (what an address is), [`keyring`] (the cluster's keys in use, and everything that is
//! made with them), [`keeper`] (how a node comes by them), [`delivery`], [`ended`] (which logins are over), and [`sweep`]
//! (which asks the log to forget what is over).

pub(crate) mod address;
pub(crate) mod delivery;
pub mod ended;
pub(crate) mod keeper;
pub mod keyring;
pub(crate) mod sweep;

use std::net::IpAddr;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use protocol::{ConvId, ErrorCode, UserId};

use self::address::Address;
use self::delivery::Delivery;
use self::keyring::{Challenge, Claims, Keys, RefreshToken, Ring};
use crate::config::{self, Config};
use crate::conversation::timeline::Login as Step;
use crate::conversation::timeline::login::{Limit, verdict};
use crate::conversation::{Conversations, Done, Refusal};
use crate::webhook;

/// Logins of this node's clients. Cheap to clone.
#[derive(Clone)]
pub struct Login {
    inner: Arc<Inner>,
}

struct Inner {
    conversations: Conversations,
    keys: Arc<Keys>,
    settings: config::Login,
    audience: String,
    /// How long after its end a token is still accepted, in milliseconds.
    leeway_ms: u64,
    dev: bool,
    delivery: Delivery,
    steps: Family<Labels, Counter>,
}

/// A code is on its way.
pub struct Asked {
    /// Names the code.
    pub challenge: String,
    /// Seconds for which the code can be used.
    pub expires_in: u64,
    /// The code, in development.
    pub code: Option<String>,
}

/// What a login gives.
pub struct Tokens {
    /// A JWT.
    pub access: String,
    /// Gives the next tokens, once.
    pub refresh: String,
    /// Seconds for which the access token is valid.
    pub expires_in: u64,
    /// The user.
    pub user: UserId,
}

/// A step and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    step: &'static str,
    outcome: &'static str,
}

// === impl Login ===

impl Login {
    /// Puts a login together.
    ///
    /// # Errors
    /// When the webhook's settings can't be used.
    pub fn new(
        config: &Config,
        conversations: Conversations,
        keys: Arc<Keys>,
        posts: webhook::Metrics,
    ) -> Result<Login, webhook::Unusable> {
        let clock = conversations.clock().clone();
        let inner = Inner {
            conversations,
            keys,
            settings: config.login.clone(),
            audience: config.auth.audience.clone(),
            leeway_ms: config.auth.leeway_s * 1_000,
            dev: config.auth.dev_tokens,
            delivery: Delivery::new(&config.login, config.auth.dev_tokens, posts, clock)?,
            steps: Family::default(),
        };
        Ok(Login {
            inner: Arc::new(inner),
        })
    }

    /// Adds the figures to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "login_steps",
            "Steps of logins, by outcome",
            self.inner.steps.clone(),
        );
    }

    /// The public keys as a JWK set, and the seconds for which others may keep it: a key is shown for longer before it
    /// signs.
    #[must_use]
    pub fn jwks(&self) -> (serde_json::Value, u64) {
        let age_s = (self.inner.settings.key_overlap_ms.0 / 4_000).min(300);
        match self.inner.keys.ring() {
            Some(ring) => (ring.jwks(), age_s),
            None => (serde_json::json!({ "keys": [] }), 0),
        }
    }

    /// Keeps this node's keys fresh until it is aborted.
    pub async fn keep(self) {
        keeper::run(self).await;
    }

    /// Makes a code for an address and has it delivered.
    ///
    /// # Errors
    /// A malformed address, a limit, or no way to deliver it now.
    pub async fn ask(&self, ip: IpAddr, to: &str) -> Result<Asked, Refusal> {
        let asked = self.asked(ip, to).await;
        self.count("ask", &asked);
        asked
    }

    /// Gives tokens for a code.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthenticated`] whatever is wrong with it.
    pub async fn verify(&self, challenge: &str, code: &str) -> Result<Tokens, Refusal> {
        let tokens = self.verified(challenge, code).await;
        self.count("verify", &tokens);
        tokens
    }

    /// Gives tokens for a refresh token, which is replaced.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthenticated`] whatever is wrong with it.
    pub async fn refresh(&self, token: &str) -> Result<Tokens, Refusal> {
        let tokens = self.refreshed(token).await;
        self.count("refresh", &tokens);
        tokens
    }

    /// Ends the line of a refresh token, or all lines of its user, and with them their sessions on all nodes. A token that
    /// is none ends nothing, and is not told.
    ///
    /// # Errors
    /// When the shard can't be reached.
    pub async fn logout(&self, token: &str, everywhere: bool) -> Result<(), Refusal> {
        let ended = self.ended(token, everywhere).await;
        self.count("logout", &ended);
        ended
    }

    async fn asked(&self, ip: IpAddr, to: &str) -> Result<Asked, Refusal> {
        let ring = self.ring()?;
        let address = Address::parse(to).map_err(|why| Refusal::new(ErrorCode::BadRequest, why))?;
        let settings = &self.inner.settings;
        let window_ms = settings.window_ms.0;
        let limit = Limit {
            most: settings.codes_per_ip,
            window_ms,
        };
        let count = Step::Count {
            nonce: rand::random(),
            limit,
        };
        let counted = self.inner.conversations.login(ring.ip(ip), None, count).await;
        within(counted.map_err(not_now)?)?;

        let challenge = Challenge::new(&ring, address.as_str());
        let code = format!("{:06}", rand::random_range(0..1_000_000u32));
        let put = Step::PutCode {
            code: ring.code(&challenge, &code),
            valid_ms: settings.code_ms.0,
            limit: Limit {
                most: settings.codes_per_address,
                window_ms,
            },
        };
        let (name, id) = (challenge.name(), Some(challenge.id()));
        let put = self.inner.conversations.login(name, id, put).await;
        within(put.map_err(not_now)?)?;

        let expires_in = settings.code_ms.0 / 1_000;
        self.inner.delivery.deliver(&address, &code, expires_in).await?;
        Ok(Asked {
            challenge: challenge.seal(&ring),
            expires_in,
            code: self.inner.dev.then_some(code),
        })
    }

    async fn verified(&self, challenge: &str, code: &str) -> Result<Tokens, Refusal> {
        let ring = self.ring()?;
        if code.len() != 6 || !code.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Refusal::new(ErrorCode::BadRequest, "a code has six digits"));
        }
        // One that the cluster has not made costs the log nothing.
        let wrong = || Refusal::new(ErrorCode::Unauthenticated, "the code is not valid");
        let challenge = Challenge::open(&ring, challenge).ok_or_else(wrong)?;
        let attempt = Step::TryCode {
            code: ring.code(&challenge, code),
            attempt: rand::random(),
            tries: self.inner.settings.code_tries,
        };
        let (name, id) = (challenge.name(), Some(challenge.id()));
        let tried = self.inner.conversations.login(name, id, attempt).await;
        if tried.map_err(not_now)?.s != verdict::YES {
            return Err(wrong());
        }
        let user = ring.user(&challenge);
        let token = RefreshToken::first(&user);
        let open = Step::OpenLine {
            token: ring.token(&token),
            valid_ms: self.inner.settings.refresh_ms.0,
        };
        let (name, id) = (token.name(), Some(token.id()));
        let opened = self.inner.conversations.login(name, id, open).await;
        opened.map_err(not_now)?;
        self.tokens(&ring, &token)
    }

    async fn refreshed(&self, token: &str) -> Result<Tokens, Refusal> {
        let ring = self.ring()?;
        let invalid = || Refusal::new(ErrorCode::Unauthenticated, "the refresh token is not valid");
        let token = RefreshToken::open(&ring, token).ok_or_else(invalid)?;
        let next = token.next();
        let turn = Step::TurnLine {
            token: ring.token(&token),
            next: ring.token(&next),
            valid_ms: self.inner.settings.refresh_ms.0,
            grace_ms: self.inner.settings.refresh_grace_ms.0,
        };
        let (name, id) = (token.name(), Some(token.id()));
        let turned = self.inner.conversations.login(name, id, turn).await;
        match turned.map_err(not_now)?.s {
            verdict::YES => self.tokens(&ring, &next),
            verdict::REUSED => {
                tracing::info!(user = %token.user, "a refresh token came back after it was replaced, its line is ended");
                let (step, outcome) = ("refresh", "reused");
                self.inner.steps.get_or_create(&Labels { step, outcome }).inc();
                Err(invalid())
            }
            _ => Err(invalid()),
        }
    }

    async fn ended(&self, token: &str, all: bool) -> Result<(), Refusal> {
        let ring = self.ring()?;
        let Some(token) = RefreshToken::open(&ring, token) else {
            return Ok(());
        };
        let (name, id) = (token.name(), Some(token.id()));
        let ended = self
            .inner
            .conversations
            .login(name, id, Step::EndLine { all })
            .await;
        ended.map_err(not_now).map(|_| ())
    }

    fn tokens(&self, ring: &Ring, token: &RefreshToken) -> Result<Tokens, Refusal> {
        let settings = &self.inner.settings;
        let (issued_s, valid_s) = (
            self.inner.conversations.clock().now_ms() / 1_000,
            settings.access_ms.0 / 1_000,
        );
        let line = token.id();
        let claims = Claims {
            iss: &settings.issuer,
            sub: token.user.as_str(),
            aud: Some(self.inner.audience.as_str()).filter(|audience| !audience.is_empty()),
            iat: issued_s,
            exp: issued_s + valid_s,
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

    /// The keys, where login by code is switched on.
    fn ring(&self) -> Result<Arc<Ring>, Refusal> {
        if !self.enabled() {
            let msg = "login by code is not switched on here";
            return Err(Refusal::new(ErrorCode::NotFound, msg));
        }
        self.inner.keys.ring().ok_or_else(|| {
            self.inner.keys.poke();
            no_keys()
        })
    }

    fn enabled(&self) -> bool {
        !matches!(self.inner.delivery, Delivery::Nowhere)
    }

    fn count<T>(&self, step: &'static str, result: &Result<T, Refusal>) {
        let outcome = match result {
            Ok(_) => "done",
            Err(refusal) => refusal.code.as_str(),
        };
        self.inner.steps.get_or_create(&Labels { step, outcome }).inc();
    }
}

/// What the log says about a limit.
fn within(done: Done) -> Result<(), Refusal> {
    if done.s == verdict::YES {
        return Ok(());
    }
    Err(Refusal {
        code: ErrorCode::RateLimited,
        msg: "too many codes were asked for".to_owned(),
        retry_ms: Some(done.mn),
    })
}

/// A shard that can't be reached, in the words of a login. Whatever was done is done again, or replaced, by the same
/// request sent again.
fn not_now(refusal: Refusal) -> Refusal {
    Refusal {
        code: if refusal.code == ErrorCode::Busy {
            ErrorCode::Busy
        } else {
            ErrorCode::Unavailable
        },
        msg: "logins are not possible right now".to_owned(),
        retry_ms: refusal.retry_ms.or(Some(1_000)),
    }
}

fn no_keys() -> Refusal {
    Refusal {
        code: ErrorCode::Unavailable,
        msg: "this node doesn't know the keys of the cluster yet".to_owned(),
        retry_ms: Some(1_000),
    }
}

/// The name of something in the log, of text that is known to be one.
fn name(text: &str) -> ConvId {
    ConvId::parse(text).expect("a prefix and base32 are a well-formed id")
}
