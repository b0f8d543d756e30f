//! The workspace a statement is confined to. Every function on a tenant table takes one, so a statement without a
//! workspace does not compile.

use model::WorkspaceId;

/// Confines statements to one workspace. Made by `flows::World::tenant` for an authenticated caller, a consumed state or
/// a doorbell, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceScope(WorkspaceId);

impl WorkspaceScope {
    /// The scope of a workspace the caller has been shown to act for.
    pub const fn of(workspace_id: WorkspaceId) -> Self {
        Self(workspace_id)
    }

    /// The workspace.
    pub const fn workspace_id(&self) -> &WorkspaceId {
        &self.0
    }
}
