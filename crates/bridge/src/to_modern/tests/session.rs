//! What is answered here, and how requests and results change on their way.

use super::*;
use serde_json::json;
use shadowcat_pipeline::RefusalKind;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LEVEL: &str = "io.modelcontextprotocol/logLevel";

#[tokio::test]
async fn t65_the_handshake_is_answered_from_what_the_server_says_of_itself() {
    let bench = Bench::new(plain(), unasked);
    let welcome = bench.initialize("2025-06-18", json!({})).await;
    assert_eq!(
        welcome,
        json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {
                "tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true}, "logging": {}
            },
            "serverInfo": {"name": "s", "version": "2", "title": "S"},
            "instructions": "be kind"
        })
    );
    let another = bench.beside(unasked);
    another.initialize("2024-11-05", json!({})).await;
    let methods: Vec<_> = another.server.seen().iter().map(|sent| sent["method"].clone()).collect();
    assert_eq!(methods, ["server/discover"], "asked once for all sessions, and never by a handshake");
}

#[tokio::test]
async fn t66_the_modern_revision_cannot_be_had_by_a_handshake() {
    let bench = Bench::new(plain(), unasked);
    assert_eq!(bench.initialize("2026-07-28", json!({})).await["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn a_server_without_a_name_gets_one() {
    let script = offering(|request| {
        (request["method"] == "server/discover")
            .then(|| Play::Result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {}})))
    });
    let bench = Bench::new(script, unasked);
    let welcome = bench.initialize("2025-11-25", json!({})).await;
    assert_eq!(
        welcome,
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "up", "version": "0"}})
    );
}

#[tokio::test]
async fn t67_what_needs_no_server_is_answered_without_it() {
    let script = offering(|request| {
        (request["method"] == "server/discover")
            .then(|| Play::Result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {}})))
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    assert_eq!(bench.ask("ping", json!({})).await["result"], json!({}));
    bench.note("notifications/initialized", json!({})).await;
    bench.note("notifications/roots/list_changed", json!({})).await;
    bench.note("notifications/progress", json!({"progressToken": 1, "progress": 1})).await;
    assert_eq!(bench.counters.not_carried.get(), 2);
    assert_eq!(bench.server.seen().len(), 1, "only server/discover");
    assert_eq!(bench.counters.to_modern.get(), 0);
}

#[tokio::test]
async fn t68_the_level_is_kept_and_sent_with_each_request() {
    let bench = Bench::new(plain(), unasked);
    bench.initialize("2025-11-25", json!({})).await;
    bench.ask("prompts/list", json!({})).await;
    assert_eq!(bench.ask("logging/setLevel", json!({"level": "debug"})).await["result"], json!({}));
    bench.ask("prompts/list", json!({})).await;
    for wrong in [json!({"level": "loud"}), json!({"level": 1}), json!({})] {
        assert_eq!(bench.ask("logging/setLevel", wrong).await["error"]["code"], -32602);
    }
    let levels: Vec<_> =
        bench.server.of("prompts/list").iter().map(|sent| sent["params"]["_meta"][LEVEL].clone()).collect();
    assert_eq!(levels, [json!(null), json!("debug")]);
}

#[tokio::test]
async fn a_request_is_stamped_and_its_result_cleared() {
    let bench = Bench::new(plain(), unasked);
    bench.initialize("2025-11-25", json!({"roots": {"listChanged": true}, "tasks": {}})).await;
    let answer = bench.ask("vendor/x", json!({"a": 1, "task": {}, "_meta": {VERSION: "1", "k": 2}})).await;
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": "c-1", "result": {"x": 1}}));
    let sent = &bench.server.of("vendor/x")[0];
    assert_eq!(
        sent["params"],
        json!({"a": 1, "_meta": {
            "k": 2, VERSION: "2026-07-28", CAPABILITIES: {"roots": {}},
            "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"}
        }})
    );
    assert_eq!(bench.counters.to_modern.get(), 1);
    assert_eq!(bench.counters.not_carried.get(), 1, "the task");
}

#[tokio::test]
async fn methods_of_another_kind_of_session_are_not_there() {
    let bench = Bench::new(plain(), unasked);
    bench.initialize("2025-11-25", json!({})).await;
    for method in ["tasks/get", "tasks/list", "tasks/result", "subscriptions/listen", "server/discover"] {
        assert_eq!(bench.ask(method, json!({})).await["error"]["code"], -32601, "{method}");
    }
}

#[tokio::test]
async fn before_the_handshake_there_is_only_ping() {
    let bench = Bench::new(plain(), unasked);
    assert_eq!(bench.ask("tools/list", json!({})).await["error"]["code"], -32600);
    assert_eq!(bench.ask("ping", json!({})).await["result"], json!({}));
    assert!(bench.server.seen().is_empty());
}

