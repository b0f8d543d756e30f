//! The session of a browser on our own pages, over HTTP: its cookies and its forms.
//!
//! A session's cookie is never enough to change anything: a form needs its token, and must not come from elsewhere. An
//! API call has its `Authorization` header, which no other site's form can send.

use flows::authenticate::Caller;
use flows::read_session::{PageSession, read_session};
use flows::{Error, World};

use crate::{Reply, Request, query};

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

/// Whether the request comes from a page of this origin. Chromium sends `Origin: null` from a page whose policy is
/// `no-referrer`, as ours is; `Sec-Fetch-Site`, which no page can set, tells then. A browser that has neither has the token.
fn is_own(request: &Request, own: &str) -> bool {
    match (request.header("sec-fetch-site"), request.header("origin")) {
        (Some(site), Some(origin)) => site == "same-origin" && (origin == own || origin == "null"),
        (Some(site), None) => site == "same-origin",
        (None, Some(origin)) => origin == own,
        (None, None) => true,
    }
}

/// A refusal of a form as a page: a person pressed a button.
pub fn refused_as_page(outcome: Result<Reply, Error>, request: &Request) -> Reply {
    outcome.unwrap_or_else(|error| {
        let page = || pages::refused("That did not work", error.code(), &error.to_string(), None, request.id());
        let page = request.accepts_html().then(page);
        Reply::refused(error, page)
    })
}

/// The fields of a form of this origin. Whose it is, its token says.
pub async fn fields(world: &World<'_>, request: &Request) -> Result<Vec<(String, String)>, Error> {
    if !is_own(request, &world.settings.public_origin) {
        return Err(Error::FormRefused);
    }
    let body = request.body(FORM_BYTES_MAX).await?;
    Ok(query::pairs(&String::from_utf8_lossy(&body)))
}

/// Reads a form: of this origin, of this session, with its token.
pub async fn form(world: &World<'_>, request: &Request) -> Result<Form, Error> {
    let fields = fields(world, request).await?;
    signed(world, request, fields).await
}

/// The fields as a form of this session, with its token.
pub async fn signed(world: &World<'_>, request: &Request, fields: Vec<(String, String)>) -> Result<Form, Error> {
    let session = of(world, request).await?;
    session.check_form(query::once(&fields, "form_token")?)?;
    Ok(Form { session, fields })
}
