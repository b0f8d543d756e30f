//! Paths that few requests take.

use std::pin::Pin;

/// A path that few requests take, as a function of its own. Awaited in place it would be part of its caller's, and the runtime
/// compiles a function whole when it is first called: a start's first request would wait for code it does not run.
pub fn rarely<'a, T>(path: impl Future<Output = T> + 'a) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    Box::pin(path)
}
