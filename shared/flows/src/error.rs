//! Why a deed did not happen. Each variant has a stable [`Error::code`] (the API's, also documented in docs/api) and a
//! [`Error::kind`]; only `edge::respond` knows which HTTP status a kind is. Display says what to do, and never a secret.

use model::curated::Refusal;
use model::retention;
use model::write::WriteStatus;
use model::{Crm, Timestamp};
use providers::oauth::TokenRefusal;
use store::DbError;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No `Authorization: Bearer`.
    #[error("send `Authorization: Bearer` with the host product's JWT or a service token")]
    TokenRequired,
    /// Not a token we can accept.
    #[error("the access token is not valid: get a new one from the host product")]
    TokenInvalid,
    /// Past its `exp`.
    #[error("the access token has expired: get a new one from the host product")]
    TokenExpired,
    /// The JWKS is out of reach.
    #[error("the host product's signing keys cannot be fetched: try again shortly")]
    KeysUnavailable,
    /// Unknown, or another tenant's.
    #[error("there is no such workspace, or you are not a member of it")]
    WorkspaceNotFound,
    /// Needed and absent.
    #[error("name the workspace in the query: `workspace_id=ws_…`")]
    WorkspaceRequired,
    /// The role does not suffice.
    #[error("only an admin or owner of the workspace may do this")]
    AdminRequired,
    /// Not `hubspot` or `salesforce`.
    #[error("`crm` must be `hubspot` or `salesforce`")]
    UnknownCrm,
    /// The deployment has no app for it.
    #[error("{} is not set up on this deployment: set its client id and secret", .0.title())]
    CrmNotConfigured(Crm),
    /// A query or path value that is not acceptable.
    #[error("`{name}` {rule}")]
    Parameter {
        /// Which.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// Not JSON, or not the documented shape.
    #[error("the body must be JSON as documented: {0}")]
    MalformedJson(String),
    /// Over the request limit.
    #[error("the request body is too large: send {max} bytes at most")]
    BodyTooLarge {
        /// The most accepted.
        max: usize,
    },
    /// More than a hundred.
    #[error("send at most {max} writes in one request; {given} were given")]
    TooManyWrites {
        /// The limit.
        max: usize,
        /// How many came.
        given: usize,
    },
    /// One or more writes are not acceptable; nothing was stored.
    #[error("{} of the writes cannot be accepted, so none was stored; see `errors`", .0.len())]
    WritesRefused(Vec<(usize, Refusal)>),
    /// Same key, other payload.
    #[error("this (object, action, source event) was submitted before with other content: use a new `source_event_id`")]
    IdempotencyKeyReused,
    /// There is no connection to write through.
    #[error("the workspace is not connected to {}: connect it first", .0.title())]
    NotConnected(Crm),
    /// Unknown, or another tenant's.
    #[error("there is no such write in this workspace")]
    WriteNotFound,
    /// Only what has ended as a dead letter is replayed.
    #[error("this write is `{}`, not a dead letter: only those are replayed", .0.as_str())]
    NotADeadLetter(WriteStatus),
    /// Not links and deals as documented; nothing was stored.
    #[error("the links cannot be accepted, so none was stored: {0}")]
    LinksRefused(&'static str),
    /// `return_to` elsewhere.
    #[error("`return_to` must be a URL on one of the allowed origins of this deployment")]
    ReturnToRefused,
    /// A login host outside of the provider's patterns.
    #[error("`login_host` must be login.salesforce.com, test.salesforce.com or a My Domain host")]
    LoginHostRefused,
    /// A callback without a state of ours.
    #[error("this link did not start here: begin again from your product")]
    StateMissing,
    /// Never minted, or already purged, or minted for another CRM.
    #[error("this sign-in link is not known: begin again from your product")]
    StateUnknown,
    /// Second use.
    #[error("this sign-in link was already used: begin again from your product")]
    StateUsed,
    /// Past its ten minutes.
    #[error("this sign-in took longer than ten minutes: begin again from your product")]
    StateExpired,
    /// Minted for another browser.
    #[error("this sign-in was started in another browser: begin again in this one")]
    StateForeignBrowser,
    /// The person said no.
    #[error("access was declined in {}: begin again if that was not intended", .0.title())]
    ConsentDenied(Crm),
    /// Neither a code nor an error came.
    #[error("{} sent no authorization code: begin again from your product", .0.title())]
    CodeMissing(Crm),
    /// The exchange failed.
    #[error("{} did not accept the sign-in: begin again, and tell the operator if it fails again", .crm.title())]
    ExchangeFailed {
        /// Which CRM.
        crm: Crm,
        /// Why.
        #[source]
        cause: TokenRefusal,
    },
    /// The answer's signature is wrong.
    #[error("the answer was not signed by {}: begin again, and tell the operator", .0.title())]
    SignatureInvalid(Crm),
    /// The exchange worked but the account cannot be told.
    #[error("{} did not say which account this is: begin again", .0.title())]
    AccountUnknown(Crm),
    /// The workspace is connected to another account.
    #[error("this workspace is connected to another {} account ({connected}): disconnect that one first", .crm.title())]
    WrongAccount {
        /// Which CRM.
        crm: Crm,
        /// The account it is connected to.
        connected: String,
    },
    /// One account, one workspace.
    #[error("this {} account is connected to another workspace: disconnect it there first, or ask its administrators", .0.title())]
    AccountOwnedElsewhere(Crm),
    /// Unknown, or this browser cannot show that the install is its own: the two look alike.
    #[error(
        "this browser did not make the install: connect the CRM from your workspace, which proves that the account is yours"
    )]
    InstallNotProven,
    /// Past its end.
    #[error(
        "this install was not claimed in time, or was declined, and has been withdrawn: install again from the marketplace"
    )]
    InstallExpired,
    /// Somebody was faster.
    #[error("this install was claimed already: look at the workspace's connections")]
    InstallClaimed,
    /// The code came without a state: the browser proves nothing.
    #[error("confirm in {} that the account is yours: this install did not begin in this browser", .0.title())]
    ConsentRequired(Crm),
    /// `returnUrl` elsewhere.
    #[error("`returnUrl` must be on HubSpot's own app: install again from the marketplace")]
    ReturnUrlRefused,
    /// A page without a session.
    #[error("your session here has ended: open this page again from your product")]
    SessionRequired,
    /// A link that does not open.
    #[error("this link was used or is too old: open the page again from your product")]
    LinkUnusable,
    /// A form that is not from our page.
    #[error("this form did not come from its page: open the page again and try once more")]
    FormRefused,
    /// Not the operator.
    #[error("send `Authorization: Bearer` with the operator token of this deployment")]
    OperatorRequired,
    /// Not a job.
    #[error("there is no such job: see /functions/v1/jobs")]
    JobNotFound,
    /// One run at a time.
    #[error("this job has been running since {}: wait for it; a run that died is taken over after 16 minutes", .since.iso())]
    JobRunning {
        /// When the run began.
        since: Timestamp,
    },
    /// A program where a person is needed.
    #[error("only a person may claim an install: use the host product's JWT of a user")]
    UserRequired,
    /// Not a retention policy; nothing was stored.
    #[error("{0}")]
    PolicyRefused(retention::Refusal),
    /// Others changed it at the same time.
    #[error("the retention policy was changed by somebody else at the same time: read it and send yours again")]
    PolicyMoved,
    /// A shard without a binding.
    #[error("the database `{0}` of this workspace is not bound to this Worker")]
    ShardMissing(String),
    /// A secret without a value.
    #[error("the secret `{0}` is not set or not valid for this Worker")]
    SecretMissing(&'static str),
    /// No random bytes.
    #[error("the platform gave no random bytes")]
    NoRandom,
    /// A stored value cannot be opened.
    #[error("stored credentials cannot be opened with the configured keys")]
    Unsealable,
    /// The database.
    #[error("the database could not do this: try again shortly")]
    Db(#[source] DbError),
}

/// What kind of trouble it is: `edge::respond` turns it into an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 400
    Malformed,
    /// 401
    Unauthenticated,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 409
    Conflict,
    /// 413
    TooLarge,
    /// 422
    Unprocessable,
    /// 502
    Provider,
    /// 503
    Unavailable,
    /// 500
    Internal,
}

