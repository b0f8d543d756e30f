//! Answering SOQL: rows, order, pages.
//!
//! Reading the text is `soql.rs`. Look-ups by an indexed field do not walk the whole table.

use crate::Env;
use crate::clock;
use crate::fields::Fields as _;
use crate::http::{Answer, Call};
use crate::salesforce::errors::{Outcome, Refusal};
use crate::salesforce::id;
use crate::salesforce::org::{Cursor, INDEXED, Org, Record};
use crate::salesforce::schema::{Field, Kind, Object};
use crate::salesforce::soql::{self, Condition, Literal, Operator, Query, Word};
use crate::salesforce::soql_words::{PERCENT, UNDERSCORE, drawn};
use crate::salesforce::write;
use serde_json::{Value, json};
use std::cmp::Ordering;

const CURSORS_MAX: usize = 10;
const OFFSET_MAX: usize = 2000;

/// What a query needs to know of its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The user's id.
    pub user: &'a str,
    /// `/services/data/v67.0`
    pub base: &'a str,
    /// `queryAll`: deleted rows, too.
    pub deleted_too: bool,
    /// Rows in a page.
    pub page: usize,
}

/// The page size of a call: `Sforce-Query-Options: batchSize=`, within 200 to 2,000.
pub fn page_size(call: &Call<'_>, env: &Env<'_>) -> usize {
    let wanted = call
        .header("sforce-query-options")
        .and_then(|text| text.split_once('='))
        .and_then(|(_, size)| size.trim().parse().ok());
    wanted.map_or(env.switches.salesforce_query_page, |size: usize| size.clamp(200, 2000))
}

/// `/query?q=`
pub fn run(org: &mut Org, text: &str, scene: Scene<'_>, env: &mut Env<'_>) -> Outcome<Answer> {
    let query = soql::parse(text)?;
    let object = write::find(org, &query.object.text, env).ok_or_else(|| {
        let reason = format!(
            "sObject type '{}' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names.",
            query.object.text
        );
        Refusal::new("INVALID_TYPE", drawn(text, query.object.at, &reason))
    })?;
    let fields = query
        .fields
        .iter()
        .map(|word| field(&object, word, text).map(|field| field.name))
        .collect::<Outcome<Vec<_>>>()?;
    for (word, _) in &query.order {
        field(&object, word, text)?;
    }
    if let Some(condition) = &query.condition {
        check(condition, &object, text)?;
    }
    if query.offset > OFFSET_MAX {
        return Err(Refusal::new("NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"));
    }
    let rows = select(org, &query, &object, scene);
    if query.counts {
        return Ok(Answer::json(200, &json!({"totalSize": rows.len(), "done": true, "records": []})));
    }
    let rows: Vec<Value> =
        rows.iter().map(|record| Org::render(object.name, record, &fields, scene.user, scene.base)).collect();
    Ok(first_page(org, rows, scene, env))
}

fn select<'a>(org: &'a Org, query: &Query, object: &Object, scene: Scene<'_>) -> Vec<&'a Record> {
    let test =
        |record: &Record| query.condition.as_ref().is_none_or(|condition| holds(condition, record, object, scene.user));
    let candidates: Vec<&Record> = match query.condition.as_ref().filter(|_| !scene.deleted_too).and_then(indexed) {
        Some(values) => {
            let mut ids: Vec<String> =
                values.iter().flat_map(|(name, value)| org.with_value(object.name, name, value)).collect();
            ids.sort();
            ids.dedup();
            ids.iter().filter_map(|id| org.record(object.name, id)).collect()
        }
        None => org.of_object(object.name).collect(),
    };
    let mut rows: Vec<&Record> =
        candidates.into_iter().filter(|record| (scene.deleted_too || !record.deleted) && test(record)).collect();
    rows.sort_by(|one, two| {
        let keys = query.order.iter().map(|(word, descending)| {
            let name = object.field(&word.text).map_or("", |field| field.name);
            let order = compare(&one.value(name, scene.user), &two.value(name, scene.user));
            if *descending { order.reverse() } else { order }
        });
        keys.fold(Ordering::Equal, Ordering::then)
    });
    rows.into_iter().skip(query.offset).take(query.limit.unwrap_or(usize::MAX)).collect()
}

