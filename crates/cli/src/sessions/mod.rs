//! `shadowcat sessions`: the session records in a data directory, also while a proxy uses it.

use std::path::Path;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};
use shadowcat_session::{Key, Record, SessionStore, StoreError};
use shadowcat_stores::SqliteStore;

use crate::data_args::DataArgs;
use crate::failure::Failure;
use crate::output::{self, Listing};
use crate::process::Process;
use crate::run;

/// Records read at one time.
const PAGE: usize = 200;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List every session
    List(Listing),
    /// Show one session as JSON
    Show {
        /// Tag or id of the session
        session: String,
    },
    /// End one session; its client has to start anew
    ///
    /// A running proxy that uses it closes it within 5 seconds and tells its upstream.
    Kill {
        /// Tag or id of the session
        session: String,
    },
}

impl Args {
    pub(crate) fn run(&self, process: &Process) -> Result<(), Failure> {
        let path = self.data.sessions(process)?;
        let text = run::wait_for(act(&self.action, &path))?;
        output::print(&text)
    }
}

async fn act(action: &Action, path: &Path) -> Result<String, Failure> {
    if !path.exists() {
        return Err(Failure::plain(format!(
            "{}: there is no such file; no proxy has kept a session there",
            path.display()
        )));
    }
    let failed = |cause: StoreError| {
        Failure::caused(format!("{}: the sessions cannot be read", path.display()), cause)
    };
    let store = SqliteStore::open(path).map_err(failed)?;
    let done = match action {
        Action::List(listing) => list(&store, listing).await.map_err(failed),
        Action::Show { session } => show(&store, session, path).await,
        Action::Kill { session } => kill(&store, session, path).await,
    };
    let closed = store.close().await.map_err(failed);
    let text = done?;
    closed.map(|()| text)
}

async fn list(store: &SqliteStore, listing: &Listing) -> Result<String, StoreError> {
    let records = all(store, |_| true).await?;
    let names = ["SESSION", "STATE", "REVISION", "UPSTREAM", "REQUESTS", "LAST USED"];
    Ok(listing.text(&records, names, row, described))
}

async fn show(store: &SqliteStore, session: &str, path: &Path) -> Result<String, Failure> {
    let record = find(store, session, path).await?;
    Ok(format!("{:#}\n", described(&record)))
}

async fn kill(store: &SqliteStore, session: &str, path: &Path) -> Result<String, Failure> {
    let record = find(store, session, path).await?;
    let tag = record.id().tag();
    let ended = record
        .ended()
        .map_err(|_| Failure::plain(format!("{tag} is over already: it is {}", record.state())))?;
    let failed = |cause| Failure::caused(format!("{}: the session cannot be ended", path.display()), cause);
    store.save(&[Arc::new(ended)]).await.map_err(failed)?;
    Ok(format!("{tag} is ended; a running proxy that uses it closes it within 5 seconds\n"))
}

/// The one session with this tag or id.
async fn find(store: &SqliteStore, session: &str, path: &Path) -> Result<Record, Failure> {
    let is_meant = |record: &Record| record.id().as_str() == session || record.id().tag() == session;
    let failed = |cause| Failure::caused(format!("{}: the sessions cannot be read", path.display()), cause);
    let mut found = all(store, is_meant).await.map_err(failed)?;
    match (found.pop(), found.is_empty()) {
        (Some(record), true) => Ok(record),
        (Some(_), false) => Err(Failure::plain("more than one session has this tag; give the whole id")),
        (None, _) => {
            Err(Failure::plain("there is no such session; `shadowcat sessions list` shows those there are"))
        }
    }
}

async fn all(store: &SqliteStore, is_meant: impl Fn(&Record) -> bool) -> Result<Vec<Record>, StoreError> {
    let (mut records, mut after) = (Vec::new(), None::<Key>);
    loop {
        let page = store.list(None, PAGE, after.as_ref()).await?;
        records.extend(page.records.into_iter().filter(&is_meant));
        after = page.next;
        if after.is_none() {
            return Ok(records);
        }
    }
}

fn row(record: &Record) -> [String; 6] {
    [
        record.id().tag(),
        record.state().as_str().to_owned(),
        record.revision.as_str().to_owned(),
        record.upstream.clone(),
        record.requests.to_string(),
        output::time_of_ms(record.last_used_ms),
    ]
}

/// Without ids, tokens and the handshake, which may hold what is nobody's business.
fn described(record: &Record) -> Value {
    json!({
        "session": record.id().tag(),
        "namespace": record.namespace().as_str(),
        "state": record.state().as_str(),
        "principal": record.principal,
        "revision": record.revision.as_str(),
        "upstream": record.upstream,
        "log_level": record.log_level,
        "subscriptions": record.subscriptions().collect::<Vec<_>>(),
        "requests": record.requests,
        "errors": record.errors,
        "created": output::time_of_ms(record.created_ms),
        "last_used": output::time_of_ms(record.last_used_ms),
    })
}

#[cfg(test)]
mod tests;
