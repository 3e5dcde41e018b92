//! Login: limits, codes, lines of refresh tokens, signing keys. All of it may come twice, because a lane sends again
//! what it got no answer to, and counts once.

use protocol::{Cid, ConvId};

use super::super::door::RowsMut;
use super::super::login::{Login, verdict};
use super::super::outcome::{Applied, Effect};
use super::super::work::Work;
use super::{Result, key};

mod codes;
mod counts;
mod expiry;
mod keyring;
mod lines;

/// Applies one operation of a login; `name` is what it concerns.
pub(super) fn apply(
    work: &mut Work<'_, impl RowsMut>,
    name: &ConvId,
    cid: Option<&Cid>,
    login: &Login,
) -> Result<Applied> {
    match login {
        Login::TurnKeys { seed, pepper, pace } => keyring::turn(work, seed, pepper, *pace),
        Login::Count { nonce, limit } => counts::count(work, name, *nonce, *limit),
        Login::PutCode {
            code,
            valid_ms,
            limit,
        } => codes::put(work, name, key(cid)?, code, *valid_ms, *limit),
        Login::TryCode { code, attempt, tries } => {
            codes::attempt(work, name, key(cid)?, code, *attempt, *tries)
        }
        Login::OpenLine { token, valid_ms } => lines::open(work, name, key(cid)?, token, *valid_ms),
        Login::TurnLine {
            token,
            next,
            valid_ms,
            grace_ms,
        } => lines::turn(work, name, key(cid)?, token, next, *valid_ms, *grace_ms),
        Login::EndLine { all: true } => lines::end_all(work, name, key(cid)?),
        Login::EndLine { all: false } => lines::end(work, name, key(cid)?),
        Login::Sweep => expiry::sweep(work),
    }
}

/// The answer with a verdict.
fn answer(work: &Work<'_, impl RowsMut>, verdict: u64, mn: u64) -> Applied {
    Applied {
        s: verdict,
        mn,
        ts: work.now_ms,
        ..Applied::silent(Effect::None)
    }
}

fn yes(work: &Work<'_, impl RowsMut>) -> Result<Applied> {
    Ok(answer(work, verdict::YES, 0))
}

fn no(work: &Work<'_, impl RowsMut>) -> Result<Applied> {
    Ok(answer(work, verdict::NO, 0))
}
