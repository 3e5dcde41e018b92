//! Steps of logins: limits, codes, token families, device tokens, signing keys; and API keys with their audit log. A
//! command queue resends after a lost response, so each of them may be applied twice and takes effect once.

use protocol::UserId;

use super::{Result, invalid, user_access};
use crate::state_machine::api_keys::ApiKeyRow;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::command_table::LoginOp;
use crate::state_machine::login::{LoginKey, LoginOutcome};
use crate::state_machine::row_store::RowWriter;

mod api_keys;
mod audit;
mod codes;
mod counts;
mod devices;
pub(super) mod expiry;
mod keyring;
mod lines;

use self::audit::AuditDraft;
use self::devices::NewDeviceToken;
pub(super) use self::expiry::sweep;
pub(super) use self::lines::end_before;

/// Applies one step of a login to the rows of its key.
pub(super) fn apply(
    work: &mut ApplyContext<'_, impl RowWriter>,
    key: &LoginKey,
    op: &LoginOp,
) -> Result<LoginOutcome> {
    match op {
        LoginOp::TurnKeys { seed, pepper, pace } => keyring::turn(work, seed, pepper, *pace),
        LoginOp::Count { nonce, limit } => counts::count(work, key, *nonce, *limit),
        LoginOp::PutCode {
            id,
            code,
            valid_ms,
            limit,
        } => codes::put(work, key, *id, code, *valid_ms, *limit),
        LoginOp::TryCode {
            id,
            code,
            attempt,
            tries,
        } => codes::attempt(work, key, *id, code, *attempt, *tries),
        LoginOp::ReleaseCode { id, attempt } => codes::release(work, key, *id, *attempt),
        // A verification that began before the deactivation must not open a login behind it.
        LoginOp::OpenLine { .. } | LoginOp::OpenDevice { .. }
            if user_access::read(work, user(key)?)?.deactivated =>
        {
            Ok(LoginOutcome::Refused)
        }
        LoginOp::OpenLine { id, token, valid_ms } => lines::open(work, user(key)?, *id, token, *valid_ms),
        LoginOp::TurnLine {
            id,
            token,
            next,
            valid_ms,
            grace_ms,
        } => lines::turn(work, user(key)?, *id, token, next, *valid_ms, *grace_ms),
        LoginOp::EndLine { id, all: true } => lines::end_all(work, user(key)?, *id),
        LoginOp::EndLine { id, all: false } => lines::end(work, user(key)?, *id),
        LoginOp::OpenDevice {
            id,
            token,
            device,
            name,
            login,
            valid_ms,
        } => {
            let new = NewDeviceToken {
                token,
                device,
                name: name.as_deref(),
                login: *login,
                valid_ms: *valid_ms,
            };
            devices::open(work, user(key)?, *id, &new)
        }
        LoginOp::EndDevice { id } => devices::end(work, user(key)?, *id),
        LoginOp::CreateApiKey {
            id,
            secret,
            name,
            scopes,
            expires_ms,
        } => {
            let row = ApiKeyRow {
                secret: secret.clone(),
                name: name.clone(),
                scopes: *scopes,
                created_ms: work.now_ms,
                expires_ms: *expires_ms,
            };
            api_keys::create(work, *id, row)
        }
        LoginOp::RevokeApiKey { id } => api_keys::revoke(work, *id),
        LoginOp::Audit {
            nonce,
            key,
            act,
            target,
            count,
        } => {
            let draft = AuditDraft {
                nonce: *nonce,
                key: Some(*key),
                act,
                target,
                count: *count,
                who: "",
                outcome: "",
            };
            audit::append(work, &draft)?;
            Ok(LoginOutcome::Accepted)
        }
        LoginOp::AuditOperator {
            nonce,
            who,
            act,
            target,
            outcome,
        } => {
            let draft = AuditDraft {
                nonce: *nonce,
                key: None,
                act,
                target,
                count: 1,
                who,
                outcome,
            };
            audit::append(work, &draft)?;
            Ok(LoginOutcome::Accepted)
        }
    }
}

fn user(key: &LoginKey) -> Result<&UserId> {
    match key {
        LoginKey::User(user) => Ok(user),
        LoginKey::Keyring | LoginKey::Ip(_) | LoginKey::Identifier(_) => {
            invalid("token families and device tokens belong to a user")
        }
    }
}
