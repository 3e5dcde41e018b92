//! The descriptions as others read them, the pages of a node for people, and the links of errors to them.

use std::collections::BTreeSet;
use std::process::Stdio;

use node::testkit::{Call, Node, program};
use protocol::{CloseCode, ErrorCode};
use serde_json::Value;

/// Runs `rookery schema` and returns what it prints.
fn printed(kind: &str) -> Value {
    let output = program()
        .args(["schema", kind])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_program_prints_the_descriptions_that_a_node_serves() {
    let node = Node::start().await;
    for kind in ["openapi", "asyncapi"] {
        let served = Call::new("GET", &format!("/v1/{kind}.json"))
            .to(&node)
            .await
            .is(200);
        assert!(printed(kind) == served, "{kind} differs");
    }
    node.stop().await;
}

#[test]
fn openapi_has_what_generators_ask_for() {
    let document = printed("openapi");
    assert_eq!(document["servers"][0]["url"], "/");
    assert_eq!(document["info"]["license"]["identifier"], "MIT OR Apache-2.0");
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().any(|status| status.starts_with('4')),
                "{at}: no 4xx"
            );
            let mut parameters = BTreeSet::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let (name, location) = (&parameter["name"], &parameter["in"]);
                assert!(
                    parameters.insert((name.to_string(), location.to_string())),
                    "{at}: {name} twice"
                );
            }
            operations += 1;
        }
    }
    assert!(operations > 45, "{operations}");
    assert!(document["paths"]["/v1/ws"]["get"]["responses"]["101"].is_object());
}

#[tokio::test]
async fn the_type_of_a_problem_leads_to_its_entry() {
    let node = Node::start().await;
    let page = Call::new("GET", "/v1/docs").to(&node).await;
    assert_eq!(page.status, 200);
    for code in ErrorCode::ALL {
        assert!(page.text.contains(&format!("id=\"error-{code}\"")), "{code}");
    }
    for code in CloseCode::ALL {
        let anchor = format!("id=\"close-{}\"", code.code());
        assert!(page.text.contains(&anchor), "{code:?}");
    }
    for (call, code) in [
        (Call::new("GET", "/nowhere"), "not_found"),
        (Call::new("GET", "/v1/me"), "unauthenticated"),
        (
            Call::new("GET", "/v1/conversations/g_1").by("alice"),
            "not_member",
        ),
        (Call::new("DELETE", "/livez"), "bad_request"),
    ] {
        let reply = call.to(&node).await;
        let problem = reply.is(reply.status);
        assert_eq!(problem["code"], code, "{reply:?}");
        assert_eq!(problem["type"], format!("/v1/docs#error-{code}"));
    }
    node.stop().await;
}

#[tokio::test]
async fn the_root_page_links_to_the_interface() {
    let node = Node::start().await;
    let page = Call::new("GET", "/").to(&node).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.header("Content-Type").starts_with("text/html"), "{page:?}");
    assert!(
        page.header("Content-Security-Policy")
            .contains("default-src 'none'")
    );
    assert!(page.text.contains(env!("CARGO_PKG_VERSION")), "{page:?}");
    let mut links = 0;
    for link in page.text.split("href=\"").skip(1) {
        let path = link.split('"').next().unwrap();
        let reply = Call::new("GET", path).to(&node).await;
        assert_eq!(reply.status, 200, "{path}");
        links += 1;
    }
    assert!(links >= 4, "{page:?}");
    let call = Call::new("POST", "/");
    call.to(&node).await.is_problem(404, "not_found");
    node.stop().await;
}
