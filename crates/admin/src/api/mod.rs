//! From a request to an answer: who asks, for what, and what they get.

mod held;
mod live;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shadowcat_filter::Filter;
use shadowcat_interceptors::pause::Lot;
use shadowcat_tape::Feed;
use shadowcat_transports::server::{Api, Incomer, Reply};

use crate::openapi;
use crate::problem::Problem;
use crate::routes::{self, Operation};
use crate::token::Token;
use crate::views::Views;

/// The bounds of requests and streams.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// How long a body may take.
    pub body_read_max: Duration,
    /// How often a silent stream shows that it lives.
    pub keep_alive: Duration,
}

/// The API.
pub struct AdminApi {
    token: Token,
    views: Arc<dyn Views>,
    feed: Feed,
    lot: Lot,
    bounds: Bounds,
}

/// A request whose sender may ask, with its body read.
struct Asked<'r> {
    /// The number in the path.
    id: Option<&'r str>,
    query: &'r str,
    body: Bytes,
}

impl AdminApi {
    /// An API that this token opens, onto these parts.
    pub fn new(token: Token, views: Arc<dyn Views>, feed: Feed, lot: Lot, bounds: Bounds) -> Self {
        Self { token, views, feed, lot, bounds }
    }

    async fn answered(&self, request: &mut Incomer) -> Result<Reply, Problem> {
        let path = std::mem::take(&mut request.path);
        let found = routes::find(&request.method, &path);
        let is_open = found.as_ref().is_ok_and(|(operation, _)| operation.is_open());
        // Before anything is told, and before a body is read.
        if !is_open && !self.token.opens(&request.headers) {
            return Err(Problem::unauthorized());
        }
        let (operation, id) = found?;
        let body = self.body(operation, request).await?;
        let query = request.query.take().unwrap_or_default();
        self.carry_out(operation, &Asked { id, query: &query, body })
    }

    /// The body, where one is asked for. A page in a browser cannot send this type without asking first.
    async fn body(&self, operation: Operation, request: &mut Incomer) -> Result<Bytes, Problem> {
        if operation.body().is_none() {
            return Ok(Bytes::new());
        }
        if !request.is_json() {
            let detail = "send the body as `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
        }
        request.read_body(self.bounds.body_bytes_max, self.bounds.body_read_max).await.map_err(Problem::body)
    }

    fn carry_out(&self, operation: Operation, asked: &Asked<'_>) -> Result<Reply, Problem> {
        match operation {
            Operation::Describe => Ok(openapi::reply()),
            Operation::Status => Ok(json(StatusCode::OK, &self.views.status())),
            Operation::Sessions => Ok(json(StatusCode::OK, &self.views.sessions())),
            Operation::Rules => Ok(json(StatusCode::OK, &self.views.rules())),
            Operation::Messages => self.messages(asked),
            Operation::ListHeld => Ok(self.list_held(false)),
            Operation::ShowHeld => self.show_held(asked),
            Operation::Decide => self.decide(asked),
            Operation::ListBreakpoints => Ok(self.list_breakpoints()),
            Operation::AddBreakpoint => self.add_breakpoint(asked),
            Operation::RemoveBreakpoint => self.remove_breakpoint(asked),
            Operation::ListApprovals => Ok(self.list_held(true)),
            Operation::Approve => self.approve(asked),
        }
    }

    fn messages(&self, asked: &Asked<'_>) -> Result<Reply, Problem> {
        let filter = asked.filter()?;
        let watching = self.feed.watch(filter);
        let watching = watching
            .map_err(|full| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many", full.to_string()))?;
        Ok(Reply::events(live::events(watching, self.lot.subscribe()), self.bounds.keep_alive))
    }
}

impl Asked<'_> {
    /// What the body says.
    fn form<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::bad_request(format!("the body is not what is expected: {error}")))
    }

    /// The filter in the query, if there is one.
    fn filter(&self) -> Result<Option<Filter>, Problem> {
        let mut filter = None;
        for (name, value) in form_urlencoded::parse(self.query.as_bytes()) {
            if name != "filter" {
                return Err(Problem::bad_request(format!("unknown parameter `{name}`; there is `filter`")));
            }
            if filter.replace(value.parse::<Filter>()?).is_some() {
                return Err(Problem::bad_request("the filter is there twice; join the two with `&`"));
            }
        }
        Ok(filter)
    }
}

#[async_trait]
impl Api for AdminApi {
    async fn answer(&self, request: &mut Incomer) -> Reply {
        self.answered(request).await.unwrap_or_else(Problem::into_reply)
    }

    fn turned_away(&self, status: u16, sentence: &str) -> Reply {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
        Problem::new(status, "turned_away", sentence).into_reply()
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(text) => Reply::whole(status.as_u16(), "application/json", text),
        Err(error) => {
            tracing::error!(%error, "an answer of the admin API could not be written");
            let detail = "the answer could not be written";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_reply()
        }
    }
}
