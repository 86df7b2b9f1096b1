//! Tokens on disk: a file for each client, audience and scope, for its owner alone, and a lock so that two shells do not
//! use the same refresh token. A provider that rotates them takes the second use for a theft, and ends the session.

use super::{Client, SignInError, Way};
use crate::whole_file;
use aws_lc_rs::digest::{Context, SHA256};
use jiff::{SignedDuration, Timestamp};
use oauth2::{AccessToken, RefreshToken};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Two tokens of at most 16 KiB, which is what a gateway takes in a header, and what stands around them.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// A request that is sent now arrives, and a job that is started with the token gets its first answer.
const LEAST_LIFE: SignedDuration = SignedDuration::from_secs(60);

/// Of a life shorter than four of those, a quarter, so that a token of a minute is good for 45 s.
const LEAST_PART: i32 = 4;

/// What one sign-in gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) access_token: AccessToken,
    pub(super) obtained_at: Timestamp,
    /// `None`: the provider did not say, so it is never taken from here.
    pub(super) expires_at: Option<Timestamp>,
    pub(super) refresh_token: Option<RefreshToken>,
}

/// Where they are.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    file: PathBuf,
}

/// Held while the file is read, renewed and written.
pub(super) struct Locked(#[expect(dead_code, reason = "closing it ends the lock")] File);

impl Kept {
    /// Whether it is still good for a while.
    pub(crate) fn is_good_at(&self, now: Timestamp) -> bool {
        let Some(expires_at) = self.expires_at else { return false };
        let life = expires_at.duration_since(self.obtained_at);
        expires_at.duration_since(now) > LEAST_LIFE.min(life / LEAST_PART)
    }

    /// Whether a gateway would take it, if it is asked at once.
    pub(super) fn is_alive_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| now < expires_at)
    }
}

impl Keeper {
    /// In a folder of tokens. Each part is hashed with its length, so that no two clients meet in one file.
    pub(crate) fn new(folder: &Path, client: &Client, way: Way) -> Self {
        let mut context = Context::new(&SHA256);
        let whose = if way == Way::Service { "service" } else { "person" };
        let issuer = client.issuer.strip_suffix('/').unwrap_or(&client.issuer);
        for part in [
            Some(issuer),
            Some(&client.client_id),
            client.audience.as_deref(),
            client.scope.as_deref(),
            Some(whose),
        ] {
            // One more than any length is the absence.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            context.update(&length.to_be_bytes());
            context.update(part.unwrap_or_default().as_bytes());
        }
        let digest = context.finish();
        let name: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { file: folder.join(name).with_extension("json") }
    }

    /// Waits for others that hold it; says so, for one of them may wait for its person.
    pub(super) async fn lock(&self) -> Result<Locked, SignInError> {
        let keeper = self.clone();
        match tokio::task::spawn_blocking(move || keeper.lock_now()).await {
            Ok(locked) => locked.map_err(|cause| self.failed(cause)),
            Err(error) => Err(self.failed(io::Error::other(error))),
        }
    }

    fn lock_now(&self) -> io::Result<Locked> {
        const PRIVATE_DIRECTORY: u32 = 0o700;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(folder)?;
        if fs::metadata(folder)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(folder, fs::Permissions::from_mode(PRIVATE_DIRECTORY))?;
        }
        let path = self.file.with_extension("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let _ =
                    writeln!(io::stderr(), "Another attach-gateway is getting this token; waiting for it.");
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Locked(file))
    }

    /// `None` also where the file is damaged: it is no more than a sign-in's worth.
    pub(super) fn read(&self, _locked: &Locked) -> Result<Option<Kept>, SignInError> {
        let bytes = whole_file::read(&self.file, MAX_FILE_BYTES).map_err(|cause| self.failed(cause))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    pub(super) fn write(&self, kept: &Kept, _locked: &Locked) -> Result<(), SignInError> {
        let text = serde_json::to_vec(kept).map_err(|error| self.failed(error.into()))?;
        whole_file::replace(&self.file, &text).map_err(|cause| self.failed(cause))
    }

    /// Whether there was something to forget.
    pub(crate) async fn forget(&self) -> Result<bool, SignInError> {
        let _locked = self.lock().await?;
        let was_there = self.file.exists();
        whole_file::remove(&self.file).map_err(|cause| self.failed(cause))?;
        Ok(was_there)
    }

    fn failed(&self, cause: io::Error) -> SignInError {
        SignInError::Disk { path: self.file.clone(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(life_s: i64) -> Kept {
        Kept {
            access_token: AccessToken::new("t".to_owned()),
            obtained_at: Timestamp::UNIX_EPOCH,
            expires_at: Some(Timestamp::from_second(life_s).unwrap()),
            refresh_token: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_handed_out_for_as_long_as_there_is_time_to_use_it() {
        for (life, last_good) in [(3600, 3539), (240, 179), (60, 44), (4, 2)] {
            assert!(kept(life).is_good_at(at(last_good)), "{life}");
            assert!(!kept(life).is_good_at(at(last_good + 1)), "{life}");
        }
        let without_end = Kept { expires_at: None, ..kept(60) };
        assert!(!without_end.is_good_at(at(0)));
    }

    #[test]
    fn what_is_asked_for_otherwise_is_kept_elsewhere() {
        let client = Client {
            issuer: "https://a.test".to_owned(),
            client_id: "c".to_owned(),
            secret: None,
            audience: None,
            scope: None,
            redirect_uri: "http://127.0.0.1:0/".parse().unwrap(),
            prompt: None,
        };
        let file = |client: &Client, way| Keeper::new(Path::new("/x"), client, way).file;
        let same = Client { issuer: "https://a.test/".to_owned(), ..client.clone() };
        assert_eq!(file(&client, Way::Device), file(&same, Way::Browser));
        let others = [
            file(&client, Way::Service),
            file(&Client { issuer: "https://b.test".to_owned(), ..client.clone() }, Way::Device),
            file(&Client { client_id: "d".to_owned(), ..client.clone() }, Way::Device),
            file(&Client { audience: Some(String::new()), ..client.clone() }, Way::Device),
            file(&Client { scope: Some(String::new()), ..client.clone() }, Way::Device),
        ];
        assert!(others.iter().all(|other| *other != file(&client, Way::Device)));
        let distinct: std::collections::HashSet<_> = others.iter().collect();
        assert_eq!(distinct.len(), others.len());
    }
}
