//! The modern form of the endpoint: one POST, one exchange, nothing kept.

use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::Response;
use http::header::HeaderValue;
use shadowcat_pipeline::{Envelope, Form, Head, Origin, PeerId, Refusal, RefusalKind, Replies, Transport};
use shadowcat_protocol::{Message, Request, Revision, codes, headers, method};

use super::listener::{HttpListener, error_text};
use crate::server::{Body, Incomer, StatelessEvents, json, refusal};

/// Mirrored arguments of one request.
const PARAM_HEADERS_MAX: usize = 64;

impl HttpListener {
    /// Answers one modern request. The future is dropped when its client goes away, and that cancels the exchange.
    #[expect(clippy::manual_async_fn, reason = "that would hold the request twice")]
    pub(super) fn modern<'a>(
        &'a self,
        incomer: &'a Incomer,
        request: Request,
    ) -> impl Future<Output = Response<Body>> + Send + 'a {
        async move {
            let (origin, exchanging) = match self.begin_exchange(incomer, &request) {
                Ok(begun) => begun,
                Err(response) => return *response,
            };
            match self.exchange(exchanging, &origin, &request).await {
                Ok(response) => response,
                Err(fault) => refusal(&fault, Some(request.id())),
            }
        }
    }

    /// Sends a request on its way. No part of the future that waits for its answer, which would hold the envelope to its end.
    fn begin_exchange(
        &self,
        incomer: &Incomer,
        request: &Request,
    ) -> Result<(Arc<Origin>, Exchanging<'_>), Box<Response<Body>>> {
        let lookup = |name: &str| incomer.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let revision = headers::check_modern(request, lookup, &[Revision::V2026_07_28]).map_err(|fault| {
            let status = status_of(fault.code).unwrap_or(400);
            Box::new(json(status, error_text(&fault.error_object(), Some(request))))
        })?;
        let (principal, http_trace) = (incomer.principal.clone(), self.trace(incomer));
        let origin = Origin::new(PeerId::next(), Transport::Http, revision);
        let origin = Arc::new(Origin { principal, http_trace, ..origin });
        let envelope = Envelope::to_server(Message::Request(request.clone()), Arc::clone(&origin));
        let envelope = Envelope { headers: mirrored(incomer), ..envelope };
        Ok((origin, self.front.exchange(envelope)))
    }

    async fn exchange(
        &self,
        exchanging: Exchanging<'_>,
        origin: &Origin,
        request: &Request,
    ) -> Result<Response<Body>, Refusal> {
        let mut replies = exchanging.await?;
        let head = replies.head();
        let first = if head.form == Form::Stream { None } else { first(&mut replies, origin).await };
        let first = match first {
            None => None,
            Some(None) => return Err(RefusalKind::Cancelled.into()),
            Some(Some(Err(fault))) => return Err(fault),
            Some(Some(Ok(Message::Response(answer)))) => return Ok(whole(&answer, head)),
            Some(Some(Ok(message))) => Some(message),
        };
        let events = StatelessEvents::new(replies, first, request.id().clone(), self.settings.keep_alive)
            .opened_by(origin.principal.as_ref());
        let events = if request.method() == method::LISTEN {
            events.ending_at(self.stop.clone().cancelled_owned())
        } else {
            events
        };
        Ok(events.into_response())
    }
}

/// What gives the replies to a request.
type Exchanging<'a> = BoxFuture<'a, Result<Replies, Refusal>>;

/// The first reply; none if it is held, so that a stream has to show the client that its request lives.
async fn first(replies: &mut Replies, origin: &Origin) -> Option<Option<Result<Message, Refusal>>> {
    std::future::poll_fn(|context| match replies.poll_next_unpin(context) {
        Poll::Ready(reply) => Poll::Ready(Some(reply)),
        Poll::Pending if origin.waits.is_open() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// A whole answer with the status the revision gives it, unless the upstream gave it one of its own.
fn whole(answer: &shadowcat_protocol::Response, head: Head) -> Response<Body> {
    let status = head.status.or_else(|| answer.error_code().and_then(status_of)).unwrap_or(200);
    json(status, answer.text().clone())
}

/// The HTTP status of an error code in the 2026-07-28 revision, where it has one of its own.
fn status_of(code: i64) -> Option<u16> {
    match code {
        codes::METHOD_NOT_FOUND => Some(404),
        codes::HEADER_MISMATCH | codes::MISSING_CAPABILITY | codes::UNSUPPORTED_VERSION => Some(400),
        _ => None,
    }
}

/// The mirrored arguments, which travel with the message whether or not somebody here knows them.
fn mirrored(incomer: &Incomer) -> Vec<(Box<str>, Box<str>)> {
    let params = incomer.headers.iter().filter(|(name, _)| name.as_str().starts_with(headers::PARAM_PREFIX));
    params
        .filter_map(|(name, value)| Some((name.as_str().into(), value.to_str().ok()?.into())))
        .take(PARAM_HEADERS_MAX)
        .collect()
}
