//! Opening a link to our pages: once, in time; the browser gets a session of its own instead.
//!
//! The session's secret is new: whoever saw the link has nothing, and a cookie planted before the opening is replaced.

use crate::{Error, World};
use crypto::one_time::{OneTime, Purpose, hash};
use model::install::{Page, SESSION_LIFE_SECS};
use store::connect_sessions;
use store::db::run;

/// A session about to be handed to a browser.
pub struct Opened {
    /// The value of the session cookie.
    pub session: OneTime,
    /// Which page to show.
    pub page: Page,
}

/// Opens a link. `earlier` is the session cookie the browser already had, which ends.
pub async fn open_link(world: &World<'_>, link: &str, earlier: Option<&str>) -> Result<Opened, Error> {
    let session = OneTime::mint(world.random, Purpose::Session)?;
    let (link_hash, until) = (hash(Purpose::Link, link), world.now.plus_secs(SESSION_LIFE_SECS));
    let opened = connect_sessions::open(world.directory, &link_hash, &session.hash(), world.now, until).await?;
    let opened = opened.map_err(|_| Error::LinkUnusable)?;
    if let Some(earlier) = earlier {
        run(world.directory, connect_sessions::end(&hash(Purpose::Session, earlier), world.now)).await?;
    }
    let fields = [("workspace_id", opened.workspace_id.as_str()), ("actor", opened.user_id.as_str())];
    world.log.event("session_opened", &fields);
    Ok(Opened { session, page: opened.page })
}