/// Values of indexed fields of which every matching row has one.
fn indexed(condition: &Condition) -> Option<Vec<(&'static str, String)>> {
    match condition {
        Condition::And(parts) => parts.iter().find_map(indexed),
        Condition::Or(parts) => {
            Some(parts.iter().map(indexed).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
        Condition::Test(word, Operator::Equal | Operator::In, values) => {
            let name = INDEXED.iter().find(|name| name.eq_ignore_ascii_case(&word.text))?;
            let text = |value: &Literal| match value {
                Literal::Text(text) if name.ends_with("Id") => id::normal(text),
                Literal::Text(text) => Some(unmark(text)),
                _ => None,
            };
            values.iter().map(|value| Some((*name, text(value)?))).collect()
        }
        _ => None,
    }
}

fn unmark(text: &str) -> String {
    text.replace(PERCENT, "%").replace(UNDERSCORE, "_")
}

fn field(object: &Object, word: &Word, text: &str) -> Outcome<Field> {
    object.field(&word.text).ok_or_else(|| {
        let reason = format!(
            "No such column '{}' on entity '{}'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names.",
            word.text, object.name
        );
        Refusal::new("INVALID_FIELD", drawn(text, word.at, &reason))
    })
}

fn check(condition: &Condition, object: &Object, text: &str) -> Outcome<()> {
    match condition {
        Condition::And(parts) | Condition::Or(parts) => parts.iter().try_for_each(|part| check(part, object, text)),
        Condition::Not(part) => check(part, object, text),
        Condition::Test(word, operator, values) => {
            let field = field(object, word, text)?;
            let wrong = |reason: String| Err(Refusal::new("INVALID_FIELD", drawn(text, word.at, &reason)));
            let quoted = |value: &Literal| matches!(value, Literal::Text(_) | Literal::Null);
            let bare = |value: &Literal| matches!(value, Literal::Bare(_) | Literal::Null);
            let fits = |value: &Literal| match field.kind {
                Kind::Bool => matches!(value, Literal::Bool(_)),
                Kind::Number | Kind::Date | Kind::DateTime => bare(value),
                _ => quoted(value),
            };
            if matches!(field.kind, Kind::LongText(_)) {
                return wrong(format!("field '{}' can not be filtered in a query call", field.name));
            }
            if !values.iter().all(fits) {
                return wrong(format!(
                    "value of filter criterion for field '{}' must be of another type and should not be enclosed in quotes, or should be",
                    field.name
                ));
            }
            let bad_id = |value: &Literal| matches!(value, Literal::Text(text) if id::normal(text).is_none());
            if matches!(field.kind, Kind::Id | Kind::Reference(_))
                && *operator != Operator::Like
                && values.iter().any(bad_id)
            {
                return Err(Refusal::new("INVALID_QUERY_FILTER_OPERATOR", drawn(text, word.at, "invalid ID field")));
            }
            Ok(())
        }
    }
}

fn holds(condition: &Condition, record: &Record, object: &Object, user: &str) -> bool {
    match condition {
        Condition::And(parts) => parts.iter().all(|part| holds(part, record, object, user)),
        Condition::Or(parts) => parts.iter().any(|part| holds(part, record, object, user)),
        Condition::Not(part) => !holds(part, record, object, user),
        Condition::Test(word, operator, values) => {
            let Some(field) = object.field(&word.text) else { return false };
            let value = record.value(field.name, user);
            let first = values.first().unwrap_or(&Literal::Null);
            let order = |literal: &Literal| compare(&value, &literal_value(field, literal));
            let comparable = !value.is_null() && *first != Literal::Null;
            match operator {
                Operator::Equal => order(first).is_eq(),
                Operator::NotEqual => order(first).is_ne(),
                Operator::Less => comparable && order(first).is_lt(),
                Operator::LessOrEqual => comparable && order(first).is_le(),
                Operator::Greater => comparable && order(first).is_gt(),
                Operator::GreaterOrEqual => comparable && order(first).is_ge(),
                Operator::In => values.iter().any(|literal| order(literal).is_eq()),
                Operator::NotIn => !values.iter().any(|literal| order(literal).is_eq()),
                Operator::Like => match (value.as_str(), first) {
                    (Some(text), Literal::Text(pattern)) => like(&text.to_lowercase(), &pattern.to_lowercase()),
                    _ => false,
                },
            }
        }
    }
}

/// A literal as the field's values are kept.
fn literal_value(field: Field, literal: &Literal) -> Value {
    match (literal, field.kind) {
        (Literal::Null, _) => Value::Null,
        (Literal::Bool(yes), _) => json!(yes),
        (Literal::Text(text), Kind::Id | Kind::Reference(_)) => json!(id::normal(text)),
        (Literal::Text(text), _) => json!(unmark(text)),
        (Literal::Bare(text), Kind::Date) => json!(clock::parse(text).map(clock::date)),
        (Literal::Bare(text), Kind::DateTime) => json!(clock::parse(text).map(clock::salesforce)),
        (Literal::Bare(text), _) => json!(text.parse::<f64>().ok()),
    }
}

/// Null first, then by value; text without regard to case. Kept dates and moments sort as text.
fn compare(one: &Value, two: &Value) -> Ordering {
    match (one, two) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Bool(one), Value::Bool(two)) => one.cmp(two),
        (Value::Number(one), Value::Number(two)) => {
            one.as_f64().unwrap_or_default().total_cmp(&two.as_f64().unwrap_or_default())
        }
        _ => one.as_str().unwrap_or_default().to_lowercase().cmp(&two.as_str().unwrap_or_default().to_lowercase()),
    }
}

