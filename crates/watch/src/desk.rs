//! What a person does to a proxy, carried out: asked of the proxy, and written in an editor.

use std::io;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
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
    draft: Option<Draft>,
}

/// What was written last and not taken: it is not written twice.
struct Draft {
    id: String,
    what: Compose,
    text: String,
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
            Effect::Compose { id, what } => {
                let editor = self.editor;
                self.compose(&id, what, model, |text| aside(terminal, || editor(text)))?
            }
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
        edit: impl FnOnce(&str) -> io::Result<Result<String, String>>,
    ) -> io::Result<Result<(), String>> {
        let begin = match self.begin(id, what) {
            Ok(begin) => begin,
            Err(sentence) => return Ok(Err(sentence)),
        };
        let written = edit(self.draft(id, what).unwrap_or(&begin))?;
        Ok(written.and_then(|text| self.send(Draft { id: id.to_owned(), what, text }, &begin, model)))
    }

    /// What is there to write on.
    fn begin(&self, id: &str, what: Compose) -> Result<String, String> {
        let text = self.hands.text(id)?;
        Ok(match what {
            Compose::Edit => json::indented(&text.message) + "\n",
            Compose::Answer => ANSWER.to_owned(),
        })
    }

    fn draft(&self, id: &str, what: Compose) -> Option<&str> {
        let draft = self.draft.as_ref().filter(|draft| draft.id == id && draft.what == what);
        draft.map(|draft| draft.text.as_str())
    }

    /// Lets it go as it was written. What is not taken is kept, and until then what was kept before.
    fn send(&mut self, written: Draft, begin: &str, model: &mut Model) -> Result<(), String> {
        let Draft { id, what, text } = &written;
        if text == begin {
            return Err(format!("nothing was changed: {id} still waits; `r` lets it go as it is"));
        }
        let verdict = match what {
            Compose::Edit => Verdict::Edit(text.clone()),
            Compose::Answer => Verdict::Answer(text.clone()),
        };
        match self.decide(id, &verdict, model) {
            Ok(()) => {
                self.draft.take_if(|draft| draft.id == *id);
                Ok(())
            }
            Err(sentence) => {
                self.draft = Some(written);
                Err(format!("{sentence}; what you wrote is kept"))
            }
        }
    }
}

/// Gives the terminal away for a while.
fn aside<T>(terminal: &mut DefaultTerminal, work: impl FnOnce() -> T) -> io::Result<T> {
    disable_raw_mode()?;
    execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen)?;
    terminal.show_cursor()?;
    let done = work();
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste)?;
    enable_raw_mode()?;
    terminal.clear()?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Breakpoint;
    use crate::hands::HeldText;

    /// A proxy that does not take what is wrong.
    struct Strict;

    impl Hands for Strict {
        fn text(&self, _: &str) -> Result<HeldText, String> {
            Ok(HeldText { message: r#"{"id":1}"#.to_owned(), asked: None })
        }

        fn decide(&self, _: &str, verdict: &Verdict) -> Result<(), String> {
            let (Verdict::Edit(text) | Verdict::Answer(text)) = verdict else { return Ok(()) };
            if text.contains("wrong") { Err("this is wrong".to_owned()) } else { Ok(()) }
        }

        fn add_breakpoint(&self, _: &str) -> Result<Vec<Breakpoint>, String> {
            Ok(Vec::new())
        }

        fn remove_breakpoint(&self, _: &str) -> Result<Vec<Breakpoint>, String> {
            Ok(Vec::new())
        }
    }

    /// What the editor is given, and what comes of what it makes of it.
    fn compose(
        desk: &mut Desk<'_>,
        (id, what): (&str, Compose),
        made: Result<&str, &str>,
    ) -> (String, Result<(), String>) {
        let mut model = Model::new("test".to_owned(), None);
        let mut given = String::new();
        let edit = |text: &str| {
            given = text.to_owned();
            Ok(made.map(str::to_owned).map_err(str::to_owned))
        };
        let done = desk.compose(id, what, &mut model, edit).unwrap();
        (given, done)
    }

    #[test]
    fn what_was_written_last_and_not_taken_is_there_again_until_it_is_taken() {
        let editor = |_: &str| Err("there is no terminal here".to_owned());
        let mut desk = Desk::new(Box::new(Strict), &editor);
        let (first, answer) = (("h-1", Compose::Edit), ("h-1", Compose::Answer));
        let begin = "{\n  \"id\": 1\n}\n";
        let refused = Err("this is wrong; what you wrote is kept".to_owned());
        assert_eq!(compose(&mut desk, first, Ok("wrong")), (begin.to_owned(), refused.clone()));
        let failed = Err("the editor failed".to_owned());
        let again = compose(&mut desk, first, Err("the editor failed"));
        assert_eq!(again, ("wrong".to_owned(), failed), "an editor that fails loses nothing");
        assert_eq!(compose(&mut desk, answer, Ok(ANSWER)).0, ANSWER, "it is no answer");
        assert_eq!(compose(&mut desk, ("h-2", Compose::Edit), Ok("{}")), (begin.to_owned(), Ok(())));
        assert_eq!(compose(&mut desk, first, Ok("still wrong")), ("wrong".to_owned(), refused));
        assert_eq!(compose(&mut desk, first, Ok("{}")), ("still wrong".to_owned(), Ok(())));
        assert_eq!(compose(&mut desk, first, Ok("{}")).0, begin);
    }
}
