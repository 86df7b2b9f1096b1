//! The account at the authority, as it stands on disk.

use super::{
    AcmeSettings, MAX_FILE_BYTES,
    client::AcmeClient,
    order::{OrderFault, persistently},
};
use crate::whole_file;
use instant_acme::{Account, AccountCredentials, NewAccount};
use serde::{Deserialize, Serialize};
use std::{io, path::PathBuf};

/// Where it is kept.
pub(super) struct AccountFile(pub(super) PathBuf);

/// What stands in it: a private key too.
#[derive(Serialize, Deserialize)]
struct Document {
    email: Option<String>,
    credentials: AccountCredentials,
}

impl AccountFile {
    /// The account from before, or a new one. That the terms of the authority were accepted, the settings have checked.
    pub(super) async fn open(
        &self,
        client: impl Fn() -> AcmeClient,
        settings: &AcmeSettings,
    ) -> Result<Account, OrderFault> {
        let contact = settings.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<_> = contact.as_deref().into_iter().collect();
        let Some(Document { email, credentials }) = self.load()? else {
            let new =
                NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
            let made = persistently!(Account::builder_with_http(Box::new(client())).create(
                &new,
                settings.directory.clone(),
                None
            ));
            let (account, credentials) = made?;
            self.store(&Document { email: settings.email.clone(), credentials }).await?;
            tracing::info!(acme.account = account.id(), "an account was made at {}", settings.directory);
            return Ok(account);
        };
        let account = Account::builder_with_http(Box::new(client())).from_credentials(credentials).await?;
        if email != settings.email {
            persistently!(account.update_contacts(&contact))?;
            // Read again: the library takes what it was given.
            if let Some(document) = self.load()? {
                self.store(&Document { email: settings.email.clone(), ..document }).await?;
            }
        }
        Ok(account)
    }

    pub(super) fn forget(&self) -> Result<(), OrderFault> {
        whole_file::remove(&self.0).map_err(|cause| self.disk(cause))
    }

    fn load(&self) -> Result<Option<Document>, OrderFault> {
        let bytes = whole_file::read(&self.0, MAX_FILE_BYTES).map_err(|cause| self.disk(cause))?;
        let Some(bytes) = bytes else { return Ok(None) };
        // The text of the file stays out of the message: it has the key.
        let damaged = |error: serde_json::Error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            self.disk(io::Error::other(format!("is no account ({place}); move it away, and another is made")))
        };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    async fn store(&self, document: &Document) -> Result<(), OrderFault> {
        let text = serde_json::to_vec_pretty(document).map_err(|error| self.disk(error.into()))?;
        let path = self.0.clone();
        let stored = tokio::task::spawn_blocking(move || whole_file::replace(&path, &text)).await;
        stored.map_err(io::Error::other).and_then(|stored| stored).map_err(|cause| self.disk(cause))
    }

    fn disk(&self, cause: io::Error) -> OrderFault {
        OrderFault::Disk { path: self.0.clone(), cause }
    }
}
