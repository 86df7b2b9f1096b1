//! The socket in the state folder by which `attach-gateway explain` asks the gateway that runs on it.
//!
//! One question for each connection: the credential as it was pasted, then the end of what the asker sends; then the answer, as
//! a `v1::Answer` in proto-JSON. The folder and the socket are for the gateway's own user alone, who could read its keys too.

use super::Explainer;
use attach_proto::{
    question::MAX_PASTED_BYTES,
    v1::{Answer, answer},
};
use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::{fs::PermissionsExt as _, net::UnixStream as AskingStream},
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

const NAME: &str = "explain.socket";

/// For the question to arrive, and for the answer to be taken: both ends are on this host.
const TALK: Duration = Duration::from_secs(5);

/// Of the asker: the question, what an issuer may take, and the answer.
const ASK: Duration = Duration::from_secs(15);

/// At a time: one operator, and a script of theirs.
const MAX_AT_A_TIME: usize = 4;

/// Longest answer: some twenty checks and fifty values each of a few lists.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// After a connection that could not be taken, as when there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct LocalSocket {
    listener: UnixListener,
}

impl LocalSocket {
    /// Takes the place of the socket of a process before, which answers no more or is about to stop.
    ///
    /// # Errors
    ///
    /// When it can't be made; the error names it.
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        let path = state.join(NAME);
        let own = state.join(format!("{NAME}.{}", process::id()));
        let opened = (|| {
            match fs::remove_file(&own) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            // In a folder that nobody else may enter, where there is a moment before the next line.
            let listener = UnixListener::bind(&own)?;
            fs::set_permissions(&own, fs::Permissions::from_mode(0o600))?;
            fs::rename(&own, &path)?;
            Ok(Self { listener })
        })();
        opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// Until it is dropped.
    pub(crate) async fn serve(self, explainer: Explainer) {
        let room = Arc::new(Semaphore::new(MAX_AT_A_TIME));
        loop {
            let Ok(held) = Arc::clone(&room).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            let explainer = explainer.clone();
            tokio::spawn(async move {
                let _held = held;
                // Who went away asks no more.
                let _ = answer_one(stream, &explainer).await;
            });
        }
    }
}

async fn answer_one(stream: UnixStream, explainer: &Explainer) -> io::Result<()> {
    let (mut question, mut answer) = stream.into_split();
    let mut pasted = Vec::new();
    // One more than there may be, so that what is too long is seen to be.
    let mut bounded = (&mut question).take(MAX_PASTED_BYTES as u64 + 1);
    timeout(TALK, bounded.read_to_end(&mut pasted)).await??;
    let explained = match str::from_utf8(&pasted) {
        Ok(pasted) => explainer.credential(pasted, None).await,
        Err(_) => Err("it is no text, and so no credential".to_owned()),
    };
    let explained = explained.map_or_else(answer::Answer::Problem, answer::Answer::Explanation);
    let bytes = serde_json::to_vec(&Answer { question_id: String::new(), answer: Some(explained) })?;
    timeout(TALK, answer.write_all(&bytes)).await??;
    answer.shutdown().await
}

/// Why the gateway could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(
        "no gateway runs on {}: start it, or name the folder of the one that runs by --state", state.display()
    )]
    NotRunning { state: PathBuf },
    #[error("{}: {error}; run this as the user that the gateway runs as", path.display())]
    NotAllowed { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Broken { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Refused(String),
}

/// Asks the gateway that runs on a state folder about a credential.
pub(crate) fn ask(state: &Path, pasted: &str) -> Result<attach_proto::v1::Explanation, AskError> {
    let path = state.join(NAME);
    let answered = converse(&path, pasted).map_err(|error| {
        let nobody_listens = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        if nobody_listens.contains(&error.kind()) {
            AskError::NotRunning { state: state.to_owned() }
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            AskError::NotAllowed { path: path.clone(), error }
        } else {
            AskError::Broken { path: path.clone(), error }
        }
    })?;
    match answered.answer {
        Some(answer::Answer::Explanation(explanation)) => Ok(explanation),
        Some(answer::Answer::Problem(problem)) => Err(AskError::Refused(problem)),
        Some(answer::Answer::Refusals(_)) | None => {
            Err(AskError::Refused("the gateway that runs is of another version than this command".to_owned()))
        }
    }
}

fn converse(path: &Path, pasted: &str) -> io::Result<Answer> {
    let mut stream = AskingStream::connect(path)?;
    stream.set_read_timeout(Some(ASK))?;
    stream.set_write_timeout(Some(TALK))?;
    stream.write_all(pasted.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
