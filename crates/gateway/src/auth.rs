//! Who is let in: what the plan says, put together with the client that gets the keys of issuers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use shadowcat_auth::{
    Authenticator, Bearer, Denial, FETCH_BYTES_MAX, FETCH_MAX, Fetch, FetchError, Issuer, IssuerSettings,
    KeyCache, KeySource, Place, Resource, Tokens,
};
use shadowcat_pipeline::Principal;
use shadowcat_pipeline::task::Tasks;
use shadowcat_transports::http_client::{self, Client, Target};
use shadowcat_transports::server::Protection;

use crate::build::StartError;
use crate::endpoint::AGENT;
use crate::files;
use crate::plan::{self, Listen, Plan};

/// The end of the main endpoint's URL, and what it has in its place for HTTP+SSE.
const ENDPOINT: &str = "/mcp";
const STREAM: &str = "/sse";
const MESSAGES: &str = "/messages";

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
        if main.starts_with("http://") && !bound.ip().to_canonical().is_loopback() {
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
        let settings = http_client::Settings {
            connect_timeout: plan.timeouts.connect.min(FETCH_MAX),
            ca_file: issuer.ca_file.clone(),
            ..http_client::Settings::default()
        };
        Ok(Self { client: Client::new(settings, tasks.clone())? })
    }

    async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        let target = Target::parse(url).map_err(|error| FetchError::Failed(error.to_string()))?;
        let mut request = Request::new(Full::new(Bytes::new()));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, AGENT);
        let sent = self.client.send(request, &target, FETCH_MAX).await;
        // Whoever looks at the health of the proxy sees it.
        let response = sent.map_err(|error| FetchError::Failed(error.safe_sentence()))?;
        match response.status() {
            StatusCode::OK => {}
            other => return Err(FetchError::Status(other.as_u16())),
        }
        let collected = Limited::new(response.into_body(), FETCH_BYTES_MAX).collect().await;
        collected
            .map(http_body_util::Collected::to_bytes)
            .map_err(|error| FetchError::Failed(error.to_string()))
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
