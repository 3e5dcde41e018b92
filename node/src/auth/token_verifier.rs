//! Token verification for tokens of the cluster and of one other issuer, with the algorithm fixed by configuration.
//!
//! A token does not influence its own verification, with one exception: `kid` selects a key. A `kid` with the cluster's
//! prefix selects among the [cluster's keys](super::keyring) only, any other among the keys of the
//! configured file only.
//! A [`TokenError`] gives no reason beyond expired, invalid and not yet verifiable. Tokens are never logged.

mod verification_keys;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster::ClusterClock;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use protocol::{ClientMessageId, ErrorCode, UserId};
use serde::Deserialize;

use self::verification_keys::VerificationKeys;
use super::device_tokens::DeviceTokens;
use super::keyring;
use super::keyring::KeyringCache as OwnKeys;
use super::revocation_list::RevocationList;
use super::user_access::UserAccessCache;
use crate::config;

/// Maximum length of a token in bytes: room for the claims of common providers.
const TOKEN_BYTES: usize = 8_192;

/// Verifier of access tokens, without state except for [`DeviceTokens`]: every node verifies every token.
pub struct TokenVerifier {
    keys: VerificationKeys,
    validation: Validation,
    own: Option<ClusterIssuer>,
    dev: bool,
    clock: ClusterClock,
    /// Device tokens; `None` refuses them.
    devices: Option<DeviceTokens>,
    /// Access of the users; `None` accepts the tokens of every user.
    access: Option<UserAccessCache>,
}

/// Verification of the tokens that the cluster signs.
struct ClusterIssuer {
    keys: Arc<OwnKeys>,
    /// Revoked logins; `None` accepts the tokens of every login.
    ended: Option<RevocationList>,
    validation: Validation,
}

/// Verified content of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIdentity {
    pub user: UserId,
    /// Expiry time with the leeway added; `None` for development tokens, which never expire.
    pub expires: Option<SystemTime>,
    /// Login that the token was issued for; `None` for tokens of other issuers. Its revocation closes the sessions.
    pub login: Option<ClientMessageId>,
    /// Only device that may use the token; `None` for any.
    pub device: Option<Box<str>>,
    /// Time of issue in seconds since the epoch; `None` for a token without one.
    pub issued_s: Option<u64>,
    /// Number of the last change of access that the verification has considered.
    pub access_version: u64,
}

/// Reason for refusing a token, as reported to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token has expired; the client refreshes it.
    #[error("the token has expired")]
    Expired,
    /// The token fails any other check. The reason is withheld, because it would help an attacker.
    #[error("the token is not valid")]
    Invalid,
    /// The token has a cluster key id, and this node has not received the cluster's keys yet; the client retries.
    #[error("this node has not loaded the keys of the cluster yet")]
    NotYet,
    /// The owner of the token's user cannot be asked at the moment; the client retries.
    #[error("the token cannot be verified at the moment")]
    Unverified,
    /// The user of the token is deactivated.
    #[error("the user is deactivated")]
    Deactivated,
    /// The token is bound to another device than the client names.
    #[error("the token belongs to another device")]
    OtherDevice,
}

/// Configured keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{key}: {path}: {source}")]
    Unreadable {
        key: &'static str,
        path: String,
        source: std::io::Error,
    },
    /// The file holds no key for the configured algorithm, or a malformed one.
    #[error("{key}: {path}: {reason}")]
    Unusable {
        key: &'static str,
        path: String,
        reason: String,
    },
}

#[derive(Deserialize)]
struct VerifiedClaims {
    sub: String,
    exp: f64,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    sid: Option<String>,
}

// === impl TokenVerifier ===

impl TokenVerifier {
    /// Loads the configured keys.
    ///
    /// # Errors
    /// A key file that is unreadable or holds no key for the configured algorithm.
    pub fn open(settings: &config::AuthConfig, leeway: Duration) -> Result<TokenVerifier, Error> {
        let algorithm = match settings.algorithm {
            config::Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
            config::Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
            config::Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        };
        Ok(TokenVerifier {
            keys: VerificationKeys::open(settings)?,
            validation: validation(algorithm, &settings.issuer, &settings.audience, leeway),
            own: None,
            dev: settings.dev_tokens,
            clock: ClusterClock::system(),
            devices: None,
            access: None,
        })
    }

