//! Device tokens: created for a device of the caller, verified at the owner of the user's shard, revoked at once.
//!
//! ```text
//! create, revoke ─▶ log of the user's shard ─▶ revocation broadcast ─▶ every node: list of revoked logins
//! token ─▶ MAC ─▶ cache of this node ─ miss ─▶ query at the owner ─▶ revocation list ─▶ identity
//! ```
//! A device token counts as a login: the id of the token is the login of its sessions, which a revocation ends.

mod verification_cache;

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use protocol::{ClientMessageId, ErrorCode, UserId};
use tokio::sync::Semaphore;

pub(super) use self::verification_cache::CACHE_TTL;
use self::verification_cache::VerificationCache;
use super::keyring::{ActiveKeyring, DeviceToken, KeyringCache};
use super::revocation_list::RevocationList;
use super::token_verifier::{TokenError, TokenIdentity};
use crate::config;
use crate::shard_client::{CommandError, ShardClient};
use crate::state_machine::query::DevicesQuery;
use crate::state_machine::{DeviceTokenEntry, LoginKey, LoginOp, LoginOutcome, SecretBytes, TokenFamilyId};

/// Maximum number of queries in progress for the verification of tokens. Beyond it a client has to retry.
const VERIFYING: usize = 256;

/// Device tokens as a node handles them. Cheap to clone.
#[derive(Clone)]
pub struct DeviceTokens {
    inner: Arc<Inner>,
}

struct Inner {
    conversations: ShardClient,
    keys: Arc<KeyringCache>,
    ended: RevocationList,
    /// Lifetime of a token in milliseconds.
    valid_ms: u64,
    cache: Mutex<VerificationCache>,
    verifying: Semaphore,
    verifications: Family<VerificationLabels, Counter>,
}

/// Device for which a token is created.
pub struct NewDevice {
    pub user: UserId,
    /// Login of the caller, whose end revokes the token; `None` for a token of another issuer.
    pub login: Option<ClientMessageId>,
    pub device: Box<str>,
    pub name: Option<Box<str>>,
}

/// Created device token. The token itself is not stored and cannot be read again.
pub struct IssuedDeviceToken {
    pub id: ClientMessageId,
    pub token: String,
    /// Milliseconds since the epoch.
    pub expires_ms: u64,
}

/// Labels of the counter of verifications.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerificationLabels {
    cache: &'static str,
}

// === impl DeviceTokens ===

impl DeviceTokens {
    #[must_use]
    pub fn new(
        tuning: &config::Tuning,
        conversations: ShardClient,
        keys: Arc<KeyringCache>,
        ended: RevocationList,
    ) -> DeviceTokens {
        let inner = Inner {
            conversations,
            keys,
            ended,
            valid_ms: tuning.device_token_ttl.as_millis(),
            cache: Mutex::default(),
            verifying: Semaphore::new(VERIFYING),
            verifications: Family::default(),
        };
        DeviceTokens {
            inner: Arc::new(inner),
        }
    }

    /// Registers the counter of verifications.
    pub fn register(&self, registry: &mut Registry) {
        for cache in ["hit", "miss"] {
            drop(
                self.inner
                    .verifications
                    .get_or_create(&VerificationLabels { cache }),
            );
        }
        registry.register(
            "device_token_verifications",
            "Verifications of device tokens, by the result of the cache",
            self.inner.verifications.clone(),
        );
    }

    /// Creates a token for a device.
    ///
    /// # Errors
    /// [`ErrorCode::Conflict`] if the user has too many, [`ErrorCode::Unauthenticated`] if the caller's login has ended.
    pub async fn create(&self, new: NewDevice) -> Result<IssuedDeviceToken, CommandError> {
        let inner = &self.inner;
        let ring = self.ring()?;
        let ended = || CommandError::new(ErrorCode::Unauthenticated, "the login has ended");
        // A cluster's login is the id of a family; any other text would not be revoked with it.
        let login = new
            .login
            .as_ref()
            .map(|login| TokenFamilyId::parse(login.as_str()));
        let login = login.map(|login| login.ok_or_else(ended)).transpose()?;
        let token = DeviceToken::new(&ring, &new.user);
        let sealed = token.seal(&ring);
        let valid_ms = inner.valid_ms;
        // Read before the log assigns the time, so the token lives a moment longer than stated here.
        let expires_ms = inner.conversations.clock().now_ms() + valid_ms;
        let open = LoginOp::OpenDevice {
            id: token.id(),
            token: DeviceToken::hash(&sealed),
            device: new.device,
            name: new.name,
            login,
            valid_ms,
        };
        match inner.conversations.login(token.key(), open).await? {
            LoginOutcome::Accepted => Ok(IssuedDeviceToken {
                id: token.id().login(),
                token: sealed,
                expires_ms,
            }),
            LoginOutcome::Limited { .. } => Err(CommandError::new(
                ErrorCode::Conflict,
                "the user has too many device tokens: revoke one first",
            )),
            _ => Err(ended()),
        }
    }

