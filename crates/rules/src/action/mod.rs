//! What rules do, compiled.

mod compile;
mod context;
mod edit;
mod headers;
mod patch;
mod step;
mod template;

use std::time::Duration;

use shadowcat_protocol::{ErrorObject, Message};

use crate::view::{View, content};
use crate::world::{fraction, random_bits};
use crate::written::Broken;
use edit::Edit;
use headers::Headers;
use patch::Patch;
use template::{Json, Template};

pub(crate) use compile::Compiling;
pub use step::{Outcome, Pause, Step};
pub(crate) use template::Templates;

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Action {
    Edit(Edit),
    Patch(Patch),
    Headers(Headers),
    Tag(Vec<String>),
    Log(Template),
    Delay { from: Duration, to: Duration },
    Pause(Pause),
    Block(Template),
    MockResult(Json),
    MockError { code: i64, message: Template, data: Option<Json> },
    Drop,
    Fault(Broken),
}

/// What came of an action.
pub(crate) enum Carried {
    /// The caller takes this step.
    Step(Step),
    /// The message is this one now.
    Message(Message),
    /// The headers are these now.
    Headers(Vec<(Box<str>, Box<str>)>),
}

impl Action {
    /// Whether a client may be answered something else because of it, or the server asked something else.
    pub(crate) fn changes(&self) -> bool {
        matches!(self, Self::Edit(_) | Self::Patch(_) | Self::Headers(_) | Self::MockResult(_))
    }

    /// # Errors
    /// With the reason why it cannot be carried out for this message.
    pub(crate) fn carry_out(&self, templates: &Templates, view: &View<'_>) -> Result<Carried, String> {
        let text = |template: &Template| template.render(templates, view);
        Ok(Carried::Step(match self {
            Self::Edit(edit) => return changed(view, |content| edit.apply(content, templates, view)),
            Self::Patch(patch) => return changed(view, |content| patch.apply(content, templates, view)),
            Self::Headers(headers) => return headers.apply(templates, view).map(Carried::Headers),
            Self::Tag(words) => Step::Tag(words.clone()),
            Self::Log(line) => Step::Log(text(line)?),
            Self::Delay { from, to } => {
                let more = to.saturating_sub(*from).mul_f64(fraction(random_bits(view.world)));
                Step::Delay(*from + more)
            }
            Self::Pause(pause) => Step::Pause(*pause),
            Self::Block(reason) => Step::Block(text(reason)?),
            Self::MockResult(result) => Step::Mock(Outcome::Result(result.render(templates, view)?)),
            Self::MockError { code, message, data } => Step::Mock(Outcome::Error(ErrorObject {
                code: *code,
                message: text(message)?,
                data: data.as_ref().map(|data| data.render(templates, view)).transpose()?,
            })),
            Self::Drop => Step::Drop,
            Self::Fault(broken) => Step::Fault(*broken),
        }))
    }
}

/// The message with changed content. An answer that is an error has none that could be changed: its members mean
/// something else.
fn changed(view: &View<'_>, change: impl FnOnce(&str) -> Result<String, String>) -> Result<Carried, String> {
    if view.response().is_some_and(|response| response.result_json().is_none()) {
        return Ok(Carried::Step(Step::Unchanged));
    }
    let before = content(view.message);
    let after = change(before)?;
    if after == before {
        return Ok(Carried::Step(Step::Unchanged));
    }
    if !after.starts_with('{') {
        return Err("the content of a message must stay an object".to_owned());
    }
    Ok(Carried::Message(match view.message {
        Message::Request(request) => Message::Request(request.with_params(&after)),
        Message::Notification(notification) => Message::Notification(notification.with_params(&after)),
        Message::Response(response) => Message::Response(response.with_result(&after)),
    }))
}
