//! Asks on the terminal before each thing that is said.

use std::io::Write as _;

use async_trait::async_trait;
use shadowcat_playback::replay::{Go, Stepper};
use shadowcat_playback::script::Step;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader, Stdin};
use tokio::sync::Mutex;

/// The terminal, until its user wants all the rest.
pub(super) struct Terminal(Mutex<(BufReader<Stdin>, bool)>);

impl Default for Terminal {
    fn default() -> Self {
        Self(Mutex::new((BufReader::new(tokio::io::stdin()), false)))
    }
}

#[async_trait]
impl Stepper for Terminal {
    async fn next(&self, step: &Step) -> Go {
        let mut terminal = self.0.lock().await;
        let (input, all) = &mut *terminal;
        if *all {
            return Go::Say;
        }
        let (seq, title) = (step.place.seq, step.title());
        write!(std::io::stderr(), "frame {seq}: {title}  [Enter] say it, [s]kip, [a]ll the rest, [q]uit: ")
            .ok();
        ask(input, all).await
    }
}

/// Reads a line; the end of the input is the end of the replay.
pub(super) async fn ask(input: &mut (impl AsyncBufRead + Unpin), all: &mut bool) -> Go {
    let mut line = String::new();
    match input.read_line(&mut line).await {
        Ok(bytes) if bytes > 0 => match line.trim() {
            "s" => Go::Skip,
            "q" => Go::Stop,
            "a" => {
                *all = true;
                Go::Say
            }
            _ => Go::Say,
        },
        _ => Go::Stop,
    }
}
