//! Compiles the protobuf files with a Rust compiler, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../proto");
    println!("cargo::rerun-if-changed=../../demo/proto");
    let files = protox::compile(["../proto/node.proto"], ["../proto"])?;
    tonic_prost_build::configure().codec_path("crate::codec::CompactCodec").compile_fds(files)?;

    let mut files = protox::compile(["../../demo/proto/emojivoto.proto"], ["../../demo/proto"])?;
    for file in &mut files.file {
        // Only its messages are generated: the demo serves and calls its hundred equal methods by one function.
        file.service.retain(|service| service.name() != "VotingService");
    }
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
