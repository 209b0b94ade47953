//! Figures that are read when the metrics page is asked for, from the parts that own them.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use shadowcat_pipeline::task::Tasks;
use shadowcat_transports::http_client::Stats as ClientStats;
use shadowcat_transports::stdio::Launcher;

use crate::gateway::Gateway;
use crate::pages::is_open;

/// Reads the figures of one gateway.
#[derive(Clone)]
pub(crate) struct Figures {
    pub(crate) gateway: Arc<Gateway>,
    /// The tasks of clients and their exchanges.
    pub(crate) front: Tasks,
    pub(crate) launcher: Option<Launcher>,
    pub(crate) tape: Option<shadowcat_tape::Monitor>,
    pub(crate) client: Option<Arc<ClientStats>>,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

/// One page being written.
struct Sheet<'a, 'b> {
    encoder: &'a mut DescriptorEncoder<'b>,
}

impl Sheet<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(self.encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.encoder.encode_descriptor(name, help, None, counter.metric_type())?)
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut sheet = Sheet { encoder: &mut encoder };
        self.sessions(&mut sheet)?;
        self.messages(&mut sheet)?;
        self.children(&mut sheet)?;
        self.connections(&mut sheet)?;
        self.bridges(&mut sheet)?;
        self.cache(&mut sheet)?;
        self.tape(&mut sheet)
    }
}

impl Figures {
    fn sessions(&self, sheet: &mut Sheet<'_, '_>) -> std::fmt::Result {
        let live = self.gateway.table.all();
        let attached = live.iter().filter(|live| live.outlet.is_attached()).count();
        let kept: usize = live.iter().map(|live| live.outlet.kept_bytes()).sum();
        sheet.gauge("sessions_active", "Legacy sessions in use", live.len() as u64)?;
        sheet.gauge(
            "sessions_attached",
            "Sessions whose client has a stream open or waits for an answer",
            attached as u64,
        )?;
        sheet.gauge("sessions_kept_bytes", "Bytes kept for clients that come back", kept as u64)?;
        sheet.counter(
            "sessions_messages_lost",
            "Messages that gave way because their client was away for more than is kept",
            self.gateway.lost.get(),
        )?;
        let store = self.gateway.records.stats();
        sheet.gauge("store_queued", "Session records waiting to be written", store.queued as u64)?;
        sheet.counter("store_written", "Session records written", store.saved)?;
        sheet.counter("store_retries", "Writes of session records that were tried again", store.retries)?;
        sheet.counter("store_failed", "Session records that could not be written", store.failed)
    }

    fn messages(&self, sheet: &mut Sheet<'_, '_>) -> std::fmt::Result {
        let counters = &self.gateway.counters;
        sheet.counter(
            "upstream_stray",
            "Answers to no request in flight: late, unknown, doubled",
            counters.stray.get(),
        )?;
        sheet.counter(
            "upstream_garbage",
            "Lines and events that are no MCP message",
            counters.garbage.get(),
        )?;
        sheet.counter(
            "upstream_resumed",
            "Cut upstream streams that were taken up again",
            counters.resumed.get(),
        )?;
        sheet.counter(
            "upstream_revived",
            "Lost upstream sessions that were set up again",
            counters.revived.get(),
        )?;
        sheet.gauge(
            "tasks",
            "Tasks of exchanges and connections",
            (self.gateway.tasks.running() + self.front.running()) as u64,
        )
    }

    fn children(&self, sheet: &mut Sheet<'_, '_>) -> std::fmt::Result {
        let Some(launcher) = &self.launcher else { return Ok(()) };
        let stats = launcher.stats();
        sheet.gauge("children", "Child processes that run", stats.live as u64)?;
        sheet.gauge("children_warm", "Child processes ready to be used", stats.warm as u64)?;
        sheet.counter("children_spawned", "Child processes started", stats.spawned)?;
        sheet.counter("children_exits", "Child processes that ended", stats.exits)?;
        sheet.counter("children_crashes", "Child processes that ended unasked", stats.crashes)?;
        let open = u64::from(is_open(stats.breaker));
        sheet.gauge("children_breaker_open", "1 while no child is started because they keep crashing", open)
    }

    fn connections(&self, sheet: &mut Sheet<'_, '_>) -> std::fmt::Result {
        let Some(client) = &self.client else { return Ok(()) };
        sheet.gauge("upstream_connections", "Connections to the upstream", client.open())?;
        sheet.counter(
            "upstream_connections_opened",
            "Connections to the upstream opened",
            client.opened(),
        )?;
        sheet.counter(
            "upstream_connections_reused",
            "Requests on a connection that was open",
            client.reused(),
        )
    }

    fn bridges(&self, sheet: &mut Sheet<'_, '_>) -> std::fmt::Result {
        let Some(bridges) = &self.gateway.bridges else { return Ok(()) };
        let figures = &bridges.figures;
        sheet.counter(
            "bridge_to_legacy",
            "Requests of modern clients translated for a legacy server",
            figures.to_legacy.get(),
        )?;
        sheet.counter(
            "bridge_to_modern",
            "Requests of legacy clients translated for a modern server",
            figures.to_modern.get(),
        )?;
        sheet.gauge(
            "bridge_sessions",
            "Sessions with a legacy server open for modern clients",
            figures.sessions.get(),
        )?;
        sheet.gauge(
            "bridge_parked",
            "Calls that wait for their client to come back with an answer",
            figures.parked.get(),
        )?;
        sheet.counter(
            "bridge_expired",
            "Parked calls whose client never came back",
            figures.expired.get(),
        )?;
        sheet.counter(
            "bridge_not_carried",
            "Messages and parts of messages that the other era has no word for",
            figures.not_carried.get(),
        )
    }

    fn cache(&self, sheet: &mut Sheet<'_, '_>) -> std::fmt::Result {
        let Some(cache) = &self.gateway.cache else { return Ok(()) };
        let (counters, (entries, bytes)) = (cache.counters(), cache.size());
        sheet.gauge("cache_entries", "Answers of the server that are kept", entries as u64)?;
        sheet.gauge("cache_bytes", "Bytes of the kept answers and of what was asked", bytes as u64)?;
        sheet.counter("cache_hits", "Requests that were answered from the cache", counters.hits())?;
        sheet.counter(
            "cache_misses",
            "Requests that the server was asked although their answer may be kept",
            counters.misses(),
        )?;
        sheet.counter("cache_stored", "Answers that were put into the cache", counters.answers_stored())?;
        sheet.counter("cache_evicted", "Kept answers that gave way to others", counters.answers_evicted())?;
        sheet.counter(
            "cache_invalidated",
            "Kept answers that were dropped because they might not hold any more",
            counters.answers_invalidated(),
        )
    }

    fn tape(&self, sheet: &mut Sheet<'_, '_>) -> std::fmt::Result {
        let Some(tape) = &self.tape else { return Ok(()) };
        let stats = tape.stats();
        sheet.counter("tape_frames", "Messages written to the tape", stats.frames)?;
        sheet.counter("tape_lost", "Messages that did not get onto the tape", stats.lost)?;
        sheet.gauge("tape_queued", "Messages waiting to be written to the tape", stats.queued_frames as u64)
    }
}
