//! Letting messages go, in each of the ways there are.

use serde_json::value::RawValue;
use shadowcat_admin::forms::{Approval, Decided, ErrorForm, Verdict, VerdictWord};

use super::{path, print_json};
use crate::admin_client::Admin;
use crate::failure::Failure;
use crate::output;

/// The code of an error that nobody gave another one.
const ERROR_CODE: i64 = -32_000;

// Which messages, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Their numbers, such as h-1
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    how: How,
}

// What is said besides, and how what was done is told.
#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// Why, for the log and the tape; who is refused is told
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Let messages go on as they are
#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    #[command(flatten)]
    which: Which,
}

/// Let messages vanish; whoever waits for an answer waits in vain
#[derive(Debug, clap::Args)]
pub(super) struct Drop {
    #[command(flatten)]
    which: Which,
}

/// Refuse messages
#[derive(Debug, clap::Args)]
pub(super) struct Block {
    #[command(flatten)]
    which: Which,
}

/// Let a call go on that waits for an approval
#[derive(Debug, clap::Args)]
pub(super) struct Approve {
    #[command(flatten)]
    which: Which,
}

/// Refuse a call that waits for an approval
#[derive(Debug, clap::Args)]
pub(super) struct Deny {
    #[command(flatten)]
    which: Which,
}

/// Answer a request in place of its server, or put another answer in place of one
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("outcome").required(true))]
pub(super) struct Answer {
    /// Its number, such as h-1
    id: String,
    /// The result, as JSON
    #[arg(long, value_name = "JSON", group = "outcome")]
    result: Option<String>,
    /// The sentence of an error
    #[arg(long, value_name = "TEXT", group = "outcome")]
    error: Option<String>,
    /// The code of the error
    #[arg(long, value_name = "NUMBER", requires = "error", default_value_t = ERROR_CODE, allow_negative_numbers = true)]
    code: i64,
    #[command(flatten)]
    how: How,
}

impl Resume {
    pub(super) async fn run(&self, admin: &Admin) -> Result<(), Failure> {
        self.which.decide(admin, VerdictWord::Resume).await
    }
}

impl Drop {
    pub(super) async fn run(&self, admin: &Admin) -> Result<(), Failure> {
        self.which.decide(admin, VerdictWord::Drop).await
    }
}

impl Block {
    pub(super) async fn run(&self, admin: &Admin) -> Result<(), Failure> {
        self.which.decide(admin, VerdictWord::Block).await
    }
}

impl Approve {
    pub(super) async fn run(&self, admin: &Admin) -> Result<(), Failure> {
        self.which.judge(admin, true).await
    }
}

impl Deny {
    pub(super) async fn run(&self, admin: &Admin) -> Result<(), Failure> {
        self.which.judge(admin, false).await
    }
}

impl Which {
    async fn decide(&self, admin: &Admin, verdict: VerdictWord) -> Result<(), Failure> {
        for id in &self.ids {
            let said = Verdict { reason: self.how.reason.clone(), ..only(verdict) };
            self.how.tell(&admin.post(&path("held", id, "/verdict")?, &said).await?)?;
        }
        Ok(())
    }

    async fn judge(&self, admin: &Admin, approve: bool) -> Result<(), Failure> {
        for id in &self.ids {
            let said = Approval { approve, reason: self.how.reason.clone() };
            self.how.tell(&admin.post(&path("approvals", id, "")?, &said).await?)?;
        }
        Ok(())
    }
}

impl Answer {
    pub(super) async fn run(&self, admin: &Admin) -> Result<(), Failure> {
        let result = self.result.clone().map(RawValue::from_string).transpose();
        let result = result.map_err(|error| Failure::usage(format!("--result is no JSON: {error}")))?;
        let error = self.error.clone().map(|message| ErrorForm { code: self.code, message, data: None });
        let said = Verdict { result, error, reason: self.how.reason.clone(), ..only(VerdictWord::Answer) };
        self.how.tell(&admin.post(&path("held", &self.id, "/verdict")?, &said).await?)
    }
}

impl How {
    /// Says what was done.
    pub(super) fn tell(&self, decided: &Decided) -> Result<(), Failure> {
        if self.json {
            return print_json(decided);
        }
        let what = match decided.verdict {
            VerdictWord::Resume => "goes on",
            VerdictWord::Edit => "goes on as edited",
            VerdictWord::Answer => "is answered",
            VerdictWord::Drop => "is dropped",
            VerdictWord::Block => "is refused",
        };
        output::print(&format!("{} {what}\n", decided.id))
    }
}

/// This verdict, with nothing that belongs to another.
pub(crate) fn only(verdict: VerdictWord) -> Verdict {
    Verdict { verdict, message: None, result: None, error: None, reason: None }
}
