//! Reading the write log: one write with its attempts, or a page of writes. Never the payload, which may name a person.

use crate::authenticate::Caller;
use crate::{Error, World, page};
use model::write::{ExternalIds, WriteStatus};
use model::{Crm, Timestamp, WriteId};
use serde::Serialize;
use serde_json::Value;
use store::writes::{self, Attempt, Filter, Position, Write};

/// A page has this many writes unless asked otherwise.
pub const PAGE_DEFAULT: u32 = 25;

/// A write as the API shows it. Times are ISO-8601.
#[derive(Clone, Debug, Serialize)]
pub struct WriteView {
    /// `wr_…`
    pub id: String,
    /// `hubspot` or `salesforce`.
    pub crm: Crm,
    /// What it does.
    pub action: String,
    /// The host product's object.
    pub object_type: String,
    /// That object's id.
    pub object_id: String,
    /// The event that caused it.
    pub source_event_id: String,
    /// Where it stands.
    pub status: WriteStatus,
    /// Attempts that counted.
    pub retry_count: u32,
    /// When it is tried again.
    pub next_retry_at: Option<String>,
    /// It is a dead letter.
    pub permanent_failure: bool,
    /// Why it is not there yet.
    pub error: Option<ErrorView>,
    /// What the CRM has, by our name for it.
    pub external_ids: ExternalIds,
    /// The CRM's answer.
    pub response: Option<Value>,
    /// Dry run: the requests that would have been sent.
    pub dry_run: Option<Value>,
    /// The same for every submit of the same write.
    pub idempotency_key: String,
    /// The request that planned it.
    pub request_id: String,
    /// When it was planned.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

/// A failure as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorView {
    /// The class.
    pub class: String,
    /// The code.
    pub code: Option<String>,
    /// A sentence.
    pub detail: Option<String>,
    /// For the provider's support.
    pub provider_correlation_id: Option<String>,
}

impl WriteView {
    pub(crate) fn of(row: &Write) -> Self {
        let json = |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self {
            id: row.id().map(String::from).unwrap_or_default(),
            crm: row.crm,
            action: row.action.clone(),
            object_type: row.object_type.clone(),
            object_id: row.object_id.clone(),
            source_event_id: row.source_event_id.clone(),
            status: row.status,
            retry_count: row.retry_count,
            next_retry_at: row.next_retry_at.map(Timestamp::iso),
            permanent_failure: row.permanent_failure != 0,
            error: row.error_class.clone().map(|class| ErrorView {
                class,
                code: row.error_code.clone(),
                detail: row.error_detail.clone(),
                provider_correlation_id: row.provider_correlation_id.clone(),
            }),
            external_ids: serde_json::from_str(&row.external_ids_json).unwrap_or_default(),
            response: json(&row.response_json),
            dry_run: json(&row.dry_run_json),
            idempotency_key: row.idempotency_key.clone(),
            request_id: row.request_id.clone(),
            created_at: row.created_at.iso(),
            updated_at: row.updated_at.iso(),
        }
    }
}

/// A write with every try at it.
#[derive(Clone, Debug, Serialize)]
pub struct WriteDetail {
    /// The write.
    #[serde(flatten)]
    pub write: WriteView,
    /// Oldest first.
    pub attempts: Vec<AttemptView>,
}

/// A try as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptView {
    /// When it began.
    pub started_at: String,
    /// When its outcome was stored.
    pub ended_at: Option<String>,
    /// The status it led to.
    pub outcome: Option<String>,
    /// The HTTP status of a failure.
    pub http_status: Option<u16>,
    /// The code of a failure.
    pub error_code: Option<String>,
    /// Requests that the lot took in which the write went.
    pub calls: Option<u32>,
}

impl AttemptView {
    fn of(row: Attempt) -> Self {
        Self {
            started_at: row.started_at.iso(),
            ended_at: row.ended_at.map(Timestamp::iso),
            outcome: row.outcome,
            http_status: row.http_status,
            error_code: row.error_code,
            calls: row.calls,
        }
    }
}

