//! Tests of the house itself: who may import whom, where SQL may stand, whether the Workers' files agree, and what every
//! source file owes its reader. The rules are those of docs/architecture.md.
//!
//! Each rule is a checker, from plain data to a list of violations; one test runs it on the repository and one on a small
//! wrong example, since a check that cannot fail is worth nothing. Nothing here is code of the product.

#[cfg(test)]
mod docs;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod repo;
#[cfg(test)]
mod rust_source;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod style;
#[cfg(test)]
mod workers;
