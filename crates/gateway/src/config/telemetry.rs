//! The keys of `shadowcat.yaml` about traces.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Secret;

/// Traces: a span of each request, sent to a collector.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// The collector, which takes OTLP over HTTP in protobuf: `http(s)://HOST:PORT`; spans go to `/v1/traces` under it. `${VAR}` is
    /// replaced.
    pub otlp: String,
    /// Headers sent with each batch, such as a key. `${VAR}` is replaced in values.
    pub headers: Option<BTreeMap<String, Secret>>,
    /// Certificates (PEM) trusted for the collector besides the system's.
    pub ca_file: Option<PathBuf>,
    /// What spans call the proxy (`service.name`).
    pub service: Option<String>,
    /// How many of the traces that begin here are kept, from 0 (none) to 1 (all). Those that a client began are kept if it keeps
    /// them.
    pub sample: Option<f64>,
}
