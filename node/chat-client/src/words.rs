//! Parsing of typed lines, and rendering of events as text.

use protocol::event::{Event, PresenceState};
use protocol::response::ConversationSnapshot;
use protocol::{Body, ConversationId, MembershipChange, UserId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TypedLine {
    Nothing,
    Help,
    Quit,
    List,
    OpenUser(UserId),
    OpenConv(ConversationId),
    /// `/create Title: alice, bob`.
    Create {
        title: String,
        members: Vec<UserId>,
    },
    Invite(UserId),
    Kick(UserId),
    Leave,
    Hist,
    /// Any other line: the text of a message.
    Text(String),
}

/// Text printed by `/help`.
pub(crate) const HELP: &str = "\
/list                       your conversations
/open bob                   talk to bob
/open g_01J…                open a group
/create Lunch: bob, carol   make a group
/invite dave   /kick dave   change the open group
/leave                      leave the open group
/hist                       its last messages
/quit
Everything else is sent to the open conversation. A message is pending until 'sent #n' appears: from then on it is on
the disks of a majority. 'delivered' and 'read' follow as the other side gets it.";

pub(crate) fn parse(line: &str) -> Result<TypedLine, String> {
    let line = line.trim();
    let Some(command) = line.strip_prefix('/') else {
        return Ok(if line.is_empty() {
            TypedLine::Nothing
        } else {
            TypedLine::Text(line.to_owned())
        });
    };
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    let rest = rest.trim();
    let user = |text: &str| UserId::parse(text.trim()).map_err(|error| error.to_string());
    match verb {
        "help" | "?" => Ok(TypedLine::Help),
        "quit" | "exit" | "q" => Ok(TypedLine::Quit),
        "list" => Ok(TypedLine::List),
        "hist" => Ok(TypedLine::Hist),
        "leave" => Ok(TypedLine::Leave),
        "invite" => Ok(TypedLine::Invite(user(rest)?)),
        "kick" => Ok(TypedLine::Kick(user(rest)?)),
        "open" => match ConversationId::parse(rest) {
            // Ids of groups and channels are long; a short word with the same prefix is a user id.
            Ok(conv) if conv.kind().is_some() && rest.len() >= 28 => Ok(TypedLine::OpenConv(conv)),
            _ => Ok(TypedLine::OpenUser(user(rest)?)),
        },
        "create" => {
            let (title, members) = rest.split_once(':').ok_or("usage: /create Lunch: bob, carol")?;
            let members = members.split(',').map(user).collect::<Result<_, _>>()?;
            Ok(TypedLine::Create {
                title: title.trim().to_owned(),
                members,
            })
        }
        _ => Err(format!("no such command: /{verb}; /help lists them")),
    }
}

/// Renders an event as a line, or returns `None` for events that are not shown.
pub(crate) fn event(event: &Event, me: &UserId) -> Option<String> {
    match event {
        Event::Msg(msg) if msg.deleted => Some(format!("{}: (deleted) (#{})", name(&msg.user, me), msg.seq)),
        Event::Msg(msg) => Some(format!(
            "{}: {} (#{})",
            name(&msg.user, me),
            text(&msg.body)?,
            msg.seq
        )),
        Event::Edit(edit) if edit.deleted => None,
        Event::Edit(edit) => Some(format!(
            "{} edited #{}: {}",
            name(&edit.user, me),
            edit.target_seq,
            text(&edit.body)?
        )),
        Event::Del(del) => Some(format!("* {} deleted #{}", name(&del.user, me), del.target_seq)),
        Event::React(react) => {
            let (who, k, sign) = (
                name(&react.user, me),
                plain(&react.reaction),
                if react.active { '+' } else { '-' },
            );
            Some(format!("* {who}: {sign}{k} to #{}", react.target_seq))
        }
        Event::Meta(meta) => meta.title.as_ref().map(|title| {
            format!(
                "* {} changed the title to {:?}",
                name(&meta.user, me),
                plain(title)
            )
        }),
        Event::Member(member) => {
            let (u, who) = (&member.user, &member.member);
            let what = match member.change {
                MembershipChange::Create => format!("{who} was added"),
                MembershipChange::Join => format!("{who} joined"),
                MembershipChange::Leave => format!("{who} left"),
                MembershipChange::Invite => format!("{u} invited {who}"),
                MembershipChange::Kick => format!("{u} removed {who}"),
                MembershipChange::Ban => format!("{u} banned {who}"),
                MembershipChange::Unban => format!("{u} unbanned {who}"),
                MembershipChange::Role => format!("{u} changed the role of {who}"),
            };
            Some(format!("* {what}"))
        }
        Event::Receipt(receipt) if receipt.user != *me => Some(format!(
            "   {}: delivered up to #{}, read up to #{}",
            receipt.user, receipt.delivered, receipt.read
        )),
        Event::Bye(_) => Some("-- the server closes the connection".to_owned()),
        Event::Typing(typing) if typing.active => Some(format!("   {} is typing", typing.user)),
        Event::Presence(presence) => Some(match presence.state {
            PresenceState::Online => format!("   {} is online", presence.user),
            PresenceState::Offline => format!("   {} is offline", presence.user),
        }),
        Event::Typing(_)
        | Event::Receipt(_)
        | Event::Conv(_)
        | Event::Activity(_)
        | Event::Profile(_)
        | Event::Resync(_) => None,
    }
}

fn name<'a>(user: &'a UserId, me: &UserId) -> &'a str {
    if user == me { "you" } else { user.as_str() }
}

/// Returns the text of a body, or its JSON if it has no text.
fn text(b: &Body) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(b.as_str()).ok()?;
    let text = body["text"]
        .as_str()
        .map_or_else(|| b.as_str().to_owned(), str::to_owned);
    Some(plain(&text))
}

/// Renders a row of the conversation list.
pub(crate) fn row(conv: &ConversationId, name: Option<&str>, unread: u64, last: Option<&str>) -> String {
    let unread = if unread > 0 {
        format!(" ({unread} new)")
    } else {
        String::new()
    };
    let last = last.map(|last| format!("  {last}")).unwrap_or_default();
    format!("   {:<20}{unread}  {conv}{last}", plain(name.unwrap_or("-")))
}

/// Renders a conversation in a few words.
pub(crate) fn title(conv: &ConversationSnapshot) -> String {
    let name = match (&conv.title, &conv.peer) {
        (Some(title), _) => plain(title),
        (None, Some(peer)) => format!("with {}", peer.user),
        (None, None) => conv.kind.as_str().to_owned(),
    };
    format!("{name} ({}), {} events", conv.conversation, conv.last.seq)
}

/// Replaces control characters, so that the text of other users cannot control the terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_mean_what_the_help_says() {
        let bob = UserId::parse("bob").unwrap();
        assert_eq!(parse("/open bob"), Ok(TypedLine::OpenUser(bob.clone())));
        let direct = ConversationId::direct(&bob, &UserId::parse("al").unwrap());
        assert_eq!(parse(&format!("/open {direct}")), Ok(TypedLine::OpenConv(direct)));
        let create = TypedLine::Create {
            title: "Lunch".to_owned(),
            members: vec![bob.clone()],
        };
        assert_eq!(parse("/create Lunch: bob"), Ok(create));
        assert_eq!(parse(" hello "), Ok(TypedLine::Text("hello".to_owned())));
        assert!(parse("/nonsense").is_err());
    }

    #[test]
    fn others_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\r"), "a [2Jb ");
    }
}
