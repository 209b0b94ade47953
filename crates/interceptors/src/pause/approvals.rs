//! Calls that need an approval, and approvals that were given to calls whose caller had left.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shadowcat_pipeline::{Origin, Principal};
use shadowcat_protocol::{Request, json};
use shadowcat_rules::Meant;
use tokio::time::Instant;

use super::approver::Approver;
use super::held::Terms;

/// Approvals at most that wait for their call to come again.
const GRANTS_MAX: usize = 1_000;

/// Requests to the server that need an approval.
#[derive(Clone, Debug)]
pub struct Approval {
    /// What lists, logs, tapes and counters call it.
    pub name: Arc<str>,
    /// Which requests.
    pub meant: Arc<Meant>,
    /// For how long they are held, and what becomes of them when nobody has decided by then.
    pub terms: Terms,
    /// How long an approval is good for a call whose caller has left, and comes again.
    pub grant_for: Duration,
    /// Who is asked besides those who look at the list.
    pub approver: Option<Arc<Approver>>,
}

/// What an approval is good for: this caller, this server, this method with exactly these params. What the client sends
/// with each of its requests (`_meta`), and its answers to what it was asked in the course of the call, are no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call(Arc<str>);

/// Members of params that do not say what is done.
const ASIDE: [&str; 2] = ["_meta", "inputResponses"];

impl Call {
    /// None if the params can be read in more than one way.
    pub(super) fn of(request: &Request, origin: &Origin, server: &str) -> Option<Self> {
        Self::in_state(request, origin, server, None)
    }

    /// The same call in a later round, as the server told it to be known by.
    pub(super) fn in_state(
        request: &Request,
        origin: &Origin,
        server: &str,
        state: Option<&str>,
    ) -> Option<Self> {
        let params = json::canonical(request.params().unwrap_or("{}"))?;
        let members = json::members(&params)
            .filter(|(name, _)| !ASIDE.contains(&&**name) && (state.is_none() || name != REQUEST_STATE));
        let mut told: Vec<(String, String)> =
            members.map(|(name, value)| (name.into_owned(), value.to_owned())).collect();
        if let Some(state) = state {
            told.push((REQUEST_STATE.to_owned(), json::canonical(state)?));
            told.sort();
        }
        let principal = origin.principal.as_ref().map(Principal::name);
        Some(Self(format!("{principal:?} {server:?} {:?} {told:?}", request.method()).into()))
    }
}

/// Where a server that asks something keeps what it needs in the next round (2026-07-28).
pub(super) const REQUEST_STATE: &str = "requestState";

/// A held call, as far as its approval goes.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) call: Call,
    pub(super) grant_for: Duration,
}

/// Approvals whose call is to come again. Each is good once.
#[derive(Debug, Default)]
pub(super) struct Grants(Mutex<Vec<(Call, Instant)>>);

impl Grants {
    fn valid(&self) -> MutexGuard<'_, Vec<(Call, Instant)>> {
        let mut grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        grants.retain(|(_, until)| *until > now);
        grants
    }

    /// Notes one; says whether there was room.
    pub(super) fn add(&self, Claim { call, grant_for }: &Claim) -> bool {
        let mut grants = self.valid();
        let has_room = grants.len() < GRANTS_MAX;
        if has_room {
            grants.push((call.clone(), Instant::now() + *grant_for));
        }
        has_room
    }

    /// Uses one up; says whether there was one.
    pub(super) fn take(&self, call: &Call) -> bool {
        let mut grants = self.valid();
        let found = grants.iter().position(|(granted, _)| granted == call);
        found.map(|place| grants.swap_remove(place)).is_some()
    }
}
