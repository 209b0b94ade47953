//! One message as rules see it: its kind, what names it, and its content, read when it is asked for.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::OnceLock;

use shadowcat_filter::{Field, Flag, Quantity, Subject};
use shadowcat_protocol::{Direction, Message, Notification, Request, Response, json, method};

use crate::scene::{Asked, Kind, Scene};
use crate::strict::{Content, Read};
use crate::world::World;

/// What was found out about the content of a message, which is its params, its result or its error.
#[derive(Debug, Default)]
pub(crate) struct Body {
    read: Read,
    /// The rules that it allows, of those that are found by it.
    pub(crate) placed: OnceLock<Vec<u32>>,
}

pub(crate) struct View<'a> {
    pub(crate) message: &'a Message,
    pub(crate) scene: &'a Scene<'a>,
    pub(crate) headers: &'a [(Box<str>, Box<str>)],
    pub(crate) world: &'a dyn World,
    pub(crate) kind: Kind,
    /// The method; an answer has that of its request.
    pub(crate) method: Option<&'a str>,
    pub(crate) body: &'a Body,
    /// These are found when they are asked for: what it is about, and the raw content.
    name: OnceCell<Option<Cow<'a, str>>>,
    raw: OnceCell<&'a str>,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        message: &'a Message,
        scene: &'a Scene<'a>,
        headers: &'a [(Box<str>, Box<str>)],
        body: &'a Body,
        world: &'a dyn World,
    ) -> Self {
        let method = message.method().or_else(|| scene.asked.map(|asked| asked.request().method()));
        Self {
            message,
            scene,
            headers,
            world,
            kind: Kind::of(message),
            method,
            body,
            name: OnceCell::new(),
            raw: OnceCell::new(),
        }
    }

    /// The tool, prompt, resource or task that it is about; replies have that of their request.
    pub(crate) fn name(&self) -> Option<&str> {
        let name = || self.request().and_then(Request::name).or_else(|| uri(self.message));
        self.name.get_or_init(name).as_deref()
    }

    /// The name, where it is that of what this method works on.
    pub(crate) fn name_of(&self, kind: Named) -> Option<&str> {
        let asked = self.scene.asked.map(|asked| asked.request().method());
        let about = if self.kind == Kind::Notification { asked.or(self.method) } else { self.method };
        self.name().filter(|_| about.is_some_and(|method| kind.is_of(method)))
    }

    /// The request: the message itself, or the one that it answers or is among the replies of.
    pub(crate) fn request(&self) -> Option<&'a Request> {
        match self.message {
            Message::Request(request) => Some(request),
            _ => self.scene.asked.map(Asked::request),
        }
    }

    pub(crate) fn notification(&self) -> Option<&Notification> {
        if let Message::Notification(notification) = self.message { Some(notification) } else { None }
    }

    pub(crate) fn response(&self) -> Option<&Response> {
        if let Message::Response(response) = self.message { Some(response) } else { None }
    }

    /// The params of [`View::request`].
    pub(crate) fn request_params(&self) -> Option<Content<'_>> {
        match (self.message, self.scene.asked) {
            (Message::Request(_), _) => Some(self.content()),
            (_, asked) => asked.map(Asked::params),
        }
    }

    /// The params of the request or notification; an answer has those of its request.
    pub(crate) fn params(&self) -> Option<Content<'_>> {
        match self.message {
            Message::Response(_) => self.scene.asked.map(Asked::params),
            _ => Some(self.content()),
        }
    }

    /// The result of an answer.
    pub(crate) fn result(&self) -> Option<Content<'_>> {
        self.response().filter(|response| !response.is_error()).map(|_| self.content())
    }

    /// The error of an answer.
    pub(crate) fn error(&self) -> Option<Content<'_>> {
        self.response().filter(|response| response.is_error()).map(|_| self.content())
    }

    fn content(&self) -> Content<'_> {
        Content::new(self.raw.get_or_init(|| content(self.message)), &self.body.read)
    }

    fn text(&self) -> &str {
        self.message.as_str()
    }

    fn asked_text(&self) -> Option<&str> {
        match self.kind {
            Kind::Answer => self.scene.asked.map(|asked| asked.request().as_str()),
            _ => Some(self.text()),
        }
    }

    /// How an answer failed: the number of its error, or `tool`.
    fn failure(&self) -> Option<String> {
        let Message::Response(response) = self.message else { return None };
        if response.error_json().is_some() {
            return Some(response.error_code().map_or_else(String::new, |code| code.to_string()));
        }
        response.is_tool_error().then(|| "tool".to_owned())
    }
}