    /// Sets the clock for expiry checks. The cluster's clock is used: a wrong local clock would accept expired tokens
    /// and refuse valid ones.
    #[must_use]
    pub fn by(mut self, clock: ClusterClock) -> TokenVerifier {
        self.clock = clock;
        self
    }

    /// Accepts tokens signed by the cluster as well.
    #[must_use]
    pub fn believing(
        mut self,
        keys: Arc<OwnKeys>,
        settings: &config::AuthConfig,
        leeway: Duration,
    ) -> TokenVerifier {
        let algorithm = jsonwebtoken::Algorithm::EdDSA;
        let validation = validation(algorithm, keyring::ISSUER, &settings.audience, leeway);
        self.own = Some(ClusterIssuer {
            keys,
            ended: None,
            validation,
        });
        self
    }

    /// Refuses cluster tokens whose login is in the revocation list.
    #[must_use]
    pub fn refusing(mut self, ended: RevocationList) -> TokenVerifier {
        if let Some(own) = &mut self.own {
            own.ended = Some(ended);
        }
        self
    }

    /// Accepts device tokens as well.
    #[must_use]
    pub fn with_devices(mut self, devices: DeviceTokens) -> TokenVerifier {
        self.devices = Some(devices);
        self
    }

    /// Refuses the tokens of deactivated users, and those that were issued too early.
    #[must_use]
    pub fn with_access(mut self, access: UserAccessCache) -> TokenVerifier {
        self.access = Some(access);
        self
    }

    /// Verifies a token of any kind, which may need queries at the owner of the user's shard.
    ///
    /// # Errors
    /// [`TokenError`], which may be sent to the client as it is.
    pub async fn verify(&self, token: &str) -> Result<TokenIdentity, TokenError> {
        let identity = match &self.devices {
            Some(devices) if DeviceTokens::is_one(token) => devices.verify(token).await,
            _ => self.check(token),
        }?;
        match &self.access {
            Some(access) => access.admit(identity).await,
            None => Ok(identity),
        }
    }

    /// Verifies a token by the keys of this node. Refuses device tokens, which only [`TokenVerifier::verify`] accepts.
    ///
    /// # Errors
    /// [`TokenError`], which may be sent to the client as it is.
    pub fn check(&self, token: &str) -> Result<TokenIdentity, TokenError> {
        // Before any decoding: an unauthenticated client must not make the node parse large input.
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        // Handled before decoding: a development token is no JWT.
        if self.dev
            && let Some(user) = token.strip_prefix("dev:")
        {
            let user = person(user)?;
            return Ok(TokenIdentity {
                user,
                expires: None,
                login: None,
                device: None,
                issued_s: None,
                access_version: 0,
            });
        }
        let header = decode_header(token).map_err(|_| TokenError::Invalid)?;
        // A header that brings its own key, or demands extensions by `crit`, is an attempt to choose the verification.
        let foreign = header.jku.is_some()
            || header.jwk.is_some()
            || header.x5u.is_some()
            || header.x5c.is_some()
            || header.crit.is_some();
        if foreign {
            return Err(TokenError::Invalid);
        }
        let kid = header.kid.as_deref();
        // No fallback to the configured keys: a foreign key with a cluster key id must not pass.
        if let (Some(own), Some(kid)) = (&self.own, kid.filter(|kid| kid.starts_with(keyring::KID))) {
            return own.check(token, kid, self.now());
        }
        let key = self.keys.find(kid).ok_or(TokenError::Invalid)?;
        // `sid` of another issuer is no login of the cluster, and must not match the revocation list.
        identity(token, key, &self.validation, self.now()).map(|identity| TokenIdentity {
            login: None,
            ..identity
        })
    }
}

impl TokenVerifier {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.clock.now_ms())
    }
}

/// Builds the checks common to all tokens. Times are checked by [`identity`] against the cluster's clock.
fn validation(
    algorithm: jsonwebtoken::Algorithm,
    issuer: &str,
    audience: &str,
    leeway: Duration,
) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = leeway.as_secs();
    // `jsonwebtoken` would compare these with the local clock, which may be wrong.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    // A token without `exp` would be valid forever.
    validation.set_required_spec_claims(&["exp", "sub"]);
    if audience.is_empty() {
        validation.validate_aud = false;
    } else {
        validation.set_audience(&[audience]);
        // `set_audience` alone would accept a token without the claim. The same holds for `iss` below.
        validation.required_spec_claims.insert("aud".to_owned());
    }
    if !issuer.is_empty() {
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    validation
}

