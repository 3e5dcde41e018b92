//! Tokens, tokens of operators and of devices, API keys of back ends, login by one-time code, and the cluster's signing keys.

mod admin_tokens;
mod api_keys;
mod device_tokens;
mod identifier;
mod keyring;
pub mod login_service;
mod otp_delivery;
mod revocation_list;
pub mod token_verifier;
mod user_access;
mod verification_cache;

pub use admin_tokens::{AdminIdentity, AdminTokens, UnusableTokens};
pub use api_keys::{ApiKeys, AuditNote, OperatorNote, VerifiedKey};
pub use device_tokens::{DeviceTokens, NewDevice};
pub use keyring::KeyringCache;
pub use login_service::{LoginService, Tokens};
pub(crate) use revocation_list::RevocationBroadcast;
pub use revocation_list::RevocationList;
pub use token_verifier::{TokenError, TokenIdentity, TokenVerifier};
pub use user_access::UserAccessCache;
