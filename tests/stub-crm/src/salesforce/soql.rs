//! Reading SOQL: the subset that look-ups and incremental reads use.
//!
//! `SELECT` fields or `COUNT()`, `FROM` one object, `WHERE` with comparisons, `IN`, `NOT IN`, `LIKE`, `AND`, `OR`, `NOT` and
//! parentheses, `ORDER BY`, `LIMIT`, `OFFSET`. Not joins, aggregates or date functions. Source: Salesforce's SOQL reference.

use crate::salesforce::errors::{Outcome, Refusal};
use crate::salesforce::soql_words::{Token, malformed, tokens};

/// A query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// `SELECT COUNT()`
    pub counts: bool,
    /// As written.
    pub fields: Vec<Word>,
    /// As written.
    pub object: Word,
    /// The condition.
    pub condition: Option<Condition>,
    /// Field and whether descending.
    pub order: Vec<(Word, bool)>,
    /// Rows at most.
    pub limit: Option<usize>,
    /// Rows left out.
    pub offset: usize,
}

/// A name and where it stands, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The name.
    pub text: String,
    /// Its place.
    pub at: usize,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// All of them.
    And(Vec<Condition>),
    /// One of them.
    Or(Vec<Condition>),
    /// Not it.
    Not(Box<Condition>),
    /// Field, operator, values (one but for `IN`).
    Test(Word, Operator, Vec<Literal>),
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`, `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `LIKE`
    Like,
    /// `IN`
    In,
    /// `NOT IN`
    NotIn,
}

/// A value in a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `'text'`
    Text(String),
    /// A number, a date or a moment, as written.
    Bare(String),
    /// `true`, `false`
    Bool(bool),
    /// `null`
    Null,
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
}

