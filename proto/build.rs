//! Compiles the schemas with protox, so that no `protoc` is needed, and generates the types and the descriptor set from them.

use std::{env, error::Error, fs, path::PathBuf};

const SCHEMAS: &[&str] = &[
    "signalbox/admin/v1/admin_token.proto",
    "signalbox/admin/v1/audit.proto",
    "signalbox/admin/v1/client_key.proto",
    "signalbox/admin/v1/config.proto",
    "signalbox/admin/v1/credential.proto",
    "signalbox/admin/v1/provider.proto",
    "signalbox/admin/v1/redirect.proto",
    "signalbox/admin/v1/replica.proto",
    "signalbox/admin/v1/revision.proto",
    "signalbox/admin/v1/route.proto",
    "signalbox/admin/v1/settings.proto",
    "signalbox/config/v1/config.proto",
    "signalbox/sync/v1/sync.proto",
];

/// Messages that hold a secret: their `Debug` is written by hand in `src/redact.rs`.
const SECRETS: &[&str] = &[
    "signalbox.admin.v1.AdminToken",
    "signalbox.admin.v1.ClientKey",
    "signalbox.admin.v1.Credential",
    "signalbox.config.v1.Credential",
    "signalbox.config.v1.ForwardProxy",
    "signalbox.config.v1.HeaderValue",
    // Its body may be one of the above.
    "signalbox.sync.v1.Resource",
    "signalbox.sync.v1.UpdateChunk",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=signalbox");
    println!("cargo::rerun-if-changed=google");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(SCHEMAS)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Encoded by the compiler itself: prost's own descriptor types would drop `field_behavior`, `http` and `debug_redact`.
    fs::write(out.join("signalbox.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".")
        // Ordered maps encode the same content to the same bytes, which digests rely on.
        .btree_map(".")
        .skip_debug(SECRETS)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
