//! What commands cost is what the page says, and whatever is permitted is possible.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use protocol::{ClientCommand, CommandCost, CommandRate, Request};
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../docs/protocol.md");

/// The command with the fields that cost nothing more.
fn least(tag: &str) -> Value {
    let mut fields = match tag {
        "auth" => json!({"token":"x"}),
        "send" => json!({"to":"u","cid":"x","b":{}}),
        "edit" => json!({"c":"g_1","of":1,"cid":"x","b":{}}),
        "del" => json!({"c":"g_1","of":1,"cid":"x"}),
        "react" => json!({"c":"g_1","of":1,"cid":"x","k":"+","on":true}),
        "create" => json!({"kind":"group","cid":"x"}),
        "invite" | "kick" | "ban" | "unban" => json!({"c":"g_1","cid":"x","who":"u"}),
        "role" => json!({"c":"g_1","cid":"x","who":"u","role":"admin"}),
        "join" | "leave" => json!({"c":"g_1","cid":"x"}),
        "set" => json!({"c":"g_1","cid":"x","muted":true}),
        "block" | "unblock" => json!({"who":"u"}),
        "read" | "recv" => json!({"c":"g_1","s":1}),
        "open" => json!({"c":"g_1"}),
        "list" => json!({"limit":1}),
        "hist" | "members" => json!({"c":"g_1","limit":1}),
        "sync" => json!({"have":[]}),
        "typing" => json!({"c":"g_1","on":true}),
        "watch" | "unwatch" => json!({"users":[]}),
        "users" => json!({"ids":[]}),
        "hb" | "me" => json!({}),
        other => panic!("{other} is new: give it a cost"),
    };
    fields["t"] = json!(tag);
    fields
}

/// The largest that is permitted.
fn most(tag: &str) -> Value {
    let users = |count: usize| (0..count).map(|i| format!("u{i}")).collect::<Vec<_>>();
    let have: Vec<_> = (0..200).map(|i| json!([format!("g_{i}"), 1])).collect();
    let body = json!({"x":"x".repeat(16 * 1_024 - 8)});
    let more = match tag {
        "send" => json!({"b":body,"mentions":users(50)}),
        "edit" => json!({"b":body,"mentions":users(50)}),
        "create" => json!({"members":users(256),"title":"x".repeat(256)}),
        "open" => json!({"have":1}),
        "list" | "hist" | "members" => json!({"limit":u64::MAX}),
        "sync" => json!({"have":have}),
        "watch" | "unwatch" => json!({"users":users(500)}),
        "users" => json!({"ids":users(100)}),
        "me" => json!({"name":"x".repeat(256),"data":{"x":"x".repeat(4_000)}}),
        _ => json!({}),
    };
    let mut fields = least(tag);
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    fields
}

fn cost_of(fields: &Value) -> CommandCost {
    match Request::decode(&fields.to_string()) {
        Ok(Some(Request { command, .. })) => command.cost(),
        other => panic!("{fields}: {other:?}"),
    }
}

/// The rows of the table of costs, by command: which rate, from how much to how much.
fn table() -> BTreeMap<String, (String, String)> {
    let lines = PAGE
        .lines()
        .skip_while(|line| *line != "### What a command costs")
        .skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    let mut table = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        for name in cells[0].split('`').skip(1).step_by(2) {
            let known = table.insert(name.to_owned(), (cells[1].to_owned(), cells[2].to_owned()));
            assert_eq!(known, None, "{name} twice");
        }
    }
    table
}

#[test]
fn every_command_costs_what_the_page_says() {
    let mut table = table();
    for (tag, _) in ClientCommand::responses() {
        let (least, most) = (cost_of(&least(tag)), cost_of(&most(tag)));
        assert_eq!(least.rate, most.rate);
        let rate = match least.rate {
            CommandRate::Changes => "change",
            CommandRate::Queries => "question",
            CommandRate::Free => "–",
        };
        let tokens = match (least.tokens, most.tokens) {
            (0, 0) => "–".to_owned(),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        let documented = table
            .remove(tag)
            .unwrap_or_else(|| panic!("{tag} is in the table"));
        assert_eq!(documented, (rate.to_owned(), tokens), "{tag}");
    }
    assert_eq!(table, BTreeMap::new(), "nothing else is");
}

/// The bursts of a node with the default settings.
#[test]
fn the_largest_of_each_kind_fits_into_the_burst() {
    for (tag, _) in ClientCommand::responses() {
        let CommandCost { rate, tokens } = cost_of(&most(tag));
        let burst = match rate {
            CommandRate::Changes => 60,
            CommandRate::Queries | CommandRate::Free => 200,
        };
        assert!(tokens <= burst, "{tag} costs {tokens}");
    }
}

#[test]
fn an_ordinary_message_costs_one() {
    let mut send = least("send");
    send["b"] = json!({"text":"x".repeat(4_000)});
    send["mentions"] = json!(["u1", "u2", "u3"]);
    assert_eq!(cost_of(&send), CommandCost::CHANGE);
    assert!(matches!(
        Request::decode(&send.to_string()),
        Ok(Some(Request {
            command: ClientCommand::Send(_),
            ..
        }))
    ));
}
