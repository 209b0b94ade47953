//! Who is let in: what the plan says, put together with the client that gets the keys of issuers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use shadowcat_auth::{
    Authenticator, Bearer, Denial, FETCH_BYTES_MAX, FETCH_MAX, Fetch, FetchError, Issuer, IssuerSettings,
    KeyCache, KeySource, Place, Resource, Tokens, is_loopback,
};
use shadowcat_pipeline::Principal;
use shadowcat_pipeline::task::Tasks;
use shadowcat_transports::http_client::{Client, Target};
use shadowcat_transports::server::Protection;

use crate::build::StartError;
use crate::entry::{ENDPOINT, MESSAGES, STREAM};
use crate::plan::{self, Listen, Plan};
use crate::{endpoint, files};

/// Why nobody could be let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The file with an issuer's keys is of no use.
    #[error("the keys of {issuer} cannot be read from {}: {fault}", path.display())]
    Keys {
        /// Whose keys.
        issuer: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
    /// The endpoint has no URL.
    #[error("the endpoint {0}; `auth.resource` says how clients know it")]
    Resource(#[from] shadowcat_auth::BadResource),
}

/// Who is let in, before it is known where clients come in.
pub(crate) struct Auth {
    plan: plan::Auth,
    keys: Vec<Arc<KeyCache>>,
    denials: Denials,
}

impl Auth {
    /// Begins to keep the keys of issuers fresh; none if everybody is let in.
    pub(crate) async fn open(
        plan: &Plan,
        tasks: &Tasks,
        registry: &mut Registry,
    ) -> Result<Option<Self>, StartError> {
        let (Some(auth), Listen::Http { .. }) = (plan.auth.clone(), &plan.listen) else { return Ok(None) };
        let mut keys = Vec::new();
        for issuer in &auth.issuers {
            let documents = Arc::new(Documents::new(plan, issuer, tasks)?);
            let cache = KeyCache::new(issuer.url.clone(), issuer.keys.clone(), documents);
            if let KeySource::At(Place::File(path)) = &issuer.keys {
                // What is wrong with a file is told to whoever starts the proxy, and not first to its clients.
                cache.load().await;
                if let Some(fault) = cache.fault() {
                    let (issuer, path) = (issuer.url.to_string(), path.clone());
                    return Err(AuthError::Keys { issuer, path, fault }.into());
                }
            }
            tasks.spawn_until_stop(Arc::clone(&cache).follow());
            keys.push(cache);
        }
        Ok(Some(Self { plan: auth, keys, denials: Denials::register(registry) }))
    }

    /// The issuers whose keys are looked after.
    pub(crate) fn keys(&self) -> Vec<Arc<KeyCache>> {
        self.keys.clone()
    }

    /// The protection of the endpoints of a server that listens here.
    pub(crate) fn protection(self, bound: SocketAddr) -> Result<Protection, StartError> {
        let Self { plan, keys, denials } = self;
        let main = plan.resource.unwrap_or_else(|| format!("http://{bound}{ENDPOINT}"));
        if main.starts_with("http://") && !is_loopback(bound.ip()) {
            tracing::warn!(
                resource = main,
                "tokens of clients pass unencrypted; put TLS in front, and its URL into `auth.resource`"
            );
        }
        // Clients check that the metadata is of the very URL that they use.
        let stream =
            main.strip_suffix(ENDPOINT).map_or_else(|| main.clone(), |base| format!("{base}{STREAM}"));
        let issuers: Vec<String> = plan.issuers.iter().map(|issuer| issuer.url.to_string()).collect();
        let resource = |url: &str| Resource::new(url, &issuers, &plan.scopes).map_err(AuthError::from);
        let (endpoint, pipe) = (resource(&main)?, resource(&stream)?);
        let own = [main, stream];
        let issuers = plan.issuers.into_iter().zip(keys).map(|(issuer, keys)| {
            let audience = if issuer.audience.is_empty() { own.to_vec() } else { issuer.audience };
            Issuer::new(keys, IssuerSettings { audience, algorithms: issuer.algorithms })
        });
        let tokens = Tokens::from_iter(plan.tokens);
        let bearer = Bearer { tokens, issuers: issuers.collect(), scopes: plan.scopes };
        let routes = vec![
            (ENDPOINT.to_owned(), endpoint),
            (STREAM.to_owned(), pipe.clone()),
            (MESSAGES.to_owned(), pipe),
        ];
        Ok(Protection::new(Arc::new(Door { bearer, denials }), routes))
    }
}

/// Counts whom it turns away.
struct Door {
    bearer: Bearer,
    denials: Denials,
}

#[async_trait]
impl Authenticator for Door {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Denial> {
        let outcome = self.bearer.authenticate(headers).await;
        if let Err(denial) = &outcome {
            tracing::debug!(%denial, "a client was turned away");
            self.denials.0.get_or_create(&Reason { reason: denial.word() }).inc();
        }
        outcome
    }
}

/// Requests that were turned away.
struct Denials(Family<Reason, Counter>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Denials {
    fn register(registry: &mut Registry) -> Self {
        let family = Family::default();
        registry.register(
            "auth_denials",
            "Requests of clients that did not prove who they are",
            family.clone(),
        );
        Self(family)
    }
}

/// Documents of one issuer.
struct Documents {
    client: Client,
}

impl Documents {
    fn new(plan: &Plan, issuer: &plan::Issuer, tasks: &Tasks) -> Result<Self, StartError> {
        Ok(Self { client: endpoint::client(plan, FETCH_MAX, issuer.ca_file.as_deref(), tasks)? })
    }

    async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        let target = Target::parse(url).map_err(|error| FetchError::Failed(error.to_string()))?;
        let mut request = Request::new(Full::new(Bytes::new()));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, endpoint::AGENT);
        let sent = self.client.send(request, &target, FETCH_MAX).await;
        // Whoever looks at the health of the proxy sees it.
        let response = sent.map_err(|error| FetchError::Failed(error.safe_sentence()))?;
        match response.status() {
            StatusCode::OK => {}
            other => return Err(FetchError::Status(other.as_u16())),
        }
        let whole = endpoint::whole(response.into_body(), FETCH_BYTES_MAX).await;
        whole.map_err(|unread| FetchError::Failed(unread.to_string()))
    }
}

