//! Whose tokens are believed: the cluster's own, and those of one other source, with one algorithm fixed by configuration.
//!
//! Nothing in a token chooses how it is checked, except `kid` among the keys of the configured file, and a `kid` of the
//! cluster's own form, which is looked for among the [cluster's keys](crate::user::login::keyring) and nowhere else.
//! Refusals carry no reason beyond expired or not, and a token is never logged.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster::Clock;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use protocol::{Cid, ErrorCode, UserId};
use serde::Deserialize;

use crate::config;
use crate::user::login::ended::Ended;
use crate::user::login::keyring::{self, Keys as OwnKeys};

/// Checks tokens. Stateless: any node checks any token.
pub struct Auth {
    keys: Keys,
    validation: Validation,
    own: Option<Own>,
    dev: bool,
    token_bytes: usize,
    clock: Clock,
}

/// The tokens that the cluster signs itself.
struct Own {
    keys: Arc<OwnKeys>,
    /// Logins whose tokens are good no more.
    ended: Option<Ended>,
    validation: Validation,
}

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// When the token runs out, tolerance included; development tokens never do.
    pub expires: Option<SystemTime>,
    /// The login that it came from, of a token of the cluster's own: its end ends the sessions.
    pub login: Option<Cid>,
}

/// Why a token was refused; what the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Get a new one.
    #[error("the token has expired")]
    Expired,
    /// Anything else, deliberately without a reason.
    #[error("the token is not valid")]
    Invalid,
    /// It says that the cluster has signed it, and this node doesn't know the cluster's keys yet: later.
    #[error("this node doesn't know the keys of the cluster yet")]
    NotYet,
}

/// Why the configured keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{key}: {path}: {source}")]
    Unreadable {
        /// The setting.
        key: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no usable key.
    #[error("{key}: {path}: {reason}")]
    Unusable {
        /// The setting.
        key: &'static str,
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

enum Keys {
    None,
    One(DecodingKey),
    Named(HashMap<String, DecodingKey>),
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    sid: Option<String>,
}

// === impl Auth ===

impl Auth {
    /// Reads the configured keys.
    ///
    /// # Errors
    /// When a key file is missing or holds no key for the configured algorithm.
    pub fn open(settings: &config::Auth, token_bytes: usize) -> Result<Auth, Error> {
        let algorithm = match settings.algorithm {
            config::Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
            config::Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
            config::Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        };
        Ok(Auth {
            keys: Keys::open(settings)?,
            validation: validation(algorithm, &settings.issuer, settings),
            own: None,
            dev: settings.dev_tokens,
            token_bytes,
            clock: Clock::system(),
        })
    }

    /// Judges by this clock what has expired: the cluster's, since a machine whose own is wrong would take expired tokens
    /// and refuse good ones.
    #[must_use]
    pub fn by(mut self, clock: Clock) -> Auth {
        self.clock = clock;
        self
    }

    /// Believes the tokens that the cluster signs, too.
    #[must_use]
    pub fn believing(mut self, keys: Arc<OwnKeys>, login: &config::Login, settings: &config::Auth) -> Auth {
        let validation = validation(jsonwebtoken::Algorithm::EdDSA, &login.issuer, settings);
        self.own = Some(Own {
            keys,
            ended: None,
            validation,
        });
        self
    }

    /// Believes no token of these logins, of those that the cluster signs.
    #[must_use]
    pub fn refusing(mut self, ended: Ended) -> Auth {
        if let Some(own) = &mut self.own {
            own.ended = Some(ended);
        }
        self
    }

    /// Checks a token.
    ///
    /// # Errors
    /// [`Refused`], which is all that the client may know.
    pub fn check(&self, token: &str) -> Result<Identity, Refused> {
        if token.len() > self.token_bytes {
            return Err(Refused::Invalid);
        }
        if self.dev
            && let Some(user) = token.strip_prefix("dev:")
        {
            let user = UserId::parse(user).map_err(|_| Refused::Invalid)?;
            return Ok(Identity {
                user,
                expires: None,
                login: None,
            });
        }
        let header = decode_header(token).map_err(|_| Refused::Invalid)?;
        // A token that brings its own key, or wants something done that isn't, is not one of ours.
        let foreign = header.jku.is_some()
            || header.jwk.is_some()
            || header.x5u.is_some()
            || header.x5c.is_some()
            || header.crit.is_some();
        if foreign {
            return Err(Refused::Invalid);
        }
        let kid = header.kid.as_deref();
        if let (Some(own), Some(kid)) = (&self.own, kid.filter(|kid| kid.starts_with(keyring::KID))) {
            return own.check(token, kid, self.now());
        }
        let key = self.keys.find(kid).ok_or(Refused::Invalid)?;
        // What another issuer calls a session is none of the cluster's logins.
        identity(token, key, &self.validation, self.now()).map(|identity| Identity {
            login: None,
            ..identity
        })
    }
}

impl Auth {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.clock.now_ms())
    }
}

