//! `attach-gateway check FILE`

use crate::{
    settings::{Host, complete},
    source::{SourceFault, check_somebody_could_call, read_bundle_file, validate},
    usage::printable,
};
use attach_proto::{FilledIn, Taken, v1};
use std::{
    io::{self, Write},
    path::Path,
};

/// Of the longest field that is filled in, `claims.organisation`.
const WIDTH: usize = 19;

/// Validates the file as the gateway would at its start, with a local quota store and the default engine where the file
/// names none; and says what each identity provider is taken for, and what was filled in.
pub(super) fn run(file: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let wire = read_bundle_file(file).map_err(SourceFault::from)?;
    let name = file.display().to_string();
    let wire = complete(wire, &Host::silent());
    let providers = wire.identity_providers.clone();
    let bundle = validate(wire, &name)?;
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
    for provider in &providers {
        tell(provider, &Taken::of(provider)?, out)?;
    }
    Ok(())
}

/// What is not written in the file, so that it need not be guessed.
fn tell(said: &v1::IdentityProvider, taken: &Taken, out: &mut dyn Write) -> io::Result<()> {
    let told = if taken.is_by_address { "by its address" } else { "as the file says" };
    let product = taken.product.unwrap_or("no known product");
    writeln!(out, "\nidentity provider {}, {}", said.id, printable(&said.issuer))?;
    writeln!(out, "  {:<WIDTH$}  {product}, {told}", "taken for")?;
    for FilledIn { field, value } in &taken.filled_in {
        writeln!(out, "  {field:<WIDTH$}  {}", printable(value))?;
    }
    Ok(())
}
