//! The account at the authority.

use anyhow::{Context, Result};
use instant_acme::{Account, AccountBuilder, NewAccount};

use super::kept::{Kept, KeptAccount};
use crate::config::AcmeConfig;

/// The account of former orders, or a new one.
pub(super) async fn open(config: &AcmeConfig, kept: &Kept) -> Result<Account> {
    let former = kept.account().filter(|former| former.directory == config.directory);
    if let Some(former) = former {
        return Ok(client(config)?.from_credentials(former.credentials).await?);
    }
    let contact = config.contact.as_ref().map(|address| format!("mailto:{address}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let directory = config.directory.clone();
    let (account, credentials) = client(config)?.create(&wanted, directory.clone(), None).await?;
    kept.keep_account(&KeptAccount { directory, credentials })?;
    Ok(account)
}

fn client(config: &AcmeConfig) -> Result<AccountBuilder> {
    match &config.ca_file {
        Some(file) => Account::builder_with_root(file)
            .with_context(|| format!("the authority's certificate cannot be read from {}", file.display())),
        None => Ok(Account::builder()?),
    }
}
