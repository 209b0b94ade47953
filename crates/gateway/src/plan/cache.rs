//! How much is kept of what a modern server says may be kept.

use std::time::Duration;

use shadowcat_cache::Settings;

use super::resolve::Sources;
use super::{Upstream, UpstreamTarget};
use crate::config::{ByteSize, Span};

const ENTRIES_MAX: usize = 1_000;
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longer than servers mean it, and short enough for one that means too much.
const TTL_MAX: Duration = Duration::from_hours(1);

impl Sources<'_> {
    pub(super) fn cache(&mut self, upstream: Option<&Upstream>) -> Option<Settings> {
        let written = self.file().cache.as_ref()?;
        let settings = Settings {
            entries_max: self.count("cache.entries_max", written.entries_max, ENTRIES_MAX),
            bytes_max: written.bytes_max.map_or(BYTES_MAX, ByteSize::bytes),
            ttl_max: written.ttl_max.map_or(TTL_MAX, Span::get),
        };
        // A tape in the place of a server is here already, and is to be asked as the server was.
        let is_tape = matches!(upstream?.target, UpstreamTarget::Tape(_));
        (!is_tape).then_some(settings)
    }
}
