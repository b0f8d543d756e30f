//! Who is calling, and what they may do in which workspace.
//!
//! A bearer token is either the host product's JWT (its `sub` is looked up in `workspace_members`) or a service token of one
//! workspace. One read of the directory either way. A workspace that does not exist and one the caller is not in look alike.

use crate::rare::rarely;
use crate::{Error, World};
use crypto::jwt::{self, Expected, JwtError, Unverified, Verdict};
use crypto::service_token;
use model::connection::ConnectionKey;
use model::{Crm, Role, UserId, WorkspaceId};
use store::workspaces::{self, Access};

/// An authenticated caller, confined to one workspace.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The workspace the request is about.
    pub workspace_id: WorkspaceId,
    /// Its shard.
    pub shard: String,
    /// What the caller may do in it.
    pub role: Role,
    /// A user id or `token:<name>`, for the audit trail.
    pub actor: String,
}

impl Caller {
    /// Refuses everyone but admins and owners.
    pub fn require_admin(&self) -> Result<(), Error> {
        if self.role.may_administer() { Ok(()) } else { Err(Error::AdminRequired) }
    }

    /// The key of this workspace's connection to a CRM.
    pub fn connection(&self, crm: Crm) -> ConnectionKey {
        ConnectionKey { workspace_id: self.workspace_id.clone(), shard: self.shard.clone(), crm }
    }
}

/// Authenticates a bearer token for a workspace. `workspace` is what the request names: needed with a JWT; a service token
/// has its own, and another one named beside it does not exist for it.
pub async fn authenticate(world: &World<'_>, bearer: Option<&str>, workspace: Option<&str>) -> Result<Caller, Error> {
    let caller = identify(world, bearer, workspace).await?;
    world.log.event("authenticated", &[("workspace_id", caller.workspace_id.as_str()), ("actor", &caller.actor)]);
    Ok(caller)
}

async fn identify(world: &World<'_>, bearer: Option<&str>, workspace: Option<&str>) -> Result<Caller, Error> {
    let bearer = bearer.ok_or(Error::TokenRequired)?;
    if bearer.starts_with(service_token::PREFIX) {
        return rarely(of_service_token(world, bearer, workspace)).await;
    }
    let user = user_of_jwt(world, bearer).await?;
    let workspace = workspace.ok_or(Error::WorkspaceRequired)?;
    let workspace = WorkspaceId::parse(workspace).ok_or(Error::WorkspaceNotFound)?;
    let access = workspaces::fetch_member(world.directory, &workspace, &user).await?.ok_or(Error::WorkspaceNotFound)?;
    Ok(caller(access, user.to_string()))
}

async fn of_service_token(world: &World<'_>, token: &str, workspace: Option<&str>) -> Result<Caller, Error> {
    if !service_token::looks_like(token) {
        return Err(Error::TokenInvalid);
    }
    let hash = service_token::hash(token);
    let access = workspaces::fetch_service_token(world.directory, &hash, world.now).await?;
    let access = access.ok_or(Error::TokenInvalid)?;
    if workspace.is_some_and(|named| named != access.workspace_id.as_str()) {
        return Err(Error::WorkspaceNotFound);
    }
    let actor = format!("token:{}", access.token_name.as_deref().unwrap_or_default());
    Ok(caller(access, actor))
}

fn caller(access: Access, actor: String) -> Caller {
    Caller { workspace_id: access.workspace_id, shard: access.shard, role: access.role, actor }
}

/// The user a JWT of the host product speaks for.
pub async fn user_of_jwt(world: &World<'_>, token: &str) -> Result<UserId, Error> {
    let token = jwt::parse(token).map_err(|e| refused(&e))?;
    let settings = world.settings;
    let expected = Expected { issuer: settings.jwt_issuer.as_deref(), audience: settings.jwt_audience.as_deref() };
    let claims = if settings.jwks {
        let good = rarely(verified_elsewhere(world, &token)).await?;
        let verdict = if good { Verdict::Good } else { Verdict::Bad };
        token.for_jwks().and_then(|check| check.conclude(verdict))
    } else {
        let secret = world.keys.jwt_secret.as_ref().ok_or(Error::SecretMissing("JWT_HS256_SECRET"))?;
        jwt::verify_hs256(secret, &token)
    }
    .map_err(|e| refused(&e))?;
    let identity = jwt::check_claims(claims, &expected, world.now).map_err(|e| refused(&e))?;
    Ok(identity.subject)
}

async fn verified_elsewhere(world: &World<'_>, token: &Unverified) -> Result<bool, Error> {
    // An HS256 token must not even cause a key to be fetched.
    token.for_jwks().map_err(|e| refused(&e))?;
    world.signatures.verify(token).await.map_err(|_| Error::KeysUnavailable)
}

/// What is wrong with a token is told apart only where the caller can act on it.
const fn refused(error: &JwtError) -> Error {
    match error {
        JwtError::Expired => Error::TokenExpired,
        JwtError::WeakSecret => Error::SecretMissing("JWT_HS256_SECRET"),
        _ => Error::TokenInvalid,
    }
}