    /// Returns the device tokens of a user that have not expired.
    ///
    /// # Errors
    /// If the owner of the user's shard cannot be reached.
    pub async fn list(&self, user: &UserId) -> Result<Vec<DeviceTokenEntry>, CommandError> {
        let question = DevicesQuery {
            user: user.clone(),
            presented: None,
        };
        let mut entries = self.inner.conversations.query(&question).await?;
        let now_ms = self.inner.conversations.clock().now_ms();
        entries.retain(|entry| entry.expires_ms > now_ms);
        Ok(entries)
    }

    /// Revokes a device token of a user, with its sessions on all nodes. An id that is not of this user revokes nothing.
    ///
    /// # Errors
    /// If the owner of the user's shard cannot be reached.
    pub async fn revoke(&self, user: &UserId, id: TokenFamilyId) -> Result<(), CommandError> {
        // The broadcast names the login alone, so the id of another user's token must not get there.
        let ring = self.ring()?;
        if !DeviceToken::is_of(&ring, user, id) {
            return Ok(());
        }
        let end = LoginOp::EndDevice { id };
        let ended = self.inner.conversations.login(LoginKey::User(user.clone()), end);
        ended.await?;
        // At once on this node; the broadcast reaches all others, and the sessions here.
        self.inner.ended.add(id.login(), Instant::now());
        Ok(())
    }

    /// Ends the login of a session of the user, with its refresh token or device token and all of its sessions. `login` is
    /// from a verified token of the user.
    ///
    /// # Errors
    /// If the owner of the user's shard cannot be reached.
    pub async fn end_login(&self, user: &UserId, login: &ClientMessageId) -> Result<(), CommandError> {
        // A login of the cluster always has such an id.
        let Some(id) = TokenFamilyId::parse(login.as_str()) else {
            return Ok(());
        };
        let ring = self.ring()?;
        if DeviceToken::is_of(&ring, user, id) {
            return self.revoke(user, id).await;
        }
        let end = LoginOp::EndLine { id, all: false };
        let ended = self.inner.conversations.login(LoginKey::User(user.clone()), end);
        ended.await?;
        self.inner.ended.add(id.login(), Instant::now());
        Ok(())
    }

    /// Returns true if the text is a device token by its form.
    pub(super) fn is_one(token: &str) -> bool {
        DeviceToken::is_prefix_of(token)
    }

    /// Verifies a device token, by the cache of this node or by a query at the owner of the user's shard.
    ///
    /// # Errors
    /// [`TokenError`], which may be sent to the client as it is.
    pub(super) async fn verify(&self, text: &str) -> Result<TokenIdentity, TokenError> {
        let inner = &self.inner;
        let Some(ring) = inner.keys.ring() else {
            inner.keys.wake();
            return Err(TokenError::NotYet);
        };
        // A forged token is refused here, at no cost for the owner.
        let token = DeviceToken::open(&ring, text).ok_or(TokenError::Invalid)?;
        let hash = DeviceToken::hash(text);
        let cached = inner.cache.lock().get(&hash.0, Instant::now());
        let label = if cached.is_some() { "hit" } else { "miss" };
        let labels = VerificationLabels { cache: label };
        inner.verifications.get_or_create(&labels).inc();
        let identity = match cached {
            Some(identity) => identity,
            None => self.ask_owner(&token, hash).await?,
        };
        let identity = identity.ok_or(TokenError::Invalid)?;
        // After the query: a revocation that the query or the cache missed has reached the list by now, or will find
        // the session in the table.
        if identity
            .login
            .as_ref()
            .is_some_and(|login| inner.ended.holds(login))
        {
            return Err(TokenError::Invalid);
        }
        let now = UNIX_EPOCH + Duration::from_millis(inner.conversations.clock().now_ms());
        if identity.expires.is_some_and(|expires| expires <= now) {
            return Err(TokenError::Expired);
        }
        Ok(identity)
    }

    fn ring(&self) -> Result<Arc<ActiveKeyring>, CommandError> {
        self.inner.keys.ring().ok_or_else(|| {
            // A cluster without login by code has no keys before the first device token.
            self.inner.keys.demand();
            CommandError {
                code: ErrorCode::Unavailable,
                msg: "this node has not loaded the keys of the cluster yet".to_owned(),
                retry_ms: Some(1_000),
            }
        })
    }

    async fn ask_owner(
        &self,
        token: &DeviceToken,
        hash: SecretBytes,
    ) -> Result<Option<TokenIdentity>, TokenError> {
        let inner = &self.inner;
        let _permit = inner
            .verifying
            .try_acquire()
            .map_err(|_| TokenError::Unverified)?;
        // Read before the query: the entry must not outlive the revocation list by the time of the query.
        let asked = Instant::now();
        let question = DevicesQuery {
            user: token.user.clone(),
            presented: Some((token.id(), hash.clone())),
        };
        let found = inner.conversations.query(&question).await;
        let found = found.map_err(|_| TokenError::Unverified)?;
        let identity = found.into_iter().next().map(|entry| TokenIdentity {
            user: token.user.clone(),
            expires: Some(UNIX_EPOCH + Duration::from_millis(entry.expires_ms)),
            login: Some(token.id().login()),
            device: Some(entry.device),
        });
        // A negative answer is final, because no token is created twice.
        inner.cache.lock().put(hash.0, identity.clone(), asked);
        Ok(identity)
    }
}
