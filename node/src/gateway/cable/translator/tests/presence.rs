//! Presence of members.

use super::*;

fn presence(message: Value) -> Value {
    json!({"type": "presence", "identifier": CHAT, "message": message})
}

fn ask(connection: &mut Connection) {
    connection.client(json!({"command": "presence", "identifier": CHAT}));
}

/// Connection whose client has read the presence of Alice and Bob.
fn informed() -> Connection {
    let mut connection = Connection::subscribed(true, 4);
    ask(&mut connection);
    let list = connection.request();
    assert_eq!((&list["t"], &list["c"]), (&json!("members"), &json!("g_1")));
    connection.answer(&format!(
        r#"{{"t":"members","id":{},"items":[{{"u":"alice","role":"owner"}},{{"u":"bob","role":"member"}}],"next":null}}"#,
        list["id"]
    ));
    let watch = connection.request();
    assert_eq!(
        (&watch["t"], &watch["users"]),
        (&json!("watch"), &json!(["alice", "bob"]))
    );
    connection.answer(&format!(r#"{{"t":"ok","id":{}}}"#, watch["id"]));
    connection.event(1, r#""t":"presence","u":"alice","state":"online","seen":70}"#);
    assert_eq!(connection.frames(), Vec::<Value>::new());
    connection.event(2, r#""t":"presence","u":"bob","state":"offline","seen":null}"#);
    let records = json!([{"id": "alice", "info": {"seen": 70}}]);
    let info = presence(json!({"type": "info", "total": 1, "records": records}));
    assert_eq!(connection.frames(), [info]);
    connection
}

#[test]
fn online_members_are_sent_and_then_each_change() {
    let mut connection = informed();
    connection.event(3, r#""t":"presence","u":"bob","state":"online","seen":90}"#);
    let join = presence(json!({"type": "join", "id": "bob", "info": {"seen": 90}}));
    assert_eq!(connection.frames(), [join]);
    connection.event(4, r#""t":"presence","u":"bob","state":"offline","seen":95}"#);
    let leave = presence(json!({"type": "leave", "id": "bob"}));
    assert_eq!(connection.frames(), [leave]);
}

#[test]
fn presence_ends_with_its_subscription() {
    let mut connection = informed();
    connection.client(json!({"command": "unsubscribe", "identifier": CHAT}));
    let unwatch = connection.request();
    assert_eq!(
        (&unwatch["t"], &unwatch["users"]),
        (&json!("unwatch"), &json!(["alice", "bob"]))
    );
    connection.event(3, r#""t":"presence","u":"bob","state":"online","seen":90}"#);
    assert_eq!(connection.frames(), Vec::<Value>::new());
}

#[test]
fn membership_changes_are_joins_and_leaves() {
    let mut connection = informed();
    let member = |s: u64, role: &str| {
        format!(
            r#""t":"member","c":"g_1","s":{s},"ts":1,"u":"alice","who":"eve","role":{role},"why":"invite"}}"#
        )
    };
    connection.event(3, &member(5, r#""member""#));
    let watch = connection.request();
    assert_eq!((&watch["t"], &watch["users"]), (&json!("watch"), &json!(["eve"])));
    connection.event(4, r#""t":"presence","u":"eve","state":"online","seen":9}"#);
    connection.frames();
    connection.event(5, &member(6, "null"));
    assert_eq!(connection.request()["t"], "unwatch");
    let leave = presence(json!({"type": "leave", "id": "eve"}));
    assert_eq!(connection.frames()[1..], [leave], "behind the event itself");
}

#[test]
fn presence_is_read_again_after_a_loss() {
    let mut connection = informed();
    connection.event(3, r#""t":"resync","why":"slow"}"#);
    let requests = connection.requests();
    let list = requests.iter().find(|request| request["t"] == "members");
    let id = &list.expect("the members are listed again")["id"];
    connection.answer(&format!(
        r#"{{"t":"members","id":{id},"items":[{{"u":"alice","role":"owner"}},{{"u":"bob","role":"member"}}],"next":null}}"#,
    ));
    let watch = connection.request();
    assert_eq!(
        (&watch["t"], &watch["users"]),
        (&json!("watch"), &json!(["alice", "bob"]))
    );
    connection.answer(&format!(r#"{{"t":"ok","id":{}}}"#, watch["id"]));
    connection.event(4, r#""t":"presence","u":"alice","state":"offline","seen":99}"#);
    connection.event(5, r#""t":"presence","u":"bob","state":"offline","seen":null}"#);
    let leave = presence(json!({"type": "leave", "id": "alice"}));
    assert_eq!(connection.frames(), [leave], "what was lost");
}

#[test]
fn presence_is_refused_to_non_members() {
    let error = presence(json!({"type": "error"}));
    let mut connection = Connection::new(true);
    ask(&mut connection);
    assert_eq!(
        connection.frames(),
        std::slice::from_ref(&error),
        "not subscribed"
    );
    let mut connection = Connection::subscribed(true, 4);
    ask(&mut connection);
    let id = connection.request()["id"].clone();
    connection.answer(&refused(&id, ErrorCode::NotMember));
    assert_eq!(connection.frames(), [error]);
}

/// A continued session does not know which joins its client has, so the client subscribes anew.
#[test]
fn subscription_with_presence_is_not_continued() {
    let mut connection = Connection::subscribed(true, 4);
    let with = connection.translator.take_changed_state().unwrap();
    ask(&mut connection);
    let without = connection.translator.take_changed_state().unwrap();
    assert!(without.len() < with.len(), "{without:?}");
}