/// One write. Another workspace's id is no id.
pub async fn fetch_write(world: &World<'_>, caller: &Caller, id: &str) -> Result<WriteDetail, Error> {
    let id = WriteId::parse(id).ok_or(Error::WriteNotFound)?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    let row = writes::fetch(tenant.db, &tenant.scope, &id).await?.ok_or(Error::WriteNotFound)?;
    let attempts = writes::list_attempts(tenant.db, &tenant.scope, &id).await?;
    let mut attempts: Vec<AttemptView> = attempts.into_iter().map(AttemptView::of).collect();
    if let Some(last) =
        attempts.last_mut().filter(|last| row.status == WriteStatus::Succeeded && last.outcome.is_none())
    {
        // The end of the try that succeeded is the write's own.
        last.outcome = Some(row.status.as_str().to_owned());
        last.ended_at = Some(row.updated_at.iso());
        last.calls = row.calls;
    }
    Ok(WriteDetail { write: WriteView::of(&row), attempts })
}

/// Which writes; all text as it came in the query.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// `hubspot` or `salesforce`.
    pub crm: Option<String>,
    /// A status.
    pub status: Option<String>,
    /// `true`: dead letters only.
    pub permanent_failure: Option<String>,
    /// The host product's object.
    pub object_id: Option<String>,
    /// From the page before.
    pub cursor: Option<String>,
    /// 1 to 100.
    pub limit: Option<String>,
}

/// A page of writes, newest first.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The writes.
    pub writes: Vec<WriteView>,
    /// For the next page; none at the end.
    pub next_cursor: Option<String>,
}

/// A page of the log.
pub async fn list_writes(world: &World<'_>, caller: &Caller, query: &Query) -> Result<Page, Error> {
    let filter = filter(query)?;
    let tenant = world.tenant(&caller.workspace_id, &caller.shard)?;
    // One more than asked tells whether there is a next page.
    let wanted = filter.limit;
    let rows = writes::list(tenant.db, &tenant.scope, &Filter { limit: wanted + 1, ..filter }).await?;
    let more = rows.len() > wanted as usize;
    let shown: Vec<&Write> = rows.iter().take(wanted as usize).collect();
    let next_cursor = if more { shown.last().map(|row| cursor(row)) } else { None };
    Ok(Page { writes: shown.into_iter().map(WriteView::of).collect(), next_cursor })
}

fn filter(query: &Query) -> Result<Filter, Error> {
    let crm = query.crm.as_deref().map(|text| Crm::parse(text).ok_or(Error::UnknownCrm)).transpose()?;
    let refuse = |name, rule| Error::Parameter { name, rule };
    let status = query
        .status
        .as_deref()
        .map(|text| WriteStatus::parse(text).ok_or(refuse("status", "must be one of the documented statuses")))
        .transpose()?;
    let dead = match query.permanent_failure.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(refuse("permanent_failure", "must be `true` or `false`")),
    };
    let limit = page::limit(query.limit.as_deref(), PAGE_DEFAULT)?;
    let after = query.cursor.as_deref().map(|text| position(text).ok_or(page::not_a_cursor())).transpose()?;
    Ok(Filter {
        crm,
        status: if dead { Some(WriteStatus::PermanentFailure) } else { status },
        object_id: query.object_id.clone(),
        after,
        limit,
    })
}

/// A place in the list: the time and id of its last write. Scoped queries make it harmless in another workspace.
fn cursor(row: &Write) -> String {
    format!("{}.{}", row.created_at.0, row.id().map(String::from).unwrap_or_default())
}

fn position(text: &str) -> Option<Position> {
    let (at, id) = text.split_once('.')?;
    let id = WriteId::parse(id)?;
    let (crm, key) = id.parts()?;
    Some(Position { created_at: Timestamp(at.parse().ok()?), crm, key: key.to_owned() })
}