/// The raw content of a message: what `$` is to the paths of rules.
pub(crate) fn content(message: &Message) -> &str {
    match message {
        Message::Request(request) => request.params(),
        Message::Notification(notification) => notification.params(),
        Message::Response(response) => response.result_json().or_else(|| response.error_json()),
    }
    .unwrap_or("{}")
}

/// The resource that is subscribed to, or has changed: `Mcp-Name` does not mirror it, and rules are about it all the same.
fn uri(message: &Message) -> Option<Cow<'_, str>> {
    let by_uri = [method::RESOURCES_SUBSCRIBE, method::RESOURCES_UNSUBSCRIBE, method::RESOURCE_UPDATED];
    if !by_uri.contains(&message.method()?) {
        return None;
    }
    json::get(content(message), &["uri"]).and_then(json::string)
}

/// What a name may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Tool,
    Prompt,
    Resource,
    Any,
}

impl Named {
    pub(crate) fn is_of(self, name: &str) -> bool {
        match self {
            Self::Tool => name == method::TOOLS_CALL,
            Self::Prompt => name == method::PROMPTS_GET,
            Self::Resource => matches!(
                name,
                method::RESOURCES_READ
                    | method::RESOURCES_SUBSCRIBE
                    | method::RESOURCES_UNSUBSCRIBE
                    | method::RESOURCE_UPDATED
            ),
            Self::Any => true,
        }
    }
}

impl Subject for View<'_> {
    fn is(&self, flag: Flag) -> bool {
        match flag {
            Flag::Failed => self.failure().is_some(),
            Flag::Request => self.kind == Kind::Request,
            Flag::Notification => self.kind == Kind::Notification,
            Flag::Answer => self.kind == Kind::Answer,
            Flag::ToServer => self.scene.direction == Direction::ToServer,
            Flag::ToClient => self.scene.direction == Direction::ToClient,
        }
    }

    fn any(&self, field: Field, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let facts = self.scene.facts;
        match field {
            Field::Method => self.method.is_some_and(test),
            Field::Name => self.name().is_some_and(test),
            Field::Code => self.failure().as_deref().is_some_and(test),
            Field::Text => test(self.text()),
            Field::AskedText => self.asked_text().is_some_and(test),
            Field::AnswerText => self.kind == Kind::Answer && test(self.text()),
            Field::Id => self.message.id().is_some_and(|id| {
                let raw = id.as_json();
                test(&json::string(raw).unwrap_or(Cow::Borrowed(raw)))
            }),
            Field::Session => facts.session.is_some_and(test),
            Field::Principal => facts.principal.is_some_and(test),
            Field::Client => [facts.transport, facts.revision, facts.era].into_iter().any(test),
            Field::Upstream => {
                let speech = facts.upstream.map(|side| [side.transport, side.revision, side.era]);
                facts.server.into_iter().chain(speech.into_iter().flatten()).any(test)
            }
        }
    }

    fn amount(&self, quantity: Quantity) -> Option<u64> {
        let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).ok();
        match quantity {
            Quantity::Took => micros(self.scene.took?),
            Quantity::Size => Some(self.message.text().len() as u64),
            Quantity::Time => {
                micros(self.world.now().duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?)
            }
        }
    }
}
