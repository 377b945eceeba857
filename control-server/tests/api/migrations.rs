//! Servers of the previous version go on while a new one brings the tables up to date: so migrations only add, and statements
//! name their columns.

use std::path::Path;

/// What takes something away, or has statements of before fail: a server of before keeps no rule that it does not know.
const FORBIDDEN: [&str; 10] = [
    "DROP TABLE",
    "DROP COLUMN",
    "RENAME",
    "SET NOT NULL",
    "ALTER COLUMN",
    "ADD CONSTRAINT",
    "ADD UNIQUE",
    "ADD CHECK",
    "CREATE UNIQUE INDEX",
    "CREATE TRIGGER",
];

#[test]
fn migrations_only_add() {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut seen = 0;
    for database in ["postgres", "sqlite"] {
        for file in std::fs::read_dir(migrations.join(database)).unwrap() {
            let file = file.unwrap().path();
            let sql = std::fs::read_to_string(&file).unwrap();
            for statement in statements(&sql) {
                assert_eq!(breaks(&statement), None, "{}: {statement}", file.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 8);
}

/// PostgreSQL refuses a prepared `SELECT *` once the table has a column more: "cached plan must not change result type".
#[test]
fn statements_name_their_columns() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    let mut folders = ["store/src", "store-postgres/src", "store-sqlite/src"]
        .map(|dir| here.join(dir))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            assert_eq!(takes_every_column(&source), None, "{}", path.display());
            seen += usize::from(source.contains("sqlx::query"));
        }
    }
    assert!(seen >= 8);
}

#[test]
fn statements_that_take_every_column_are_seen() {
    for statement in [
        "select * from seats",
        "SELECT  *\n FROM seats",
        "SELECT seats.* FROM seats JOIN parties",
        "SELECT seq, party.* FROM seats",
        "INSERT INTO seats (party) VALUES ($1) RETURNING *",
    ] {
        assert!(takes_every_column(statement).is_some(), "{statement}");
    }
    for statement in [
        "SELECT count(*) FROM seats",
        "SELECT 2 * 3",
        "// What `SELECT *` would do.\nuse a::b::*;",
    ] {
        assert_eq!(takes_every_column(statement), None, "{statement}");
    }
}

#[test]
fn what_would_break_the_previous_version_is_seen() {
    for statement in [
        "alter table seats  drop column name",
        "ALTER TABLE seats RENAME TO places",
        "ALTER TABLE seats ALTER COLUMN name TYPE bigint",
        "ALTER TABLE parties ADD COLUMN motto TEXT NOT NULL",
        "ALTER TABLE parties ADD motto TEXT NOT NULL, ADD COLUMN size BIGINT DEFAULT 1",
        "CREATE UNIQUE INDEX seats_name ON seats (party, name)",
        "ALTER TABLE seats ADD UNIQUE (party, name)",
    ] {
        assert!(breaks(&statements(statement)[0]).is_some(), "{statement}");
    }
    for statement in [
        "ALTER TABLE parties ADD COLUMN locked BOOLEAN NOT NULL DEFAULT FALSE",
        "ALTER TABLE parties ADD COLUMN motto TEXT",
        "CREATE TABLE names (name TEXT NOT NULL UNIQUE)",
    ] {
        assert_eq!(breaks(&statements(statement)[0]), None, "{statement}");
    }
}

/// Statements without comments, in capitals, with single spaces.
fn statements(sql: &str) -> Vec<String> {
    let uncommented: Vec<&str> = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect();
    let statements = uncommented.join(" ").to_uppercase();
    let statements = statements
        .split(';')
        .map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|statement| !statement.is_empty()).collect()
}

/// Why a statement of before may fail after this one.
fn breaks(statement: &str) -> Option<&'static str> {
    let mut added = statement.split(" ADD ").skip(1);
    if added.any(|column| column.contains("NOT NULL") && !column.contains("DEFAULT")) {
        return Some("a column that must be given");
    }
    FORBIDDEN.into_iter().find(|forbidden| statement.contains(forbidden))
}

/// What of Rust source selects columns that its statement does not name. Comments may.
fn takes_every_column(source: &str) -> Option<String> {
    let code: Vec<&str> = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(str::split_whitespace)
        .collect();
    let code = code.join(" ").to_uppercase();
    let every = |(at, _): (usize, &str)| {
        let before = &code[..at];
        let of_a_table = before.ends_with('.')
            && before[..before.len() - 1].ends_with(|last: char| last.is_alphanumeric() || last == '_');
        of_a_table || before.ends_with("SELECT ") || before.ends_with("RETURNING ")
    };
    let at = code.match_indices('*').find(|found| every(*found))?.0;
    Some(code[at.saturating_sub(40)..].chars().take(60).collect())
}
