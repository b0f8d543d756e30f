//! Search: it looks at an index that is behind the store, and pages no further than 10,000.
//!
//! The lag is set when a record is written (`portal.rs`). Sources: `HubSpot`'s search guide; operators on missing
//! values and tokenising are approximations.

use crate::Env;
use crate::fields::Fields as _;
use crate::http::{Answer, Call, Reply};
use crate::hubspot::errors;
use crate::hubspot::kind::Kind;
use crate::hubspot::objects;
use crate::hubspot::portal::{Portal, Record, State};
use crate::hubspot::schema::{self, Shape};
use serde_json::{Value, json};
use std::cmp::Ordering;

const BODY_MAX: usize = 3000;
const PAGE_MAX: usize = 200;
const TOTAL_MAX: usize = 10_000;
const GROUPS_MAX: usize = 5;
const FILTERS_MAX: usize = 6;
const ALL_FILTERS_MAX: usize = 18;

/// `/objects/{type}/search`
pub fn handle(portal: &Portal, kind: Kind, call: &Call<'_>, hub: &str, env: &Env<'_>) -> Reply {
    if String::from_utf8_lossy(call.body()).chars().count() > BODY_MAX {
        return Err(errors::invalid(env, "The request body is longer than 3000 characters"));
    }
    let body = call.json().filter(Value::is_object).ok_or_else(|| errors::bad_json(env))?;
    let limit = number(&body, "limit").unwrap_or(10);
    let after = number(&body, "after").unwrap_or(0);
    if limit > PAGE_MAX {
        return Err(errors::invalid(env, "limit must not be greater than 200"));
    }
    if after + limit > TOTAL_MAX {
        return Err(errors::invalid(env, "The sum of after and limit must not be greater than 10000"));
    }
    let groups = groups(portal, kind, &body, env)?;
    let mut hits: Vec<(&Record, &State)> = portal
        .of_kind(kind)
        .filter_map(|record| record.indexed(env.now_ms).map(|state| (record, state)))
        .filter(|(_, state)| !state.archived)
        .filter(|hit| matches_text(kind, *hit, body.get("query")))
        .filter(|hit| {
            groups.is_empty() || groups.iter().any(|group| group.iter().all(|filter| filter.hits(portal, kind, *hit)))
        })
        .collect();
    sort(kind, &mut hits, &body);
    let names = body.get("properties").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let wanted = objects::wanted(portal, kind, names);
    let page = hits.iter().skip(after).take(limit);
    let results: Vec<Value> = page.map(|(record, state)| objects::render(kind, record, state, &wanted, hub)).collect();
    let mut answer = json!({"total": hits.len(), "results": results});
    if after + limit < hits.len() && limit > 0 {
        let next = (after + limit).to_string();
        answer.put("paging", json!({"next": {"link": format!("?after={next}"), "after": next}}));
    }
    Ok(Answer::json(200, &answer))
}

fn number(body: &Value, name: &str) -> Option<usize> {
    match body.get(name)? {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| usize::try_from(number).ok()),
    }
}

#[derive(Debug)]
struct Filter {
    name: String,
    operator: String,
    value: String,
    high: String,
    values: Vec<String>,
}

const OPERATORS: &[&str] = &[
    "EQ",
    "NEQ",
    "LT",
    "LTE",
    "GT",
    "GTE",
    "BETWEEN",
    "IN",
    "NOT_IN",
    "HAS_PROPERTY",
    "NOT_HAS_PROPERTY",
    "CONTAINS_TOKEN",
    "NOT_CONTAINS_TOKEN",
];

fn groups(portal: &Portal, kind: Kind, body: &Value, env: &Env<'_>) -> Result<Vec<Vec<Filter>>, Answer> {
    let listed = body.get("filterGroups").and_then(Value::as_array).cloned().unwrap_or_default();
    let groups: Vec<Vec<Filter>> = listed
        .iter()
        .map(|group| group.get("filters").and_then(Value::as_array).into_iter().flatten().map(Filter::read).collect())
        .collect();
    let total: usize = groups.iter().map(Vec::len).sum();
    if groups.len() > GROUPS_MAX || groups.iter().any(|group| group.len() > FILTERS_MAX) || total > ALL_FILTERS_MAX {
        return Err(errors::invalid(env, "Too many filters or filter groups"));
    }
    for filter in groups.iter().flatten() {
        let known = portal.has_property(kind, &filter.name) || filter.association().is_some();
        if !known || !OPERATORS.contains(&filter.operator.as_str()) {
            let message = format!(
                "There was a problem with the request: {} {} is not a valid filter",
                filter.name, filter.operator
            );
            return Err(errors::invalid(env, &message));
        }
    }
    Ok(groups)
}

impl Filter {
    fn read(value: &Value) -> Self {
        let text = |name: &str| match value.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let values = value.get("values").and_then(Value::as_array).into_iter().flatten();
        Self {
            name: text("propertyName"),
            operator: text("operator"),
            value: text("value"),
            high: text("highValue"),
            values: values.map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect(),
        }
    }

    fn association(&self) -> Option<Kind> {
        self.name.strip_prefix("associations.").and_then(Kind::parse)
    }

