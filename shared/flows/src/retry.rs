//! Trying again within one request: the one loop around `model::backoff`, for whatever may be repeated safely.
//!
//! In scope: how often, how long between, and when to stop. Out of scope: retries over days, which are rows with a
//! `next_retry_at` (`model::write::next`) on the same schedules.

use crate::gate_keeper::Host;
use crypto::random;
use model::backoff::{Schedule, next_try_at};

/// Repeats `attempt` on a schedule until it succeeds, fails for good, or the attempts are used up. The last failure is the
/// answer.
pub(crate) async fn retry<T, E>(
    host: &dyn Host,
    schedule: Schedule,
    is_passing: fn(&E) -> bool,
    attempt: impl AsyncFn() -> Result<T, E>,
) -> Result<T, E> {
    let mut attempts = 0;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        attempts += 1;
        let world = host.world();
        let chance = random::number(world.random).unwrap_or(u32::MAX);
        match next_try_at(schedule, attempts, chance, None, world.now).filter(|_| is_passing(&error)) {
            Some(at) => host.sleep(u32::try_from(at.0 - world.now.0).unwrap_or(u32::MAX)).await,
            None => return Err(error),
        }
    }
}
