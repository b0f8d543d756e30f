//! The session of a browser on our own pages: whose it is, and in which workspaces they may act now.
//!
//! Read anew at every request: a role taken away is gone at once. What changes anything also needs the token of a form of
//! ours ([`PageSession::check_form`]).

use crate::authenticate::Caller;
use crate::{Error, World};
use crypto::one_time::{self, Purpose};
use model::UserId;
use store::connect_sessions::{self, Choice};

/// An open session.
pub struct PageSession {
    /// The person.
    pub user_id: UserId,
    /// The way back to the product.
    pub return_to: Option<String>,
    /// Workspaces of the person that the session may act in, the one it was opened for first.
    pub choices: Vec<Choice>,
    cookie: String,
}

impl PageSession {
    /// The token that every form of this session carries.
    pub fn form_token(&self) -> String {
        one_time::form_token(&self.cookie)
    }

    /// Refuses a form that is not from a page of this session.
    pub fn check_form(&self, token: Option<&str>) -> Result<(), Error> {
        match token {
            Some(token) if one_time::is_form_token(&self.cookie, token) => Ok(()),
            _ => Err(Error::FormRefused),
        }
    }

    /// The person as a caller of a workspace; of the first one where none is named.
    pub fn caller(&self, workspace: Option<&str>) -> Result<Caller, Error> {
        let mut choices = self.choices.iter();
        let choice = match workspace {
            Some(id) => choices.find(|choice| choice.workspace_id.as_str() == id),
            None => choices.next(),
        };
        let choice = choice.ok_or(Error::WorkspaceNotFound)?;
        Ok(Caller {
            workspace_id: choice.workspace_id.clone(),
            shard: choice.shard.clone(),
            role: choice.role,
            actor: self.user_id.to_string(),
        })
    }
}

/// The session of a cookie.
pub async fn read_session(world: &World<'_>, cookie: Option<&str>) -> Result<PageSession, Error> {
    let cookie = cookie.ok_or(Error::SessionRequired)?;
    let hash = one_time::hash(Purpose::Session, cookie);
    let (session, choices) =
        connect_sessions::fetch(world.directory, &hash, world.now).await?.ok_or(Error::SessionRequired)?;
    Ok(PageSession { user_id: session.user_id, return_to: session.return_to, choices, cookie: cookie.to_owned() })
}
