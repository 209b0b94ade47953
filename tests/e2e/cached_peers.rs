//! T47-T49 with the official Python SDK: what its server says may be kept, and of what it tells.

use shadowcat_tests::proxy::{Proxy, before_command, before_url};
use shadowcat_tests::raw::Ask;
use shadowcat_tests::wait::within;

use crate::modern::{body, envelope};
use crate::peers::{START, python, serve, source};

const CACHE: &str = "cache: {}\n";

async fn ask(proxy: &Proxy, asked: Ask) -> String {
    asked.send(proxy.address).await.message().await
}

async fn tools(proxy: &Proxy) -> String {
    ask(proxy, envelope("tools/list", None, &body("1", "tools/list", ""))).await
}

async fn clock(proxy: &Proxy) -> String {
    let uri = "test://clock";
    ask(
        proxy,
        envelope("resources/read", Some(uri), &body("1", "resources/read", r#""uri":"test://clock","#)),
    )
    .await
}

async fn call(proxy: &Proxy, tool: &str, arguments: &str) {
    let members = format!(r#""name":"{tool}","arguments":{arguments},"#);
    let answer = ask(proxy, envelope("tools/call", Some(tool), &body("2", "tools/call", &members))).await;
    assert!(!answer.contains("\"error\"") && !answer.contains("\"isError\":true"), "{answer}");
}

/// Changes something and tells of it until a client is answered so.
async fn changed(
    proxy: &Proxy,
    (tool, arguments): (&str, &str),
    look: impl AsyncFn(&Proxy) -> String,
    is_new: impl Fn(&str) -> bool,
) {
    within(START, format!("what {tool} has changed"), async {
        while !is_new(&look(proxy).await) {
            call(proxy, tool, arguments).await;
        }
    })
    .await;
}

#[tokio::test]
async fn t49_what_the_python_server_says_may_be_kept_is_kept_until_it_tells_of_a_change() {
    let words = [python(), source("python/keeping_server.py")];
    let (_server, port) = serve(&words, "--http").await;
    let on_http = before_url(&format!("http://127.0.0.1:{port}/mcp")).config(CACHE).start().await;
    let [python, script] = words;
    let on_stdio = before_command(&[python, script, "--stdio".into()]).config(CACHE).start().await;
    for proxy in [on_http, on_stdio] {
        let (listed, read) = (tools(&proxy).await, clock(&proxy).await);
        assert!(listed.contains("\"move\"") && read.contains("now 0"), "{listed} {read}");
        call(&proxy, "add", r#"{"name":"quiet","tell":false}"#).await;
        call(&proxy, "move", r#"{"tell":false}"#).await;
        let kept = [tools(&proxy).await, clock(&proxy).await].concat();
        assert!(!kept.contains("quiet") && kept.contains("now 0"), "nobody has told of it: {kept}");
        assert!(proxy.metric("shadowcat_cache_hits_total").await >= 2.0);
        let has_both = |text: &str| text.contains("quiet") && text.contains("loud");
        changed(&proxy, ("add", r#"{"name":"loud","tell":true}"#), tools, has_both).await;
        changed(&proxy, ("move", r#"{"tell":true}"#), clock, |text| !text.contains("now 0")).await;
        assert!(proxy.metric("shadowcat_cache_invalidated_total").await >= 2.0);
    }
}
