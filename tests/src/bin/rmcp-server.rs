//! A server on standard input and output written with the official SDK. `echo` answers with its `text`; `count`
//! reports as many steps as `to` says, then names the number.

use std::error::Error;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::stdio;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt as _};
use serde_json::{Value, json};

struct Server;

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = [("echo", "text", "string"), ("count", "to", "integer")];
        Ok(ListToolsResult::with_all_items(tools.map(tool).into()))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = call.arguments.unwrap_or_default();
        let text = match call.name.as_ref() {
            "echo" => arguments.get("text").and_then(Value::as_str).map(str::to_owned),
            "count" => count(&arguments, &context).await,
            _ => return Err(ErrorData::invalid_params("no such tool", None)),
        };
        let text = text.ok_or_else(|| ErrorData::invalid_params("an argument is missing", None))?;
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

fn tool((name, argument, kind): (&'static str, &str, &str)) -> Tool {
    let properties = json!({ argument: { "type": kind } });
    let schema = JsonObject::from_iter([
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), properties),
        ("required".to_owned(), json!([argument])),
    ]);
    Tool::new(name, "for the tests", schema)
}

async fn count(arguments: &JsonObject, context: &RequestContext<RoleServer>) -> Option<String> {
    let to = arguments.get("to").and_then(Value::as_u64)?;
    if let Some(token) = context.meta.get_progress_token() {
        for step in 1..=u32::try_from(to).ok()? {
            let report = ProgressNotificationParam::new(token.clone(), step.into());
            context.peer.notify_progress(report).await.ok()?;
        }
    }
    Some(to.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    Server.serve(stdio()).await?.waiting().await?;
    Ok(())
}
