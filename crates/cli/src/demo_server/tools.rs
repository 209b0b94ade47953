//! What the tools do.

use std::time::Duration;

use serde_json::{Value, json};
use shadowcat_protocol::method;

use super::answers::{Answer, Call, invalid};
use super::offer;

const STEPS_MAX: u64 = 100;
const PAUSE_MAX_MS: u64 = 5_000;

pub(super) async fn call(call: &Call) -> Answer {
    match call.name.as_str() {
        "echo" => echo(call).await,
        "add" => Ok(add(call)),
        "slow" => slow(call).await,
        "ask" => ask(call).await,
        other => Err(invalid(&format!("unknown tool {other}"))),
    }
}

async fn echo(call: &Call) -> Answer {
    let Some(message) = call.argument("message").and_then(Value::as_str) else {
        return Ok(mistake("message must be a string"));
    };
    call.log("info", &format!("echo of {} bytes", message.len())).await;
    Ok(text(message))
}

fn add(call: &Call) -> Value {
    let number = |name| call.argument(name).and_then(Value::as_f64);
    let (Some(a), Some(b)) = (number("a"), number("b")) else {
        return mistake("a and b must be numbers");
    };
    text(&(a + b).to_string())
}

async fn slow(call: &Call) -> Answer {
    let number = |name, default| call.argument(name).map_or(Some(default), Value::as_u64);
    let (Some(steps), Some(pause)) = (number("steps", 5), number("pause_ms", 200)) else {
        return Ok(mistake("steps and pause_ms must be whole numbers"));
    };
    let (steps, pause) = (steps.clamp(1, STEPS_MAX), Duration::from_millis(pause.min(PAUSE_MAX_MS)));
    for step in 1..=steps {
        tokio::time::sleep(pause).await;
        call.progress.tell(step, steps).await;
    }
    Ok(text(&format!("done in {steps} steps")))
}

async fn ask(call: &Call) -> Answer {
    let Some(question) = call.argument("question").and_then(Value::as_str) else {
        return Ok(mistake("question must be a string"));
    };
    if !call.can_elicit {
        return call.without_elicitation();
    }
    let form = offer::form(question);
    let reply = if call.is_modern {
        match call.params.pointer("/inputResponses/answer") {
            Some(reply) => Some(reply.clone()),
            None => return Ok(input_required(&form)),
        }
    } else {
        call.progress.peer.ask(method::ELICITATION, &form).await
    };
    Ok(match reply.as_ref().and_then(|reply| reply.pointer("/content/answer")).and_then(Value::as_str) {
        Some(answer) => text(&format!("You said: {answer}")),
        None => text("You did not say."),
    })
}

fn input_required(form: &Value) -> Value {
    json!({
        "resultType": "input_required",
        "inputRequests": {"answer": {"method": method::ELICITATION, "params": form}}
    })
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

/// A fault of the arguments is for the model to read, and so a result.
pub(super) fn mistake(sentence: &str) -> Value {
    json!({"content": [{"type": "text", "text": sentence}], "isError": true})
}
