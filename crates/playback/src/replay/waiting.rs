//! Waiting for the answer of a call, and going on with it as long as the server wants to know more.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use shadowcat_protocol::Request;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::pace::Pace;
use super::stock::Stock;
use super::wire::{Asked, Wire};
use crate::script::{Call, Outcome, wanted};

/// How often one call may want to know more.
const ROUNDS_MAX: usize = 64;
/// How long a call that was cancelled may still take, if it was answered on tape all the same.
const CANCELLED_MAX: Duration = Duration::from_secs(5);

/// A call that has its answer, or will never have one.
pub(super) struct Done<'a> {
    pub(super) call: &'a Call,
    pub(super) outcome: Outcome,
}

/// Waits for one call, and goes on with it as long as the server wants to know more.
pub(super) struct Rounds<'a, W> {
    pub(super) call: &'a Call,
    pub(super) wire: &'a Wire<W>,
    pub(super) stock: &'a Mutex<Stock>,
    pub(super) pace: &'a Pace,
    pub(super) begun: Instant,
}

impl<'a, W: AsyncWrite + Unpin> Rounds<'a, W> {
    pub(super) async fn wait(
        self,
        request: Request,
        mut asked: Asked,
        mut cancelled: tokio::sync::oneshot::Receiver<()>,
    ) -> Done<'a> {
        let mut outcome = Outcome { answer: None, between: Vec::new(), took: Some(Duration::ZERO) };
        for round in 0..ROUNDS_MAX {
            let (answer, is_over) = tokio::select! {
                answer = tokio::time::timeout(self.pace.patience, &mut asked.answer) => {
                    (answer.ok().and_then(Result::ok), false)
                }
                Ok(()) = &mut cancelled => (self.after_cancelling(&mut asked).await, true),
            };
            outcome.between.extend(self.wire.take(asked.id));
            outcome.took = outcome.took.filter(|_| answer.is_some()).map(|took| took + asked.at.elapsed());
            outcome.answer = answer;
            let answer = outcome.answer.as_deref().filter(|_| !is_over);
            let again = answer.and_then(|answer| self.again(&request, answer));
            let Some(again) = again else { break };
            if let Some(at) = self.call.rounds.get(round) {
                self.pace.until(self.begun, *at).await;
            }
            asked = self.wire.ask(&again).await;
        }
        Done { call: self.call, outcome }
    }

    /// A cancelled call has no answer, unless it had one on tape: then the two may have crossed.
    async fn after_cancelling(&self, asked: &mut Asked) -> Option<Box<str>> {
        self.call.outcome.answer.as_ref()?;
        tokio::time::timeout(CANCELLED_MAX, &mut asked.answer).await.ok()?.ok()
    }

    /// The next round of a call whose answer wants to know more; none if it does not, or if the tape does not know.
    fn again(&self, request: &Request, answer: &str) -> Option<Request> {
        if !answer.contains("input_required") {
            return None;
        }
        let (state, asked) = wanted(&serde_json::from_str(answer).ok()?)?;
        let mut responses = serde_json::Map::new();
        let mut is_known = true;
        for (key, question) in &asked {
            let (reply, _) = self.stock.lock().unwrap_or_else(PoisonError::into_inner).answer(question);
            match reply.get("result") {
                Some(result) => {
                    responses.insert(key.clone(), result.clone());
                }
                None => is_known = false,
            }
        }
        if !is_known {
            return None;
        }
        let mut params: Value = serde_json::from_str(request.params().unwrap_or("{}")).ok()?;
        let members = params.as_object_mut()?;
        if !responses.is_empty() {
            members.insert("inputResponses".to_owned(), Value::Object(responses));
        }
        if let Some(state) = state {
            members.insert("requestState".to_owned(), Value::String(state));
        }
        Some(request.with_params(&params.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shadowcat_pipeline::Direction::{ToClient, ToServer};
    use shadowcat_protocol::Message;

    use super::*;
    use crate::script::testing::{frame, tapes};
    use crate::script::{Says, Script};
    use crate::speed::Speed;

    #[tokio::test]
    async fn a_cancelled_call_is_over_whatever_its_answer_wants_to_know() {
        let asked = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "echo"}});
        let script = Script::new(tapes([vec![
            frame(1, 0, ToServer, &asked),
            frame(1, 1, ToClient, &json!({"jsonrpc": "2.0", "id": 7, "result": {}})),
        ]]));
        let script = script.unwrap();
        let Says::Call(call) = &script.clients[0].steps[0].says else { panic!() };
        let Ok(Message::Request(request)) =
            Message::parse(asked.to_string().into(), &shadowcat_tape::message_limits())
        else {
            panic!()
        };
        let pace = Pace { speed: Speed::Max, stepper: None, watch: None, patience: Duration::from_mins(1) };
        let (wire, stock) = (Wire::new(tokio::io::sink(), pace.patience), Mutex::new(Stock::new(&[])));
        let asked = wire.ask(&request).await;
        let (cancel, cancelled) = tokio::sync::oneshot::channel();
        cancel.send(()).unwrap();
        let rounds = Rounds { call, wire: &wire, stock: &stock, pace: &pace, begun: Instant::now() };
        let wants = json!({"resultType": "input_required", "requestState": "s"});
        let line = format!("{}\n", json!({"jsonrpc": "2.0", "id": asked.id, "result": wants}));
        let done =
            tokio::join!(rounds.wait(request, asked, cancelled), wire.read(line.as_bytes(), &pace, &stock)).0;
        assert!(done.outcome.answer.is_some_and(|answer| answer.contains("input_required")));
    }
}
