//! The faces of a server: what clients of either era meet, and the bridge behind which the other one's stand.

use std::sync::Arc;

use shadowcat_bridge::{Eras, ModernServer, Seal, ToLegacy, ToLegacySettings, ToModernSettings};
use shadowcat_cache::Cache;
use shadowcat_interceptors::Mirror;
use shadowcat_pipeline::{Chain, Interceptor, Service, Transport, UpstreamSide};
use shadowcat_protocol::Revision;
use shadowcat_session::{Key, Namespace, SessionId};
use shadowcat_tape::Audience;
use shadowcat_transports::Connector;

use crate::build::StartError;
use crate::plan::{self, UpstreamTarget};
use crate::reach::Reach;
use crate::upstream::{Bridges, Doubted, ModernFace, OwnSessions, SharedUpstream};

/// A server as clients meet it.
pub(crate) struct Faces {
    pub(crate) modern: Arc<ModernFace>,
    pub(crate) bridges: Option<Arc<Bridges>>,
    /// What is kept of what the server says, if anything is.
    pub(crate) cache: Option<Cache>,
}

impl Reach<'_> {
    /// Those of this server; `audience` is told of what passes between the eras.
    pub(crate) fn faces(
        &self,
        server: &plan::Upstream,
        connector: &Arc<dyn Connector>,
        audience: Option<&Audience>,
    ) -> Result<Faces, StartError> {
        let shared = Arc::new(SharedUpstream::new(Arc::clone(connector)));
        let cache = self
            .plan
            .cache
            .clone()
            .map(|settings| Cache::new(Arc::clone(&shared) as _, side(server), settings, self.tasks));
        // Next to the server, so that all that decides over answers decides over these as well.
        let mut service = cache
            .clone()
            .map_or_else(|| Arc::clone(&shared) as _, |cache| Arc::new(cache) as Arc<dyn Service>);
        let bridges = match &self.plan.bridge {
            Some(rules) => {
                // What it speaks is asked of the server itself.
                let eras = Eras::new(Arc::clone(&shared) as _, side(server).transport, self.tasks.clone());
                let doubted = Arc::new(Doubted { service, eras: Arc::clone(&eras) });
                service = Arc::clone(&doubted) as _;
                Some(Arc::new(self.bridges(rules, server, connector, (&shared, &doubted), wire(audience))?))
            }
            None => None,
        };
        Ok(Faces { modern: Arc::new(ModernFace::new(shared, service, bridges.clone())), bridges, cache })
    }

    fn bridges(
        &self,
        rules: &plan::Bridge,
        server: &plan::Upstream,
        connector: &Arc<dyn Connector>,
        (shared, modern): (&Arc<SharedUpstream>, &Arc<Doubted>),
        chain: Chain,
    ) -> Result<Bridges, StartError> {
        let (figures, tasks) = (Arc::<shadowcat_bridge::Counters>::default(), self.tasks.clone());
        let own = OwnSessions {
            connector: Arc::clone(connector),
            counters: Arc::clone(self.counters),
            records: Arc::clone(self.records),
            key: Key::new(Namespace::reverse("bridge"), SessionId::generate()?),
            eras: Arc::clone(&modern.eras),
        };
        let (seal, settings) = (Arc::new(Seal::new()), to_legacy_settings(rules));
        let to_legacy =
            ToLegacy::new(Arc::new(own), chain.clone(), seal, settings, Arc::clone(&figures), &tasks);
        let side = side(server);
        let transport = side.transport;
        let settings = ToModernSettings::new(side);
        let to_modern =
            ModernServer::new(Arc::clone(modern) as _, chain, settings, Arc::clone(&figures), tasks);
        // A server that sees the headers checks them itself, and one behind the bridge sees none.
        let is_checked = transport == Transport::Stdio;
        let mirror = (!is_checked).then(|| Arc::new(Mirror::default()) as Arc<dyn Interceptor>);
        let edge = Chain::new(mirror.into_iter().collect());
        let (eras, shared) = (Arc::clone(&modern.eras), Arc::clone(shared));
        Ok(Bridges { eras, shared, edge, to_legacy, to_modern, figures, waiting: Arc::default() })
    }
}

/// The server, as the messages of its modern side are marked.
fn side(server: &plan::Upstream) -> UpstreamSide {
    let transport = match &server.target {
        UpstreamTarget::Stdio(_) | UpstreamTarget::Tape(_) => Transport::Stdio,
        UpstreamTarget::Http(_) => Transport::Http,
        UpstreamTarget::Sse(_) => Transport::Sse,
    };
    UpstreamSide { name: Arc::clone(&server.name), transport, revision: Revision::V2026_07_28 }
}

fn to_legacy_settings(rules: &plan::Bridge) -> ToLegacySettings {
    ToLegacySettings {
        idle: rules.session_idle,
        sessions_max: rules.sessions_max,
        sessions_per_key_max: rules.sessions_per_client,
        per_request: rules.per_request,
        parked_for: rules.parked_for,
        parked_max: rules.parked_max,
        ..ToLegacySettings::default()
    }
}

/// What a message passes between the eras: the recorder of what the server is told.
fn wire(audience: Option<&Audience>) -> Chain {
    let wire =
        audience.map(|audience| Arc::new(audience.recorder("wire").translated()) as Arc<dyn Interceptor>);
    Chain::new(wire.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shadowcat_pipeline::task::Tasks;
    use shadowcat_transports::stdio::Guard;

    use super::*;
    use crate::proxy::Proxy;
    use crate::testing::{FakeServer, records};

    #[tokio::test]
    async fn who_joins_the_tasks_of_the_upstream_joins_those_of_its_faces() {
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let (before, tasks) = (alive(), Tasks::new());
        let plan = Proxy::before_url("http://127.0.0.1:9/mcp").config("cache: {}\n").plan().unwrap();
        let (guard, counters, records) = (Guard::none(), Arc::default(), records());
        let reach = Reach {
            plan: &plan,
            environment: &[],
            guard: &guard,
            tasks: &tasks,
            counters: &counters,
            records: &records,
            tape: None,
        };
        let connector: Arc<dyn Connector> = Arc::new(FakeServer::default());
        let faces = reach.faces(&plan.upstream, &connector, None).unwrap();
        assert!(alive() > before && faces.cache.is_some());
        faces.modern.close().await;
        tasks.stop();
        assert!(tasks.join(Duration::from_mins(1)).await);
        assert_eq!(alive(), before);
    }
}
