//! `lanrage-control admin`: the admin API in words.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use http_body_util::BodyExt;
use hyper::Method;
use lanrage_shared::ids::MemberId;
use serde_json::Value;
use tempfile::NamedTempFile;

use super::CommonArgs;
use crate::admin::Client;
use crate::config::{Config, DatabaseKind, DatabaseUrl};
use crate::data_dir::DataDir;

#[derive(Debug, Args)]
pub struct AdminArgs {
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Every party of the server.
    Parties(ListArgs),
    /// Every member of a party.
    Members {
        /// Its id, or its name if no other party has it.
        party: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// The relays of the server.
    Relays(ListArgs),
    /// The server in numbers.
    Stats(ListArgs),
    /// Remove a member from a party, the host too.
    Kick {
        /// The party's id, or its name if no other party has it.
        party: String,
        /// The member's number.
        member: u16,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Write a backup while the server runs: a tar archive to unpack into an empty data directory. It holds the server's keys.
    Backup {
        /// `-` for standard output.
        file: PathBuf,
        #[command(flatten)]
        backup: BackupArgs,
    },
}

#[derive(Debug, Args)]
struct ListArgs {
    /// JSON, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct BackupArgs {
    #[command(flatten)]
    list: ListArgs,
    /// As for `serve`: the database to back up, when it is not in the configuration file.
    #[arg(
        long,
        env = "LANRAGE_CONTROL_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: Option<DatabaseUrl>,
}

impl AdminArgs {
    /// Does it, and returns what to print.
    pub async fn run(self) -> Result<String> {
        match self.command {
            AdminCommand::Parties(list) => {
                let columns = ["id", "name", "online", "members", "host", "network", "persistent"];
                list.show("/admin/v1/parties", &columns).await
            }
            AdminCommand::Members { party, list } => {
                let (client, json) = list.client()?;
                let path = format!("/admin/v1/parties/{}/members", find_party(&client, &party).await?);
                let columns = [
                    "id",
                    "name",
                    "virtual_ip",
                    "is_host",
                    "online",
                    "agent_version",
                    "device",
                ];
                shown(client.list(&path).await?, json, &columns)
            }
            AdminCommand::Relays(list) => {
                let columns = ["id", "region", "draining", "seen_s"];
                list.show("/admin/v1/relays", &columns).await
            }
            AdminCommand::Stats(list) => {
                let (client, json) = list.client()?;
                let stats = client.get("/admin/v1/stats").await?;
                Ok(if json { stats.to_string() } else { lines(&stats) })
            }
            AdminCommand::Kick { party, member, list } => {
                let (client, json) = list.client()?;
                let (party, member) = (find_party(&client, &party).await?, MemberId(member));
                let path = format!("/admin/v1/parties/{party}/members/{member}/remove");
                client.ask(Method::POST, &path).await?;
                Ok(match json {
                    true => serde_json::json!({"party": party, "removed": member}).to_string(),
                    false => format!("member {member} is no longer in the party"),
                })
            }
            AdminCommand::Backup { file, backup } => backup.run(&file).await,
        }
    }
}

impl ListArgs {
    /// Who to ask, and whether the answer is for programs.
    fn client(self) -> Result<(Client, bool)> {
        let json = self.json;
        let config = self.common.config()?;
        Ok((client(&config)?, json))
    }

    async fn show(self, path: &str, columns: &[&str]) -> Result<String> {
        let (client, json) = self.client()?;
        shown(client.list(path).await?, json, columns)
    }
}

fn client(config: &Config) -> Result<Client> {
    let data_dir = DataDir::of_server(&config.server.data_dir)?;
    Ok(Client::of_server(&data_dir)?)
}

impl BackupArgs {
    async fn run(self, file: &Path) -> Result<String> {
        let json = self.list.json;
        let mut config = self.list.common.config()?;
        config.database.url = self.database_url.or(config.database.url);
        if let Some(url) = &config.database.url
            && let DatabaseKind::Postgres(_) = url.kind()?
        {
            let dir = config.server.data_dir.display();
            bail!(
                "the parties are in PostgreSQL: back it up with `pg_dump --format=custom --file={} {}` (it asks for the \
                 password, or takes it from ~/.pgpass), and keep {dir}/identity.pem and {dir}/relay-token with it",
                file.display(),
                url.without_password()
            );
        }
        let response = client(&config)?.ask(Method::POST, "/admin/v1/backup").await?;
        let mut body = response.into_body();
        let to_stdout = file == Path::new("-");
        let dir = file
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut kept = if to_stdout { None } else { Some(private_in(dir)?) };
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the backup broke off")?;
            let Some(data) = frame.data_ref() else { continue };
            bytes += data.len();
            match &mut kept {
                Some(kept) => kept.write_all(data),
                None => std::io::stdout().write_all(data),
            }
            .context("the backup cannot be written")?;
        }
        let Some(kept) = kept else { return Ok(String::new()) };
        kept.as_file().sync_all().context("the backup cannot be written")?;
        kept.persist(file)
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(match json {
            true => serde_json::json!({"file": file, "bytes": bytes}).to_string(),
            false => format!("{bytes} bytes in {}: whoever has it can be this server", file.display()),
        })
    }
}

/// A file for its owner only that gets its name when it is whole.
fn private_in(dir: &Path) -> Result<NamedTempFile> {
    let owner_only = std::fs::Permissions::from_mode(0o600);
    let file = tempfile::Builder::new().permissions(owner_only).tempfile_in(dir);
    file.with_context(|| format!("cannot write into {}", dir.display()))
}

/// The id of the party that `text` names.
async fn find_party(client: &Client, text: &str) -> Result<String> {
    let parties = client.list("/admin/v1/parties").await?;
    let named = |field: &str| parties.iter().filter(|party| party[field] == text).collect::<Vec<_>>();
    let by_name = named("name");
    match (named("id").as_slice(), by_name.as_slice()) {
        ([party], _) | ([], [party]) => Ok(party["id"].as_str().unwrap_or_default().to_owned()),
        ([], []) => bail!("no party is called {text:?}: `lanrage-control admin parties` lists them"),
        _ => bail!("{} parties are called {text:?}: say which by its id", by_name.len()),
    }
}

fn shown(items: Vec<Value>, json: bool, columns: &[&str]) -> Result<String> {
    if json {
        return Ok(Value::Array(items).to_string());
    }
    let header = columns.iter().map(|column| column.replace('_', " "));
    let rows = items
        .iter()
        .map(|item| columns.iter().map(|column| word(&item[*column])).collect::<Vec<_>>());
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    Ok(lines.join("\n"))
}

fn lines(stats: &Value) -> String {
    let fields = stats.as_object().into_iter().flatten();
    let lines = fields.map(|(name, value)| format!("{}: {}", name.replace('_', " "), word(value)));
    lines.collect::<Vec<_>>().join("\n")
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}
