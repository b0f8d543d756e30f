//! The way in for jobs: on schedule, and by hand through `jobs`, which is bound to the Worker. Both run under the same lease
//! and come to the same report.

use std::rc::Rc;

use flows::run_job::{JobRun, begin_job, end_job};
use flows::{Error, World};
use serde::Serialize;
use worker::Env;

use crate::entry::{self, Door, Incoming, Served};
use crate::log::Lines;
use crate::{Ports, Reply, Uses, log, serve};

/// A job: its Worker's name, and what it uses.
#[derive(Clone, Copy)]
pub struct Job {
    name: &'static str,
    uses: Uses,
}

impl Job {
    /// A job.
    pub const fn new(name: &'static str, uses: Uses) -> Self {
        Self { name, uses }
    }

    /// Runs it because its time has come. A failure is logged: the next run finds the same state.
    pub async fn on_schedule<R: Serialize>(self, env: Env, deed: impl AsyncFnOnce(&World<'_>) -> Result<R, Error>) {
        log::on_panic(self.name);
        let lines = Rc::new(Lines::new(self.name, entry::random_id()));
        if let Err(error) = self.run(&env, &lines, deed).await {
            entry::refused(&lines, &error, &[]);
        }
    }

    /// Runs it because an operator says so: `jobs` has checked that. Nobody else reaches this Worker.
    pub async fn on_request<R: Serialize>(
        self,
        raw: Incoming,
        env: Env,
        deed: impl AsyncFnOnce(&World<'_>) -> Result<R, Error>,
    ) -> Served {
        let again = env.clone();
        serve(Door::using(self.name, self.uses), raw, env, async |world, request| {
            let lines = Rc::new(Lines::new(self.name, world.request_id.clone()));
            match request.method().as_str() {
                // Whether it could run: its keys were read on the way here.
                "GET" if world.keys.tokens.is_some() => Ok(Reply::json_text(200, r#"{"ready":true}"#.to_owned())),
                "POST" => Ok(Reply::json(200, &self.run(&again, &lines, deed).await?)),
                _ => Ok(Reply::method_not_allowed("POST")),
            }
        })
        .await
    }

    /// Each step has a time of its own: a run takes minutes.
    async fn run<R: Serialize>(
        self,
        env: &Env,
        lines: &Rc<Lines>,
        deed: impl AsyncFnOnce(&World<'_>) -> Result<R, Error>,
    ) -> Result<JobRun, Error> {
        let ports = Ports::open(env, lines, self.uses)?;
        let begun = begin_job(&ports.world(), self.name).await?;
        let done = deed(&ports.world()).await.map(|report| serde_json::to_value(report).unwrap_or_default());
        end_job(&ports.world(), begun, done).await
    }
}
