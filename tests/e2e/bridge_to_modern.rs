//! T65-T72: legacy clients of servers that only speak 2026-07-28, over HTTP and on pipes.

use http::Method;
use shadowcat_tests::client::{Client, INITIALIZED, call, initialize};
use shadowcat_tests::proxy::before_url;
use shadowcat_tests::raw::{Ask, ask, get, post};
use shadowcat_tests::server::{Speaks, member, path};
use shadowcat_tests::upstream::{Pieces, Reply, Seen, Upstream};
use shadowcat_tests::wait::{found, soon, until};
use tokio::sync::mpsc;

use crate::bridged::{Bridged, MODERN, On, Server, bridged, code};
use crate::edge::session;

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const NEWEST: &str = "2025-11-25";
const ACCEPT: &str = r#"{"action":"accept","content":{"n":9007199254740993}}"#;

async fn before_modern(on: On) -> Bridged {
    bridged(on, Speaks::Modern, "").await
}

async fn client_of(bridged: &Bridged, revision: &str) -> Client {
    let mut client = Client::http(bridged.proxy.address);
    client.handshake(revision).await;
    client
}

fn in_session(id: &str, body: &str) -> Ask {
    post("/mcp", body).header("Mcp-Session-Id", id)
}

fn request(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

fn meta(text: &str, name: &str) -> Option<String> {
    path(text, &["params", "_meta", name])
}

#[tokio::test]
async fn t65_the_handshake_is_answered_here() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        for attempt in 0..2 {
            let answer = post("/mcp", &initialize("\"i\"", "2025-06-18")).send(bridged.proxy.address).await;
            assert_eq!(answer.status, 200, "{on:?}");
            assert!(answer.header("mcp-session-id").is_some(), "{on:?}");
            let answer = answer.message().await;
            assert_eq!(member(&answer, "id").as_deref(), Some("\"i\""), "{on:?}: {answer}");
            let result = |names: &[&str]| path(&answer, &[&["result"], names].concat());
            assert_eq!(result(&["protocolVersion"]).as_deref(), Some("\"2025-06-18\""), "{on:?}: {answer}");
            assert_eq!(result(&["serverInfo", "name"]).as_deref(), Some("\"fake\""), "{on:?}: {answer}");
            assert_eq!(result(&["instructions"]).as_deref(), Some("\"be kind\""), "{on:?}: {answer}");
            let tools = result(&["capabilities", "tools"]);
            assert_eq!(tools.as_deref(), Some(r#"{"listChanged":true}"#), "{on:?}: {answer}");
            for foreign in ["resultType", "ttlMs", "cacheScope", "supportedVersions"] {
                assert_eq!(result(&[foreign]), None, "{on:?}: {answer}");
            }
            // Its own era is tried once; from then on it is known that the server refuses it.
            assert_eq!(bridged.server.calls("initialize").len(), 1, "{on:?}, {attempt}");
            assert!(!bridged.server.calls("server/discover").is_empty(), "{on:?}");
        }
    }
}

#[tokio::test]
async fn t66_a_handshake_of_the_modern_revision_gets_the_newest_legacy_one() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let answer = post("/mcp", &initialize("0", "2026-07-28")).send(bridged.proxy.address).await;
        let answer = answer.message().await;
        let agreed = path(&answer, &["result", "protocolVersion"]);
        assert_eq!(agreed.as_deref(), Some("\"2025-11-25\""), "{on:?}: {answer}");
    }
}

