//! The bindings of one request as a [`World`]: what a deed may touch, made of Cloudflare.
//!
//! Doors get theirs from `entry` and `consume`; a Durable Object opens its own, one per event, and takes a fresh
//! [`Ports::world`] where time has passed.

use std::rc::Rc;

use crypto::OsRandom;
use flows::{Error, World};
use worker::Env;

use crate::bindings::{Bindings, DATABASE};
use crate::configuration::{self, Configuration};
use crate::db::{D1, Databases};
use crate::gate::Gates;
use crate::http::Fetch;
use crate::js;
use crate::log::Lines;
use crate::queue::WritesQueue;
use crate::signatures::Jwks;

/// The ports of one request.
pub struct Ports {
    configuration: Rc<Configuration>,
    log: Rc<Lines>,
    databases: Databases,
    directory: D1,
    http: Fetch,
    queue: WritesQueue,
    gate: Gates,
    signatures: Jwks,
}

impl Ports {
    /// Opens what is bound. Refuses to start with a key that is present but wrong, and without a database.
    pub fn open(env: &Env, log: &Rc<Lines>) -> Result<Self, Error> {
        let configuration = configuration::of(env)?;
        let bindings = Rc::new(Bindings::from_env(env));
        let open = |name: &str| {
            let database = bindings.database(name).ok_or_else(|| Error::ShardMissing(name.to_owned()))?;
            Ok::<_, Error>(D1::new(database, name.to_owned(), Rc::clone(log)))
        };
        let databases = configuration.databases.iter().map(|name| Ok((name.clone(), open(name)?)));
        Ok(Self {
            databases: Databases(databases.collect::<Result<_, Error>>()?),
            directory: open(DATABASE)?,
            http: Fetch::new(Rc::clone(&bindings), Rc::clone(&configuration), Rc::clone(log)),
            queue: WritesQueue::new(Rc::clone(&bindings), Rc::clone(log)),
            gate: Gates::new(Rc::clone(&bindings), Rc::clone(log)),
            signatures: Jwks::new(bindings, Rc::clone(&configuration), Rc::clone(log)),
            log: Rc::clone(log),
            configuration,
        })
    }

    /// The world, at this moment: the clock is read here and nowhere else.
    pub fn world(&self) -> World<'_> {
        World {
            now: js::now(),
            request_id: self.log.request_id().to_owned(),
            directory: &self.directory,
            shards: &self.databases,
            http: &self.http,
            queue: &self.queue,
            gate: &self.gate,
            signatures: &self.signatures,
            random: &OsRandom,
            keys: &self.configuration.keys,
            settings: &self.configuration.settings,
            log: &*self.log,
        }
    }

    /// The round trips to D1, where this deployment tells them.
    pub fn counts(&self) -> Option<String> {
        self.configuration.expose_counts.then(|| self.log.rounds.header())
    }
}
