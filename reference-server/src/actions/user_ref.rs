//! How people name a user: by id or by name.

use crate::{
    db::Transaction,
    error::{AppError, ErrorCode},
    people::{User, UserId, users},
};

/// Finds the user that `id_or_name` means.
pub(super) fn find(connection: &Transaction<'_>, id_or_name: &str) -> Result<User, AppError> {
    let by_id = users::find(connection, &UserId::new(id_or_name))?;
    let user = match by_id {
        Some(user) => Some(user),
        None => users::find_by_name(connection, id_or_name)?,
    };
    user.ok_or_else(|| AppError::new(ErrorCode::NotFound, "there is no such user"))
}
