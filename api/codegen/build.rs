//! Compiles the node API with a Rust protobuf compiler, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../proto");
    let files = protox::compile(["../proto/node.proto"], ["../proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
