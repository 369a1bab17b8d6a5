//! What statements are given: the shapes that rusqlite takes, with values that both databases do.

use rusqlite::{
    ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::DatabaseError;

/// The parameters of a statement: an array, `params![..]` or `named_params! {..}`.
pub(crate) trait Parameters {
    fn values(&self) -> Result<Values<'_>, DatabaseError>;
}

/// Their values.
pub(crate) enum Values<'v> {
    /// By name, with the colon.
    Named(Vec<(&'v str, ToSqlOutput<'v>)>),
    /// By place.
    Placed(Vec<ToSqlOutput<'v>>),
}

/// Returns what a value holds.
pub(super) fn value<'v>(output: &'v ToSqlOutput<'v>) -> Result<ValueRef<'v>, DatabaseError> {
    match output {
        ToSqlOutput::Borrowed(value) => Ok(*value),
        ToSqlOutput::Owned(value) => Ok(value.into()),
        // What SQLite alone has, which we don't use.
        _ => Err(DatabaseError::unsuitable("a value has no plain form")),
    }
}

fn placed<'v>(
    values: impl Iterator<Item = &'v (impl ToSql + ?Sized + 'v)>,
) -> Result<Values<'v>, DatabaseError> {
    let values = values.map(ToSql::to_sql).collect::<Result<_, _>>()?;
    Ok(Values::Placed(values))
}

fn named<'v>(values: &'v [(&str, &dyn ToSql)]) -> Result<Values<'v>, DatabaseError> {
    let mut found = Vec::with_capacity(values.len());
    for (name, value) in values {
        found.push((*name, value.to_sql()?));
    }
    Ok(Values::Named(found))
}

impl Parameters for () {
    fn values(&self) -> Result<Values<'_>, DatabaseError> {
        Ok(Values::Placed(Vec::new()))
    }
}

/// Of one type of many, so that `[]` has one.
impl Parameters for [&str; 0] {
    fn values(&self) -> Result<Values<'_>, DatabaseError> {
        Ok(Values::Placed(Vec::new()))
    }
}

impl Parameters for &[&dyn ToSql] {
    fn values(&self) -> Result<Values<'_>, DatabaseError> {
        placed(self.iter().copied())
    }
}

impl Parameters for &[(&str, &dyn ToSql)] {
    fn values(&self) -> Result<Values<'_>, DatabaseError> {
        named(self)
    }
}

macro_rules! arrays {
    ($($length:literal)*) => {$(
        impl<T: ToSql> Parameters for [T; $length] {
            fn values(&self) -> Result<Values<'_>, DatabaseError> {
                placed(self.iter())
            }
        }
    )*};
}

arrays!(1 2 3 4);
