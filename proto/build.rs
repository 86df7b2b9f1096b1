//! Generates the wire types, their proto-JSON forms and the services. protox compiles the `.proto` files, so no protoc is
//! needed.

use prost::Message as _;
use std::{env, error::Error, path::PathBuf};

const FILES: [&str; 5] = [
    "gateway/v1/bundle.proto",
    "gateway/v1/config.proto",
    "gateway/v1/enrolment.proto",
    "gateway/v1/explain.proto",
    "gateway/v1/usage.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);

    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        // Both planes make their own connections.
        .build_transport(false)
        .bytes(".attach.gateway.v1.Resource.body")
        .bytes(".attach.gateway.v1.UsageBatch.events")
        .extern_path(".google.protobuf.Duration", "::pbjson_types::Duration")
        .extern_path(".google.protobuf.Timestamp", "::pbjson_types::Timestamp")
        .compile_fds(descriptors.clone())?;

    pbjson_build::Builder::new()
        .register_descriptors(&descriptors.encode_to_vec())?
        .out_dir(out)
        .preserve_proto_field_names()
        .build(&[".attach.gateway.v1"])?;
    Ok(())
}
