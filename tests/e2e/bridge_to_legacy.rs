//! T56-T64: modern clients of servers that only speak the legacy revisions, on each transport of these.

use shadowcat_tests::proxy::before_url;
use shadowcat_tests::server::{HttpServer, HttpSettings, Speaks, member, path};
use shadowcat_tests::wait::{found, until};

use crate::bridged::{
    ALL, Bridged, FORMS, LEGACY, On, Round, before_legacy, call_of, code, kind, modern, subscription,
};

const COMPLETE: Option<&str> = Some("\"complete\"");
const ACCEPT: &str = r#"{"action":"accept","content":{"n":9007199254740993}}"#;
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// A call of `ask` up to what it wants to know.
async fn asked(bridged: &Bridged, id: &str, arguments: &str, capabilities: &str) -> Round {
    Round::of(&bridged.ask(call_of(id, "ask", arguments, capabilities)).await)
}

#[tokio::test]
async fn t56_a_legacy_server_is_discovered_by_its_handshake() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let answer = modern("\"d\"", "server/discover", None, "", "{}", "").send(bridged.proxy.address).await;
        assert_eq!(answer.status, 200);
        let answer = answer.message().await;
        assert_eq!(member(&answer, "id").as_deref(), Some("\"d\""));
        let result = |names: &[&str]| path(&answer, &[&["result"], names].concat());
        assert!(result(&["supportedVersions"]).unwrap().contains("\"2026-07-28\""), "{on:?}: {answer}");
        assert_eq!(result(&["resultType"]).as_deref(), COMPLETE, "{on:?}: {answer}");
        let expected = [("cacheScope", "\"private\""), ("instructions", "\"be kind\"")];
        for (name, value) in expected {
            assert_eq!(result(&[name]).as_deref(), Some(value), "{on:?}: {answer}");
        }
        assert!(result(&["ttlMs"]).is_some(), "{on:?}: {answer}");
        let info = result(&["_meta", "io.modelcontextprotocol/serverInfo", "name"]);
        assert_eq!(info.as_deref(), Some("\"fake\""), "{on:?}: {answer}");
        assert_eq!(result(&["capabilities", "tools"]).as_deref(), Some(r#"{"listChanged":true}"#), "{on:?}");
        assert_eq!(result(&["capabilities", "tasks"]), None, "{on:?}: {answer}");
        bridged.server.call("notifications/initialized").await;
        let begun = bridged.server.calls("initialize");
        assert_eq!(begun.len(), 1, "{on:?}: {begun:?}");
        let revision = path(&begun[0], &["params", "protocolVersion"]);
        assert_eq!(revision.as_deref(), Some("\"2025-11-25\""), "{on:?}: {begun:?}");
    }
}

