//! Batches of 2025-03-26.

use shadowcat_tests::client::call;
use shadowcat_tests::proxy::before_url;
use shadowcat_tests::raw::post;
use shadowcat_tests::server::{HttpServer, HttpSettings};

use crate::edge::session;

const BATCHES: &str = "2025-03-26";

#[tokio::test]
async fn each_request_of_a_batch_needs_its_own_place_in_the_session() {
    let server = HttpServer::start(HttpSettings::default()).await;
    let proxy = before_url(&server.url()).config("limits:\n  in_flight_per_session: 2\n").start().await;
    let id = session(&proxy, BATCHES).await;
    let requests = [1, 2, 3, 4, 5].map(|id| call(&id.to_string(), "echo", "{}", ""));
    // Twice: the places are free again when the batch is answered.
    for _ in 0..2 {
        let batch = post("/mcp", &format!("[{}]", requests.join(","))).header("Mcp-Session-Id", &id);
        let answer = batch.send(proxy.address).await;
        assert_eq!(answer.status, 200);
        let text = answer.text().await;
        let count = |what: &str| text.matches(what).count();
        assert_eq!((count(r#""result":"#), count(r#""reason":"overloaded""#)), (2, 3), "{text}");
    }
}
