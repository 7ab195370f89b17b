//! Generates the gRPC code and the descriptor set for reflection.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["media.proto", "media_node.proto", "registry.proto", "conference.proto", "domains.proto"];
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        .file_descriptor_set_path(out.join("motet.bin"))
        // Its Debug, in lib.rs, shows stars.
        .skip_debug(["motet.conference.v1.Secret"])
        .compile_protos(&files, &["proto"])?;
    for file in files {
        println!("cargo:rerun-if-changed=proto/{file}");
    }
    Ok(())
}
