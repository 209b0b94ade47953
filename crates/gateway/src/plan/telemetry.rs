//! Where spans go, and which.

use http::Uri;

use super::problems::Problems;
use super::upstream::target;
use super::{Remote, UpstreamTarget};
use crate::config::{self, Loaded, Variables};

const SERVICE: &str = "shadowcat";
const SERVICE_BYTES_MAX: usize = 128;
/// Where a collector takes spans (OTLP/HTTP).
const TRACES: &str = "/v1/traces";
const RIGHT: &str = "expected `http(s)://HOST:PORT`, without a query";

/// A span of each request, sent to a collector.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Where the collector takes spans.
    pub collector: Remote,
    /// What spans call the proxy.
    pub service: String,
    /// How many of the traces that begin here are kept.
    pub sample: f64,
}

pub(super) fn resolve(loaded: &Loaded, variables: &Variables, problems: &mut Problems) -> Option<Telemetry> {
    let written = loaded.file.telemetry.as_ref()?;
    let sample = written.sample.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample) {
        problems.add(loaded.place("telemetry.sample"), "expected a number from 0 (none) to 1 (all)");
    }
    let service = written.service.clone().unwrap_or_else(|| SERVICE.to_owned());
    if service.is_empty() || service.len() > SERVICE_BYTES_MAX {
        let sentence = format!("expected 1 to {SERVICE_BYTES_MAX} bytes");
        problems.add(loaded.place("telemetry.service"), sentence);
    }
    let collector = collector(written, loaded, variables, problems)?;
    Some(Telemetry { collector, service, sample })
}

fn collector(
    written: &config::Telemetry,
    loaded: &Loaded,
    variables: &Variables,
    problems: &mut Problems,
) -> Option<Remote> {
    let (place, url) = (loaded.place("telemetry.otlp"), &written.otlp);
    // Of a variable is not known yet what it holds.
    if !["http://", "https://", "${"].iter().any(|begin| url.starts_with(begin)) {
        problems.add(place, RIGHT);
        return None;
    }
    let server = config::Upstream {
        url: Some(url.clone()),
        headers: written.headers.clone(),
        ca_file: written.ca_file.clone(),
        ..config::Upstream::default()
    };
    let remote = match target(("telemetry", "otlp"), &server, loaded, variables, problems)? {
        UpstreamTarget::Http(remote) => with_path(remote),
        _ => None,
    };
    if remote.is_none() {
        problems.add(place, RIGHT);
    }
    remote
}

/// The same with the path under which spans are taken, unless it is written already.
fn with_path(remote: Remote) -> Option<Remote> {
    let base = remote.url.path().trim_end_matches('/');
    let path = if base.ends_with(TRACES) { base.to_owned() } else { format!("{base}{TRACES}") };
    let mut parts = remote.url.clone().into_parts();
    if parts.path_and_query.as_ref().is_some_and(|written| written.query().is_some()) {
        return None;
    }
    parts.path_and_query = Some(path.parse().ok()?);
    Some(Remote { url: Uri::from_parts(parts).ok()?, ..remote })
}
