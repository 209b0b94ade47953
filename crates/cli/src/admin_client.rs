//! The admin API of a running proxy, from the side of those who ask it something.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shadowcat_admin::{Notice, NoticeError, Token};
use shadowcat_pipeline::task::Tasks;
use shadowcat_protocol::sse::{Decoder, Event};
use shadowcat_transports::http_client::{Body, Client, ClientError, Settings, Target};

use crate::data_args::DataArgs;
use crate::failure::Failure;
use crate::process::Process;

/// The longest answer: a message of the largest size, and what is around it.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long the proxy may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

// Where a running proxy is found.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Address of the admin API, such as http://127.0.0.1:9000, in place of a data directory; needs --token-file
    #[arg(long, value_name = "URL", global = true, requires = "token_file")]
    admin: Option<String>,
    /// File with the token of the admin API
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

impl AdminArgs {
    /// The flags that name the data directory.
    pub(crate) fn data(&self) -> &DataArgs {
        &self.data
    }

    /// Whether there is a proxy to ask: one is named, or one that lives has said where it is.
    pub(crate) fn is_there(&self, process: &Process) -> Result<bool, Failure> {
        if self.admin.is_some() {
            return Ok(true);
        }
        Ok(matches!(noticed(&self.data.notice(process)?)?, Noticed::Alive(_)))
    }
}

/// The API of one proxy.
pub(crate) struct Admin {
    client: Client,
    /// Without a slash at its end.
    url: String,
    authorization: HeaderValue,
    /// What to say if nobody answers.
    whereabouts: String,
}

/// What is wrong, in the words of the proxy.
#[derive(Deserialize)]
struct Problem {
    detail: String,
    reason: String,
}

impl Admin {
    /// The proxy that is meant. To be called in a runtime.
    pub(crate) fn find(args: &AdminArgs, process: &Process) -> Result<Self, Failure> {
        let token = args.token_file.as_deref().map(Token::read).transpose();
        let token =
            token.map_err(|cause| Failure::caused("there is no token to ask with", cause).into_usage())?;
        match (&args.admin, token) {
            (Some(url), Some(token)) => {
                let whereabouts = format!("no proxy answers at {url}");
                Self::at(url.trim_end_matches('/'), token.reveal(), whereabouts)
            }
            (_, token) => {
                let path = args.data.notice(process)?;
                let notice = alive(&path)?;
                let token = token.as_ref().map_or(notice.token.as_str(), Token::reveal);
                let whereabouts = format!(
                    "no proxy answers at {}, where {} says that process {} is",
                    notice.url,
                    path.display(),
                    notice.pid
                );
                Self::at(&notice.url, token, whereabouts)
            }
        }
    }

