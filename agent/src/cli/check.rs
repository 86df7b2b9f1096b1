//! `attach-gateway check FILE`

use crate::{
    settings::{Host, complete},
    source::{SourceFault, check_somebody_could_call, read_bundle_file, validate},
};
use std::{io::Write, path::Path};

/// Validates the file as the gateway would at its start, with a local quota store and the default engine where the file names none.
pub(super) fn run(file: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let wire = read_bundle_file(file).map_err(SourceFault::from)?;
    let name = file.display().to_string();
    let bundle = validate(complete(wire, &Host::silent()), &name)?;
    check_somebody_could_call(&bundle, &name)?;
    writeln!(
        out,
        "{}: good. {} tenants, {} identity providers, {} keys, {} models, {} limits, {} access rules, {} upstreams",
        file.display(),
        bundle.tenants.len(),
        bundle.identity_providers.len(),
        bundle.keys.len(),
        bundle.models.len(),
        bundle.limits.len(),
        bundle.access_rules.len(),
        bundle.upstreams.len(),
    )?;
    Ok(())
}
