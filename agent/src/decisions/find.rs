//! The search of `attach-gateway explain`.

use super::{
    MAX_BUFFERED_BYTES,
    sink::{CURRENT, PREVIOUS, ROTATE_AT_BYTES},
};
use serde_json::{Map, Value};
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// A file is put away before a sweep, so it may be one sweep longer.
const MAX_FILE_BYTES: u64 = ROTATE_AT_BYTES + 2 * MAX_BUFFERED_BYTES as u64;

/// Most answers: a caller may give one request id to all its requests, and asks about the last ones.
const MAX_FOUND: usize = 100;

/// The decisions about requests with this id, newest first. None when there was no such refusal, or too long ago.
///
/// # Errors
///
/// A file that is there and cannot be read; the error names it.
pub(crate) fn find(state: &Path, request_id: &str) -> io::Result<Vec<Map<String, Value>>> {
    let mut found = Vec::new();
    for name in [CURRENT, PREVIOUS] {
        let path = state.join("decisions").join(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
        let lines = bytes.rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        // A line that is not JSON was cut by a crash, and says nothing that could be trusted.
        let decisions = lines.filter_map(|line| serde_json::from_slice::<Map<String, Value>>(line).ok());
        let of_request = |decision: &Map<String, Value>| {
            decision.get("request_id").and_then(Value::as_str) == Some(request_id)
        };
        found.extend(decisions.filter(of_request).take(MAX_FOUND - found.len()));
        if found.len() == MAX_FOUND {
            break;
        }
    }
    Ok(found)
}
