//! Who is calling, of an HTTP request: `Authorization: Bearer` and the query's `workspace_id`.

use flows::authenticate::{Caller, authenticate};
use flows::{Error, World};

use crate::Request;

/// The caller of a request.
pub async fn of(world: &World<'_>, request: &Request) -> Result<Caller, Error> {
    authenticate(world, request.bearer(), request.query("workspace_id")?).await
}
