//! The terminal: taken, drawn on, read from, and given back as it was, whatever happens.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, EnableBracketedPaste, Event as Input, KeyEvent, KeyEventKind,
};
use ratatui::crossterm::execute;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use shadowcat_filter::Filter;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::desk::{Desk, Editor};
use crate::keys::{self, Typed};
use crate::model::{Effect, Model};
use crate::source::{Running, Source};
use crate::view::{self, Paint};

/// How long a key is waited for before the source is asked again.
const TURN: Duration = Duration::from_millis(100);
/// Events of the source, and of keys, that are taken before the screen is drawn again.
const TAKEN_MAX: usize = 4_096;

/// How the view is shown.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether the terminal may be given colours.
    pub is_colored: bool,
    /// What is shown at first.
    pub filter: Option<Filter>,
}

/// Why the view could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// It cannot be set up, drawn on or read from.
    #[error("the terminal cannot be used")]
    Terminal(#[from] io::Error),
    /// Signals cannot be listened to.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
}

/// Shows what a source tells, until the person or a signal ends it. The terminal is as it was before then, also after an
/// error or a panic; while a text is edited, it is too.
///
/// # Errors
/// When the terminal cannot be used.
pub fn show(source: Box<dyn Source>, settings: Settings, editor: &Editor<'_>) -> Result<(), ScreenError> {
    let told_to_end = signals().map_err(ScreenError::Signals)?;
    let mut model = Model::new(source.name(), settings.filter);
    let mut terminal = Taken::new()?;
    let hands = source.hands();
    model.can_act = hands.is_some();
    let running = Running::start(source);
    let mut desk = hands.map(|hands| Desk::new(hands, editor));
    let paint = Paint::new(settings.is_colored);
    let ended = turns(&mut terminal.0, &mut model, &running, &mut desk, paint, &told_to_end);
    drop(terminal);
    running.end();
    Ok(ended?)
}

fn signals() -> io::Result<Arc<AtomicBool>> {
    let told = Arc::new(AtomicBool::new(false));
    // SIGHUP ends the process as it does any: there is no terminal then that could be given back.
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&told))?;
    }
    Ok(told)
}

/// The terminal while it is ours. A panic gives it back before it is told.
struct Taken(DefaultTerminal);

impl Taken {
    fn new() -> io::Result<Self> {
        let taken = ratatui::try_init().map(Self)?;
        // A terminal that knows of it says what is pasted and what is typed; another does no harm.
        execute!(io::stdout(), EnableBracketedPaste)?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        drop(execute!(io::stdout(), DisableBracketedPaste));
        ratatui::restore();
    }
}

fn turns(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    running: &Running,
    desk: &mut Option<Desk<'_>>,
    paint: Paint,
    told_to_end: &AtomicBool,
) -> io::Result<()> {
    // The first screen is drawn in any case.
    let mut typed = 1;
    while !told_to_end.load(Ordering::Relaxed) {
        let taken = running.events().take(TAKEN_MAX).map(|event| model.take(event)).count();
        let is_changed = taken + typed > 0;
        if is_changed {
            let size = terminal.size()?;
            model.resize(size.width.into(), size.height.into());
            terminal.draw(|frame| view::draw(frame, model, paint))?;
        }
        // While much is coming, what is typed is looked at without a wait.
        let is_waiting = await_input(if is_changed { Duration::ZERO } else { TURN })?;
        typed = match take_typed(terminal, model, desk)? {
            ControlFlow::Continue(typed) => typed,
            ControlFlow::Break(()) => break,
        };
        if is_waiting && typed == 0 {
            tell_again()?;
        }
    }
    Ok(())
}

/// Takes what is typed, pasted lines at once, and says how much it was; up to a key that does something to the proxy, so that
/// the person sees what came of it.
fn take_typed(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    desk: &mut Option<Desk<'_>>,
) -> io::Result<ControlFlow<(), usize>> {
    let mut typed = 0;
    while typed < TAKEN_MAX && event::poll(Duration::ZERO)? {
        typed += 1;
        let effect = match event::read()? {
            Input::Key(key) if key.kind != KeyEventKind::Release => press(model, key),
            Input::Paste(text) => {
                model.paste(&text);
                None
            }
            _ => None,
        };
        match (effect, desk.as_mut()) {
            (Some(Effect::Quit), _) => return Ok(ControlFlow::Break(())),
            (Some(effect), Some(desk)) => {
                desk.carry_out(effect, model, terminal)?;
                break;
            }
            _ => {}
        }
    }
    Ok(ControlFlow::Continue(typed))
}

/// Waits until something is typed or the size changes; whether something is typed. In front of a terminal that is gone
/// crossterm would read for ever.
fn await_input(wait: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut ends = [PollFd::new(&stdin, PollFlags::IN)];
    let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
    let ready = match poll(&mut ends, Some(&wait)) {
        Ok(ready) => ready,
        Err(Errno::INTR) => 0,
        Err(cause) => return Err(cause.into()),
    };
    let is_gone = ends.iter().any(|end| end.revents().intersects(PollFlags::HUP | PollFlags::ERR));
    if is_gone { Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is gone")) } else { Ok(ready > 0) }
}

/// Of a long text crossterm reads 1,024 bytes, and is told of the rest with the next key only: it is told of changes. That
/// the terminal is set to what it is set to is one.
fn tell_again() -> io::Result<()> {
    let stdin = io::stdin();
    tcsetattr(&stdin, OptionalActions::Now, &tcgetattr(&stdin)?)?;
    Ok(())
}

fn press(model: &mut Model, key: KeyEvent) -> Option<Effect> {
    if model.prompt.is_none() {
        return keys::command(model.place(), key).and_then(|command| model.run(command));
    }
    match keys::typed(key) {
        Some(Typed::Edit(edit)) => model.edit(edit),
        Some(Typed::Submit) => return model.submit(),
        Some(Typed::Cancel) => model.cancel(),
        None => {}
    }
    None
}
