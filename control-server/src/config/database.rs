use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// `[database]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://…` or `sqlite:FILE`. Default: SQLite in the data directory. May hold a password.
    pub url: Option<DatabaseUrl>,
}

/// A database URL. It may hold a password, so it does not print itself.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

/// Which database an URL means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind<'a> {
    /// The whole URL.
    Postgres(&'a str),
    /// The file.
    Sqlite(&'a str),
}

/// An URL of no database we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the database URL must begin with postgres:// or sqlite:")]
pub struct UnknownDatabase;

impl DatabaseUrl {
    /// Which database it means. Never log what this returns.
    pub fn kind(&self) -> Result<DatabaseKind<'_>, UnknownDatabase> {
        let url = self.0.as_str();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(DatabaseKind::Postgres(url));
        }
        let file = url.strip_prefix("sqlite:").ok_or(UnknownDatabase)?;
        Ok(DatabaseKind::Sqlite(file.strip_prefix("//").unwrap_or(file)))
    }
}

impl DatabaseUrl {
    /// As it may be shown.
    pub fn without_password(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return self.0.clone();
        };
        // A query may hold one, too.
        let rest = rest.split('?').next().unwrap_or_default();
        let Some((user, place)) = rest.rsplit_once('@') else {
            return format!("{scheme}://{rest}");
        };
        let name = user.split(':').next().unwrap_or_default();
        format!("{scheme}://{name}@{place}")
    }
}

impl FromStr for DatabaseUrl {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_database_and_does_not_print_itself() {
        let url = |text: &str| text.parse::<DatabaseUrl>().unwrap();
        let postgres = url("postgres://u:secret@h/d");
        assert_eq!(postgres.kind(), Ok(DatabaseKind::Postgres("postgres://u:secret@h/d")));
        assert_eq!(url("sqlite:///a/b").kind(), Ok(DatabaseKind::Sqlite("/a/b")));
        assert_eq!(url("sqlite:b").kind(), Ok(DatabaseKind::Sqlite("b")));
        assert_eq!(url("mysql://h").kind(), Err(UnknownDatabase));
        assert!(!format!("{postgres:?}").contains("secret"));
        for (whole, shown) in [
            ("postgres://u:se@cret@h:1/d?sslmode=x&password=y", "postgres://u@h:1/d"),
            ("postgres://h/d", "postgres://h/d"),
            ("sqlite:b", "sqlite:b"),
        ] {
            assert_eq!(url(whole).without_password(), shown);
        }
    }
}
