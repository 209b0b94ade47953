//! The faces of a server: what clients of either era meet, and the bridge behind which the other one's stand.

use std::sync::Arc;

use shadowcat_bridge::{Eras, ModernServer, Seal, ToLegacy, ToLegacySettings, ToModernSettings};
use shadowcat_interceptors::Mirror;
use shadowcat_pipeline::{Chain, Interceptor, Service, Transport, UpstreamSide};
use shadowcat_protocol::Revision;
use shadowcat_session::{Key, Namespace, SessionId};
use shadowcat_tape::Audience;
use shadowcat_transports::Connector;

use crate::build::StartError;
use crate::plan::{self, UpstreamTarget};
use crate::reach::Reach;
use crate::upstream::{Bridges, ModernFace, OwnSessions, SharedUpstream};

/// A server as clients meet it.
pub(crate) struct Faces {
    pub(crate) modern: Arc<ModernFace>,
    pub(crate) bridges: Option<Arc<Bridges>>,
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
        let bridges = match &self.plan.bridge {
            Some(rules) => Some(Arc::new(self.bridges(rules, server, connector, &shared, wire(audience))?)),
            None => None,
        };
        Ok(Faces { modern: Arc::new(ModernFace::new(shared, bridges.clone())), bridges })
    }

    fn bridges(
        &self,
        rules: &plan::Bridge,
        server: &plan::Upstream,
        connector: &Arc<dyn Connector>,
        shared: &Arc<SharedUpstream>,
        chain: Chain,
    ) -> Result<Bridges, StartError> {
        let (figures, tasks) = (Arc::<shadowcat_bridge::Counters>::default(), self.tasks.child());
        let own = OwnSessions {
            connector: Arc::clone(connector),
            counters: Arc::clone(self.counters),
            records: Arc::clone(self.records),
            key: Key::new(Namespace::reverse("bridge"), SessionId::generate()?),
        };
        let (seal, settings) = (Arc::new(Seal::new()), to_legacy_settings(rules));
        let to_legacy =
            ToLegacy::new(Arc::new(own), chain.clone(), seal, settings, Arc::clone(&figures), &tasks);
        let transport = match &server.target {
            UpstreamTarget::Stdio(_) | UpstreamTarget::Tape(_) => Transport::Stdio,
            UpstreamTarget::Http(_) => Transport::Http,
            UpstreamTarget::Sse(_) => Transport::Sse,
        };
        let side =
            UpstreamSide { name: Arc::clone(&server.name), transport, revision: Revision::V2026_07_28 };
        let server: Arc<dyn Service> = Arc::clone(shared) as _;
        let settings = ToModernSettings::new(side);
        let to_modern = ModernServer::new(server, chain, settings, Arc::clone(&figures), tasks.clone());
        let eras = Eras::new(Arc::clone(shared) as _, transport, tasks);
        // A server that sees the headers checks them itself, and one behind the bridge sees none.
        let is_checked = transport == Transport::Stdio;
        let mirror = (!is_checked).then(|| Arc::new(Mirror::default()) as Arc<dyn Interceptor>);
        let edge = Chain::new(mirror.into_iter().collect());
        Ok(Bridges { eras, edge, to_legacy, to_modern, figures })
    }
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