#[tokio::test]
async fn a_restored_session_works_at_once() {
    let params = json!({"protocolVersion": "2024-11-05", "capabilities": {"sampling": {}}});
    let known = Resumed {
        handshake: Some((params.to_string(), json!({"protocolVersion": "2024-11-05"}).to_string())),
        log_level: Some("error".into()),
        subscriptions: Vec::new(),
    };
    let script = offering(|request| {
        (request["method"] == "tools/call").then(|| {
            Play::Result(json!({"content": [{"type": "text", "text": "a"}], "structuredContent": {}}))
        })
    });
    let bench = Bench::restored(known, script, unasked);
    let answer = bench.ask("tools/call", json!({"name": "t"})).await;
    assert_eq!(answer["result"], json!({"content": [{"type": "text", "text": "a"}]}));
    let meta = &bench.server.of("tools/call")[0]["params"]["_meta"];
    assert_eq!((&meta[LEVEL], &meta[CAPABILITIES]), (&json!("error"), &json!({"sampling": {}})));
    assert!(bench.server.of("server/discover").is_empty());
}

#[tokio::test]
async fn the_tool_list_passes_once_before_the_first_call_of_any_session() {
    let script = offering(|request| {
        (request["method"] == "tools/list").then(|| match request["params"]["cursor"].as_str() {
            None => Play::Result(json!({"tools": [], "nextCursor": "2"})),
            Some(_) => Play::Result(json!({"tools": [{"name": "t", "outputSchema": {"type": "string"}}]})),
        })
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-06-18", json!({})).await;
    bench.ask("tools/call", json!({"name": "t"})).await;
    bench.ask("tools/call", json!({"name": "t"})).await;
    let methods: Vec<_> = bench.server.seen().iter().map(|sent| sent["method"].clone()).collect();
    assert_eq!(methods, ["server/discover", "tools/list", "tools/list", "tools/call", "tools/call"]);
    assert_eq!(bench.server.of("tools/list")[1]["params"]["cursor"], "2");
}

#[tokio::test(start_paused = true)]
async fn a_tool_list_that_could_not_be_had_is_asked_for_again_a_minute_later() {
    let mut asked = 0;
    let script = offering(move |request| {
        (request["method"] == "tools/list").then(|| {
            asked += 1;
            match asked {
                1 => Play::Error(-32603, json!(null)),
                _ => Play::Result(json!({"tools": [{"name": "t", "outputSchema": {"type": "string"}}]})),
            }
        })
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-06-18", json!({})).await;
    for (pause, asked) in [(0, 1), (30, 1), (31, 2), (3_600, 2)] {
        tokio::time::advance(Duration::from_secs(pause)).await;
        bench.ask("tools/call", json!({"name": "t"})).await;
        assert_eq!(bench.server.of("tools/list").len(), asked);
    }
}

#[tokio::test]
async fn t72_a_call_is_wrapped_as_its_schema_is() {
    let list =
        json!({"tools": [{"name": "t", "inputSchema": {}, "outputSchema": {"type": ["object", "null"]}}]});
    let script = offering(move |request| match request["method"].as_str() {
        Some("tools/list") => Some(Play::Result(list.clone())),
        Some("tools/call") => Some(Play::Result(json!({"content": [], "structuredContent": {"a": 1}}))),
        _ => None,
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-06-18", json!({})).await;
    let listed = bench.ask("tools/list", json!({})).await;
    assert_eq!(
        listed["result"]["tools"][0]["outputSchema"],
        json!({"type": "object", "properties": {"result": {"type": ["object", "null"]}}, "required": ["result"]})
    );
    let called = bench.ask("tools/call", json!({"name": "t"})).await;
    assert_eq!(called["result"]["structuredContent"], json!({"result": {"a": 1}}));
}

#[tokio::test]
async fn refused_headers_are_made_again_once() {
    let mut refused = 0;
    let script = offering(move |request| {
        (request["method"] == "tools/call").then(|| {
            refused += 1;
            match (request["params"]["name"].as_str(), refused) {
                (Some("good"), 2) => Play::Result(json!({"content": []})),
                _ => Play::Error(-32020, json!(null)),
            }
        })
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    assert!(bench.ask("tools/call", json!({"name": "good"})).await["result"].is_object());
    assert_eq!(bench.ask("tools/call", json!({"name": "bad"})).await["error"]["code"], -32603);
    assert_eq!(bench.server.of("tools/call").len(), 4);
    assert_eq!(bench.server.of("tools/list").len(), 3, "once before the first call, and for each correction");
}

#[tokio::test]
async fn a_server_that_turns_out_another_is_asked_again_what_it_is() {
    let script = offering(|request| {
        (request["method"] == "x/y").then(|| Play::Error(-32022, json!({"supported": []})))
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    assert_eq!(bench.ask("x/y", json!({})).await["error"]["code"], -32603);
    bench.initialize("2025-11-25", json!({})).await;
    assert_eq!(bench.server.of("server/discover").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_of_itself_is_kept_as_long_as_it_says() {
    let bench = Bench::new(plain(), unasked);
    bench.initialize("2025-11-25", json!({})).await;
    tokio::time::advance(Duration::from_secs(59)).await;
    bench.initialize("2025-11-25", json!({})).await;
    assert_eq!(bench.server.of("server/discover").len(), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    bench.initialize("2025-11-25", json!({})).await;
    assert_eq!(bench.server.of("server/discover").len(), 2);
}

#[tokio::test]
async fn t70_a_call_that_needs_more_than_the_client_can_do_fails_as_a_tool_does() {
    let script = offering(|request| {
        (request["method"] == "tools/call")
            .then(|| Play::Error(-32021, json!({"requiredCapabilities": {"elicitation": {}}})))
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-03-26", json!({"elicitation": {}})).await;
    let answer = bench.ask("tools/call", json!({"name": "t"})).await;
    assert_eq!(answer["result"], json!({"content": [{"type": "text", "text": "so"}], "isError": true}));
    assert_eq!(bench.server.of("tools/call")[0]["params"]["_meta"][CAPABILITIES], json!({}));
}

#[tokio::test]
async fn a_fault_of_the_message_is_an_error_and_no_status() {
    let script = offering(|request| {
        (request["method"] == "x/y").then(|| Play::Refuse(Refusal::bad_message(-32601, "no such thing")))
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    let error = &bench.ask("x/y", json!({})).await["error"];
    assert_eq!((&error["code"], &error["message"]), (&json!(-32601), &json!("no such thing")));
}

#[tokio::test]
async fn a_server_in_no_reach_stays_a_refusal() {
    let script = |_: &Value| Play::Refuse(RefusalKind::UpstreamUnreachable.into());
    let bench = Bench::new(script, unasked);
    let request = Request::new(&Id::from_u64(1), "initialize", None);
    let mut replies = bench.send(Message::Request(request)).await.unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap_err().kind, RefusalKind::UpstreamUnreachable);
}

#[tokio::test]
async fn what_comes_before_the_answer_passes_and_a_question_of_the_server_does_not() {
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "p", "progress": 1}});
    let notes =
        vec![progress.clone(), json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"}), progress.clone()];
    let script = offering(move |request| {
        (request["method"] == "x/y").then(|| Play::After(notes.clone(), json!({"resultType": "complete"})))
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({"roots": {}})).await;
    let mut replies = bench.start("7", "x/y", &json!({})).await;
    let answer = json!({"jsonrpc": "2.0", "id": 7, "result": {}});
    assert_eq!(rest(&mut replies).await, [progress.clone(), progress, answer]);
    assert_eq!(bench.counters.not_carried.get(), 1);
}

#[tokio::test]
async fn two_requests_with_one_id_are_two_and_the_newest_is_withdrawn() {
    let script = offering(|request| {
        (request["method"] == "x/y").then(|| match request["params"]["n"].as_u64() {
            Some(1) => Play::Result(json!({"n": 1})),
            _ => Play::Silence,
        })
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({})).await;
    let mut older = bench.start("5", "x/y", &json!({"n": 1})).await;
    let mut newer = bench.start("5", "x/y", &json!({"n": 2})).await;
    bench.note("notifications/cancelled", json!({"requestId": "5"})).await;
    bench.note("notifications/cancelled", json!({"requestId": 5})).await;
    assert!(rest(&mut newer).await.is_empty(), "nothing more is answered");
    assert_eq!(rest(&mut older).await, [json!({"jsonrpc": "2.0", "id": 5, "result": {"n": 1}})]);
    let ids: Vec<_> = bench.server.of("x/y").iter().map(|sent| sent["id"].clone()).collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(bench.server.awaited(), 0);
}

#[tokio::test]
async fn an_unknown_kind_of_result_is_an_error() {
    let script = offering(|request| {
        (request["method"] == "tools/call")
            .then(|| Play::Result(json!({"resultType": "vendor", "taskId": "t"})))
    });
    let bench = Bench::new(script, unasked);
    bench.initialize("2025-11-25", json!({"tasks": {}})).await;
    assert_eq!(bench.ask("tools/call", json!({"name": "t"})).await["error"]["code"], -32603);
}