impl Error {
    /// The stable code of the API.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TokenRequired => "token_required",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::KeysUnavailable => "keys_unavailable",
            Self::WorkspaceNotFound => "workspace_not_found",
            Self::WorkspaceRequired => "workspace_required",
            Self::AdminRequired => "admin_required",
            Self::UnknownCrm => "unknown_crm",
            Self::CrmNotConfigured(_) => "crm_not_configured",
            Self::Parameter { .. } => "invalid_parameter",
            Self::MalformedJson(_) => "malformed_json",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::TooManyWrites { .. } => "too_many_writes",
            Self::WritesRefused(_) => "writes_refused",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::NotConnected(_) => "not_connected",
            Self::WriteNotFound => "write_not_found",
            Self::NotADeadLetter(_) => "not_a_dead_letter",
            Self::LinksRefused(_) => "links_refused",
            Self::ReturnToRefused => "return_to_refused",
            Self::LoginHostRefused => "login_host_refused",
            Self::StateMissing => "state_missing",
            Self::StateUnknown => "state_unknown",
            Self::StateUsed => "state_used",
            Self::StateExpired => "state_expired",
            Self::StateForeignBrowser => "state_foreign_browser",
            Self::ConsentDenied(_) => "consent_denied",
            Self::CodeMissing(_) => "code_missing",
            Self::ExchangeFailed { .. } => "exchange_failed",
            Self::SignatureInvalid(_) => "signature_invalid",
            Self::AccountUnknown(_) => "account_unknown",
            Self::WrongAccount { .. } => "wrong_account",
            Self::AccountOwnedElsewhere(_) => "account_owned_elsewhere",
            Self::InstallNotProven => "install_not_proven",
            Self::InstallExpired => "install_expired",
            Self::InstallClaimed => "install_claimed",
            Self::ConsentRequired(_) => "consent_required",
            Self::ReturnUrlRefused => "return_url_refused",
            Self::SessionRequired => "session_required",
            Self::LinkUnusable => "link_unusable",
            Self::FormRefused => "form_refused",
            Self::OperatorRequired => "operator_required",
            Self::JobNotFound => "job_not_found",
            Self::JobRunning { .. } => "job_running",
            Self::UserRequired => "user_required",
            Self::PolicyRefused(retention::Refusal::Shape) => "retention_policy_invalid",
            Self::PolicyRefused(retention::Refusal::UnknownField) => "retention_field_unknown",
            Self::PolicyRefused(retention::Refusal::NotDays(_)) => "retention_days_invalid",
            Self::PolicyRefused(retention::Refusal::OutOfRange { .. }) => "retention_days_out_of_range",
            Self::PolicyMoved => "retention_policy_moved",
            Self::ShardMissing(_) => "shard_missing",
            Self::SecretMissing(_) => "secret_missing",
            Self::NoRandom => "no_random",
            Self::Unsealable => "unsealable",
            Self::Db(_) => "database_unavailable",
        }
    }

    /// What kind of trouble it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::TokenRequired
            | Self::TokenInvalid
            | Self::TokenExpired
            | Self::SessionRequired
            | Self::OperatorRequired
            | Self::LinkUnusable => Kind::Unauthenticated,
            Self::AdminRequired
            | Self::ConsentDenied(_)
            | Self::InstallNotProven
            | Self::ConsentRequired(_)
            | Self::FormRefused
            | Self::UserRequired => Kind::Forbidden,
            Self::WorkspaceNotFound | Self::WriteNotFound | Self::JobNotFound => Kind::NotFound,
            Self::WorkspaceRequired
            | Self::UnknownCrm
            | Self::Parameter { .. }
            | Self::MalformedJson(_)
            | Self::ReturnToRefused
            | Self::LoginHostRefused
            | Self::StateMissing
            | Self::StateUnknown
            | Self::StateUsed
            | Self::StateExpired
            | Self::StateForeignBrowser
            | Self::CodeMissing(_)
            | Self::ReturnUrlRefused => Kind::Malformed,
            Self::IdempotencyKeyReused
            | Self::NotConnected(_)
            | Self::NotADeadLetter(_)
            | Self::JobRunning { .. }
            | Self::WrongAccount { .. }
            | Self::AccountOwnedElsewhere(_)
            | Self::InstallExpired
            | Self::InstallClaimed
            | Self::PolicyMoved => Kind::Conflict,
            Self::BodyTooLarge { .. } => Kind::TooLarge,
            Self::TooManyWrites { .. } | Self::WritesRefused(_) | Self::LinksRefused(_) | Self::PolicyRefused(_) => {
                Kind::Unprocessable
            }
            Self::ExchangeFailed { .. } | Self::SignatureInvalid(_) | Self::AccountUnknown(_) => Kind::Provider,
            Self::KeysUnavailable | Self::Db(_) => Kind::Unavailable,
            Self::CrmNotConfigured(_)
            | Self::ShardMissing(_)
            | Self::SecretMissing(_)
            | Self::NoRandom
            | Self::Unsealable => Kind::Internal,
        }
    }
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<crypto::random::NoRandom> for Error {
    fn from(_: crypto::random::NoRandom) -> Self {
        Self::NoRandom
    }
}
