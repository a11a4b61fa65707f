//! Tables of the catalogue that tools read before they do anything else, with the one row each
//! that they need. The columns are those that the tools ask for, whatever they ask for.

use super::super::value::{Kind, Value};
use super::Who;
use crate::facts::Right;

type Table = (Vec<(String, Kind)>, Vec<Vec<Value>>);

/// The types of the console's columns by name, which pgAdmin asks for behind each result.
pub(super) fn types() -> Table {
    let types = [
        (16_u64, "boolean"),
        (17, "bytea"),
        (20, "bigint"),
        (23, "integer"),
        (25, "text"),
        (26, "oid"),
        (1700, "numeric"),
    ];
    let columns = vec![("oid".to_owned(), Kind::Oid), ("typname".to_owned(), Kind::Text)];
    (columns, types.map(|(oid, name)| vec![oid.into(), name.into()]).to_vec())
}

/// The table of this name, if it is one of them.
pub(super) fn table(name: &str, who: &Who) -> Option<Table> {
    let is_admin = || Value::Bool(who.right == Right::Admin);
    let (columns, rows): (&[(&str, Kind)], _) = match name.to_ascii_lowercase().as_str() {
        // pgAdmin, at connect.
        "pg_database" => (
            &[
                ("did", Kind::Oid),
                ("datname", Kind::Text),
                ("datallowconn", Kind::Bool),
                ("serverencoding", Kind::Text),
                ("cancreate", Kind::Bool),
                ("datistemplate", Kind::Bool),
            ],
            vec![vec![
                1_u64.into(),
                who.database.clone().into(),
                Value::Bool(true),
                "UTF8".into(),
                Value::Bool(false),
                Value::Bool(false),
            ]],
        ),
        "pg_stat_gssapi" => (
            &[("gss_authenticated", Kind::Bool), ("encrypted", Kind::Bool)],
            vec![vec![Value::Bool(false), Value::Bool(false)]],
        ),
        "pg_roles" => (
            &[
                ("id", Kind::Oid),
                ("name", Kind::Text),
                ("is_superuser", Kind::Bool),
                ("can_create_role", Kind::Bool),
                ("can_create_db", Kind::Bool),
                ("can_signal_backend", Kind::Bool),
            ],
            vec![vec![
                10_u64.into(),
                who.user.clone().into(),
                is_admin(),
                Value::Bool(false),
                Value::Bool(false),
                is_admin(),
            ]],
        ),
        "pg_user" => (
            &[("inrecovery", Kind::Bool), ("isreplaypaused", Kind::Bool)],
            vec![vec![Value::Bool(false), Value::Bool(false)]],
        ),
        // Whether it is replicated by an extension or by slots: neither.
        "pg_extension" => (&[("type", Kind::Text)], vec![vec![Value::Null]]),
        // SQLAlchemy looks for hstore.
        "pg_type" => (&[("oid", Kind::Oid), ("typarray", Kind::Oid)], Vec::new()),
        _ => return None,
    };
    Some((columns.iter().map(|&(name, kind)| (name.to_owned(), kind)).collect(), rows))
}
