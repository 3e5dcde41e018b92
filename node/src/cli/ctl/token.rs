//! `rookery ctl token`: tokens of users, signed with the key of the identity provider, without a node.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use jsonwebtoken::{EncodingKey, Header};
use protocol::UserId;
use serde::Serialize;

use super::CtlContext;
use super::failure::Failure;
use super::output::date;
use super::sessions::user_id;
use crate::config::{Algorithm, AuthConfig, ConfigSources, load};

/// Arguments of `rookery ctl token`.
#[derive(Args)]
pub(super) struct Token {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Prints a token of a user, by the `[auth]` section of a node's configuration.
    Mint(TokenMint),
}

#[derive(Args)]
struct TokenMint {
    /// Id of the user.
    #[arg(long, value_parser = user_id)]
    user: UserId,
    /// Lifetime of the token.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Configuration file of a node: its algorithm, audience and issuer, and with HS256 its secret.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Private key in PEM, for the algorithms RS256 and EdDSA, of which a node has only the public key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// Claims of a minted token.
#[derive(Serialize)]
struct MintedClaims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    iss: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    aud: &'a str,
}

/// A token of a user.
#[derive(Serialize)]
struct MintedToken {
    token: String,
    /// Seconds since the epoch.
    expires: u64,
}

// === impl Token ===

impl Token {
    pub(super) fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let TokenCommand::Mint(mint) = self.command;
        let sources = ConfigSources {
            file: Some(&mint.config),
            environment: true,
            ..ConfigSources::default()
        };
        let config = load(&sources).map_err(|problems| Failure::Config(problems.to_string()))?;
        let pem = match &mint.key_file {
            Some(path) => {
                let pem = std::fs::read(path);
                Some(pem.map_err(|error| Failure::Config(format!("{}: {error}", path.display())))?)
            }
            None => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let minted = sign(
            &mint,
            &config.auth,
            pem.as_deref(),
            now.map_or(0, |now| now.as_secs()),
        )?;
        let until = date(minted.expires.saturating_mul(1_000));
        context
            .output
            .say(&format!("token of {} until {until}", mint.user));
        context.output.print(&minted, || format!("{}\n", minted.token))
    }
}

/// Signs a token. `pem`: the private key.
fn sign(mint: &TokenMint, auth: &AuthConfig, pem: Option<&[u8]>, now_s: u64) -> Result<MintedToken, Failure> {
    let (algorithm, key) = key(auth, pem).map_err(Failure::Config)?;
    let expires = now_s.saturating_add(mint.ttl.as_secs());
    let claims = MintedClaims {
        sub: mint.user.as_str(),
        iat: now_s,
        exp: expires,
        iss: &auth.issuer,
        aud: &auth.audience,
    };
    let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key);
    let token = token.map_err(|error| Failure::Config(format!("the token cannot be signed: {error}")))?;
    Ok(MintedToken { token, expires })
}

fn key(auth: &AuthConfig, pem: Option<&[u8]>) -> Result<(jsonwebtoken::Algorithm, EncodingKey), String> {
    let unusable = |error| format!("--key-file: {error}");
    let missing = || "the node has only the public key: --key-file names the private one".to_owned();
    match auth.algorithm {
        Algorithm::HS256 if auth.secret.is_empty() => Err("auth.secret is not set".to_owned()),
        Algorithm::HS256 => Ok((
            jsonwebtoken::Algorithm::HS256,
            EncodingKey::from_secret(auth.secret.0.as_bytes())
                .map_err(|error| format!("auth.secret: {error}"))?,
        )),
        Algorithm::RS256 => Ok((
            jsonwebtoken::Algorithm::RS256,
            EncodingKey::from_rsa_pem(pem.ok_or_else(missing)?).map_err(unusable)?,
        )),
        Algorithm::EdDSA => Ok((
            jsonwebtoken::Algorithm::EdDSA,
            EncodingKey::from_ed_pem(pem.ok_or_else(missing)?).map_err(unusable)?,
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cluster::ClusterClock;

    use super::*;
    use crate::auth::TokenVerifier;
    use crate::cli::ctl::output::versioned;
    use crate::config::SecretString;

    fn mint() -> TokenMint {
        TokenMint {
            user: UserId::parse("ada").unwrap(),
            ttl: Duration::from_secs(60),
            config: PathBuf::new(),
            key_file: None,
        }
    }

    #[tokio::test]
    async fn a_node_accepts_a_minted_token_of_its_own_settings() {
        let auth = AuthConfig {
            secret: SecretString("0123456789abcdef0123456789abcdef".to_owned()),
            audience: "chat".to_owned(),
            issuer: "ctl".to_owned(),
            ..AuthConfig::default()
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let minted = sign(&mint(), &auth, None, now).unwrap();
        assert_eq!(minted.expires, now + 60);
        let verifier = TokenVerifier::open(&auth, Duration::ZERO)
            .unwrap()
            .by(ClusterClock::system());
        let identity = verifier.verify(&minted.token).await.unwrap();
        assert_eq!(identity.user.as_str(), "ada");
        let other = AuthConfig {
            issuer: "elsewhere".to_owned(),
            ..auth
        };
        let verifier = TokenVerifier::open(&other, Duration::ZERO)
            .unwrap()
            .by(ClusterClock::system());
        assert!(verifier.verify(&minted.token).await.is_err());
    }

    #[test]
    fn token_cannot_be_minted_without_the_key() {
        let with = |algorithm| {
            let auth = AuthConfig {
                algorithm,
                ..AuthConfig::default()
            };
            let refused = sign(&mint(), &auth, None, 0).err().unwrap();
            assert_eq!(refused.exit_code(), 64);
            refused.to_string()
        };
        assert_eq!(with(Algorithm::HS256), "auth.secret is not set");
        assert!(with(Algorithm::EdDSA).contains("--key-file"));
        assert!(with(Algorithm::RS256).contains("--key-file"));
        let minted = MintedToken {
            token: "t".to_owned(),
            expires: 1,
        };
        assert_eq!(versioned(&minted), r#"{"v":1,"token":"t","expires":1}"#);
    }
}
