//! What a person does to a running proxy: breakpoints, and what becomes of what waits.

use super::{Command, Compose, Effect, Model, Open, Place, Prompt, Waiting};
use crate::event::{Breakpoint, Event, Held};
use crate::hands::{HeldText, Verdict};

impl Model {
    /// Takes what a source tells of what waits.
    pub(super) fn take_lot(&mut self, event: Event) {
        let selected = self.lot.id_at(self.lot_at.at);
        let was_held = self.lot_at.at < self.lot.held().len();
        match event {
            Event::Held(held) => {
                let told = format!("{} waits: {} ({})", held.id, held.method, held.cause);
                if self.lot.add(*held) {
                    self.note = Some(told);
                }
            }
            Event::Released { id, told } => {
                // Told once of what was decided here.
                if self.lot.remove(&id) {
                    self.note = Some(format!("{id}: {told}"));
                }
            }
            Event::AllHeld(held) => self.lot.set_held(held),
            Event::Breakpoints(breakpoints) => self.lot.set_breakpoints(breakpoints),
            Event::Frame { .. } | Event::Gap(_) | Event::Standing(_) => {}
        }
        // A key is meant for what was selected, wherever it is by now; if it is let go, for what waits next, and for a breakpoint
        // only where nothing waits.
        let next = || match self.lot.held().len().checked_sub(1) {
            Some(last) if was_held => self.lot_at.at.min(last),
            _ => self.lot_at.at,
        };
        let at = selected.and_then(|id| self.lot.place_of(&id)).unwrap_or_else(next);
        self.lot_at.set(at, self.lot.len(), self.list_height());
    }

    /// What waits of the exchange that this message opened.
    pub(crate) fn held_at(&self, number: u64) -> Option<&Held> {
        let message = self.ring.message(number)?;
        let has_opened = self.ring.exchange(number).0 == Some(number);
        if has_opened { self.lot.of(message.frame.exchange) } else { None }
    }

    /// What waits of the message that is selected or open.
    pub(crate) fn held(&self) -> Option<&Held> {
        let of_message = |number: u64| self.lot.of(self.ring.message(number)?.frame.exchange);
        match self.place() {
            Place::Messages => of_message(*self.shown.get(self.messages_at.at)?),
            Place::Held => match self.lot.get(self.lot_at.at)? {
                Waiting::Held(held) => Some(held),
                Waiting::Breakpoint(_) => None,
            },
            Place::Message => {
                let open = self.open.as_ref()?;
                let by_id = || self.lot.find(open.held.as_ref()?);
                open.number.map_or_else(by_id, of_message)
            }
            Place::Sessions | Place::Help => None,
        }
    }

    /// The breakpoint that is selected.
    pub(crate) fn breakpoint(&self) -> Option<&Breakpoint> {
        match self.lot.get(self.lot_at.at)? {
            Waiting::Breakpoint(breakpoint) if self.place() == Place::Held => Some(breakpoint),
            _ => None,
        }
    }

    pub(super) fn act(&mut self, command: Command) -> Option<Effect> {
        if !self.can_act {
            self.note = Some("nothing waits on a tape: this works at a running proxy".to_owned());
            return None;
        }
        if command == Command::Breakpoint {
            self.prompt = Some(Prompt::breakpoint(self.filter.as_ref()));
            return None;
        }
        if let (Command::Drop, Some(breakpoint)) = (command, self.breakpoint()) {
            return Some(Effect::RemoveBreakpoint { id: breakpoint.id.clone() });
        }
        let Some(id) = self.held().map(|held| held.id.clone()) else {
            self.note = Some("this message does not wait; `b` holds what fits a filter".to_owned());
            return None;
        };
        let decide = |id, verdict| Some(Effect::Decide { id, verdict });
        match command {
            Command::Resume => decide(id, Verdict::Resume),
            Command::Drop => decide(id, Verdict::Drop),
            Command::Edit => Some(Effect::Compose { id, what: Compose::Edit }),
            Command::Answer => Some(Effect::Compose { id, what: Compose::Answer }),
            Command::Block => {
                self.prompt = Some(Prompt::reason(id));
                None
            }
            _ => None,
        }
    }

    /// A message was let go by this person.
    pub(crate) fn decided(&mut self, id: &str, told: &str) {
        self.take_lot(Event::Released { id: id.to_owned(), told: told.to_owned() });
    }

    /// Opens a message that waits.
    pub(crate) fn show_held(&mut self, id: &str, text: &HeldText) {
        if let Some(held) = self.lot.find(id) {
            self.open = Some(Open::held(held, text));
            self.fit_open();
        }
    }
}
