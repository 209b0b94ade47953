//! A question at the foot of the screen, and what becomes of what is typed.

use shadowcat_filter::{Filter, ParseError};

use super::{Edit, Effect, Line, Model};
use crate::hands::Verdict;

/// The line that is typed, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prompt {
    purpose: Purpose,
    pub(crate) line: Line,
    /// What was wrong with it when it was last entered.
    pub(crate) fault: Option<String>,
}

/// What the line is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    Filter,
    Breakpoint,
    /// Why this message is refused.
    Reason(String),
}

impl Prompt {
    fn new(purpose: Purpose, text: &str) -> Self {
        Self { purpose, line: Line::new(text), fault: None }
    }

    pub(crate) fn filter(now: Option<&Filter>) -> Self {
        Self::new(Purpose::Filter, &now.map(ToString::to_string).unwrap_or_default())
    }

    /// What is shown is what one probably wants to hold.
    pub(crate) fn breakpoint(shown: Option<&Filter>) -> Self {
        Self::new(Purpose::Breakpoint, &shown.map(ToString::to_string).unwrap_or_default())
    }

    pub(crate) fn reason(id: String) -> Self {
        Self::new(Purpose::Reason(id), "")
    }

    /// What it asks for.
    pub(crate) fn label(&self) -> &'static str {
        match self.purpose {
            Purpose::Filter => "filter: ",
            Purpose::Breakpoint => "hold what fits: ",
            Purpose::Reason(_) => "refuse it because: ",
        }
    }
}

impl Model {
    pub(crate) fn edit(&mut self, edit: Edit) {
        if let Some(prompt) = &mut self.prompt {
            prompt.line.edit(edit);
            prompt.fault = None;
        }
    }

    /// Takes a text that was pasted. Where no line is typed its letters would be keys, and that is not what is meant.
    pub(crate) fn paste(&mut self, text: &str) {
        let Some(prompt) = &mut self.prompt else {
            self.note = Some("there is nowhere to paste: `/` and `b` begin a line".to_owned());
            return;
        };
        let fits = prompt.line.paste(text);
        prompt.fault = (!fits).then(|| "what was pasted is longer than a line may be".to_owned());
    }

    pub(crate) fn cancel(&mut self) {
        self.prompt = None;
    }

    /// Takes what is typed; what is wrong stays open, with the cursor at the place.
    pub(crate) fn submit(&mut self) -> Option<Effect> {
        let mut prompt = self.prompt.take()?;
        let text = prompt.line.text();
        let taken = match &prompt.purpose {
            Purpose::Filter => filter(&text).map(|filter| {
                self.set_filter(filter);
                None
            }),
            Purpose::Breakpoint => breakpoint(&text).map(Some),
            Purpose::Reason(id) => {
                let reason = Some(text.trim().to_owned()).filter(|reason| !reason.is_empty());
                Ok(Some(Effect::Decide { id: id.clone(), verdict: Verdict::Block(reason) }))
            }
        };
        taken.unwrap_or_else(|fault| {
            prompt.line.go_to(fault.column - 1);
            prompt.fault = Some(fault.to_string());
            self.prompt = Some(prompt);
            None
        })
    }
}

/// None for an empty line: all messages.
fn filter(text: &str) -> Result<Option<Filter>, ParseError> {
    if text.trim().is_empty() { Ok(None) } else { text.parse().map(Some) }
}

fn breakpoint(text: &str) -> Result<Effect, ParseError> {
    let filter: Filter = text.parse()?;
    Ok(Effect::AddBreakpoint { filter: filter.to_string() })
}
