//! Which messages are held: `shadowcat pause break`.

use clap::Subcommand;
use shadowcat_admin::forms::{Breakpoint, BreakpointList, NewBreakpoint, Then};

use super::{path, print_json};
use crate::admin_client::Admin;
use crate::failure::Failure;
use crate::output::{self, Listing};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Hold further messages that fit an expression, in both directions
    Add(Add),
    /// List the breakpoints
    List(Listing),
    /// Hold those messages no more; those that wait go on waiting
    Remove {
        /// Their numbers, such as b-1
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Which messages, such as '~m tools/call & ~t rm'; `shadowcat tape search --help` lists the operators
    #[arg(value_name = "EXPR")]
    filter: String,
    /// Hold each no longer than this, such as 30s [default: as configured, or 5m]
    #[arg(long = "for", value_name = "TIME")]
    held_for: Option<String>,
    /// What becomes of it then [default: as configured, or block]
    #[arg(long, value_name = "WHAT")]
    then: Option<What>,
    /// Print the breakpoint as JSON
    #[arg(long)]
    json: bool,
}

/// What becomes of a message about which nobody decides.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// It goes on
    Continue,
    /// It is refused
    Block,
}

impl Action {
    pub(super) async fn run(&self, admin: &Admin) -> Result<(), Failure> {
        match self {
            Self::Add(args) => args.run(admin).await,
            Self::List(listing) => list(listing, admin).await,
            Self::Remove { ids } => {
                for id in ids {
                    admin.delete(&path("breakpoints", id, "")?).await?;
                    output::print(&format!("{id} is removed\n"))?;
                }
                Ok(())
            }
        }
    }
}

impl Add {
    async fn run(&self, admin: &Admin) -> Result<(), Failure> {
        let then = self.then.map(|then| match then {
            What::Continue => Then::Continue,
            What::Block => Then::Block,
        });
        let said = NewBreakpoint { filter: self.filter.clone(), r#for: self.held_for.clone(), then };
        let added: Breakpoint = admin.post("/v1/breakpoints", &said).await?;
        if self.json {
            return print_json(&added);
        }
        output::print(&format!("{} holds {}\n", added.id, added.filter))
    }
}

async fn list(listing: &Listing, admin: &Admin) -> Result<(), Failure> {
    let BreakpointList { breakpoints } = admin.get("/v1/breakpoints").await?;
    if listing.is_json() {
        return print_json(&breakpoints);
    }
    if breakpoints.is_empty() {
        return output::print("no breakpoint is set\n");
    }
    let rows: Vec<[String; 5]> = breakpoints.iter().map(row).collect();
    output::print(&output::table(["ID", "FOR", "THEN", "HELD", "FILTER"], &rows))
}

fn row(breakpoint: &Breakpoint) -> [String; 5] {
    let then = breakpoint.then.map_or("(default)", super::show::then);
    [
        breakpoint.id.clone(),
        breakpoint.r#for.clone().unwrap_or_else(|| "(default)".to_owned()),
        then.to_owned(),
        breakpoint.hits.to_string(),
        breakpoint.filter.clone(),
    ]
}
