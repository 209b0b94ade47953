//! Cursors of lists: a legacy server's means something in one session only, so the client's says which one.

use shadowcat_pipeline::{Refusal, RefusalKind};
use shadowcat_protocol::{json, method};

use super::pool::{Lease, Want};
use super::round::{REQUEST_STATE, Round, owner};
use crate::object::Object;
use crate::seal::{NoKey, Seal};

const CURSOR: &str = "cursor";
const NEXT_CURSOR: &str = "nextCursor";

/// The member in which a request of this method may carry what was sealed here.
pub(super) fn sealed_member(asked: &str) -> Option<&'static str> {
    if method::takes_questions(asked) { Some(REQUEST_STATE) } else { is_list(asked).then_some(CURSOR) }
}

/// The cursor of a list request, as its client has it.
pub(super) fn of(round: &Round) -> Option<String> {
    let params = round.request.params().filter(|_| is_list(round.request.method()))?;
    json::string(json::get(params, &[CURSOR])?).map(std::borrow::Cow::into_owned)
}

/// The result of a list with its cursor sealed; none if it needs no change.
pub(super) fn seal(
    seal: &Seal,
    round: &Round,
    lease: &Lease,
    result: &str,
) -> Result<Option<String>, Refusal> {
    if lease.is_for_one_request() || !is_list(round.request.method()) {
        return Ok(None);
    }
    let Some(cursor) = json::get(result, &[NEXT_CURSOR]).and_then(json::string) else { return Ok(None) };
    // The session may have been set up again since: the cursor is of the one before then.
    let text = format!("{}:{}:{cursor}", lease.session.number, lease.turn);
    let owner = owner(round.principal.as_ref());
    let sealed = seal.seal(&purpose(round, &owner), text.as_bytes());
    let sealed = sealed.map_err(|NoKey| Refusal::new(RefusalKind::Internal).with_cause(NoKey))?;
    Ok(Some(Object::parse(result).with(NEXT_CURSOR, json::quote(&sealed)).to_json()))
}

/// The session and the server's cursor in a sealed one.
pub(super) fn open(seal: &Seal, round: &Round, cursor: &str) -> Option<(Want, String)> {
    let owner = owner(round.principal.as_ref());
    let text = String::from_utf8(seal.open(&purpose(round, &owner), cursor).ok()?).ok()?;
    let (number, rest) = text.split_once(':')?;
    let (turn, cursor) = rest.split_once(':')?;
    Some((Want::Same { number: number.parse().ok()?, turn: turn.parse().ok()? }, cursor.to_owned()))
}

/// Puts the server's cursor in the place of the sealed one.
pub(super) fn replace(round: &mut Round, cursor: &str) {
    let params = Object::of(round.request.params()).with(CURSOR, json::quote(cursor)).to_json();
    round.request = round.request.with_params(&params);
}

fn is_list(asked: &str) -> bool {
    method::list_member(asked).is_some()
}

fn purpose<'a>(round: &'a Round, owner: &'a str) -> [&'a str; 3] {
    [CURSOR, owner, round.request.method()]
}
