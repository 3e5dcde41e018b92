//! `/v1/server/users/{u}/export`: everything that is stored about a user, as lines of JSON.
//!
//! The lines are read from the owners of the shards while the back end reads the body, so one page is in memory and no
//! second copy of the data is ever stored. Each page is charged to the rate of the key. The last line has the counts: a
//! body without it is incomplete, and the request is repeated.

use std::collections::VecDeque;
use std::io;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, post};
use bytes::Bytes;
use futures::stream;
use protocol::{ClientMessageId, ConversationId, CustomData, EncodedEvent, GroupInvite, Role, UserId};
use serde::Serialize;
use utoipa_actix_web::service_config::ServiceConfig;

use super::back_end::{BackEnd, ERASE, of_a_person};
use super::users::UserPath;
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, OfUser};
use crate::shard_client::{CommandError, ShardClient, malformed};
use crate::state_machine::query::{
    BlocksQuery, ExportedConversationQuery, ExportedConversationsQuery, ExportedMembership, ExportedUser,
    ExportedUserQuery,
};

/// Blocked users of one page.
const BLOCKS: u32 = 256;

/// Line of an export besides the events, which are written as they are stored.
#[derive(Serialize)]
#[serde(tag = "t", rename_all = "snake_case")]
enum ExportLine<'a> {
    /// First line: the user's own values.
    User {
        u: &'a UserId,
        /// Time of the export in milliseconds since the epoch.
        ts: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        avatar: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<CustomData>,
        group_invite: GroupInvite,
        deactivated: bool,
        /// Time in seconds since the epoch before which tokens are refused; 0 accepts all.
        before: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_seen: Option<u64>,
    },
    Login {
        login_id: ClientMessageId,
        created: u64,
        expires: u64,
    },
    DeviceToken {
        token_id: ClientMessageId,
        device: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        created: u64,
        expires: u64,
    },
    Device {
        device: &'a str,
        cursors: &'a [(ConversationId, u64)],
    },
    Block {
        u: &'a UserId,
    },
    Membership {
        c: &'a ConversationId,
        /// Null for a former member.
        role: Option<Role>,
        since: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
        read: u64,
        delivered: u64,
        muted: bool,
        pinned: bool,
        banned: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<CustomData>,
    },
    /// Last line, with the counts.
    End {
        /// Number of the lines before.
        lines: u64,
        memberships: u64,
        /// Number of messages and edits.
        events: u64,
    },
}

/// Next part of an export.
enum ExportPart {
    Blocks(Option<UserId>),
    /// Conversations with ids above this one.
    Conversations(Option<ConversationId>),
    /// Conversation, and the position above which its events follow.
    Conversation(ConversationId, u64),
    End,
}

/// Requester of an export, who determines its pace.
pub(in crate::gateway::rest) trait ExportRequester: 'static {
    /// Returns the shard client.
    fn shards(&self) -> &ShardClient;

    /// Converts the refusal of a query, and counts it.
    fn refuse(&self, refusal: CommandError) -> Problem;

    /// Waits until the next page may be read.
    async fn wait_for_page(&self) -> Result<(), Problem>;
}

struct UserExport<R> {
    caller: R,
    user: UserId,
    part: Option<ExportPart>,
    /// Conversations of the present page that are still to be read.
    conversations: VecDeque<ConversationId>,
    lines: u64,
    memberships: u64,
    events: u64,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(export_user);
}

/// Writes everything that is stored about a user, one JSON object per line: the profile and the access (`user`), logins
/// (`login`), device tokens (`device_token`) and devices (`device`) without their secrets, blocked users (`block`),
/// memberships with the cursors, former ones included (`membership`), and behind each membership the user's own messages
/// and edits as they were sent (`msg`, `edit`). The last line `{"t":"end","lines":…,"memberships":…,"events":…}` has the
/// numbers of the lines before it. A body without it is incomplete, and the request must be repeated. Scope: `erase`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(OfUser), responses(
    (status = 200, description = "The data of the user, one JSON object per line.", body = String, content_type = "application/x-ndjson"), ChangeErrors
))]
#[post("/v1/server/users/{u}/export")]
async fn export_user(caller: BackEnd<ERASE>, u: UserPath) -> Result<HttpResponse, Problem> {
    let user = u.into_inner();
    of_a_person(&user)?;
    caller.pay(1)?;
    caller.record("users.export", user.as_str(), 1).await?;
    export_of(caller, user).await
}

