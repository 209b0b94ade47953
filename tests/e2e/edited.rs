//! Both forms of a message that somebody held and changed are on the tape, also when its breakpoint was set while the proxy ran;
//! what nobody changed is there once.

use rustix::process::Signal;
use serde_json::{Value, json};
use shadowcat_tests::client::{Client, call};
use shadowcat_tests::operator::Operator;
use shadowcat_tests::proxy::{Proxy, before_command, before_url, program};
use shadowcat_tests::server::{HttpServer, HttpSettings, member, path};

use crate::bridged::code;
use crate::harness::child;
use crate::pause::paused;

/// The frames on the tape of a proxy that ends.
async fn frames(proxy: &Proxy) -> Vec<Value> {
    proxy.process.signal(Signal::TERM);
    assert!(proxy.process.ended().await.success());
    let tapes = std::fs::read_dir(proxy.data().join("tapes")).unwrap();
    let text: String =
        tapes.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default()).collect();
    // In the handshake there are numbers that this parser does not take.
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("hop").is_some()).collect()
}

/// Hop, kind, and what `part` of the message is, of the frames that say something of a breakpoint, or stand at `wire`.
fn doubled<'f>(frames: &'f [Value], part: &str) -> Vec<(&'f str, &'f str, Value, bool)> {
    let word = |frame: &'f Value, name: &str| frame[name].as_str().unwrap();
    let exchanges: Vec<&Value> =
        frames.iter().filter(|frame| frame["hop"] == "wire").map(|frame| &frame["exchange"]).collect();
    let of = frames.iter().filter(|frame| exchanges.contains(&&frame["exchange"]));
    let told = |frame: &Value| frame["rules"][0].as_str().is_some_and(|deed| deed.contains("by api"));
    of.map(|frame| {
        let part = frame["message"].pointer(part).cloned().unwrap_or_default();
        (word(frame, "hop"), word(frame, "kind"), part, told(frame))
    })
    .collect()
}

async fn breakpoint(operator: &Operator, filter: &str) {
    let (status, value) = operator.post("/v1/breakpoints", &json!({ "filter": filter })).await;
    assert_eq!(status, 201, "{value}");
}

async fn shown(proxy: &Proxy, arguments: &[&str]) -> String {
    let mut tapes = std::fs::read_dir(proxy.data().join("tapes")).unwrap();
    let mut show = tokio::process::Command::new(program());
    show.args(["tape", "show"]).args(arguments).arg(tapes.next().unwrap().unwrap().path());
    let output = show.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn an_edited_call_and_its_edited_answer_have_both_forms_and_others_one() {
    let server = HttpServer::start(HttpSettings::default()).await;
    for reverse in [before_command(&[child()]), before_url(&server.url())] {
        let (proxy, operator) = paused(reverse, "record: {}\n").await;
        let mut client = Client::http(proxy.address);
        client.handshake("2025-11-25").await;
        breakpoint(&operator, "~t plain").await;
        client.send(&call("1", "plain", r#"{"n":1}"#, "")).await;
        operator.edit(|message| message["params"]["arguments"]["n"] = json!(2)).await;
        operator.edit(|message| message["result"]["more"] = json!(true)).await;
        assert_eq!(path(&client.response("1").await, &["result", "more"]).as_deref(), Some("true"));
        // What is let go on as it is, and what is not held at all.
        client.send(&call("2", "plain", "{}", "")).await;
        for _ in 0..2 {
            let (id, _) = operator.only().await;
            operator.resume(&id).await;
        }
        client.response("2").await;
        client.request(&call("3", "other", "{}", "")).await;

        let frames = frames(&proxy).await;
        let n = doubled(&frames, "/params/arguments/n");
        let shape: Vec<_> = n.iter().map(|(hop, kind, n, told)| (*hop, *kind, n.as_u64(), *told)).collect();
        assert_eq!(
            shape,
            [
                ("edge", "request", Some(1), false),
                ("wire", "request", Some(2), true),
                ("wire", "response", None, false),
                ("edge", "response", None, true),
            ]
        );
        let more: Vec<bool> =
            doubled(&frames, "/result/more").iter().map(|(.., more, _)| more.is_boolean()).collect();
        assert_eq!(more, [false, false, false, true]);
        let shown_calls = shown(&proxy, &[]).await;
        assert!(shown_calls.contains("breakpoint b-1 (h-1): edit by api"), "{shown_calls}");
        let messages = shown(&proxy, &["-o", "json"]).await;
        assert!(messages.contains(r#""n":1"#) && messages.contains(r#""n":2"#), "{messages}");
    }
}

#[tokio::test]
async fn what_a_person_answered_dropped_or_refused_is_on_the_tape_as_it_came() {
    let (proxy, operator) = paused(before_command(&[child()]), "record: {}\n").await;
    let mut client = Client::http(proxy.address);
    client.handshake("2025-11-25").await;
    breakpoint(&operator, "~t plain & ~s").await;
    for (id, verdict) in [
        ("1", json!({"verdict": "answer", "result": {"mine": 1}})),
        ("2", json!({"verdict": "block", "reason": "not this"})),
    ] {
        client.send(&call(id, "plain", "{}", "")).await;
        let (held, _) = operator.only().await;
        operator.decide(&held, &verdict).await;
        assert_eq!(code(&client.response(id).await).is_some(), id == "2");
    }
    let frames = frames(&proxy).await;
    let kept = doubled(&frames, "/result/request");
    let kept = kept.iter().filter(|(hop, ..)| *hop == "wire");
    assert_eq!(
        kept.filter(|(_, kind, was, told)| *kind == "response" && was.is_object() && !told).count(),
        2
    );
    assert_eq!(frames.iter().filter(|frame| frame["action"] == "refused").count(), 1);
}

#[tokio::test]
async fn an_edited_question_of_a_server_has_both_forms_and_so_has_its_answer() {
    let (proxy, operator) = paused(before_command(&[child()]), "record: {}\n").await;
    let mut client = Client::sse(proxy.address).await;
    client.handshake("2025-11-25").await;
    breakpoint(&operator, "~m elicitation/create").await;
    client.send(&call("7", "chatter", "{}", "")).await;
    operator.edit(|message| message["params"]["message"] = json!("Really?")).await;
    let ask = client.message("elicitation/create").await;
    let id = member(&ask, "id").unwrap();
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#)).await;
    operator.edit(|message| message["result"]["content"] = json!({"sure": true})).await;
    client.response("7").await;

    let frames = frames(&proxy).await;
    let asked: Vec<&Value> = frames.iter().filter(|frame| frame["method"] == "elicitation/create").collect();
    let words: Vec<_> = asked
        .iter()
        .map(|frame| (frame["hop"].as_str().unwrap(), &frame["message"]["params"]["message"]))
        .collect();
    assert!(
        matches!(words[..], [("wire", was), ("edge", is)] if *was != json!("Really?") && *is == json!("Really?"))
    );
    let exchange = &asked[0]["exchange"];
    let answers = frames.iter().filter(|frame| frame["exchange"] == *exchange && frame["kind"] == "response");
    let answers: Vec<_> = answers
        .map(|frame| {
            (frame["hop"].as_str().unwrap(), frame["message"]["result"]["content"]["sure"].is_boolean())
        })
        .collect();
    assert_eq!(answers, [("edge", false), ("wire", true)]);
}
