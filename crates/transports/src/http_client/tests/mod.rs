//! The client against real sockets.

mod http1;
mod http2;
mod peers;
mod secure;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use shadowcat_pipeline::task::Tasks;

use super::{Body, Client, ClientError, Settings, Target};

/// Longer than any test takes: reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client and the owner of its connections.
struct Rig {
    client: Client,
    tasks: Tasks,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let tasks = Tasks::new();
        Self { client: Client::new(settings, tasks.clone()).unwrap(), tasks }
    }

    async fn get(&self, target: &Target) -> Result<Response<Body>, ClientError> {
        self.client.send(get(), target, PATIENCE).await
    }

    /// A GET and the text of its answer.
    async fn read(&self, target: &Target) -> String {
        text(self.get(target).await.unwrap()).await
    }

    /// How many connections were opened, how many requests did without.
    fn counts(&self) -> (u64, u64) {
        (self.client.stats().opened(), self.client.stats().reused())
    }

    /// Waits until no more connections than these are open.
    async fn settles_at(&self, open: u64) {
        let settled = async {
            while self.client.stats().open() != open {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.unwrap();
    }
}

fn get() -> Request<Full<Bytes>> {
    Request::new(Full::default())
}

fn post(text: &'static str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from(text));
    *request.method_mut() = Method::POST;
    request
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
