//! A script played to a server, by a client for each client of the tape.
//!
//! A client here is an ordinary one on a pipe of lines, whatever it was on when it was recorded: transports, eras and
//! sessions are the business of the proxy behind the pipe, which [`Target::open`] puts there.

mod client;
mod pace;
mod stock;
mod waiting;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::time::Instant;

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
    let terminal = Mutex::new(());
    let mut departures = Departures::of(&script.clients);
    let mut clients = BTreeMap::new();
    let mut playing = FuturesUnordered::new();
    // They are in the order of their first words, so that what one waits for the next one waits for too.
    for (number, client) in script.clients.iter().enumerate() {
        while playing.len() >= CLIENTS_MAX || !departures.are_before(client.begins()) {
            let Some((gone, played)) = playing.next().await else { break };
            departures.note(gone);
            clients.insert(gone, played);
        }
        let terminal = &terminal;
        playing.push(async move {
            pace.until(begun, client.begins()).await;
            (number, one(client, pace, begun, target, terminal).await)
        });
    }
    while let Some((gone, played)) = playing.next().await {
        clients.insert(gone, played);
    }
    Run { clients: clients.into_values().collect(), elapsed: begun.elapsed() }
}

/// Which clients are gone, in the order in which they were gone on tape.
struct Departures {
    /// When, and which.
    order: Vec<(Duration, usize)>,
    gone: BTreeSet<usize>,
    /// So many of the order are gone without a gap.
    first: usize,
}

impl Departures {
    fn of(clients: &[Client]) -> Self {
        let mut order: Vec<(Duration, usize)> =
            clients.iter().enumerate().map(|(number, client)| (client.ends, number)).collect();
        order.sort_unstable();
        Self { order, gone: BTreeSet::new(), first: 0 }
    }

    fn note(&mut self, client: usize) {
        self.gone.insert(client);
        while self.order.get(self.first).is_some_and(|(_, client)| self.gone.remove(client)) {
            self.first += 1;
        }
    }

    /// Whether all are gone that were gone on tape by then.
    fn are_before(&self, then: Duration) -> bool {
        self.order.get(self.first).is_none_or(|(ends, _)| *ends >= then)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_waits_for_all_that_were_gone_before_it_came_whatever_their_order_now() {
        let ms = Duration::from_millis;
        let order = vec![(ms(10), 1), (ms(20), 0), (ms(30), 2)];
        let mut departures = Departures { order, gone: BTreeSet::new(), first: 0 };
        assert!(departures.are_before(ms(10)) && !departures.are_before(ms(11)));
        departures.note(0);
        assert!(!departures.are_before(ms(25)));
        departures.note(1);
        assert!(departures.are_before(ms(30)) && !departures.are_before(ms(31)));
        departures.note(2);
        assert!(departures.are_before(Duration::MAX));
    }
}
