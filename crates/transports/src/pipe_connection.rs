//! A [`Duplex`] as the gateway holds it: one connection with the tasks that read for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use shadowcat_pipeline::task::Tasks;
use shadowcat_pipeline::{Envelope, Refusal, Replies, Service};

use crate::connector::{Connection, Parting};
use crate::duplex::Duplex;

/// How long the tasks of a closed connection may take to end.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// A connection over one ordered pipe, whose session ends with it.
pub(crate) struct PipeConnection {
    pub(crate) duplex: Arc<Duplex>,
    pub(crate) tasks: Tasks,
}

#[async_trait]
impl Service for PipeConnection {
    async fn handle(&self, envelope: Envelope) -> Result<Replies, Refusal> {
        self.duplex.handle(envelope).await
    }
}

#[async_trait]
impl Connection for PipeConnection {
    fn token(&self) -> Option<Box<str>> {
        None
    }

    fn is_alive(&self) -> bool {
        self.duplex.pipe().is_open()
    }

    async fn listen(&self) -> Result<(), Refusal> {
        Ok(())
    }

    async fn close(&self, _parting: Parting) {
        self.duplex.close().await;
        self.tasks.stop();
        self.tasks.join(CLOSE_DEADLINE).await;
    }
}

impl Drop for PipeConnection {
    fn drop(&mut self) {
        // Also when nobody got to use it: the task that reads would keep the pipe for ever.
        self.tasks.stop();
    }
}
