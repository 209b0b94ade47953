//! What the view knows and what it does: events and commands in, state out. It draws nothing, waits for nothing and has
//! no clock.

mod act;
mod command;
mod cursor;
mod input;
mod lot;
mod open;
mod prompt;
mod ring;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use shadowcat_filter::Filter;

use crate::event::{Event, Standing};

pub(crate) use command::{Command, Compose, Effect};
pub(crate) use cursor::{Cursor, Step};
pub(crate) use input::{Edit, Line};
pub(crate) use lot::{Lot, Waiting};
pub(crate) use open::{Open, Pane, PaneSize, clock};
pub(crate) use prompt::Prompt;
pub(crate) use ring::{Entry, FRAMES_MAX, Message, Ring};
pub(crate) use sessions::{Session, Sessions};

/// Lines of the screen around a list: the head, the names of the columns, the foot and the keys.
const AROUND_LIST: usize = 4;
/// Lines around all else: the head, the foot and the keys.
const AROUND_PANES: usize = 3;

/// Which list is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum List {
    #[default]
    Messages,
    Sessions,
    Held,
}

/// Where a key is pressed: what is in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Messages,
    Sessions,
    Held,
    Message,
    Help,
}

/// All that is shown.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) source: String,
    pub(crate) standing: Standing,
    pub(crate) ring: Ring,
    pub(crate) sessions: Sessions,
    pub(crate) filter: Option<Filter>,
    pub(crate) shows_wire: bool,
    /// The numbers of the entries that the list shows.
    pub(crate) shown: VecDeque<u64>,
    pub(crate) messages_at: Cursor,
    pub(crate) sessions_at: Cursor,
    pub(crate) lot: Lot,
    pub(crate) lot_at: Cursor,
    /// Whether there is a proxy that can be told what to do.
    pub(crate) can_act: bool,
    /// Whether the list goes to each message that comes.
    pub(crate) follows: bool,
    /// What has come since it does not.
    pub(crate) fresh: usize,
    pub(crate) list: List,
    pub(crate) open: Option<Open>,
    /// The first line of the help on the screen, while it is open.
    pub(crate) help: Option<usize>,
    pub(crate) prompt: Option<Prompt>,
    /// What was said last.
    pub(crate) note: Option<String>,
    width: usize,
    height: usize,
}

impl Model {
    pub(crate) fn new(source: String, filter: Option<Filter>) -> Self {
        Self {
            source,
            standing: Standing::default(),
            ring: Ring::default(),
            sessions: Sessions::default(),
            filter,
            shows_wire: false,
            shown: VecDeque::new(),
            messages_at: Cursor::default(),
            sessions_at: Cursor::default(),
            lot: Lot::default(),
            lot_at: Cursor::default(),
            can_act: false,
            follows: true,
            fresh: 0,
            list: List::default(),
            open: None,
            help: None,
            prompt: None,
            note: None,
            width: 80,
            height: 24,
        }
    }

    /// What is in front.
    pub(crate) fn place(&self) -> Place {
        match (self.help, &self.open, self.list) {
            (Some(_), _, _) => Place::Help,
            (None, Some(_), _) => Place::Message,
            (None, None, List::Messages) => Place::Messages,
            (None, None, List::Sessions) => Place::Sessions,
            (None, None, List::Held) => Place::Held,
        }
    }

    /// The screen has this size.
    pub(crate) fn resize(&mut self, width: usize, height: usize) {
        if (self.width, self.height) == (width, height) {
            return;
        }
        (self.width, self.height) = (width, height);
        self.messages_at.keep_in_sight(self.shown.len(), self.list_height());
        self.sessions_at.keep_in_sight(self.sessions.all().len(), self.list_height());
        self.lot_at.keep_in_sight(self.lot.len(), self.list_height());
        self.fit_open();
    }

    /// The lines of a list.
    pub(crate) fn list_height(&self) -> usize {
        self.height.saturating_sub(AROUND_LIST)
    }

    /// The room for opened messages, and how it is shared.
    pub(crate) fn pane_size(&self) -> PaneSize {
        let panes = self.open.as_ref().map_or(1, |open| open.panes.len());
        PaneSize::of(self.width, self.height.saturating_sub(AROUND_PANES), panes)
    }

    /// Takes what a source tells.
    pub(crate) fn take(&mut self, event: Event) {
        let number = match event {
            Event::Standing(standing) => {
                if let Standing::Broken(why) = &standing {
                    self.note = Some(why.clone());
                }
                self.standing = standing;
                return;
            }
            Event::Gap(told) => self.ring.push_gap(told),
            Event::Frame { tape, frame } => self.ring.push_frame(tape, *frame),
            of_the_lot => return self.take_lot(of_the_lot),
        };
        if let Some(message) = self.ring.message(number).filter(|message| !message.is_wire()) {
            self.sessions.count(&message.frame);
        }
        self.forget_dropped();
        if self.fits(number) {
            self.shown.push_back(number);
            self.show_newest();
        }
        if self.open.as_ref().is_some_and(|open| open.is_outdated(&self.ring)) {
            self.reopen();
        }
    }

    fn forget_dropped(&mut self) {
        let first = self.ring.first();
        let gone = self.shown.iter().take_while(|number| **number < first).count();
        self.shown.drain(..gone);
        self.messages_at.shift(gone);
    }

    fn show_newest(&mut self) {
        let (len, height) = (self.shown.len(), self.list_height());
        if self.follows {
            self.messages_at.go(Step::Last, len, height);
        } else {
            self.fresh += 1;
        }
    }