/// Parses the user of a token. The reserved ids, of the system and of erased users, belong to no token, whoever has
/// signed it.
fn person(user: &str) -> Result<UserId, TokenError> {
    let user = UserId::parse(user).ok().filter(|user| !user.is_reserved());
    user.ok_or(TokenError::Invalid)
}

/// Verifies the signature and the claims, and returns the identity.
fn identity(
    token: &str,
    key: &DecodingKey,
    validation: &Validation,
    now: SystemTime,
) -> Result<TokenIdentity, TokenError> {
    let claims = decode::<VerifiedClaims>(token, key, validation).map_err(|_| TokenError::Invalid)?;
    let VerifiedClaims {
        sub,
        exp,
        iat,
        nbf,
        sid,
    } = claims.claims;
    let leeway = Duration::from_secs(validation.leeway);
    // A time out of range counts as future, so a malformed `iat` or `nbf` is refused.
    let is_to_come = |claim: f64| instant(claim).is_none_or(|at| at > now + leeway);
    if iat.is_some_and(is_to_come) || nbf.is_some_and(is_to_come) {
        return Err(TokenError::Invalid);
    }
    let user = person(&sub)?;
    // Expiry comes last: `Expired` asks the client to refresh, which would not help a token that is invalid anyway.
    let expires = instant(exp).ok_or(TokenError::Invalid)? + leeway;
    if expires < now {
        return Err(TokenError::Expired);
    }
    Ok(TokenIdentity {
        user,
        expires: Some(expires),
        login: sid.and_then(|sid| ClientMessageId::parse(&sid).ok()),
        device: None,
        // Rounded down, as the tokens themselves do it.
        issued_s: iat.map(|iat| iat as u64),
        access_version: 0,
    })
}

// === impl TokenIdentity ===

impl TokenIdentity {
    /// Returns the device of a client that names `named`: the one that the token is bound to, if it is.
    ///
    /// # Errors
    /// [`TokenError::OtherDevice`] if the token is bound to another one.
    pub fn device_of(&self, named: Option<&str>) -> Result<Option<String>, TokenError> {
        match (&self.device, named) {
            (Some(bound), Some(named)) if **bound != *named => Err(TokenError::OtherDevice),
            (Some(bound), _) => Ok(Some(bound.to_string())),
            (None, named) => Ok(named.map(str::to_owned)),
        }
    }
}

// === impl ClusterIssuer, TokenError ===

impl ClusterIssuer {
    fn check(&self, token: &str, kid: &str, now: SystemTime) -> Result<TokenIdentity, TokenError> {
        // One snapshot of the keys for the whole check, so that a rotation meanwhile has no effect on it.
        let ring = self.keys.ring();
        match ring.as_deref().and_then(|ring| ring.verifier(kid)) {
            Some(key) => {
                let identity = identity(token, key, &self.validation, now)?;
                let over =
                    |login: &ClientMessageId| self.ended.as_ref().is_some_and(|ended| ended.holds(login));
                match &identity.login {
                    Some(login) if over(login) => Err(TokenError::Invalid),
                    _ => Ok(identity),
                }
            }
            // A new key may not have arrived here yet. `Invalid` would end the login of a client with a good token.
            None if self.keys.may_lack() => Err(TokenError::NotYet),
            None => Err(TokenError::Invalid),
        }
    }
}

impl TokenError {
    /// Returns the protocol's error code.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            TokenError::Expired => ErrorCode::TokenExpired,
            TokenError::Invalid | TokenError::OtherDevice => ErrorCode::Unauthenticated,
            TokenError::NotYet | TokenError::Unverified => ErrorCode::Unavailable,
            TokenError::Deactivated => ErrorCode::Forbidden,
        }
    }
}

/// Converts seconds since the Unix epoch. Values beyond the year 5138 are refused, so that adding the leeway cannot
/// overflow.
fn instant(seconds: f64) -> Option<SystemTime> {
    (0.0..1e11)
        .contains(&seconds)
        .then(|| UNIX_EPOCH + Duration::from_secs_f64(seconds))
}
