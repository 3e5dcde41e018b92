//! Tokens, tokens of devices, login by one-time code, and the cluster's signing keys.

pub mod device_tokens;
pub(crate) mod identifier;
pub mod keyring;
pub mod login_service;
pub(crate) mod otp_delivery;
pub mod revocation_list;
pub mod token_verifier;

pub use device_tokens::{DeviceTokens, IssuedDeviceToken, NewDevice};
pub use keyring::KeyringCache;
pub use login_service::{LoginService, Tokens};
pub(crate) use revocation_list::RevocationBroadcast;
pub use revocation_list::RevocationList;
pub use token_verifier::{TokenError, TokenIdentity, TokenVerifier};