    fn at(url: &str, token: &str, whereabouts: String) -> Result<Self, Failure> {
        Target::parse(url).map_err(|error| Failure::usage(format!("--admin {url}: {error}")))?;
        let client = Client::new(Settings::default(), Tasks::new())
            .map_err(|cause| Failure::caused("cannot ask the proxy", cause))?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Failure::usage("the token cannot be sent: it is no line of visible characters"))?;
        authorization.set_sensitive(true);
        Ok(Self { client, url: url.to_owned(), authorization, whereabouts })
    }

    /// Asks for what is at this path.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(self.ask(Method::GET, path, None).await?).await
    }

    /// Says something, and gives what is answered.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        said: &impl Serialize,
    ) -> Result<T, Failure> {
        let said =
            serde_json::to_vec(said).map_err(|cause| Failure::caused("cannot be said in JSON", cause))?;
        read(self.ask(Method::POST, path, Some(said.into())).await?).await
    }

    /// Takes away what is at this path.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.ask(Method::DELETE, path, None).await.map(drop)
    }

    /// What passes and what is held and let go, from now on.
    pub(crate) async fn messages(&self) -> Result<Messages, Failure> {
        let body = self.ask(Method::GET, "/v1/messages", None).await?.into_body();
        Ok(Messages { body, decoder: Decoder::new(ANSWER_BYTES_MAX) })
    }

    /// Whether the proxy says that what is held at this path is held no more. One that cannot be asked does not say so.
    pub(crate) async fn has_let_go(&self, path: &str) -> bool {
        let Ok(response) = self.send(Method::GET, path, None).await else { return false };
        read::<Problem>(response).await.is_ok_and(|problem| problem.reason == "not_held")
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Response<Body>, Failure> {
        let response = self.send(method, path, body).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response).await) }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Response<Body>, Failure> {
        let target = Target::parse(&format!("{}{path}", self.url))
            .map_err(|error| Failure::usage(format!("`{path}` cannot be asked for: {error}")))?;
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = method;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answered = self.client.send(request, &target, ANSWER_MAX).await;
        answered.map_err(|error| self.unanswered(error))
    }

    fn unanswered(&self, cause: ClientError) -> Failure {
        Failure::caused(format!("{}; is it still running?", self.whereabouts), cause)
    }

    async fn refused(&self, response: Response<Body>) -> Failure {
        let status = response.status();
        let Ok(Problem { detail, reason }) = read(response).await else {
            return Failure::plain(format!("{} answers with {status}, and is no admin API", self.url));
        };
        match reason.as_str() {
            "unauthorized" => Failure::plain(format!("the proxy at {} has another token", self.url)),
            "bad_filter" => Failure::usage(detail),
            _ => Failure::plain(detail),
        }
    }
}

/// What a proxy has put down about itself.
enum Noticed {
    Alive(Notice),
    /// Its process does not run any more.
    Dead(u32),
    Nothing,
}

fn noticed(path: &Path) -> Result<Noticed, Failure> {
    match Notice::read(path) {
        Ok(notice) if is_dead(notice.pid) => Ok(Noticed::Dead(notice.pid)),
        Ok(notice) => Ok(Noticed::Alive(notice)),
        Err(NoticeError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Ok(Noticed::Nothing)
        }
        Err(error) => Err(Failure::caused("cannot find out where the proxy is", error)),
    }
}

fn alive(path: &Path) -> Result<Notice, Failure> {
    let place = path.display();
    match noticed(path)? {
        Noticed::Alive(notice) => Ok(notice),
        Noticed::Dead(pid) => Err(Failure::plain(format!(
            "{place}: the proxy that wrote this, process {pid}, does not run any more; start it again"
        ))),
        Noticed::Nothing => Err(Failure::plain(format!(
            "{place}: there is no such file; no proxy runs with this data directory and `--admin ADDRESS:PORT`"
        ))),
    }
}

/// Whether there is no such process. One of somebody else is one.
fn is_dead(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_none_or(|pid| {
        rustix::process::test_kill_process(pid).is_err_and(|error| error == rustix::io::Errno::SRCH)
    })
}

async fn read<T: DeserializeOwned>(response: Response<Body>) -> Result<T, Failure> {
    let cut = |cause| Failure::caused("the proxy's answer did not come to its end", cause);
    let whole = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
    let text = tokio::time::timeout(ANSWER_MAX, whole).await;
    let text = text.map_err(|late| cut(late.into()))?.map_err(cut)?.to_bytes();
    serde_json::from_slice(&text).map_err(|cause| {
        Failure::caused("the proxy's answer cannot be read; is it of another version?", cause)
    })
}

/// What passes, as it passes.
pub(crate) struct Messages {
    body: Body,
    decoder: Decoder,
}

impl Messages {
    /// The next event: a frame without a kind, or one of the kinds `lost`, `held` and `released`. None when the proxy ends.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.decoder.next_event() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|cause| Failure::caused("the proxy is gone", cause))?;
            if let Ok(bytes) = frame.into_data() {
                let unreadable = |cause| Failure::caused("the proxy's messages cannot be read", cause);
                self.decoder.push(&bytes).map_err(unreadable)?;
            }
        }
    }
}
