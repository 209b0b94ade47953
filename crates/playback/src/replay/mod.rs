//! A script played to a server, by a client for each client of the tape.
//!
//! A client here is an ordinary one on a pipe of lines, whatever it was on when it was recorded: transports, eras and
//! sessions are the business of the proxy behind the pipe, which [`Target::open`] puts there.

mod client;
mod pace;
mod stock;
mod waiting;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use pace::{Go, Pace, Stepper};
pub use stock::Surprise;

use crate::script::{Client, Outcome, Script};
use crate::tapes::Place;

/// Clients that are open at one time; each has a connection or a child of its own.
const CLIENTS_MAX: usize = 64;

/// A server that can be talked to.
#[async_trait]
pub trait Target: Send + Sync {
    /// A new client's way to it.
    ///
    /// # Errors
    /// Why there is none, as a sentence for the person who named the server.
    async fn open(&self) -> Result<Line, String>;
}

/// One client's way to a server: lines both ways, and its end.
pub struct Line {
    /// What comes from the server.
    pub input: Box<dyn AsyncRead + Send + Unpin>,
    /// What goes to the server. Dropped, the client is gone.
    pub output: Box<dyn AsyncWrite + Send + Unpin>,
    /// Is closed when the client has gone.
    pub closing: Box<dyn Closing>,
}

/// The end of one client's way to a server.
#[async_trait]
pub trait Closing: Send {
    /// Waits until everything behind the line has ended, and says whether a bridge between the eras was in the way.
    async fn close(self: Box<Self>) -> bool;
}

/// What came of a script.
#[derive(Debug, Default)]
pub struct Run {
    /// In the order of the script.
    pub clients: Vec<Played>,
    /// From the first message to the last.
    pub elapsed: Duration,
}

/// What came of one client.
#[derive(Debug, Default)]
pub struct Played {
    /// Of the calls that were made, by the place of their frame.
    pub outcomes: BTreeMap<Place, Outcome>,
    /// What the server told it outside of calls.
    pub heard: Vec<Box<str>>,
    /// What the server asked otherwise than on tape.
    pub surprises: Vec<Surprise>,
    /// Values of the live run that took the place of those on tape.
    pub carried: usize,
    /// Calls in which something is sent that the tape does not show.
    pub redacted: Vec<Place>,
    /// Whether a bridge between the eras was in the way.
    pub bridged: bool,
    /// Why it could not be played, or not to its end.
    pub failure: Option<String>,
}

/// Plays all clients of a script, each as soon as those that were gone before it came are gone again.
pub async fn play(script: &Script, pace: &Pace, target: &dyn Target) -> Run {
    let begun = Instant::now();
    let places = Semaphore::new(CLIENTS_MAX);
    let gone: Vec<CancellationToken> = script.clients.iter().map(|_| CancellationToken::new()).collect();
    let terminal = Arc::new(Mutex::new(()));
    let clients = script.clients.iter().enumerate().map(|(number, client)| {
        let before = script.clients.iter().zip(&gone).filter(|(other, _)| other.ends < client.begins());
        let before: Vec<CancellationToken> = before.map(|(_, gone)| gone.clone()).collect();
        let done = gone.get(number).cloned().unwrap_or_default().drop_guard();
        let (places, terminal) = (&places, Arc::clone(&terminal));
        async move {
            let _done = done;
            join_all(before.iter().map(CancellationToken::cancelled)).await;
            pace.until(begun, client.begins()).await;
            let _place = places.acquire().await;
            one(client, pace, begun, target, &terminal).await
        }
    });
    let clients = join_all(clients).await;
    Run { clients, elapsed: begun.elapsed() }
}

async fn one(
    client: &Client,
    pace: &Pace,
    begun: Instant,
    target: &dyn Target,
    terminal: &Mutex<()>,
) -> Played {
    let line = match target.open().await {
        Ok(line) => line,
        Err(failure) => return Played { failure: Some(failure), ..Played::default() },
    };
    let mut played = client::run(client, pace, begun, (line.input, line.output), terminal).await;
    played.bridged = line.closing.close().await;
    played
}
