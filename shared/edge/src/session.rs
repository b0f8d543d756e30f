//! The session of a browser on our own pages, over HTTP: its cookies, its forms, and callers who are one or the other.
//!
//! A session's cookie is never enough to change anything: a form needs its token, and must not come from elsewhere. An
//! API call has its `Authorization` header, which no other site's form can send.

use flows::authenticate::{Caller, authenticate};
use flows::read_session::{PageSession, read_session};
use flows::{Error, World};

use crate::{Request, query};

/// The cookie of a session.
pub const SESSION: &str = "__Host-conduit-session";
/// The cookie that shows that this browser made an install.
pub const CLAIM: &str = "__Host-conduit-claim";

/// A form of ours is short.
const FORM_BYTES_MAX: usize = 4_096;

/// `SameSite=Lax`: people come to these pages from the product and from the CRM by top-level navigation.
pub fn cookie(name: &str, value: &str, life_secs: i64) -> String {
    format!("{name}={value}; Path=/; Max-Age={life_secs}; Secure; HttpOnly; SameSite=Lax")
}

/// The session of this browser.
pub async fn of(world: &World<'_>, request: &Request) -> Result<PageSession, Error> {
    read_session(world, request.cookie(SESSION).as_deref()).await
}

/// A form of one of our pages, whose session was checked.
pub struct Form {
    /// Whose.
    pub session: PageSession,
    fields: Vec<(String, String)>,
}

impl Form {
    /// A field. Given twice it is refused, as in a query.
    pub fn field(&self, name: &'static str) -> Result<Option<&str>, Error> {
        query::once(&self.fields, name)
    }

    /// The person as a caller of the workspace the form names.
    pub fn caller(&self) -> Result<Caller, Error> {
        self.session.caller(Some(self.field("workspace_id")?.ok_or(Error::WorkspaceRequired)?))
    }
}

/// Whether the request is a form rather than an API call.
pub fn is_form(request: &Request) -> bool {
    let form = "application/x-www-form-urlencoded";
    request.bearer().is_none() && request.header("content-type").is_some_and(|kind| kind.starts_with(form))
}

/// Reads a form: of this origin, of this session, with its token.
pub async fn form(world: &World<'_>, request: &Request) -> Result<Form, Error> {
    let own = &world.settings.public_origin;
    let foreign = request.header("origin").is_some_and(|origin| origin != *own)
        || request.header("sec-fetch-site").is_some_and(|site| site != "same-origin");
    if foreign {
        return Err(Error::FormRefused);
    }
    let session = of(world, request).await?;
    let body = request.body(FORM_BYTES_MAX).await?;
    let fields = query::pairs(&String::from_utf8_lossy(&body));
    session.check_form(query::once(&fields, "form_token")?)?;
    Ok(Form { session, fields })
}

/// The caller of a request that may be an API call or a form of ours; a form is answered, too.
pub async fn caller_or_form(world: &World<'_>, request: &Request) -> Result<(Caller, Option<Form>), Error> {
    if is_form(request) {
        let form = form(world, request).await?;
        return Ok((form.caller()?, Some(form)));
    }
    let caller = authenticate(world, request.bearer(), request.query("workspace_id")?).await?;
    Ok((caller, None))
}
