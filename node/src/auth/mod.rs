//! Tokens, login by one-time code, and the cluster's signing keys.

pub(crate) mod identifier;
pub mod keyring;
pub mod login_service;
pub(crate) mod otp_delivery;
pub mod revocation_list;
pub mod token_verifier;

pub use keyring::KeyringCache;
pub use login_service::{LoginService, Tokens};
pub(crate) use revocation_list::RevocationBroadcast;
pub use revocation_list::RevocationList;
pub use token_verifier::{TokenError, TokenIdentity, TokenVerifier};
