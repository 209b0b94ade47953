//! The names of MCP's headers as HTTP knows them, made once: a name that is given as text is read letter by letter at each
//! use, and every message has several.

use http::HeaderName;
use shadowcat_protocol::{headers, trace};

pub(crate) static SESSION_ID: HeaderName = HeaderName::from_static(headers::SESSION_ID);
pub(crate) static PROTOCOL_VERSION: HeaderName = HeaderName::from_static(headers::PROTOCOL_VERSION);
pub(crate) static METHOD: HeaderName = HeaderName::from_static(headers::METHOD);
pub(crate) static NAME: HeaderName = HeaderName::from_static(headers::NAME);
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static(trace::TRACEPARENT);
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static(trace::TRACESTATE);
pub(crate) static LAST_EVENT_ID: HeaderName = HeaderName::from_static(headers::LAST_EVENT_ID);
