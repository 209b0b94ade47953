//! A server written with the official SDK that speaks 2026-07-28 only and runs its tools as tasks, on standard input and
//! output or, with `--http`, on a port that it names on standard output by `ready PORT`. `--log FILE` gets a line when a
//! task begins, and when one is cancelled.
//!
//! `wait` ends after its `ms`, `ask` when its `question` is answered, `fail` with a result that is an error, `break` with
//! an error, `forever` when it is cancelled. `brief` lasts for ever too, and its server keeps it for a second.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ClientCapabilities,
    ContentBlock, CreateTaskResult, GetTaskParams, GetTaskResult, InputRequest, JsonObject, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, Tool, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions};
use rmcp::transport::stdio;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const TOOLS: [&str; 6] = ["wait", "ask", "fail", "break", "forever", "brief"];
const POLL_MS: u64 = 100;

#[derive(Clone)]
struct Server {
    tasks: TaskManager,
    log: Log,
}

/// Where it is written down what becomes of tasks.
#[derive(Clone)]
struct Log(PathBuf);

impl Log {
    fn add(&self, word: &str, tool: &str) -> Result<(), ErrorData> {
        let file = OpenOptions::new().create(true).append(true).open(&self.0);
        let written = file.and_then(|mut file| writeln!(file, "{word} {tool}"));
        written.map_err(|cause| ErrorData::internal_error(cause.to_string(), None))
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tasks().build())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(&[ProtocolVersion::V_2026_07_28])
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = JsonObject::from_iter([("type".to_owned(), json!("object"))]);
        let tools = TOOLS.map(|name| Tool::new(name, "for the tests", schema.clone()));
        Ok(ListToolsResult::with_all_items(tools.into()))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // The SDK looks at this too late: the task would have begun, and nobody would know its name.
        if !context.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks()) {
            let needed = ClientCapabilities::builder().enable_tasks().build();
            return Err(ErrorData::missing_required_client_capability(needed));
        }
        let ttl = if call.name == "brief" { 1_000 } else { 60_000 };
        let options = TaskOptions::new().with_ttl_ms(ttl).with_poll_interval_ms(POLL_MS);
        let task = self.tasks.spawn(options, |context| Box::pin(work(call, context, self.log.clone())));
        Ok(CallToolResponse::Task(CreateTaskResult::new(task)))
    }

    async fn get_task(
        &self,
        task: GetTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.tasks.get_task(&task.task_id).map(GetTaskResult::new)
    }

    async fn update_task(
        &self,
        update: UpdateTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.update_task(&update.task_id, update.input_responses)
    }

    async fn cancel_task(
        &self,
        task: CancelTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.cancel_task(&task.task_id)
    }
}

/// What a task does until it ends.
async fn work(
    call: CallToolRequestParams,
    context: TaskContext,
    log: Log,
) -> Result<CallToolResult, TaskExit> {
    log.add("begins", &call.name)?;
    let arguments = call.arguments.unwrap_or_default();
    let text = match call.name.as_ref() {
        "wait" => {
            let ms = arguments.get("ms").and_then(Value::as_u64).unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(ms)).await;
            format!("waited {ms}")
        }
        "ask" => context.request_input("first", form(arguments.get("question"))?).await?.to_string(),
        "fail" => return Ok(CallToolResult::error(vec![ContentBlock::text("it did not work")])),
        "break" => return Err(ErrorData::internal_error("it broke", None).into()),
        _ => {
            context.cancelled().await;
            log.add("cancelled", &call.name)?;
            return Err(TaskExit::Cancelled);
        }
    };
    Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
}

fn form(question: Option<&Value>) -> Result<InputRequest, ErrorData> {
    let schema = json!({"type": "object", "properties": {"answer": {"type": "string"}}});
    let params = json!({"mode": "form", "message": question, "requestedSchema": schema});
    let form = json!({"method": "elicitation/create", "params": params});
    serde_json::from_value(form).map_err(|cause| ErrorData::internal_error(cause.to_string(), None))
}

#[expect(clippy::print_stdout, reason = "the port is told there")]
async fn serve_http(server: Server) -> Result<(), Box<dyn Error>> {
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false);
    let service = StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ready {}", listener.local_addr()?.port());
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        let service = service.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| {
                let service = service.clone();
                async move { Ok::<_, Infallible>(service.handle(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            drop(connection.serve_connection(TokioIo::new(socket), answer).await);
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().collect();
    let log = words.iter().skip_while(|word| *word != "--log").nth(1).map_or("/dev/null", String::as_str);
    let server = Server { tasks: TaskManager::new(), log: Log(log.into()) };
    if words.iter().any(|word| word == "--http") {
        return serve_http(server).await;
    }
    server.serve(stdio()).await?.waiting().await?;
    Ok(())
}
