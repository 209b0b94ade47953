//! Opens connections to a Streamable HTTP server.

use std::sync::Arc;

use async_trait::async_trait;
use shadowcat_pipeline::Refusal;
use shadowcat_pipeline::task::Tasks;

use super::connection::HttpConnection;
use crate::connector::{Connection, Connector, OpenConnection};
use crate::counters::Counters;
use crate::remote::Remote;

/// Opens connections to one Streamable HTTP server. Opening sends nothing: the first message does.
pub struct HttpConnector {
    remote: Remote,
    tasks: Tasks,
    counters: Arc<Counters>,
}

impl HttpConnector {
    /// Connections to this server, their tasks owned by `tasks`.
    pub fn new(remote: Remote, tasks: Tasks, counters: Arc<Counters>) -> Self {
        Self { remote, tasks, counters }
    }
}

#[async_trait]
impl Connector for HttpConnector {
    async fn open(&self, opening: OpenConnection) -> Result<Arc<dyn Connection>, Refusal> {
        let counters = Arc::clone(&self.counters);
        Ok(HttpConnection::open(self.remote.clone(), self.tasks.child(), counters, opening))
    }
}
