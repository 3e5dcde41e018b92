//! Profiles of users: `users` and its response, the side table of other responses, and the `profile` event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::check::{Rejection, most};
use crate::cost::{CommandCost, parts, queries};
use crate::ids::{ConversationId, UserId};
use crate::limits;
use crate::payload::CustomData;
use crate::shape::{CommandFields, EventFields, ShapeFields};

/// Users of `users` per additional token.
const ASKED: usize = 25;

/// Fields of the `users` command, which returns the profiles of users.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::GetUsers)]
pub struct GetUsers {
    /// Users whose profiles are returned, at most 100.
    #[schema(max_items = 100)]
    pub ids: Vec<UserId>,
}

/// Fields of the `users` response.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UsersResponse {
    /// The profiles in the order of the request, each user once. A user whose shard did not respond in time is left
    /// out: request it again.
    pub items: Vec<UserProfile>,
}

/// The profile of a user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserProfile {
    /// The user whose profile this is.
    #[serde(rename = "u")]
    pub user: UserId,
    /// Displayed name; absent if the user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// URL of the user's picture, absolute or relative to the application; absent if the user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// Custom data of the application; absent if the user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<CustomData>,
    /// Version of the profile, greater after each change; 0 without a profile, whether the user exists or not.
    #[serde(rename = "ver")]
    pub version: u64,
}

/// The part of a profile that other responses carry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserCard {
    /// Displayed name; absent if the user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// URL of the user's picture, absolute or relative to the application; absent if the user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// Version of the profile, greater after each change.
    #[serde(rename = "ver")]
    pub version: u64,
}

/// Side table of a response: the profiles of the users that it names, by their ids.
pub type UserCards = BTreeMap<UserId, UserCard>;

/// Fields of the `profile` event: the profile of a watched user changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Profile)]
pub struct ProfileEvent {
    /// The user whose profile changed.
    #[serde(rename = "u")]
    pub user: UserId,
    /// New version of the profile.
    #[serde(rename = "ver")]
    pub version: u64,
}

// === shapes ===

impl ShapeFields for GetUsers {
    const EXAMPLE: &'static str = r#"{"ids":["ben","dan"]}"#;
}

impl CommandFields for GetUsers {
    type Response = UsersResponse;

    fn check(&self) -> Result<(), Rejection> {
        most("ids", self.ids.len(), limits::USERS)
    }

    fn cost(&self) -> CommandCost {
        queries(1 + parts(self.ids.len(), ASKED))
    }
}

impl ShapeFields for UsersResponse {
    const EXAMPLE: &'static str = concat!(
        r#"{"items":[{"u":"ben","name":"Ben Okoro","avatar":"https://img.example.org/ben.png","#,
        r#""data":{"team":"red"},"ver":3},{"u":"dan","ver":0}]}"#,
    );
}

impl ShapeFields for ProfileEvent {
    const EXAMPLE: &'static str = r#"{"u":"ben","ver":4}"#;
}

impl EventFields for ProfileEvent {
    fn position(&self) -> Option<(&ConversationId, u64, u64)> {
        None
    }
}
