//! The interceptor of the example.

use shadowcat_gateway::interceptor::{
    Envelope, Interceptor, Message, Next, Refusal, RefusalKind, Replies, async_trait,
};

/// Refuses calls of the tool `shell`.
pub struct NoShell;

#[async_trait]
impl Interceptor for NoShell {
    fn name(&self) -> &'static str {
        "no-shell"
    }

    async fn intercept(&self, envelope: Envelope, next: Next<'_>) -> Result<Replies, Refusal> {
        match &envelope.message {
            Message::Request(request) if request.name().as_deref() == Some("shell") => {
                envelope.origin.deeds.add("no-shell: block");
                Err(Refusal::new(RefusalKind::PolicyDenied).with_detail("no shells here"))
            }
            _ => next.run(envelope).await,
        }
    }
}
