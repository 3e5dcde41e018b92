//! What every request goes through: ids, other origins, HEAD; and the description of it all.

use serde_json::{Value, json};

use node::testkit::{Call, Node, group};

#[tokio::test]
async fn every_answer_carries_the_id_of_its_request() {
    let node = Node::start().await;
    let named = Call::new("GET", "/livez")
        .with("X-Request-Id", "abc-1")
        .to(&node)
        .await;
    assert_eq!(named.header("X-Request-Id"), "abc-1");
    for call in [
        Call::new("GET", "/v1/conversations"),
        Call::new("GET", "/nowhere").with("X-Request-Id", &"x".repeat(65)),
    ] {
        let made = call.to(&node).await;
        assert_eq!(made.header("X-Request-Id").len(), 26, "{made:?}");
    }
}

#[tokio::test]
async fn a_browser_of_a_permitted_origin_may_use_it() {
    let node =
        Node::with(|config| config.server.allowed_origins = vec!["https://chat.example.org".to_owned()])
            .await;
    let preflight = |origin: &str| {
        Call::new("OPTIONS", "/v1/conversations")
            .with("Origin", origin)
            .with("Access-Control-Request-Method", "POST")
            .with(
                "Access-Control-Request-Headers",
                "authorization,idempotency-key,content-type",
            )
            .to(&node)
    };
    let yes = preflight("https://chat.example.org").await;
    assert_eq!(
        (yes.status, yes.header("Access-Control-Allow-Origin")),
        (200, "https://chat.example.org")
    );
    assert!(
        yes.header("Access-Control-Allow-Methods").contains("POST"),
        "{yes:?}"
    );
    assert!(
        yes.header("Access-Control-Allow-Headers")
            .contains("idempotency-key"),
        "{yes:?}"
    );
    let no = preflight("https://evil.example.net").await;
    assert_eq!((no.status, no.header("Access-Control-Allow-Origin")), (400, ""));

    let get = Call::new("GET", "/v1/conversations")
        .by("alice")
        .with("Origin", "https://chat.example.org")
        .to(&node)
        .await;
    assert_eq!(
        (get.status, get.header("Access-Control-Allow-Origin")),
        (200, "https://chat.example.org")
    );
    assert!(
        get.header("Access-Control-Expose-Headers")
            .to_lowercase()
            .contains("x-request-id"),
        "{get:?}"
    );
}

#[tokio::test]
async fn no_origin_gets_credentials_and_any_origin_only_without_them() {
    for origins in [vec!["*".to_owned()], vec!["https://chat.example.org".to_owned()]] {
        let node = Node::with(|config| config.server.allowed_origins = origins).await;
        let get = Call::new("GET", "/v1/conversations")
            .by("alice")
            .with("Origin", "https://chat.example.org");
        let reply = get.to(&node).await;
        reply.is(200);
        assert_ne!(reply.header("Access-Control-Allow-Origin"), "");
        assert_eq!(reply.header("Access-Control-Allow-Credentials"), "");
    }
}

#[tokio::test]
async fn the_methods_of_a_path_need_no_token() {
    let node = Node::start().await;
    let reply = Call::new("OPTIONS", "/v1/conversations/g_1/messages/3")
        .to(&node)
        .await;
    assert_eq!(
        (reply.status, reply.header("Allow")),
        (204, "PUT, DELETE, OPTIONS")
    );
    Call::new("OPTIONS", "/v1/nowhere")
        .to(&node)
        .await
        .is_problem(404, "not_found");
}

#[tokio::test]
async fn no_browser_guesses_what_an_answer_is() {
    let node = Node::start().await;
    for path in [
        "/v1/conversations",
        "/livez",
        "/v1/docs",
        "/nowhere",
        "/v1/openapi.json",
    ] {
        for user in ["alice", ""] {
            let reply = Call::new("GET", path).by(user).to(&node).await;
            assert_eq!(reply.header("X-Content-Type-Options"), "nosniff", "{path}");
        }
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let path = format!("/v1/conversations/{c}");
    let get = Call::new("GET", &path).by("alice").to(&node).await;
    let head = Call::new("HEAD", &path).by("alice").to(&node).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    for name in ["ETag", "Content-Type", "Content-Length"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
}

#[tokio::test]
async fn the_description_names_every_schema_that_it_refers_to() {
    let node = Node::start().await;
    let reply = Call::new("GET", "/v1/openapi.json").to(&node).await;
    let document = reply.is(200);
    assert_eq!(document["openapi"], "3.1.0");
    for path in ["/v1/conversations", "/v1/sync", "/v1/cluster", "/v1/ws", "/livez"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    let mut names = reply
        .text
        .split("\"#/components/schemas/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let schemas = &document["components"]["schemas"];
    assert!(names.all(|name| schemas[name].is_object()));
    let mut ids: Vec<&Value> = Vec::new();
    for operation in document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
    {
        assert!(!ids.contains(&&operation["operationId"]), "{operation}");
        assert!(operation["tags"].as_array().unwrap().len() == 1, "{operation}");
        ids.push(&operation["operationId"]);
    }
    assert!(ids.len() > 25);
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        json!("bearer")
    );

    for path in ["/v1/openapi.json", "/v1/asyncapi.json"] {
        let first = Call::new("GET", path).to(&node).await;
        first.is(200);
        let again = Call::new("GET", path).with("If-None-Match", first.header("ETag"));
        let again = again.to(&node).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
    }

    // The page for people names the same resources, but for those of operators.
    let page = concat!(
        include_str!("../../../docs/protocol.md"),
        include_str!("../../../docs/server-api.md")
    );
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut described = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["tags"][0] != "Operation" {
                let name = format!("{} {path}", method.to_uppercase());
                let mut occurrences = page.match_indices(&name).map(|(at, _)| &page[at + name.len()..]);
                let named = occurrences.any(|rest| !rest.starts_with('/'));
                assert!(
                    named,
                    "neither docs/protocol.md nor docs/server-api.md names {name}"
                );
                described += 1;
            }
        }
    }
    assert!(described > 20, "{described}");

    let page = Call::new("GET", "/v1/docs").to(&node).await;
    assert!(
        page.status == 200 && page.header("Content-Type").starts_with("text/html"),
        "{page:?}"
    );
    for elsewhere in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!page.text.contains(elsewhere), "the page needs {elsewhere}");
    }
    for description in ["/v1/openapi.json", "/v1/asyncapi.json"] {
        assert!(page.text.contains(description), "{description}");
    }
}
