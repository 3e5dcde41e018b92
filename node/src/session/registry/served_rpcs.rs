//! RPCs of other nodes about sessions of this node.

use bytes::Bytes;
use cluster::Responder;
use protocol::response::NotResumed;

use super::SessionRegistry;
use crate::rpc::resume::{CancelRequest, ConfirmRequest, ExportRequest, ExportResponse};
use crate::rpc::{self, SessionId};
use crate::session::messages::{ConfirmTransfer, ExportSession, Terminate};

// === impl SessionRegistry: served RPCs ===

impl SessionRegistry {
    /// Returns true if `method` is an RPC about sessions.
    pub(crate) fn serves(method: u16) -> bool {
        matches!(
            method,
            rpc::RESUME
                | rpc::CONFIRM_TRANSFER
                | rpc::CANCEL_TRANSFER
                | rpc::ENDED
                | rpc::USER_ACCESS_CHANGED
                | rpc::USER_SESSIONS
                | rpc::END_SESSION
        )
    }

    /// Serves an RPC about a session of this node.
    pub(crate) fn call(&self, method: u16, body: &Bytes, reply: Responder) {
        let answered = match method {
            rpc::RESUME => rpc::decode(body).map(|question| self.export(question, reply)),
            rpc::CONFIRM_TRANSFER => rpc::decode(body).map(|question| self.confirmed(question, reply)),
            rpc::ENDED => rpc::decode(body).map(|over| {
                self.end_logins(over);
                reply.send(Ok(rpc::encode(&())));
            }),
            rpc::USER_ACCESS_CHANGED => rpc::decode(body).map(|change| {
                self.access_changed(change);
                reply.send(Ok(rpc::encode(&())));
            }),
            rpc::USER_SESSIONS => rpc::decode(body).map(|question| {
                let sessions = self.clone();
                // In a task of its own: the threads of the sessions may be busy.
                self.inner.runtime.spawn(async move {
                    reply.send(Ok(rpc::encode(&sessions.here(question).await)));
                });
            }),
            rpc::END_SESSION => rpc::decode(body).map(|request| {
                self.end_here(&request);
                reply.send(Ok(rpc::encode(&())));
            }),
            _ => rpc::decode(body).map(|CancelRequest { sid }| {
                if let Some(addr) = self.addr(sid) {
                    // A full mailbox is tolerated: the copy has no client and expires by itself.
                    let _full = addr.try_send(Terminate(NotResumed::Unknown));
                }
                reply.send(Ok(rpc::encode(&())));
            }),
        };
        if let Err(error) = answered {
            // Without a response the caller proceeds as if the session did not exist.
            tracing::debug!(%error, method, "malformed session transfer request");
        }
    }

    fn export(&self, question: ExportRequest, reply: Responder) {
        let found = self.find(question.sid, &question.user, question.device.as_deref());
        let patience = self.inner.bounds.fetch;
        // In a task of its own: the session's thread may be busy, and the RPC handler must not wait for it.
        self.inner.runtime.spawn(async move {
            let snapshot = match found {
                Ok(addr) => match tokio::time::timeout(patience, addr.send(ExportSession(question))).await {
                    Ok(Ok(snapshot)) => snapshot,
                    // The session ended meanwhile, or its thread is blocked.
                    Ok(Err(_)) | Err(_) => Err(NotResumed::Unknown),
                },
                Err(why) => Err(why),
            };
            let answer = match snapshot {
                Ok(snapshot) => ExportResponse::Snapshot(snapshot),
                Err(NotResumed::Expired) => ExportResponse::Expired,
                Err(NotResumed::Unknown) => ExportResponse::Unknown,
                Err(NotResumed::Gap) => ExportResponse::Gap,
            };
            reply.send(Ok(rpc::encode(&answer)));
        });
    }

    fn confirmed(&self, ConfirmRequest { sid, by }: ConfirmRequest, reply: Responder) {
        let addr = self.addr(sid);
        let sessions = self.clone();
        let patience = self.inner.bounds.fetch;
        self.inner.runtime.spawn(async move {
            let yields = match addr {
                Some(addr) => match tokio::time::timeout(patience, addr.send(ConfirmTransfer(by))).await {
                    Ok(Ok(yields)) => yields,
                    // The session ended meanwhile: its recorded successor decides.
                    Ok(Err(_)) | Err(_) => sessions.inherits(sid, by),
                },
                None => sessions.inherits(sid, by),
            };
            reply.send(Ok(rpc::encode(&yields)));
        });
    }

    /// Returns true unless another session than `by` is recorded as the continuation of a closed one.
    fn inherits(&self, sid: SessionId, by: SessionId) -> bool {
        let table = self.inner.table.lock();
        let successor = table.over.get(&sid.secret).and_then(|over| over.successor);
        successor.is_none_or(|successor| successor == by)
    }
}
