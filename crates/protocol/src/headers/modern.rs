//! What the headers of a 2026-07-28 request must say, given its body.

use super::{HeaderFault, METHOD, NAME, PROTOCOL_VERSION, value};
use crate::{Request, Revision, codes, json, meta, method};

/// Checks a request's metadata and the headers that mirror it; the revision it speaks.
///
/// A header that says something else than the body is worse than a version that nobody knows, so it is told first.
/// That a method is missing at the server is only seen here where the revision took it away.
pub fn check_modern<'h>(
    request: &Request,
    header: impl Fn(&str) -> Vec<&'h [u8]>,
    supported: &[Revision],
) -> Result<Revision, HeaderFault> {
    let named = request.meta(meta::VERSION).and_then(json::string);
    let named = named.ok_or_else(|| missing(meta::VERSION))?;
    if one(&header, PROTOCOL_VERSION)? != named {
        return Err(HeaderFault::mismatch("MCP-Protocol-Version differs from the request's _meta"));
    }
    let revision = Revision::parse(&named)
        .filter(|revision| revision.is_modern() && supported.contains(revision))
        .ok_or_else(|| HeaderFault::unsupported(&named, supported))?;
    if !request.meta(meta::CAPABILITIES).is_some_and(|raw| raw.starts_with('{')) {
        return Err(missing(meta::CAPABILITIES));
    }
    if one(&header, METHOD)? != request.method() {
        return Err(HeaderFault::mismatch("Mcp-Method differs from the request's method"));
    }
    check_name(request, &header)?;
    if !revision.keeps_method(request.method()) {
        return Err(HeaderFault::new(codes::METHOD_NOT_FOUND, "this revision has no such method"));
    }
    Ok(revision)
}

fn check_name<'h>(request: &Request, header: &impl Fn(&str) -> Vec<&'h [u8]>) -> Result<(), HeaderFault> {
    let Some(member) = method::name_member(request.method()) else { return Ok(()) };
    let mirrored = value::decode_value(only(header, NAME)?)
        .map_err(|fault| HeaderFault::mismatch(format!("Mcp-Name: {fault}")))?;
    match request.name() {
        Some(name) if name == mirrored => Ok(()),
        _ => Err(HeaderFault::mismatch(format!("Mcp-Name differs from params.{member}"))),
    }
}

fn one<'h>(header: &impl Fn(&str) -> Vec<&'h [u8]>, name: &str) -> Result<&'h str, HeaderFault> {
    value::plain(only(header, name)?)
        .ok_or_else(|| HeaderFault::mismatch(format!("{name}: {}", super::BadValue::Character)))
}

/// The one value of a header that must be there once.
pub(super) fn only<'h>(header: &impl Fn(&str) -> Vec<&'h [u8]>, name: &str) -> Result<&'h [u8], HeaderFault> {
    match header(name).as_slice() {
        [one] => Ok(one),
        [] => Err(HeaderFault::mismatch(format!("the {name} header is missing"))),
        _ => Err(HeaderFault::mismatch(format!("the {name} header is repeated"))),
    }
}

fn missing(key: &str) -> HeaderFault {
    HeaderFault::new(codes::INVALID_PARAMS, format!("params._meta lacks {key}"))
}
