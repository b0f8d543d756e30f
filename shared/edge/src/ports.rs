//! The bindings of one request as a [`World`]: what a deed may touch, made of Cloudflare.
//!
//! Doors get theirs from `entry` and `consume`; a Durable Object opens its own and takes a fresh [`Ports::world`] where
//! time has passed.

use std::rc::Rc;

use crypto::OsRandom;
use flows::gate::Gate;
use flows::world::{Cache, Clock, Http, Queue, Signatures};
use flows::{Error, World};
use model::Timestamp;
use worker::Env;

use crate::bindings::{Bindings, DATABASE};
use crate::configuration::{self, Configuration};
use crate::db::{D1, Databases};
use crate::js;
use crate::log::Lines;
use crate::uses::{Parts, Uses};

/// The ports of one request.
pub struct Ports {
    configuration: Rc<Configuration>,
    log: Rc<Lines>,
    databases: Databases,
    directory: D1,
    http: Box<dyn Http>,
    queue: Box<dyn Queue>,
    gate: Box<dyn Gate>,
    cache: Box<dyn Cache>,
    signatures: Box<dyn Signatures>,
}

/// The platform's clock.
struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        js::now()
    }
}

impl Ports {
    /// Opens what is bound. Refuses to start with a key that is present but wrong, and without a database.
    pub fn open(env: &Env, log: &Rc<Lines>, uses: Uses) -> Result<Self, Error> {
        let parts = Parts {
            bindings: Rc::new(Bindings::from_env(env)),
            configuration: configuration::of(env, &uses)?,
            log: log.clone(),
        };
        log.measure((uses.meter)(&parts));
        let open = |name: &str| {
            let database = parts.bindings.database(name).ok_or_else(|| Error::ShardMissing(name.to_owned()))?;
            Ok::<_, Error>(D1::new(database, name.to_owned(), Rc::clone(log)))
        };
        let databases = parts.configuration.databases.iter().map(|name| Ok((name.clone(), open(name)?)));
        Ok(Self {
            databases: Databases(databases.collect::<Result<_, Error>>()?),
            directory: open(DATABASE)?,
            http: (uses.http)(&parts),
            queue: (uses.queue)(&parts),
            gate: (uses.gate)(&parts),
            cache: (uses.cache)(&parts),
            signatures: (uses.signatures)(&parts),
            log: parts.log,
            configuration: parts.configuration,
        })
    }

    /// The world, at this moment.
    pub fn world(&self) -> World<'_> {
        World {
            now: js::now(),
            clock: &Wall,
            request_id: self.log.request_id().to_owned(),
            directory: &self.directory,
            shards: &self.databases,
            http: &*self.http,
            queue: &*self.queue,
            gate: &*self.gate,
            cache: &*self.cache,
            signatures: &*self.signatures,
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