    fn hits(&self, portal: &Portal, kind: Kind, (record, state): (&Record, &State)) -> bool {
        if let Some(to) = self.association() {
            let tied = |id: &str| portal.linked(record.id, to).any(|(other, _)| other.to_string() == id);
            return match self.operator.as_str() {
                "EQ" => tied(&self.value),
                "IN" => self.values.iter().any(|id| tied(id)),
                "HAS_PROPERTY" => portal.linked(record.id, to).next().is_some(),
                _ => false,
            };
        }
        let shape = shape_of(portal, kind, &self.name);
        let value = record.value(kind, state, &self.name);
        let Some(value) = value else {
            return matches!(self.operator.as_str(), "NOT_HAS_PROPERTY" | "NEQ" | "NOT_IN" | "NOT_CONTAINS_TOKEN");
        };
        let against = |other: &str| compare(shape, &value, other);
        match self.operator.as_str() {
            "EQ" => against(&self.value).is_eq(),
            "NEQ" => against(&self.value).is_ne(),
            "LT" => against(&self.value).is_lt(),
            "LTE" => against(&self.value).is_le(),
            "GT" => against(&self.value).is_gt(),
            "GTE" => against(&self.value).is_ge(),
            "BETWEEN" => against(&self.value).is_ge() && against(&self.high).is_le(),
            // For strings the listed values must be in lower case already.
            "IN" => self.values.iter().any(|other| is_in(shape, &value, other)),
            "NOT_IN" => !self.values.iter().any(|other| is_in(shape, &value, other)),
            "HAS_PROPERTY" => true,
            "CONTAINS_TOKEN" => contains_token(&value, &self.value),
            "NOT_CONTAINS_TOKEN" => !contains_token(&value, &self.value),
            _ => false,
        }
    }
}

fn shape_of(portal: &Portal, kind: Kind, name: &str) -> Shape {
    if name == kind.created_property() || name == kind.modified_property() {
        return Shape::DateTime;
    }
    if name == "hs_object_id" {
        return Shape::Number;
    }
    let own = || match portal.own_property(kind, name)?.kind.as_str() {
        "number" => Some(Shape::Number),
        "date" => Some(Shape::Date),
        "datetime" => Some(Shape::DateTime),
        _ => Some(Shape::Text),
    };
    schema::standard_shape(kind, name).or_else(own).unwrap_or(Shape::Text)
}

fn compare(shape: Shape, value: &str, other: &str) -> Ordering {
    match shape {
        Shape::DateTime | Shape::Date => schema::instant(value).cmp(&schema::instant(other)),
        Shape::Number => {
            let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
            number(value).total_cmp(&number(other))
        }
        Shape::Options(_) => value.cmp(other),
        _ => value.to_lowercase().cmp(&other.to_lowercase()),
    }
}

fn is_in(shape: Shape, value: &str, other: &str) -> bool {
    match shape {
        Shape::Text | Shape::Email => value.to_lowercase() == *other,
        _ => compare(shape, value, other).is_eq(),
    }
}

fn contains_token(value: &str, wanted: &str) -> bool {
    let (value, wanted) = (value.to_lowercase(), wanted.to_lowercase());
    if wanted.contains('*') {
        return glob(&value, &wanted) || tokens(&value).any(|token| glob(token, &wanted));
    }
    value == wanted || tokens(&wanted).all(|part| tokens(&value).any(|token| token == part))
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty())
}

fn glob(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => text == pattern,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| rest.get(at..).is_some_and(|end| glob(end, tail)))
        }),
    }
}

fn matches_text(kind: Kind, (record, state): (&Record, &State), query: Option<&Value>) -> bool {
    let Some(query) = query.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_lowercase) else {
        return true;
    };
    let values = kind.searched_properties().iter().filter_map(|name| record.value(kind, state, name));
    let text = values.collect::<Vec<_>>().join(" ").to_lowercase();
    query.split_whitespace().all(|word| text.contains(word))
}

fn sort(kind: Kind, hits: &mut [(&Record, &State)], body: &Value) {
    let Some(rule) = body.get("sorts").and_then(|sorts| sorts.get(0)) else { return };
    let (name, descending) = match rule {
        Value::String(text) => (text.trim_start_matches('-').to_owned(), text.starts_with('-')),
        rule => {
            let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
            (text("propertyName").to_owned(), text("direction") == "DESCENDING")
        }
    };
    let shape = if name == kind.created_property() || name == kind.modified_property() {
        Shape::DateTime
    } else if name == "hs_object_id" {
        Shape::Number
    } else {
        schema::standard_shape(kind, &name).unwrap_or(Shape::Text)
    };
    hits.sort_by(|one, two| {
        let value = |hit: &(&Record, &State)| hit.0.value(kind, hit.1, &name);
        let order = match (value(one), value(two)) {
            (Some(one), Some(two)) => compare(shape, &one, &two),
            (one, two) => one.is_some().cmp(&two.is_some()),
        };
        if descending { order.reverse() } else { order }
    });
}

#[cfg(test)]
mod tests {
    use super::{contains_token, glob};

    #[test]
    fn tokens_and_stars() {
        for (value, wanted, hit) in [
            ("ada@x.example", "*@x.example", true),
            ("ada@x.example", "ada", true),
            ("ada@x.example", "ad", false),
            ("ada@x.example", "ad*", true),
            ("Call about key-7", "key-7", true),
            ("Call about key-7", "key-8", false),
        ] {
            assert_eq!(contains_token(value, wanted), hit, "{value} {wanted}");
        }
        assert!(glob("abc", "a*c") && !glob("abc", "a*d") && glob("é", "*"));
    }
}