/// Reads a query.
pub fn parse(text: &str) -> Outcome<Query> {
    if text.chars().count() > 100_000 {
        return Err(Refusal::new("QUERY_TOO_COMPLICATED", "Query is longer than 100000 characters"));
    }
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, depth: 0 };
    let query = parser.query()?;
    if parser.next < parser.tokens.len() {
        return Err(parser.unexpected());
    }
    Ok(query)
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.text.len(), |(_, at)| *at)
    }

    fn unexpected(&self) -> Refusal {
        let reason = match self.peek() {
            Some(Token::Word(word)) => format!("unexpected token: '{word}'"),
            Some(Token::Text(text)) => format!("unexpected token: '{text}'"),
            Some(Token::Sign(sign)) => format!("unexpected token: '{sign}'"),
            None => "unexpected token: '<EOF>'".to_owned(),
        };
        malformed(self.text, self.at(), &reason)
    }

    fn keyword(&mut self, word: &str) -> bool {
        let hit = matches!(self.peek(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        self.next += usize::from(hit);
        hit
    }

    fn sign(&mut self, sign: &str) -> bool {
        let hit = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.next += usize::from(hit);
        hit
    }

    fn must(&mut self, hit: bool) -> Outcome<()> {
        if hit { Ok(()) } else { Err(self.unexpected()) }
    }

    fn word(&mut self) -> Outcome<Word> {
        let at = self.at();
        match self.peek().cloned() {
            Some(Token::Word(text)) if text.starts_with(char::is_alphabetic) => {
                self.next += 1;
                Ok(Word { text, at })
            }
            _ => Err(self.unexpected()),
        }
    }

    fn query(&mut self) -> Outcome<Query> {
        let hit = self.keyword("SELECT");
        self.must(hit)?;
        let mut fields = vec![self.word()?];
        let counts = fields.iter().any(|field| field.text.eq_ignore_ascii_case("COUNT")) && self.sign("(");
        if counts {
            let hit = self.sign(")");
            self.must(hit)?;
            fields.clear();
        }
        while self.sign(",") {
            fields.push(self.word()?);
        }
        let hit = self.keyword("FROM");
        self.must(hit)?;
        let object = self.word()?;
        let condition = if self.keyword("WHERE") { Some(self.any()?) } else { None };
        let order = if self.keyword("ORDER") { self.order()? } else { Vec::new() };
        let limit = if self.keyword("LIMIT") { Some(self.number()?) } else { None };
        let offset = if self.keyword("OFFSET") { self.number()? } else { 0 };
        if self.keyword("FOR") {
            let hit = self.keyword("VIEW") || self.keyword("REFERENCE") || self.keyword("UPDATE");
            self.must(hit)?;
        }
        Ok(Query { counts, fields, object, condition, order, limit, offset })
    }

    fn order(&mut self) -> Outcome<Vec<(Word, bool)>> {
        let hit = self.keyword("BY");
        self.must(hit)?;
        let mut order = Vec::new();
        loop {
            let field = self.word()?;
            let descending = self.keyword("DESC");
            if !descending {
                self.keyword("ASC");
            }
            if self.keyword("NULLS") {
                let hit = self.keyword("FIRST") || self.keyword("LAST");
                self.must(hit)?;
            }
            order.push((field, descending));
            if !self.sign(",") {
                return Ok(order);
            }
        }
    }

    fn number(&mut self) -> Outcome<usize> {
        let number = match self.peek() {
            Some(Token::Word(word)) => word.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.unexpected())?;
        self.next += 1;
        Ok(number)
    }

    fn any(&mut self) -> Outcome<Condition> {
        let mut parts = vec![self.all()?];
        while self.keyword("OR") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Or(parts) })
    }

    fn all(&mut self) -> Outcome<Condition> {
        let mut parts = vec![self.one()?];
        while self.keyword("AND") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::And(parts) })
    }

    fn one(&mut self) -> Outcome<Condition> {
        self.depth += 1;
        if self.depth > 100 {
            return Err(Refusal::new("QUERY_TOO_COMPLICATED", "Query is too complicated"));
        }
        let condition = if self.keyword("NOT") {
            Condition::Not(Box::new(self.one()?))
        } else if self.sign("(") {
            let inner = self.any()?;
            let hit = self.sign(")");
            self.must(hit)?;
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn test(&mut self) -> Outcome<Condition> {
        let field = self.word()?;
        if self.keyword("IN") {
            return Ok(Condition::Test(field, Operator::In, self.list()?));
        }
        if self.keyword("NOT") {
            let hit = self.keyword("IN");
            self.must(hit)?;
            return Ok(Condition::Test(field, Operator::NotIn, self.list()?));
        }
        let operator = if self.keyword("LIKE") {
            Operator::Like
        } else {
            let signs = [
                ("=", Operator::Equal),
                ("!=", Operator::NotEqual),
                ("<>", Operator::NotEqual),
                ("<=", Operator::LessOrEqual),
                (">=", Operator::GreaterOrEqual),
                ("<", Operator::Less),
                (">", Operator::Greater),
            ];
            let found = signs.into_iter().find(|(sign, _)| self.sign(sign));
            found.ok_or_else(|| self.unexpected())?.1
        };
        Ok(Condition::Test(field, operator, vec![self.literal()?]))
    }

    fn list(&mut self) -> Outcome<Vec<Literal>> {
        let hit = self.sign("(");
        self.must(hit)?;
        let mut values = vec![self.literal()?];
        while self.sign(",") {
            values.push(self.literal()?);
        }
        let hit = self.sign(")");
        self.must(hit)?;
        Ok(values)
    }

    fn literal(&mut self) -> Outcome<Literal> {
        let literal = match self.peek() {
            Some(Token::Text(text)) => Literal::Text(text.clone()),
            Some(Token::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                "null" => Literal::Null,
                _ if word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') => {
                    Literal::Bare(word.clone())
                }
                _ => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(literal)
    }
}

#[cfg(test)]
mod tests {
    use super::{Condition, Literal, Operator, parse};

    #[test]
    fn strings_are_unescaped() {
        for (text, value) in [
            (r"'O\'Hara'", "O'Hara"),
            (r"'a\\b'", r"a\b"),
            (r"'a\nb'", "a\nb"),
            (r"'\u00e9'", "é"),
            ("'x FROM y'", "x FROM y"),
        ] {
            let query = parse(&format!("SELECT Id FROM Lead WHERE Name = {text}")).unwrap();
            let Some(Condition::Test(_, Operator::Equal, values)) = query.condition else { panic!("{text}") };
            assert_eq!(values, [Literal::Text(value.to_owned())]);
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (text, place) in [
            ("SELECT FROM Lead", "Column:13"),
            ("SELECT Id Lead", "Column:11"),
            ("SELECT Id FROM Lead WHERE Name = 'x", "Column:34"),
            ("SELECT Id FROM Lead WHERE Name = x", "Column:34"),
            ("SELECT Id FROM Lead LIMIT", "Column:26"),
            ("SELECT Id FROM Lead WHERE (Name = 'x'", "Column:38"),
            ("SELECT Id FROM Lead WHERE Name = 'x' GROUP", "Column:38"),
            ("", "Column:1"),
        ] {
            let refusal = parse(text).unwrap_err();
            assert!(
                refusal.code == "MALFORMED_QUERY" && refusal.message.contains(place),
                "{text}: {}",
                refusal.message
            );
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(parse(&format!("SELECT Id FROM Lead WHERE {}", "(".repeat(5000))).is_err());
    }
}