fn like(text: &str, pattern: &str) -> bool {
    let mut letters = pattern.chars();
    match letters.next() {
        None => text.is_empty(),
        Some('%') => text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .any(|at| like(text.get(at..).unwrap_or_default(), letters.as_str())),
        Some(wanted) => {
            let mut rest = text.chars();
            let plain = match wanted {
                PERCENT => '%',
                UNDERSCORE => '_',
                other => other,
            };
            rest.next().is_some_and(|letter| wanted == '_' || letter == plain) && like(rest.as_str(), letters.as_str())
        }
    }
}

fn first_page(org: &mut Org, rows: Vec<Value>, scene: Scene<'_>, env: &mut Env<'_>) -> Answer {
    if rows.len() <= scene.page {
        return Answer::json(200, &json!({"totalSize": rows.len(), "done": true, "records": rows}));
    }
    let locator = format!("01g{}", env.random.letters(15));
    org.cursors.push_back(Cursor { locator: locator.clone(), rows });
    if org.cursors.len() > CURSORS_MAX {
        org.cursors.pop_front();
    }
    page(org, &locator, 0, scene).unwrap_or_else(|refusal| refusal.answer())
}

/// `/query/01g...-2000`
pub fn more(org: &Org, name: &str, scene: Scene<'_>) -> Outcome<Answer> {
    let lost = || Refusal::new("INVALID_QUERY_LOCATOR", "invalid query locator");
    let (locator, from) = name.rsplit_once('-').ok_or_else(lost)?;
    page(org, locator, from.parse().map_err(|_| lost())?, scene)
}

fn page(org: &Org, locator: &str, from: usize, scene: Scene<'_>) -> Outcome<Answer> {
    let lost = || Refusal::new("INVALID_QUERY_LOCATOR", "invalid query locator");
    let cursor = org.cursors.iter().find(|cursor| cursor.locator == locator).ok_or_else(lost)?;
    let to = (from + scene.page).min(cursor.rows.len());
    let rows = cursor.rows.get(from..to).ok_or_else(lost)?;
    let done = to == cursor.rows.len();
    let mut body = json!({"totalSize": cursor.rows.len(), "done": done, "records": rows});
    if !done {
        body.put("nextRecordsUrl", json!(format!("{}/query/{locator}-{to}", scene.base)));
    }
    Ok(Answer::json(200, &body))
}

#[cfg(test)]
mod tests {
    use super::like;
    use crate::salesforce::soql_words::PERCENT;

    #[test]
    fn like_has_two_wildcards() {
        for (text, pattern, hit) in [
            ("ada lovelace", "ada%", true),
            ("ada", "a_a", true),
            ("ada", "a_", false),
            ("", "%", true),
            ("50%", &format!("50{PERCENT}"), true),
            ("50x", &format!("50{PERCENT}"), false),
            ("été", "_t_", true),
        ] {
            assert_eq!(like(text, pattern), hit, "{text} {pattern}");
        }
    }
}
