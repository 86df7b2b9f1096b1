//! Generates the wire types and their proto-JSON forms. protox compiles the `.proto` files, so no protoc is needed.

use prost::Message as _;
use std::{env, error::Error, path::PathBuf};

const FILES: [&str; 3] = ["gateway/v1/bundle.proto", "gateway/v1/config.proto", "gateway/v1/usage.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);

    prost_build::Config::new()
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