/// Returns the response with the lines of a user.
pub(in crate::gateway::rest) async fn export_of<R: ExportRequester>(
    caller: R,
    user: UserId,
) -> Result<HttpResponse, Problem> {
    let ts = caller.shards().clock().now_ms();
    // Read before the response begins, so that a refusal is still a problem response.
    let question = ExportedUserQuery { user: user.clone() };
    let found = caller.shards().query(&question).await;
    let found = found.map_err(|refusal| caller.refuse(refusal))?;
    let mut export = UserExport {
        caller,
        user,
        part: Some(ExportPart::Blocks(None)),
        conversations: VecDeque::new(),
        lines: 0,
        memberships: 0,
        events: 0,
    };
    let mut head = Some(export.head(&found, ts)?);
    let body = stream::try_unfold(export, move |mut export| {
        let head = head.take();
        async move {
            if let Some(head) = head {
                return Ok(Some((head, export)));
            }
            // The head has been sent: an error can only end the body early, without the last line.
            let next = export.next().await;
            let text = next.map_err(|problem| io::Error::other(problem.to_string()))?;
            Ok::<_, io::Error>(text.map(|text| (text, export)))
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(body))
}

// === impl BackEnd: export ===

impl ExportRequester for BackEnd<ERASE> {
    fn shards(&self) -> &ShardClient {
        self.conversations()
    }

    fn refuse(&self, refusal: CommandError) -> Problem {
        self.refused(refusal)
    }

    async fn wait_for_page(&self) -> Result<(), Problem> {
        self.pace().await
    }
}

// === impl UserExport ===

impl<R: ExportRequester> UserExport<R> {
    /// Returns the lines of the next part; `None` behind the last line.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(part) = self.part.take() else {
            return Ok(None);
        };
        self.caller.wait_for_page().await?;
        let mut text = String::new();
        match part {
            ExportPart::Blocks(after) => self.blocks(after, &mut text).await?,
            ExportPart::Conversations(after) => self.list(after).await?,
            ExportPart::Conversation(c, after) => self.conversation(c, after, &mut text).await?,
            ExportPart::End => {
                let end = ExportLine::End {
                    lines: self.lines,
                    memberships: self.memberships,
                    events: self.events,
                };
                self.write(&end, &mut text)?;
            }
        }
        Ok(Some(text.into()))
    }

    /// Returns the lines of the user's own rows.
    fn head(&mut self, found: &ExportedUser, ts: u64) -> Result<Bytes, Problem> {
        let mut text = String::new();
        let user = self.user.clone();
        let line = ExportLine::User {
            u: &user,
            ts,
            name: found.profile.name.as_deref(),
            avatar: found.profile.avatar.as_deref(),
            data: custom_data(found.profile.data.as_deref())?,
            group_invite: found.group_invite,
            deactivated: found.access.deactivated,
            before: found.access.before_s,
            last_seen: found.last_seen_ms,
        };
        self.write(&line, &mut text)?;
        for login in &found.logins {
            let line = ExportLine::Login {
                login_id: login.id.login(),
                created: login.opened_ms,
                expires: login.expires_ms,
            };
            self.write(&line, &mut text)?;
        }
        for token in &found.device_tokens {
            let line = ExportLine::DeviceToken {
                token_id: token.id.login(),
                device: &token.device,
                name: token.name.as_deref(),
                created: token.created_ms,
                expires: token.expires_ms,
            };
            self.write(&line, &mut text)?;
        }
        for device in &found.devices {
            let line = ExportLine::Device {
                device: &device.device,
                cursors: &device.positions,
            };
            self.write(&line, &mut text)?;
        }
        Ok(text.into())
    }

    async fn blocks(&mut self, after: Option<UserId>, text: &mut String) -> Result<(), Problem> {
        let question = BlocksQuery {
            user: self.user.clone(),
            after,
            limit: BLOCKS,
        };
        let page = self.caller.shards().query(&question).await?;
        for u in &page.items {
            self.write(&ExportLine::Block { u }, text)?;
        }
        self.part = Some(match page.next {
            Some(after) => ExportPart::Blocks(Some(after)),
            None => ExportPart::Conversations(None),
        });
        Ok(())
    }

    async fn list(&mut self, after: Option<ConversationId>) -> Result<(), Problem> {
        let user = self.user.clone();
        let question = ExportedConversationsQuery { user, after };
        self.conversations = self.caller.shards().query(&question).await?.into();
        self.part = Some(match self.conversations.pop_front() {
            Some(first) => ExportPart::Conversation(first, 0),
            None => ExportPart::End,
        });
        Ok(())
    }

    async fn conversation(
        &mut self,
        conv: ConversationId,
        after: u64,
        text: &mut String,
    ) -> Result<(), Problem> {
        let question = ExportedConversationQuery {
            conv: conv.clone(),
            user: self.user.clone(),
            after,
        };
        let page = self.caller.shards().query(&question).await?;
        if let Some(membership) = page.membership.filter(|_| after == 0) {
            self.memberships += 1;
            self.membership(&conv, &membership, text)?;
        }
        for tail in &page.events {
            let event = EncodedEvent::from_tail(tail).map_err(stored)?;
            text.push_str(event.as_str());
            text.push('\n');
            self.lines += 1;
            self.events += 1;
        }
        self.part = Some(match page.next {
            Some(after) => ExportPart::Conversation(conv, after),
            None => match self.conversations.pop_front() {
                Some(next) => ExportPart::Conversation(next, 0),
                // The page of conversations is done; the last id is the bound of the next.
                None => ExportPart::Conversations(Some(conv)),
            },
        });
        Ok(())
    }

    fn membership(
        &mut self,
        c: &ConversationId,
        membership: &ExportedMembership,
        text: &mut String,
    ) -> Result<(), Problem> {
        let line = ExportLine::Membership {
            c,
            role: membership.role,
            since: membership.since,
            until: (membership.until > 0).then_some(membership.until),
            read: membership.read,
            delivered: membership.delivered,
            muted: membership.muted,
            pinned: membership.pinned,
            banned: membership.banned,
            data: custom_data(membership.data.as_deref())?,
        };
        self.write(&line, text)
    }

    fn write(&mut self, line: &ExportLine<'_>, text: &mut String) -> Result<(), Problem> {
        let line = serde_json::to_string(line).map_err(|error| stored(error.to_string()))?;
        text.push_str(&line);
        text.push('\n');
        self.lines += 1;
        Ok(())
    }
}

/// Returns the problem of a stored value that is no JSON.
fn stored(why: String) -> Problem {
    Problem::from(malformed(why))
}

/// Returns custom data as the JSON that it is.
fn custom_data(data: Option<&str>) -> Result<Option<CustomData>, Problem> {
    data.map(CustomData::new).transpose().map_err(stored)
}