    /// Whether the list shows this entry. Of what is missing nobody knows what it was.
    fn fits(&self, number: u64) -> bool {
        let Some(message) = self.ring.message(number) else { return self.filter.is_none() };
        (self.shows_wire || !message.is_wire())
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| self.ring.seen(number).is_some_and(|seen| filter.matches(&seen)))
    }

    /// Carries out what a person wants, as far as that is done here.
    pub(crate) fn run(&mut self, command: Command) -> Option<Effect> {
        self.note = None;
        match command {
            Command::Quit => return Some(Effect::Quit),
            Command::Help => self.help = Some(0),
            Command::Back => self.back(),
            Command::Go(step) => self.go(step),
            Command::Open => return self.open(),
            Command::NextList => self.next_list(),
            Command::Pause => self.follow(!self.follows),
            Command::Filter => self.prompt = Some(Prompt::filter(self.filter.as_ref())),
            Command::Wire => {
                self.shows_wire = !self.shows_wire;
                self.choose();
            }
            Command::NextMessage => self.open_beside(Step::Down),
            Command::PreviousMessage => self.open_beside(Step::Up),
            Command::OtherPane => {
                if let Some(open) = &mut self.open {
                    open.other_pane();
                }
            }
            _ => return self.act(command),
        }
        None
    }

    fn next_list(&mut self) {
        self.list = match self.list {
            List::Messages => List::Sessions,
            List::Sessions if self.can_act => List::Held,
            List::Sessions | List::Held => List::Messages,
        };
        // What waits the longest is what one comes for; nobody has seen what was selected since.
        self.lot_at = Cursor::default();
    }

    fn back(&mut self) {
        if self.help.take().is_some() || self.open.take().is_some() {
            return;
        }
        if self.list == List::Messages {
            self.set_filter(None);
        }
        self.list = List::Messages;
    }

    fn go(&mut self, step: Step) {
        let (height, pane) = (self.list_height(), self.pane_size());
        match self.place() {
            Place::Messages => {
                let len = self.shown.len();
                self.messages_at.go(step, len, height);
                self.follow(self.messages_at.at + 1 >= len && !matches!(step, Step::Up | Step::PageUp));
            }
            Place::Sessions => self.sessions_at.go(step, self.sessions.all().len(), height),
            Place::Held => self.lot_at.go(step, self.lot.len(), height),
            Place::Message => {
                if let Some(open) = &mut self.open {
                    open.go(step, pane.height);
                }
            }
            Place::Help => {
                let len = crate::keys::HELP_LINES;
                let tops = len.saturating_sub(self.height.saturating_sub(AROUND_PANES)) + 1;
                self.help = self.help.map(|top| step.from(top, tops, height));
            }
        }
    }

    fn follow(&mut self, follows: bool) {
        self.follows = follows;
        if follows {
            self.fresh = 0;
            self.messages_at.go(Step::Last, self.shown.len(), self.list_height());
        }
    }

    fn open(&mut self) -> Option<Effect> {
        match self.list {
            List::Held => {
                let Some(Waiting::Held(held)) = self.lot.get(self.lot_at.at) else { return None };
                return Some(Effect::Show { id: held.id.clone() });
            }
            List::Messages => {
                // What is opened stays selected, whatever comes.
                self.follows = false;
                self.reopen();
            }
            List::Sessions => {
                let session = self.sessions.all().get(self.sessions_at.at)?;
                let filter = session.tag.as_ref().and_then(|tag| format!("~session {tag}").parse().ok());
                if filter.is_none() {
                    self.note =
                        Some("these messages belong to no session: there is no filter for them".to_owned());
                    return None;
                }
                self.set_filter(filter);
                self.list = List::Messages;
            }
        }
        None
    }

    fn open_beside(&mut self, step: Step) {
        // One that waits is in another list.
        if self.open.as_ref().is_some_and(|open| open.number.is_none()) {
            return;
        }
        self.messages_at.go(step, self.shown.len(), self.list_height());
        self.open = None;
        self.reopen();
    }

    /// Opens the selected message, or the one that is open once more.
    fn reopen(&mut self) {
        let selected = || self.shown.get(self.messages_at.at).copied();
        let Some(number) = self.open.as_ref().and_then(|open| open.number).or_else(selected) else { return };
        let earlier = self.open.take();
        let open = Open::new(&self.ring, number);
        self.open = match (open, &earlier) {
            (Some(open), Some(earlier)) => Some(open.scrolled_like(earlier)),
            (open, _) => open,
        };
        self.fit_open();
    }

    fn fit_open(&mut self) {
        let size = self.pane_size();
        if let Some(open) = &mut self.open {
            open.fit(size);
        }
    }

    /// Shows these only.
    pub(crate) fn set_filter(&mut self, filter: Option<Filter>) {
        self.filter = filter;
        self.choose();
    }

    /// Chooses anew which entries the list shows; the selected one stays, or the nearest before it.
    fn choose(&mut self) {
        let selected = self.shown.get(self.messages_at.at).copied();
        self.shown = self.ring.numbers().filter(|number| self.fits(*number)).collect();
        let (len, height) = (self.shown.len(), self.list_height());
        if self.follows {
            self.messages_at.go(Step::Last, len, height);
            return;
        }
        self.fresh = 0;
        let before = self.shown.partition_point(|number| Some(*number) <= selected);
        self.messages_at.set(before.saturating_sub(1), len, height);
    }
}
