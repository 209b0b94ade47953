//! Event streams that are opened and held, one legacy session and one connection each.

use std::time::Instant;

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::client::{Connection, Target};
use super::session::Session;
use crate::error::BenchError;
use crate::wire::Era;

/// Streams opened at a time.
const OPENING_MAX: usize = 32;

/// How many streams, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// The endpoint, such as http://127.0.0.1:8000/mcp.
    #[arg(long)]
    url: Target,
    #[arg(long, default_value_t = 100)]
    streams: usize,
}

/// What became of the streams.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Still open when they were to be closed.
    pub(crate) held: usize,
    /// Refused, or ended by the other side.
    pub(crate) lost: usize,
    /// Why the first of the lost was refused.
    pub(crate) fault: Option<String>,
    /// Time it took to open them all.
    pub(crate) opening_seconds: f64,
}

/// Opens, waits for the word, closes and ends the sessions, reports.
pub(crate) async fn run(settings: Settings) -> Result<(), BenchError> {
    let started = Instant::now();
    let opening = stream::iter((0..settings.streams).map(|_| open(&settings.url)));
    let opened: Vec<_> = opening.buffer_unordered(OPENING_MAX).collect().await;
    let opening_seconds = started.elapsed().as_secs_f64();
    super::wait_for_go("open").await?;

    let fault = opened.iter().find_map(|stream| stream.as_ref().err().map(ToString::to_string));
    let mut held = 0;
    let mut sessions = Vec::with_capacity(settings.streams);
    for mut stream in opened.into_iter().flatten() {
        held += usize::from(stream.is_open());
        sessions.push(stream.session);
    }
    let mut connection = Connection::open(&settings.url).await?;
    for session in sessions {
        session.close(&mut connection).await?;
    }
    super::say_json(&Report { held, lost: settings.streams - held, fault, opening_seconds })
}

struct Stream {
    session: Session,
    events: Incoming,
    _connection: Connection,
}

impl Stream {
    /// Takes what has come so far and says whether more may come.
    fn is_open(&mut self) -> bool {
        loop {
            match self.events.frame().now_or_never() {
                None => return true,
                Some(Some(Ok(_))) => {}
                Some(None | Some(Err(_))) => return false,
            }
        }
    }
}

async fn open(target: &Target) -> Result<Stream, BenchError> {
    let mut connection = Connection::open(target).await?;
    let session = Session::open(Era::Legacy, &mut connection).await?;
    let events = connection.listen(&session.headers(None)).await?;
    Ok(Stream { session, events, _connection: connection })
}