/// What is asked of every token, whoever signed it, but for its times, which [`identity`] looks at.
fn validation(algorithm: jsonwebtoken::Algorithm, issuer: &str, settings: &config::Auth) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = settings.leeway_s;
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.set_required_spec_claims(&["exp", "sub"]);
    if settings.audience.is_empty() {
        validation.validate_aud = false;
    } else {
        validation.set_audience(&[&settings.audience]);
        validation.required_spec_claims.insert("aud".to_owned());
    }
    if !issuer.is_empty() {
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    validation
}

/// What a token says, if this key has signed it.
fn identity(
    token: &str,
    key: &DecodingKey,
    validation: &Validation,
    now: SystemTime,
) -> Result<Identity, Refused> {
    let claims = decode::<Claims>(token, key, validation).map_err(|_| Refused::Invalid)?;
    let Claims {
        sub,
        exp,
        iat,
        nbf,
        sid,
    } = claims.claims;
    let leeway = Duration::from_secs(validation.leeway);
    let is_to_come = |claim: f64| instant(claim).is_none_or(|at| at > now + leeway);
    if iat.is_some_and(is_to_come) || nbf.is_some_and(is_to_come) {
        return Err(Refused::Invalid);
    }
    let user = UserId::parse(&sub).map_err(|_| Refused::Invalid)?;
    let expires = instant(exp).ok_or(Refused::Invalid)? + leeway;
    if expires < now {
        return Err(Refused::Expired);
    }
    Ok(Identity {
        user,
        expires: Some(expires),
        login: sid.and_then(|sid| Cid::parse(&sid).ok()),
    })
}

// === impl Own, Refused ===

impl Own {
    fn check(&self, token: &str, kid: &str, now: SystemTime) -> Result<Identity, Refused> {
        let ring = self.keys.ring();
        match ring.as_deref().and_then(|ring| ring.verifier(kid)) {
            Some(key) => {
                let identity = identity(token, key, &self.validation, now)?;
                let over = |login: &Cid| self.ended.as_ref().is_some_and(|ended| ended.holds(login));
                match &identity.login {
                    Some(login) if over(login) => Err(Refused::Invalid),
                    _ => Ok(identity),
                }
            }
            None if self.keys.may_lack() => Err(Refused::NotYet),
            None => Err(Refused::Invalid),
        }
    }
}

impl Refused {
    /// The code for the client.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Refused::Expired => ErrorCode::TokenExpired,
            Refused::Invalid => ErrorCode::Unauthenticated,
            Refused::NotYet => ErrorCode::Unavailable,
        }
    }
}

/// Seconds since the epoch, refused beyond the year 5138: nothing later can be added to without care.
fn instant(seconds: f64) -> Option<SystemTime> {
    (0.0..1e11)
        .contains(&seconds)
        .then(|| UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

// === impl Keys ===

impl Keys {
    fn open(settings: &config::Auth) -> Result<Keys, Error> {
        if !settings.secret.is_empty() {
            return Ok(Keys::One(DecodingKey::from_secret(settings.secret.0.as_bytes())));
        }
        if !settings.public_key_file.is_empty() {
            let (key, path) = ("auth.public_key_file", &settings.public_key_file);
            let pem = read(key, path)?;
            let parsed = match settings.algorithm {
                config::Algorithm::EdDSA => DecodingKey::from_ed_pem(&pem),
                _ => DecodingKey::from_rsa_pem(&pem),
            };
            let parsed = parsed.map_err(|error| Error::unusable(key, path, &error))?;
            return Ok(Keys::One(parsed));
        }
        if !settings.jwks_file.is_empty() {
            return Keys::named(settings.algorithm, &settings.jwks_file);
        }
        Ok(Keys::None)
    }

    fn named(algorithm: config::Algorithm, path: &str) -> Result<Keys, Error> {
        let key = "auth.jwks_file";
        let set: JwkSet =
            serde_json::from_slice(&read(key, path)?).map_err(|error| Error::unusable(key, path, &error))?;
        let mut named = HashMap::new();
        for jwk in &set.keys {
            let fits = match (&jwk.algorithm, algorithm) {
                (AlgorithmParameters::RSA(_), config::Algorithm::RS256) => true,
                (AlgorithmParameters::OctetKeyPair(pair), config::Algorithm::EdDSA) => {
                    pair.curve == EllipticCurve::Ed25519
                }
                _ => false,
            };
            if let (true, Some(kid)) = (fits, &jwk.common.key_id) {
                let parsed =
                    DecodingKey::from_jwk(jwk).map_err(|error| Error::unusable(key, path, &error))?;
                named.insert(kid.clone(), parsed);
            }
        }
        if named.is_empty() {
            let reason = format!("no key with a kid for {algorithm:?}");
            return Err(Error::Unusable {
                key,
                path: path.to_owned(),
                reason,
            });
        }
        Ok(Keys::Named(named))
    }

    fn find(&self, kid: Option<&str>) -> Option<&DecodingKey> {
        match self {
            Keys::None => None,
            Keys::One(key) => Some(key),
            Keys::Named(named) => named.get(kid?),
        }
    }
}

fn read(key: &'static str, path: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(Path::new(path)).map_err(|source| Error::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })
}

impl Error {
    fn unusable(key: &'static str, path: &str, reason: &dyn std::fmt::Display) -> Error {
        Error::Unusable {
            key,
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
