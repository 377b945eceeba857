//! Servers of the previous version go on while a new one brings the tables up to date: so migrations only add.

use std::path::Path;

/// What takes something away, or has statements of before fail.
const FORBIDDEN: [&str; 7] = [
    "DROP TABLE",
    "DROP COLUMN",
    "RENAME",
    "SET NOT NULL",
    "ALTER COLUMN",
    "ADD CONSTRAINT",
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

#[test]
fn what_would_break_the_previous_version_is_seen() {
    for statement in [
        "alter table seats  drop column name",
        "ALTER TABLE seats RENAME TO places",
        "ALTER TABLE seats ALTER COLUMN name TYPE bigint",
        "ALTER TABLE parties ADD COLUMN motto TEXT NOT NULL",
    ] {
        assert!(breaks(&statements(statement)[0]).is_some(), "{statement}");
    }
    for statement in [
        "ALTER TABLE parties ADD COLUMN locked BOOLEAN NOT NULL DEFAULT FALSE",
        "ALTER TABLE parties ADD COLUMN motto TEXT",
        "CREATE TABLE names (name TEXT NOT NULL)",
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
    if statement.contains("ADD COLUMN") && statement.contains("NOT NULL") && !statement.contains("DEFAULT") {
        return Some("a column that must be given");
    }
    FORBIDDEN.into_iter().find(|forbidden| statement.contains(forbidden))
}
