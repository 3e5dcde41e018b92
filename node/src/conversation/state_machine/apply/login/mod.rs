//! Login commands: limits, codes, token families, signing keys. A command queue resends after a lost response, so each
//! of them may be applied twice and takes effect once.

use protocol::{ClientMessageId, ConversationId};

use super::{Result, key};
use crate::conversation::state_machine::apply_context::ApplyContext;
use crate::conversation::state_machine::login::{LoginCommand, verdict};
use crate::conversation::state_machine::outcome::{ApplyEffect, CommandResult};
use crate::conversation::state_machine::row_store::RowWriter;

mod codes;
mod counts;
mod expiry;
mod keyring;
mod lines;

/// Applies one login command; `name` is the identifier, address, user or key set that it concerns.
pub(super) fn apply(
    work: &mut ApplyContext<'_, impl RowWriter>,
    name: &ConversationId,
    cid: Option<&ClientMessageId>,
    login: &LoginCommand,
) -> Result<CommandResult> {
    match login {
        LoginCommand::TurnKeys { seed, pepper, pace } => keyring::turn(work, seed, pepper, *pace),
        LoginCommand::Count { nonce, limit } => counts::count(work, name, *nonce, *limit),
        LoginCommand::PutCode {
            code,
            valid_ms,
            limit,
        } => codes::put(work, name, key(cid)?, code, *valid_ms, *limit),
        LoginCommand::TryCode { code, attempt, tries } => {
            codes::attempt(work, name, key(cid)?, code, *attempt, *tries)
        }
        LoginCommand::OpenLine { token, valid_ms } => lines::open(work, name, key(cid)?, token, *valid_ms),
        LoginCommand::TurnLine {
            token,
            next,
            valid_ms,
            grace_ms,
        } => lines::turn(work, name, key(cid)?, token, next, *valid_ms, *grace_ms),
        LoginCommand::EndLine { all: true } => lines::end_all(work, name, key(cid)?),
        LoginCommand::EndLine { all: false } => lines::end(work, name, key(cid)?),
        LoginCommand::Sweep => expiry::sweep(work),
    }
}

/// Returns the result with a verdict.
fn answer(work: &ApplyContext<'_, impl RowWriter>, verdict: u64, mn: u64) -> CommandResult {
    CommandResult {
        s: verdict,
        mn,
        ts: work.now_ms,
        ..CommandResult::silent(ApplyEffect::None)
    }
}

fn yes(work: &ApplyContext<'_, impl RowWriter>) -> Result<CommandResult> {
    Ok(answer(work, verdict::YES, 0))
}

fn no(work: &ApplyContext<'_, impl RowWriter>) -> Result<CommandResult> {
    Ok(answer(work, verdict::NO, 0))
}