#[tokio::test]
async fn t67_what_a_modern_server_has_no_word_for_stays_here() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let id = session(&bridged.proxy, NEWEST).await;
        bridged.server.call("subscriptions/listen").await;
        let seen = bridged.server.seen().len();
        let pong = in_session(&id, &request("\"p\"", "ping", "{}")).send(bridged.proxy.address).await;
        assert_eq!(pong.message().await, r#"{"jsonrpc":"2.0","id":"p","result":{}}"#, "{on:?}");
        for method in ["initialized", "roots/list_changed"] {
            let note = format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}"}}"#);
            assert_eq!(in_session(&id, &note).send(bridged.proxy.address).await.status, 202, "{on:?}");
        }
        let stray = in_session(&id, r#"{"jsonrpc":"2.0","id":"stray","result":{}}"#);
        assert_eq!(stray.send(bridged.proxy.address).await.status, 202, "{on:?}");
        let level = in_session(&id, &request("1", "logging/setLevel", r#"{"level":"loud"}"#));
        let level = level.send(bridged.proxy.address).await;
        assert_eq!((level.status, code(&level.message().await)), (200, Some(-32602)), "{on:?}");
        assert_eq!(bridged.server.seen().len(), seen, "{on:?}: {:?}", bridged.server.seen());
    }
}

#[tokio::test]
async fn t68_the_level_of_the_log_goes_with_every_later_call() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let mut client = client_of(&bridged, NEWEST).await;
        client.request(&call("1", "log", "{}", "")).await;
        assert!(client.left().is_empty(), "{on:?}: nothing without a level");
        let answer = client.request(&request("2", "logging/setLevel", r#"{"level":"error"}"#)).await;
        assert_eq!(path(&answer, &["result"]).as_deref(), Some("{}"), "{on:?}: {answer}");
        client.request(&call("3", "log", "{}", "")).await;
        if on == On::Http {
            // On a pipe that clients share nobody can say whose call a log message belongs to.
            let left = client.left();
            let levels: Vec<_> = left.iter().filter_map(|text| path(text, &["params", "level"])).collect();
            assert_eq!(levels, ["\"error\"", "\"critical\"", "\"alert\"", "\"emergency\""], "{left:?}");
        }
        let calls = bridged.server.calls("tools/call");
        let told: Vec<_> = calls.iter().map(|text| meta(text, LOG_LEVEL)).collect();
        assert_eq!(told, [None, Some("\"error\"".to_owned())], "{on:?}: {calls:?}");
    }
}

#[tokio::test]
async fn t69_a_call_that_needs_input_asks_the_client_for_it() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let mut client = client_of(&bridged, NEWEST).await;
        for (id, token) in [("1", "\"1\""), ("\"1\"", "1")] {
            let more = format!(r#""_meta":{{"progressToken":{token}}}"#);
            client.send(&call(id, "input", r#"{"rounds":2,"big":9007199254740993}"#, &more)).await;
            let mut own = Vec::new();
            for _ in 0..2 {
                let question = client.message("elicitation/create").await;
                let asked = member(&question, "id").unwrap();
                assert_eq!(path(&question, &["params", "x-unknown"]).as_deref(), Some("1.0"), "{on:?}");
                client.send(&format!(r#"{{"jsonrpc":"2.0","id":{asked},"result":{ACCEPT}}}"#)).await;
                own.push(asked);
            }
            assert_ne!(own[0], own[1], "{on:?}");
            let answer = client.response(id).await;
            for foreign in ["resultType", "ttlMs", "cacheScope"] {
                assert_eq!(path(&answer, &["result", foreign]), None, "{on:?}: {answer}");
            }
            let state = path(&answer, &["result", "state"]);
            assert_eq!(state.as_deref(), Some("\"AbC+/==2\""), "{on:?}: {answer}");
            let told = path(&answer, &["result", "inputResponses", "q0"]);
            assert_eq!(told.as_deref(), Some(ACCEPT), "{on:?}: {answer}");
        }
        let calls = bridged.server.calls("tools/call");
        let mut ids: Vec<_> = calls.iter().filter_map(|text| member(text, "id")).collect();
        assert_eq!(ids.len(), 6, "{on:?}: {calls:?}");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 6, "{on:?}: no id is used twice: {calls:?}");
        let arguments = |text: &String| path(text, &["params", "arguments"]);
        assert!(calls.iter().all(|text| arguments(text) == arguments(&calls[0])), "{on:?}: {calls:?}");
        assert_eq!(path(&calls[1], &["params", "requestState"]).as_deref(), Some("\"AbC+/==\""), "{on:?}");
    }
}

#[tokio::test]
async fn t69_a_round_may_have_several_questions_or_none() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let mut client = client_of(&bridged, NEWEST).await;
        let both = r#"{"kinds":["elicitation/create","roots/list"]}"#;
        client.send(&call("1", "input", both, "")).await;
        for (method, result) in
            [("roots/list", r#"{"roots":[{"uri":"file:///a"}]}"#), ("elicitation/create", ACCEPT)]
        {
            let question = client.message(method).await;
            let asked = member(&question, "id").unwrap();
            client.send(&format!(r#"{{"jsonrpc":"2.0","id":{asked},"result":{result}}}"#)).await;
        }
        let answer = client.response("1").await;
        let responses = path(&answer, &["result", "inputResponses"]).unwrap();
        assert_eq!(member(&responses, "q0").as_deref(), Some(ACCEPT), "{on:?}: {answer}");
        assert!(responses.contains("file:///a"), "{on:?}: {answer}");
        let answer = client.request(&call("2", "input", r#"{"kinds":[],"rounds":2}"#, "")).await;
        let state = path(&answer, &["result", "state"]);
        assert_eq!(state.as_deref(), Some("\"AbC+/==2\""), "{on:?}: {answer}");
        let refusing = call("3", "input", "{}", "");
        client.send(&refusing).await;
        let question = client.message("elicitation/create").await;
        let asked = member(&question, "id").unwrap();
        let error = r#"{"code":-1,"message":"no"}"#;
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":{asked},"error":{error}}}"#)).await;
        let answer = client.response("3").await;
        let action = path(&answer, &["result", "inputResponses", "q0", "action"]).unwrap_or_default();
        assert!(["\"decline\"", "\"cancel\""].contains(&action.as_str()), "{on:?}: {answer}");
    }
}

#[tokio::test]
async fn t70_a_client_whose_revision_has_no_such_question_gets_the_call_as_failed() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        // It says that it could, but 2025-03-26 has no word for that.
        let id = session(&bridged.proxy, "2025-03-26").await;
        let answer = in_session(&id, &call("1", "input", "{}", "")).send(bridged.proxy.address).await;
        assert_eq!(answer.status, 200, "{on:?}");
        let answer = answer.message().await;
        assert_eq!(path(&answer, &["result", "isError"]).as_deref(), Some("true"), "{on:?}: {answer}");
        let called = bridged.server.call("tools/call").await;
        let offered = meta(&called, CAPABILITIES).unwrap();
        assert_eq!(member(&offered, "elicitation"), None, "{on:?}: {called}");
        assert!(member(&offered, "roots").is_some(), "{on:?}: {called}");
    }
}

#[tokio::test]
async fn t36_errors_of_a_modern_server_come_with_status_200() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let id = session(&bridged.proxy, NEWEST).await;
        let missing = r#"{"uri":"test://missing"}"#;
        for (method, params, expected) in
            [("no/such", "{}", -32601), ("resources/read", missing, -32002), ("tasks/list", "{}", -32601)]
        {
            let answer = in_session(&id, &request("1", method, params)).send(bridged.proxy.address).await;
            assert_eq!(answer.status, 200, "{on:?}, {method}");
            assert_eq!(code(&answer.message().await), Some(expected), "{on:?}, {method}");
        }
    }
}

/// A modern server whose calls are answered by the test.
async fn by_hand() -> (Upstream, mpsc::Receiver<(Seen, Pieces)>) {
    let (sender, calls) = mpsc::channel(16);
    let upstream = Upstream::start(move |seen| {
        let sender = sender.clone();
        async move {
            let id = seen.member("id").unwrap_or_else(|| "null".into());
            let result = match seen.rpc().as_deref() {
                Some("server/discover") => {
                    r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":60000,"cacheScope":"private"}"#
                }
                Some("tools/list") => r#"{"resultType":"complete","tools":[],"ttlMs":0,"cacheScope":"private"}"#,
                Some("tools/call") => {
                    let (pieces, reply) = Reply::events();
                    sender.send((seen, pieces)).await.unwrap();
                    return reply;
                }
                _ => {
                    let error = r#"{"code":-32020,"message":"MCP-Protocol-Version is missing"}"#;
                    return Reply::json(400, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#));
                }
            };
            Reply::json(200, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
        }
    })
    .await;
    (upstream, calls)
}

#[tokio::test]
async fn t71_a_call_goes_on_without_its_client_until_that_can_no_longer_come_back() {
    let (upstream, mut calls) = by_hand().await;
    let config = "limits:\n  resume_window: 500ms\n";
    let proxy = before_url(&upstream.url("/mcp")).config(config).start().await;
    let id = session(&proxy, NEWEST).await;
    let back = |last: &str| {
        get("/mcp").headers(&[
            ("Accept", "text/event-stream"),
            ("Mcp-Session-Id", &id),
            ("Last-Event-ID", last),
        ])
    };
    let meta = r#""_meta":{"progressToken":1}"#;
    let progress = |token: &str| {
        let params = format!(r#"{{"progressToken":{token},"progress":1.0}}"#);
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#)
    };
    for comes_back in [true, false] {
        let asked = in_session(&id, &call("1", "slow", "{}", meta));
        let (answer, (seen, pieces)) = tokio::join!(asked.send(proxy.address), async {
            let (seen, pieces) = soon("the call", calls.recv()).await.unwrap();
            let token = path(&seen.body, &["params", "_meta", "progressToken"]).unwrap();
            pieces.event(&progress(&token)).await;
            (seen, pieces)
        });
        let mut events = answer.events();
        let mut last = String::new();
        while let Some(event) = events.next().await {
            last = event.id.unwrap_or(last);
            if !event.data.is_empty() {
                assert_eq!(event.data, progress("1"));
                break;
            }
        }
        drop(events);
        if comes_back {
            let mut rest = back(&last).send(proxy.address).await.events();
            let own = seen.member("id").unwrap();
            pieces
                .event(&format!(r#"{{"jsonrpc":"2.0","id":{own},"result":{{"resultType":"complete"}}}}"#))
                .await;
            assert_eq!(rest.message().await, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        } else {
            soon("the stream of the server is closed", pieces.closed()).await;
        }
    }
    assert!(upstream.calls("notifications/cancelled").is_empty(), "on HTTP the closed stream is the cancel");
}

#[tokio::test]
async fn t72_structured_content_that_is_no_object_is_wrapped_or_left_out() {
    let wrapped = Some(r#"{"result":[1,2]}"#);
    for on in MODERN {
        let bridged = before_modern(on).await;
        for (revision, content) in [("2025-11-25", wrapped), ("2025-06-18", wrapped), ("2025-03-26", None)] {
            let mut client = client_of(&bridged, revision).await;
            let listed = client.request(&request("1", "tools/list", "{}")).await;
            let tools = path(&listed, &["result", "tools"]).unwrap();
            let tools: Vec<serde_json::Value> = serde_json::from_str(&tools.replace("1e400", "1")).unwrap();
            let tool = tools.iter().find(|tool| tool["name"] == "array").unwrap();
            if content.is_some() {
                assert_eq!(tool["outputSchema"]["type"], "object", "{on:?}, {revision}: {tool}");
                let inner = &tool["outputSchema"]["properties"]["result"];
                assert_eq!(inner["type"], "array", "{on:?}, {revision}: {tool}");
                assert_eq!(tool["outputSchema"]["required"][0], "result", "{on:?}, {revision}: {tool}");
            } else {
                assert!(tool.get("outputSchema").is_none(), "{on:?}, {revision}: {tool}");
            }
            let answer = client.request(&call("2", "array", "{}", "")).await;
            let given = path(&answer, &["result", "structuredContent"]);
            assert_eq!(given.as_deref(), content, "{on:?}, {revision}: {answer}");
            assert!(answer.contains(r#""text":"[1,2]""#), "{on:?}, {revision}: {answer}");
        }
    }
}

#[tokio::test]
async fn requests_carry_what_a_modern_server_demands() {
    let bridged = before_modern(On::Http).await;
    let mut client = client_of(&bridged, NEWEST).await;
    let arguments = r#"{"n":42,"loc":{"region":"eu"}}"#;
    let forged = r#""_meta":{"io.modelcontextprotocol/logLevel":"debug","vendor/key":[1.0]}"#;
    let answer = client.request(&call("1", "where", arguments, forged)).await;
    assert!(path(&answer, &["result"]).is_some(), "{answer}");
    let Server::Http(server) = &bridged.server else { unreachable!() };
    let seen = server.upstream.call("tools/call").await;
    let expected = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "where"),
        ("mcp-param-n", "42"),
        ("mcp-param-region", "eu"),
    ];
    for (name, value) in expected {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.header("mcp-session-id"), None);
    assert_eq!(meta(&seen.body, "vendor/key").as_deref(), Some("[1.0]"));
    assert_eq!(meta(&seen.body, LOG_LEVEL), None, "what only the proxy may say is not taken from the client");
}

#[tokio::test]
async fn b4_the_standing_stream_tells_of_lists_and_of_resources_that_were_subscribed_to() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let mut client = client_of(&bridged, NEWEST).await;
        bridged.server.call("subscriptions/listen").await;
        let uri = r#"{"uri":"test://thing"}"#;
        let answer = client.request(&request("1", "resources/subscribe", uri)).await;
        assert_eq!(path(&answer, &["result"]).as_deref(), Some("{}"), "{on:?}: {answer}");
        client.request(&call("2", "updated", "{}", "")).await;
        let updated = client.message("notifications/resources/updated").await;
        assert_eq!(path(&updated, &["params"]).as_deref(), Some(uri), "{on:?}: {updated}");
        client.message("notifications/tools/list_changed").await;
        client.request(&request("3", "resources/unsubscribe", uri)).await;
        let filters: Vec<_> = bridged
            .server
            .calls("subscriptions/listen")
            .iter()
            .map(|text| path(text, &["params", "notifications", "resourceSubscriptions"]).is_some())
            .collect();
        assert_eq!(filters, [false, true], "{on:?}: lists once, then the resource, and nothing for none");
    }
}

#[tokio::test]
async fn a_withdrawn_call_is_withdrawn_at_the_server_and_not_answered() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let mut client = client_of(&bridged, NEWEST).await;
        client.send(&call("\"mine\"", "endless", "{}", r#""_meta":{"progressToken":"p"}"#)).await;
        client.message("notifications/progress").await;
        let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"mine"}}"#;
        client.send(note).await;
        if on == On::Stdio {
            let own = member(&bridged.server.call("tools/call").await, "id");
            let told = bridged.server.call("notifications/cancelled").await;
            assert_eq!(path(&told, &["params", "requestId"]), own, "{told}");
        }
        client.request(&call("2", "echo", "{}", "")).await;
        let answered = |text: &String| member(text, "id").as_deref() == Some("\"mine\"");
        assert!(!client.left().iter().any(answered), "{on:?}: a withdrawn call has no answer");
    }
}

#[tokio::test]
async fn a_client_of_http_sse_uses_a_modern_server() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let mut client = Client::sse(bridged.proxy.address).await;
        client.handshake("2024-11-05").await;
        client.send(&call("\"1\"", "input", r#"{"kinds":["roots/list"]}"#, "")).await;
        let question = client.message("roots/list").await;
        let asked = member(&question, "id").unwrap();
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":{asked},"result":{{"roots":[]}}}}"#)).await;
        let answer = client.response("\"1\"").await;
        let told = path(&answer, &["result", "inputResponses", "q0"]);
        assert_eq!(told.as_deref(), Some(r#"{"roots":[]}"#), "{on:?}: {answer}");
    }
}

#[tokio::test]
async fn a_session_ends_with_its_subscription_and_its_calls() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let mut client = client_of(&bridged, NEWEST).await;
        bridged.server.call("subscriptions/listen").await;
        client.send(&call("1", "hang", "{}", "")).await;
        bridged.server.call("tools/call").await;
        let id = client.session();
        let ended = ask(Method::DELETE, "/mcp").header("Mcp-Session-Id", &id).send(bridged.proxy.address);
        assert!((200..300).contains(&ended.await.status), "{on:?}");
        let gone = in_session(&id, INITIALIZED).send(bridged.proxy.address).await;
        assert_eq!(gone.status, 404, "{on:?}");
        if on == On::Stdio {
            until("call and subscription are withdrawn", || {
                bridged.server.calls("notifications/cancelled").len() == 2
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_batch_is_taken_apart_and_its_answers_come_together() {
    for on in MODERN {
        let bridged = before_modern(on).await;
        let id = session(&bridged.proxy, "2025-03-26").await;
        let batch = format!("[{},{}]", request("1", "tools/list", "{}"), call("\"1\"", "echo", "{}", ""));
        let answer = in_session(&id, &batch).send(bridged.proxy.address).await;
        assert_eq!(answer.status, 200, "{on:?}");
        let text = if answer.is_stream() {
            answer.events().rest().await.into_iter().map(|event| event.data).collect()
        } else {
            answer.text().await
        };
        assert!(text.contains(r#""id":1,"#) && text.contains(r#""id":"1","#), "{on:?}: {text}");
        let calls = || found("both requests", || Some(bridged.server.calls("tools/call")));
        assert_eq!(calls().await.len(), 1, "{on:?}");
    }
}
