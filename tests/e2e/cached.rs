//! T47-T51: what a modern server says may be kept is kept, for those it may be told, and for as long as it holds.

use shadowcat_tests::client::Client;
use shadowcat_tests::raw::Ask;
use shadowcat_tests::server::{Speaks, member, path};
use shadowcat_tests::wait::{found, soon};

use crate::auth::{ANN, BOB, asking};
use crate::bridged::{Bridged, MODERN, On, Server, bridged};
use crate::modern::{body, envelope, tool};
use crate::recording::shadowcat;

const CACHE: &str = "cache: {}\n";

fn read(id: &str, uri: &str, more: &str) -> Ask {
    let body = body(id, "resources/read", &format!(r#""uri":"{uri}",{more}"#));
    envelope("resources/read", Some(uri), &body)
}

fn list(id: &str, cursor: &str) -> Ask {
    envelope("tools/list", None, &body(id, "tools/list", &format!(r#""cursor":"{cursor}","#)))
}

fn ttl(answer: &str) -> u64 {
    let ttl = path(answer, &["result", "ttlMs"]).and_then(|raw| raw.parse().ok());
    ttl.unwrap_or_else(|| panic!("no time in {answer}"))
}

/// An answer but for the time in it.
fn rest(answer: &str) -> String {
    answer.replacen(&format!(r#""ttlMs" : {}"#, ttl(answer)), "", 1)
}

/// Waits until the server was told to say what changes.
async fn watched(bridged: &Bridged, about: &str) {
    found(format!("a subscription to {about}"), || {
        let listens = bridged.server.calls("subscriptions/listen");
        listens.into_iter().find(|listen| listen.contains(about))
    })
    .await;
}

/// Lets the server tell of changes until one was heard.
async fn changes(bridged: &Bridged) {
    soon("a change that is heard", async {
        while bridged.proxy.metric("shadowcat_cache_invalidated_total").await < 1.0 {
            bridged.ask(read("\"c\"", "test://changes", "")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn t47_what_is_public_is_asked_once() {
    for on in MODERN {
        let bridged = bridged(on, Speaks::Modern, CACHE).await;
        let uri = "test://thing?keep=600000:public";
        let first = bridged.ask(read("\"a\"", uri, "")).await;
        assert_eq!(ttl(&first), 600_000, "{on:?}: {first}");
        let again = bridged.ask(read("7", uri, "")).await;
        assert!(ttl(&again) <= 600_000 && ttl(&again) > 0, "{on:?}: {again}");
        assert_eq!(rest(&again), rest(&first).replace("\"a\"", "7"), "{on:?}");
        assert_eq!(bridged.server.calls("resources/read").len(), 1, "{on:?}");
        for (name, value) in [("hits", 1.0), ("stored", 1.0), ("misses", 1.0)] {
            bridged.metric_is(&format!("shadowcat_cache_{name}_total"), value).await;
        }
        bridged.metric_is("shadowcat_cache_entries", 1.0).await;
    }
}

/// A proxy that asks who its clients are, before a server of this kind.
async fn asking_before(on: On, config: &str) -> Bridged {
    let (server, reverse) = Server::start(on, Speaks::Modern).await;
    Bridged { proxy: asking(reverse.config(config)).start().await, server }
}

#[tokio::test]
async fn t47_t48_what_is_public_is_for_every_token_and_what_is_private_for_the_one_that_asked() {
    for on in MODERN {
        let bridged = asking_before(on, CACHE).await;
        let calls = || bridged.server.calls("resources/read").len();
        let (public, private) = ("test://thing?keep=600000:public", "test://thing?keep=600000:private");
        for (token, uri, reached) in [
            (ANN, public, 1),
            (BOB, public, 1),
            (ANN, private, 2),
            (BOB, private, 3),
            (ANN, private, 3),
            (BOB, private, 3),
        ] {
            let answer = bridged.ask(read("1", uri, "").bearer(token)).await;
            assert!((1..=600_000).contains(&ttl(&answer)), "{on:?} {uri}: {answer}");
            assert_eq!(calls(), reached, "{on:?} {uri}");
        }
        for asked in [read("1", public, ""), read("1", public, "").bearer("somebody-else-3141592653")] {
            let answer = asked.send(bridged.proxy.address).await;
            assert_eq!(answer.status, 401, "{on:?}: who may not ask is told nothing that is kept either");
        }
        assert_eq!(calls(), 3, "{on:?}");
    }
}

#[tokio::test]
async fn t47_legacy_clients_of_a_modern_server_share_what_is_public() {
    for on in MODERN {
        let bridged = bridged(on, Speaks::Modern, CACHE).await;
        for _ in 0..3 {
            let mut client = Client::http(bridged.proxy.address);
            client.handshake("2025-11-25").await;
            let asked =
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"keep=600000:public"}}"#;
            let answer = client.request(asked).await;
            assert_eq!(path(&answer, &["result", "ttlMs"]), None, "{on:?}: {answer}");
            assert!(answer.contains("\"echo\""), "{on:?}: {answer}");
        }
        let asked = bridged.server.calls("tools/list");
        assert_eq!(asked.iter().filter(|asked| asked.contains("keep=")).count(), 1, "{on:?}: {asked:?}");
    }
}

#[tokio::test]
async fn t48_what_is_private_is_for_whoever_has_asked() {
    for on in MODERN {
        let bridged = bridged(on, Speaks::Modern, CACHE).await;
        let asked = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test://thing?keep=600000:private"}}"#;
        let [mut one, mut other] = [Client::http(bridged.proxy.address), Client::http(bridged.proxy.address)];
        for (client, calls) in [(&mut one, 1), (&mut other, 2)] {
            client.handshake("2025-11-25").await;
            client.request(asked).await;
            assert_eq!(bridged.server.calls("resources/read").len(), calls, "{on:?}");
        }
        one.request(asked).await;
        other.request(asked).await;
        assert_eq!(bridged.server.calls("resources/read").len(), 2, "{on:?}");
        for calls in [3, 4] {
            bridged.ask(read("1", "test://thing?keep=600000:private", "")).await;
            let asked = bridged.server.calls("resources/read").len();
            assert_eq!(asked, calls, "{on:?}: of requests without a name nobody knows whose they are");
        }
    }
}

#[tokio::test]
async fn t49_what_has_changed_is_asked_again() {
    for on in MODERN {
        for (method, about) in [("tools/list", "toolsListChanged"), ("resources/read", "test://thing")] {
            let bridged = bridged(on, Speaks::Modern, CACHE).await;
            let calls = || bridged.server.calls(method).iter().filter(|text| text.contains("keep=")).count();
            let ask = || match method {
                "tools/list" => list("1", "keep=600000:public"),
                _ => read("1", "test://thing?keep=600000:public", ""),
            };
            for _ in 0..2 {
                bridged.ask(ask()).await;
            }
            assert_eq!(calls(), 1, "{on:?}");
            watched(&bridged, about).await;
            changes(&bridged).await;
            bridged.ask(ask()).await;
            assert_eq!(calls(), 2, "{on:?}");
        }
    }
}

#[tokio::test]
async fn t49_what_a_lost_server_said_is_asked_again() {
    let bridged = bridged(On::Stdio, Speaks::Modern, CACHE).await;
    for calls in [1, 2] {
        for _ in 0..2 {
            let answer = bridged.ask(read("1", "test://thing?keep=600000:public", "")).await;
            assert_eq!(
                path(&answer, &["result", "x-unknown"]).as_deref(),
                Some("9007199254740993"),
                "{answer}"
            );
        }
        let reads = bridged.server.calls("resources/read");
        assert_eq!(reads.len(), calls, "{reads:?}");
        let crashed = bridged.ask(tool("2", "crash")).await;
        assert!(member(&crashed, "error").is_some(), "{crashed}");
    }
}

#[tokio::test]
async fn t50_an_answer_in_a_round_of_questions_is_not_kept() {
    for on in MODERN {
        let bridged = bridged(on, Speaks::Modern, CACHE).await;
        let uri = "test://thing?keep=600000:public";
        let rounds = [
            r#""inputResponses":{"q":{"action":"accept"}},"#,
            r#""requestState":"s","#,
            "",
            r#""requestState":"s","#,
        ];
        for (number, more) in rounds.iter().enumerate() {
            bridged.ask(read("1", uri, more)).await;
            assert_eq!(bridged.server.calls("resources/read").len(), number + 1, "{on:?}");
        }
        bridged.ask(read("1", uri, "")).await;
        assert_eq!(bridged.server.calls("resources/read").len(), 4, "{on:?}");
    }
}

#[tokio::test]
async fn t51_a_list_that_is_not_the_same_for_all_is_told_as_private_to_each() {
    const BY_ROLE: &str = "rules:
  - name: no-tools-for-guests
    when: {on: answer, method: tools/list, not: {claims: {$.role: admin}}}
    do: [{remove: '$.tools[?@.name == \"echo\"]'}]
";
    for (on, cache) in MODERN.into_iter().flat_map(|on| [(on, CACHE), (on, "")]) {
        let bridged = asking_before(on, &format!("{cache}{BY_ROLE}")).await;
        for _ in 0..2 {
            for (token, tools) in [(ANN, 1), (BOB, 0)] {
                let answer = bridged.ask(list("1", "keep=600000:public").bearer(token)).await;
                assert_eq!(answer.matches("\"echo\"").count(), tools, "{on:?}: {answer}");
                let scope = path(&answer, &["result", "cacheScope"]);
                assert_eq!(scope.as_deref(), Some("\"private\""), "{on:?}: {answer}");
            }
        }
        let reached = if cache.is_empty() { 4 } else { 1 };
        assert_eq!(
            bridged.server.calls("tools/list").len(),
            reached,
            "{on:?}: the server's own answer is kept"
        );
        let other = bridged.ask(read("1", "test://thing?keep=600000:public", "").bearer(BOB)).await;
        let scope = path(&other, &["result", "cacheScope"]);
        assert_eq!(scope.as_deref(), Some("\"public\""), "{on:?}: no rule is about it");
    }
}

#[tokio::test]
async fn nothing_is_kept_unless_the_operator_wants_it() {
    for on in MODERN {
        let bridged = bridged(on, Speaks::Modern, "").await;
        for _ in 0..2 {
            bridged.ask(list("1", "keep=600000:public")).await;
        }
        assert_eq!(bridged.server.calls("tools/list").len(), 2, "{on:?}");
        assert!(!bridged.proxy.page("/metrics").await.1.contains("shadowcat_cache"), "{on:?}");
    }
}

#[tokio::test]
async fn the_tape_says_what_was_answered_from_the_cache() {
    let config = format!("{CACHE}record:\n  only: ~m tools/list\n");
    let bridged = bridged(On::Http, Speaks::Modern, &config).await;
    for id in ["1", "2"] {
        bridged.ask(list(id, "keep=600000:public")).await;
    }
    let tapes = bridged.proxy.data().join("tapes");
    let shown = found("both answers on the tape", || {
        let tape = std::fs::read_dir(&tapes).ok()?.next()?.ok()?.path();
        let shown = shadowcat(&["tape", "show"], &tape, None);
        let shown = String::from_utf8(shown.stdout).ok()?;
        (shown.matches("tools/list").count() >= 2 && shown.contains("cache")).then_some(shown)
    })
    .await;
    assert_eq!(shown.matches("[cache: answered]").count(), 1, "{shown}");
}
