//! What a person does to a proxy, carried out: asked of the proxy, and written in an editor.

use std::io;

use ratatui::DefaultTerminal;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use shadowcat_protocol::json;

use crate::event::Event;
use crate::hands::{Hands, Verdict};
use crate::model::{Compose, Effect, Model};

/// What is written when the answer to a tool call is begun; other results have other members.
const ANSWER: &str = r#"{
  "result": {
    "content": [
      {"type": "text", "text": ""}
    ]
  }
}
"#;

/// Lets a person edit a text, with the terminal to themselves; what goes wrong is a sentence.
pub type Editor<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

pub(crate) struct Desk<'a> {
    hands: Box<dyn Hands>,
    editor: &'a Editor<'a>,
    /// What was written last and not taken, for which message and to what end: it is not written twice.
    draft: Option<(String, Compose, String)>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(hands: Box<dyn Hands>, editor: &'a Editor<'a>) -> Self {
        Self { hands, editor, draft: None }
    }

    /// Carries it out, and lets the model tell what came of it.
    ///
    /// # Errors
    /// When the terminal cannot be used any more.
    pub(crate) fn carry_out(
        &mut self,
        effect: Effect,
        model: &mut Model,
        terminal: &mut DefaultTerminal,
    ) -> io::Result<()> {
        let done = match effect {
            Effect::Quit => Ok(()),
            Effect::Decide { id, verdict } => self.decide(&id, &verdict, model),
            Effect::Show { id } => self.hands.text(&id).map(|text| model.show_held(&id, &text)),
            Effect::AddBreakpoint { filter } => self.hands.add_breakpoint(&filter).map(|all| {
                model.take(Event::Breakpoints(all));
                model.note = Some(format!("what fits {filter} is held from now on"));
            }),
            Effect::RemoveBreakpoint { id } => self.hands.remove_breakpoint(&id).map(|all| {
                model.take(Event::Breakpoints(all));
                model.note = Some(format!("{id} is removed; what waits goes on waiting"));
            }),
            Effect::Compose { id, what } => self.compose(&id, what, model, terminal)?,
        };
        if let Err(sentence) = done {
            model.note = Some(sentence);
        }
        Ok(())
    }

    fn decide(&self, id: &str, verdict: &Verdict, model: &mut Model) -> Result<(), String> {
        self.hands.decide(id, verdict)?;
        let told = match verdict {
            Verdict::Resume => "goes on",
            Verdict::Edit(_) => "goes on as it was edited",
            Verdict::Answer(_) => "is answered",
            Verdict::Drop => "is dropped",
            Verdict::Block(_) => "is refused",
        };
        model.decided(id, told);
        Ok(())
    }

    fn compose(
        &mut self,
        id: &str,
        what: Compose,
        model: &mut Model,
        terminal: &mut DefaultTerminal,
    ) -> io::Result<Result<(), String>> {
        let begin = match (what, self.hands.text(id)) {
            (_, Err(sentence)) => return Ok(Err(sentence)),
            (Compose::Edit, Ok(text)) => json::indented(&text.message) + "\n",
            (Compose::Answer, Ok(_)) => ANSWER.to_owned(),
        };
        let draft = self.draft.take().filter(|(of, to, _)| of == id && *to == what);
        let text = draft.map_or_else(|| begin.clone(), |(_, _, text)| text);
        let written = match aside(terminal, || (self.editor)(&text))? {
            Ok(written) => written,
            Err(sentence) => return Ok(Err(sentence)),
        };
        if written == begin {
            return Ok(Err(format!("nothing was changed: {id} still waits; `r` lets it go as it is")));
        }
        let verdict = match what {
            Compose::Edit => Verdict::Edit(written.clone()),
            Compose::Answer => Verdict::Answer(written.clone()),
        };
        let done = self.decide(id, &verdict, model);
        Ok(done.map_err(|sentence| {
            self.draft = Some((id.to_owned(), what, written));
            format!("{sentence}; {id} still waits, and what you wrote is kept")
        }))
    }
}

/// Gives the terminal away for a while.
fn aside<T>(terminal: &mut DefaultTerminal, work: impl FnOnce() -> T) -> io::Result<T> {
    disable_raw_mode()?;
    execute!(io::stdout(), LeaveAlternateScreen)?;
    terminal.show_cursor()?;
    let done = work();
    execute!(io::stdout(), EnterAlternateScreen)?;
    enable_raw_mode()?;
    terminal.clear()?;
    Ok(done)
}