#[tokio::test]
async fn results_of_a_legacy_server_get_what_a_modern_client_must_find_in_them() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let listed = bridged.ask(modern("1", "tools/list", None, "", "{}", "")).await;
        assert_eq!(kind(&listed).as_deref(), COMPLETE, "{on:?}: {listed}");
        assert_eq!(path(&listed, &["result", "ttlMs"]).as_deref(), Some("0"), "{on:?}: {listed}");
        assert_eq!(path(&listed, &["result", "cacheScope"]).as_deref(), Some("\"private\""), "{on:?}");
        assert!(listed.contains(r#""big":9007199254740993,"one":1.0,"huge":1e400"#), "{on:?}: {listed}");
        let meta = r#""vendor/key":[1.0],"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"#;
        let members = r#""name":"echo","arguments":{"n":9007199254740993},"#;
        let echo = bridged.ask(modern("\"1\"", "tools/call", Some("echo"), members, "{}", meta)).await;
        assert_eq!(member(&echo, "id").as_deref(), Some("\"1\""), "{on:?}: {echo}");
        assert_eq!(kind(&echo).as_deref(), COMPLETE, "{on:?}: {echo}");
        let params = path(&echo, &["result", "request", "params"]).unwrap();
        assert_eq!(path(&params, &["_meta"]).as_deref(), Some(r#"{"vendor/key":[1.0]}"#), "{on:?}: {params}");
        assert_eq!(member(&params, "arguments").as_deref(), Some(r#"{"n":9007199254740993}"#), "{on:?}");
        let missing = modern("2", "no/such", None, "", "{}", "").send(bridged.proxy.address).await;
        assert_eq!((missing.status, code(&missing.message().await)), (404, Some(-32601)), "{on:?}");
    }
}

#[tokio::test]
async fn t57_a_question_in_the_middle_of_a_call_becomes_a_round_of_it() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let first = asked(&bridged, "1", r#"{"id":9}"#, FORMS).await;
        let question = first.request();
        assert_eq!(member(question, "method").as_deref(), Some("\"elicitation/create\""), "{on:?}");
        assert_eq!(path(question, &["params", "message"]).as_deref(), Some("\"Which?\""), "{on:?}");
        assert_eq!(path(question, &["params", "x-unknown"]).as_deref(), Some("1.0"), "{on:?}");
        assert!((bridged.proxy.metric("shadowcat_bridge_parked").await - 1.0).abs() < 0.1, "{on:?}");
        let retry = first.retry("\"2\"", "ask", r#"{"id":9}"#, FORMS, ACCEPT);
        let done = bridged.ask(retry).await;
        assert_eq!(member(&done, "id").as_deref(), Some("\"2\""), "{on:?}: {done}");
        assert_eq!(kind(&done).as_deref(), COMPLETE, "{on:?}: {done}");
        let answer = format!(r#"{{"jsonrpc":"2.0","id":9,"result":{ACCEPT}}}"#);
        assert_eq!(path(&done, &["result", "answers"]), Some(format!("[{answer}]")), "{on:?}");
        assert_eq!(bridged.server.responses(), [answer], "{on:?}");
        assert_eq!(bridged.server.calls("tools/call").len(), 1, "{on:?}: a call is run once");
        assert_eq!(bridged.server.calls("notifications/cancelled"), Vec::<String>::new(), "{on:?}");
        bridged.metric_is("shadowcat_bridge_parked", 0.0).await;
    }
}

#[tokio::test]
async fn t57_forms_samples_and_roots_are_asked_for_in_one_round_or_in_several() {
    let kinds = r#""kinds":["elicitation/create","sampling/createMessage","roots/list"]"#;
    let answer = |asked: &str| {
        let told = match member(asked, "method").unwrap().as_str() {
            "\"elicitation/create\"" => ACCEPT,
            "\"sampling/createMessage\"" => {
                r#"{"role":"assistant","content":{"type":"text","text":"hi"},"model":"m"}"#
            }
            _ => r#"{"roots":[{"uri":"file:///a"}]}"#,
        };
        told.to_owned()
    };
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        for (together, rounds_expected) in [("true", 1), ("false", 3)] {
            let arguments = format!(r#"{{{kinds},"together":{together}}}"#);
            let mut response = bridged.ask(call_of("0", "ask", &arguments, ALL)).await;
            let mut rounds = 0;
            while kind(&response).as_deref() == Some("\"input_required\"") {
                rounds += 1;
                let answered = Round::of(&response).answered(answer);
                let members = format!(r#""name":"ask","arguments":{arguments},{answered}"#);
                response = bridged
                    .ask(modern(&rounds.to_string(), "tools/call", Some("ask"), &members, ALL, ""))
                    .await;
            }
            // Questions that come together are gathered for a moment, but a busy machine may take longer.
            assert!(rounds <= 3 && (rounds == rounds_expected || together == "true"), "{on:?}: {rounds}");
            assert_eq!(kind(&response).as_deref(), COMPLETE, "{on:?}: {response}");
            let answers = path(&response, &["result", "answers"]).unwrap();
            for part in ["9007199254740993", "\"assistant\"", "file:///a"] {
                assert!(answers.contains(part), "{on:?}: {response}");
            }
        }
    }
}

#[tokio::test]
async fn t58_a_state_that_was_changed_or_used_reaches_nobody() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let first = asked(&bridged, "1", r#"{"id":9}"#, FORMS).await;
        let middle = first.state.len() / 2;
        let flipped = if first.state.as_bytes()[middle] == b'A' { "B" } else { "A" };
        let mut state = first.state.clone();
        state.replace_range(middle..=middle, flipped);
        let forged = Round { state, requests: first.requests.clone() };
        let refused = bridged.ask(forged.retry("2", "ask", r#"{"id":9}"#, FORMS, ACCEPT)).await;
        assert_eq!(code(&refused), Some(-32602), "{on:?}: {refused}");
        let other = bridged.ask(first.retry("3", "ask", r#"{"id":10}"#, FORMS, ACCEPT)).await;
        assert_eq!(code(&other), Some(-32602), "{on:?}: {other}");
        assert_eq!(bridged.server.responses(), Vec::<String>::new(), "{on:?}");
        let done = bridged.ask(first.retry("4", "ask", r#"{"id":9}"#, FORMS, ACCEPT)).await;
        assert_eq!(kind(&done).as_deref(), COMPLETE, "{on:?}: {done}");
        let again = bridged.ask(first.retry("5", "ask", r#"{"id":9}"#, FORMS, ACCEPT)).await;
        assert_eq!(code(&again), Some(-32602), "{on:?}: {again}");
        assert_eq!(bridged.server.responses().len(), 1, "{on:?}");
        assert_eq!(bridged.server.calls("tools/call").len(), 1, "{on:?}");
    }
}

#[tokio::test]
async fn t58_t59_a_call_whose_client_stays_away_is_given_up() {
    for on in LEGACY {
        let bridged = before_legacy(on, "bridge:\n  parked_for: 300ms\n").await;
        // A server that goes on without an answer, so that the call has to be withdrawn.
        let arguments = r#"{"id":9,"late":true}"#;
        let first = asked(&bridged, "1", arguments, FORMS).await;
        let own = member(&bridged.server.call("tools/call").await, "id");
        let cancelled = bridged.server.call("notifications/cancelled").await;
        assert_eq!(path(&cancelled, &["params", "requestId"]), own, "{on:?}: {cancelled}");
        let answer = found("an answer to the question", || bridged.server.responses().pop()).await;
        assert_eq!(answer, r#"{"jsonrpc":"2.0","id":9,"result":{"action":"cancel"}}"#, "{on:?}");
        bridged.metric_is("shadowcat_bridge_parked", 0.0).await;
        bridged.metric_is("shadowcat_bridge_expired_total", 1.0).await;
        let late = bridged.ask(first.retry("2", "ask", arguments, FORMS, ACCEPT)).await;
        assert_eq!(code(&late), Some(-32602), "{on:?}: {late}");
        assert_eq!(bridged.server.responses().len(), 1, "{on:?}");
    }
}

#[tokio::test]
async fn t60_a_session_offers_what_its_client_offers_and_never_more() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let able = asked(&bridged, "1", "{}", FORMS).await;
        let unable = bridged.ask(call_of("2", "ask", "{}", r#"{"sampling":{}}"#)).await;
        assert_eq!(path(&unable, &["result", "isError"]).as_deref(), Some("true"), "{on:?}: {unable}");
        assert_eq!(kind(&unable).as_deref(), COMPLETE, "{on:?}: {unable}");
        assert!(unable.contains("the client has no elicitation"), "{on:?}: {unable}");
        let offered: Vec<_> = bridged.server.calls("initialize");
        let offers = |name: &str| {
            let of = |text: &String| path(text, &["params", "capabilities", name]).is_some();
            offered.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(offers("elicitation"), [true, false], "{on:?}: {offered:?}");
        assert_eq!(offers("sampling"), [false, true], "{on:?}: {offered:?}");
        let done = bridged.ask(able.retry("3", "ask", "{}", FORMS, r#"{"action":"decline"}"#)).await;
        assert!(done.contains(r#"{"action":"decline"}"#), "{on:?}: {done}");
    }
}

#[tokio::test]
async fn t61_a_page_to_visit_becomes_a_round_after_which_the_call_is_made_again() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let first = Round::of(&bridged.ask(call_of("1", "url", r#"{"a":1.0}"#, ALL)).await);
        let question = first.request();
        assert_eq!(member(question, "method").as_deref(), Some("\"elicitation/create\""), "{on:?}");
        assert_eq!(path(question, &["params", "mode"]).as_deref(), Some("\"url\""), "{on:?}");
        assert_eq!(path(question, &["params", "elicitationId"]), None, "{on:?}: {question}");
        let page = path(question, &["params", "url"]);
        assert_eq!(page.as_deref(), Some("\"https://example.com/page\""), "{on:?}");
        let retry = first.retry("2", "url", r#"{"a":1.0}"#, ALL, r#"{"action":"accept"}"#);
        let done = bridged.ask(retry).await;
        assert_eq!(kind(&done).as_deref(), COMPLETE, "{on:?}: {done}");
        let again = first.retry("3", "url", r#"{"a":1.0}"#, ALL, r#"{"action":"accept"}"#);
        let refused = bridged.ask(again).await;
        assert_eq!(code(&refused), Some(-32602), "{on:?}: {refused}");
        let calls = bridged.server.calls("tools/call");
        assert_eq!(calls.len(), 2, "{on:?}: {calls:?}");
        assert_ne!(member(&calls[0], "id"), member(&calls[1], "id"), "{on:?}");
        assert_eq!(member(&calls[0], "params"), member(&calls[1], "params"), "{on:?}");
    }
}

#[tokio::test]
async fn t61_a_client_that_opens_no_pages_is_told_what_it_lacks() {
    let bridged = before_legacy(On::Http, "").await;
    let refused = call_of("1", "url", "{}", FORMS).send(bridged.proxy.address).await;
    assert_eq!(refused.status, 400);
    let refused = refused.message().await;
    assert_eq!(code(&refused), Some(-32021), "{refused}");
    let needed = path(&refused, &["error", "data", "requiredCapabilities", "elicitation", "url"]);
    assert_eq!(needed.as_deref(), Some("{}"), "{refused}");
}

#[tokio::test]
async fn t62_a_resource_that_is_not_there_is_an_error_of_the_application() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let uri = "test://missing";
        let members = format!(r#""uri":"{uri}","#);
        let answer = modern("1", "resources/read", Some(uri), &members, "{}", "");
        let answer = answer.send(bridged.proxy.address).await;
        assert_eq!(answer.status, 200, "{on:?}");
        let answer = answer.message().await;
        assert_eq!(code(&answer), Some(-32602), "{on:?}: {answer}");
        let data = path(&answer, &["error", "data"]);
        assert_eq!(data.as_deref(), Some(r#"{"uri":"test://missing","x-unknown":1e400}"#), "{on:?}");
    }
}

#[tokio::test]
async fn t63_listeners_share_a_subscription_and_each_hears_under_its_own_id() {
    let filter =
        r#"{"toolsListChanged":true,"promptsListChanged":true,"resourceSubscriptions":["test://thing"]}"#;
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let (accepted, mut first) = bridged.listen("1", filter).await;
        let (_, mut second) = bridged.listen("\"1\"", filter).await;
        assert_eq!(path(&accepted, &["toolsListChanged"]).as_deref(), Some("true"), "{on:?}: {accepted}");
        assert_eq!(path(&accepted, &["promptsListChanged"]), None, "{on:?}: {accepted}");
        let uris = path(&accepted, &["resourceSubscriptions"]);
        assert_eq!(uris.as_deref(), Some(r#"["test://thing"]"#), "{on:?}: {accepted}");
        bridged.ask(call_of("2", "updated", "{}", "{}")).await;
        for (events, id) in [(&mut first, "1"), (&mut second, "\"1\"")] {
            let (updated, changed) = (events.message().await, events.message().await);
            assert!(updated.contains("notifications/resources/updated"), "{on:?}: {updated}");
            assert_eq!(path(&updated, &["params", "uri"]).as_deref(), Some("\"test://thing\""), "{on:?}");
            assert!(changed.contains("notifications/tools/list_changed"), "{on:?}: {changed}");
            for told in [updated, changed] {
                assert_eq!(subscription(&told).as_deref(), Some(id), "{on:?}: {told}");
            }
        }
        drop(first);
        bridged.ask(call_of("3", "updated", "{}", "{}")).await;
        assert!(second.message().await.contains("updated"), "{on:?}");
        assert_eq!(bridged.server.calls("resources/subscribe").len(), 1, "{on:?}");
        assert_eq!(bridged.server.calls("resources/unsubscribe").len(), 0, "{on:?}");
        drop(second);
        let told = bridged.server.call("resources/unsubscribe").await;
        assert_eq!(path(&told, &["params", "uri"]).as_deref(), Some("\"test://thing\""), "{on:?}");
    }
}

#[tokio::test]
async fn t63_a_server_without_a_standing_stream_is_not_said_to_tell_anything() {
    let settings = HttpSettings { standing: false, speaks: Speaks::Legacy, ..HttpSettings::default() };
    let server = HttpServer::start(settings).await;
    let proxy = before_url(&server.url()).start().await;
    let bridged = Bridged { proxy, server: crate::bridged::Server::Http(server) };
    let filter = r#"{"toolsListChanged":true,"resourceSubscriptions":["test://thing"]}"#;
    let (accepted, _events) = bridged.listen("1", filter).await;
    assert_eq!(accepted, "{}");
}

#[tokio::test]
async fn t64_closing_the_stream_cancels_the_call_at_the_server() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let hung = call_of("\"mine\"", "late", "{}", "{}");
        let own = tokio::select! {
            _ = hung.send_patiently(bridged.proxy.address) => panic!("the call must not be answered"),
            call = bridged.server.call("tools/call") => member(&call, "id"),
        };
        assert_ne!(own.as_deref(), Some("\"mine\""));
        let cancelled = bridged.server.call("notifications/cancelled").await;
        assert_eq!(path(&cancelled, &["params", "requestId"]), own, "{on:?}: {cancelled}");
        let next = bridged.ask(call_of("\"mine\"", "echo", "{}", "{}")).await;
        assert_eq!(kind(&next).as_deref(), COMPLETE, "{on:?}: {next}");
    }
}

#[tokio::test]
async fn b6_the_next_call_finds_the_server_as_the_last_one_left_it() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        for (capabilities, count) in [("{}", 1), ("{}", 2), (FORMS, 1), ("{}", 3), (FORMS, 2)] {
            let answer = bridged.ask(call_of("1", "count", "{}", capabilities)).await;
            let told = path(&answer, &["result", "count"]);
            assert_eq!(told, Some(count.to_string()), "{on:?}, {capabilities}: {answer}");
        }
    }
}

#[tokio::test]
async fn b6_a_session_for_each_request_is_ended_with_it() {
    let bridged = before_legacy(On::Http, "bridge:\n  sessions: per_request\n").await;
    for id in ["1", "2"] {
        let answer = bridged.ask(call_of(id, "count", "{}", "{}")).await;
        assert_eq!(path(&answer, &["result", "count"]).as_deref(), Some("1"), "{answer}");
    }
    let first = asked(&bridged, "3", "{}", FORMS).await;
    let done = bridged.ask(first.retry("4", "ask", "{}", FORMS, ACCEPT)).await;
    assert_eq!(kind(&done).as_deref(), COMPLETE, "{done}");
    let crate::bridged::Server::Http(server) = &bridged.server else { unreachable!() };
    until("every session of the server is deleted", || server.sessions().is_empty()).await;
}

#[tokio::test]
async fn progress_and_log_come_as_the_client_asked_for_them() {
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        let events = |id: &str, tool: &str, more: &str, meta: &str| {
            let members = format!(r#""name":"{tool}","arguments":{{}},{more}"#);
            modern(id, "tools/call", Some(tool), &members, FORMS, meta).send(bridged.proxy.address)
        };
        let answer = events("1", "log", "", &format!(r#""{LOG_LEVEL}":"error","#)).await;
        let told: Vec<_> = answer.events().rest().await.into_iter().map(|event| event.data).collect();
        let levels: Vec<_> = told.iter().filter_map(|text| path(text, &["params", "level"])).collect();
        assert_eq!(levels, ["\"error\"", "\"critical\"", "\"alert\"", "\"emergency\""], "{on:?}: {told:?}");
        assert!(told[0].contains("9007199254740993"), "{on:?}: {told:?}");
        let silent = events("2", "log", "", "").await;
        let silent = if silent.is_stream() { silent.events().rest().await.len() } else { 1 };
        assert_eq!(silent, 1, "{on:?}: nothing but the result");
        for (id, token) in [("3", "7"), ("4", "\"7\"")] {
            let meta = format!(r#""progressToken":{token},"#);
            let answer = events(id, "ask", "", &meta).await.message().await;
            let retry = Round::of(&answer).answered(|_| ACCEPT.to_owned());
            let told = events(id, "ask", &retry, &meta).await.events().rest().await;
            let progress = path(&told[0].data, &["params", "progressToken"]);
            assert_eq!(progress.as_deref(), Some(token), "{on:?}: {told:?}");
            assert_eq!(member(&told[1].data, "id").as_deref(), Some(id), "{on:?}: {told:?}");
        }
    }
}

#[tokio::test]
async fn t79_a_task_is_named_in_a_header_and_an_unknown_one_is_a_wrong_parameter() {
    let takes = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
    for on in LEGACY {
        let bridged = before_legacy(on, "").await;
        for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
            let about = |name| modern("1", method, name, r#""taskId":"t","#, takes, "");
            for name in [None, Some("other")] {
                let answer = about(name).send(bridged.proxy.address).await;
                assert_eq!(answer.status, 400, "{on:?}, {method}");
                assert_eq!(code(&answer.message().await), Some(-32020), "{on:?}, {method}");
            }
            let unknown = bridged.ask(about(Some("t"))).await;
            assert_eq!(code(&unknown), Some(-32602), "{on:?}, {method}: {unknown}");
            let undeclared = modern("1", method, Some("t"), r#""taskId":"t","#, "{}", "");
            let answer = undeclared.send(bridged.proxy.address).await;
            assert_eq!(answer.status, 400, "{on:?}, {method}");
            let answer = answer.message().await;
            assert_eq!(code(&answer), Some(-32021), "{on:?}, {method}: {answer}");
        }
        let seen = bridged.server.seen();
        assert!(!seen.iter().any(|text| text.contains("tasks/")), "{on:?}: {seen:?}");
    }
}