#[async_trait]
impl Fetch for Documents {
    async fn fetch(&self, place: &Place) -> Result<Bytes, FetchError> {
        let got = async {
            match place {
                Place::Url(url) => self.get(url.as_str()).await,
                Place::File(path) => {
                    let path = path.clone();
                    let read = tokio::task::spawn_blocking(move || read(&path)).await;
                    read.unwrap_or_else(|error| Err(failed(&error)))
                }
            }
        };
        let timed_out = || {
            FetchError::Failed(format!(
                "there was no answer within {}",
                humantime::format_duration(FETCH_MAX)
            ))
        };
        tokio::time::timeout(FETCH_MAX, got).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

fn read(path: &Path) -> Result<Bytes, FetchError> {
    files::read_again(path, FETCH_BYTES_MAX).map(Bytes::from).map_err(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> FetchError {
    FetchError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use shadowcat_auth::Url;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::proxy::Proxy;

    #[tokio::test]
    async fn the_limit_of_headers_holds_for_issuers_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = format!("limits: {{headers: 16KiB}}\nauth: {{issuers: [{{issuer: '{url}'}}]}}\n");
        let plan = Proxy::before_url("http://127.0.0.1:9/mcp").config(config).plan().unwrap();
        let issuer = &plan.auth.as_ref().unwrap().issuers[0];
        let documents = Documents::new(&plan, issuer, &Tasks::new()).unwrap();
        let place = Place::Url(Url::parse(&url).unwrap());
        for (header_bytes, is_taken) in [(1_000, true), (20_000, false)] {
            let filler = "x".repeat(header_bytes);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nx-long: {filler}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
            );
            let serving = async {
                let (mut socket, _) = listener.accept().await.unwrap();
                let _asked = socket.read(&mut [0; 1_024]).await.unwrap();
                // Whoever has read enough may be gone.
                socket.write_all(answer.as_bytes()).await.ok();
            };
            let (fetched, ()) = tokio::join!(documents.fetch(&place), serving);
            assert_eq!(fetched.is_ok(), is_taken, "{header_bytes}: {fetched:?}");
        }
    }
}
