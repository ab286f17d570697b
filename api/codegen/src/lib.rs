//! Checks that generated code is that of its protobuf file. With WEFT_GENERATE=1 it writes the code.
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    #[test]
    fn the_code_of_the_node_api_is_current() {
        let generated = include_str!(concat!(env!("OUT_DIR"), "/weft.node.v1.rs"));
        check(generated, "../src/generated/weft.node.v1.rs", "api/proto/node.proto");
    }

    #[test]
    fn the_code_of_the_demo_is_current() {
        let generated = include_str!(concat!(env!("OUT_DIR"), "/emojivoto.v1.rs"));
        check(generated, "../../demo/src/generated/emojivoto.v1.rs", "demo/proto/emojivoto.proto");
    }

    fn check(generated: &str, kept: &str, source: &str) {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(kept);
        if env::var_os("WEFT_GENERATE").is_some() {
            fs::write(&kept, generated).expect("written");
        }
        let is_current = fs::read_to_string(&kept).is_ok_and(|text| text == generated);
        assert!(is_current, "not the code of {source}: run WEFT_GENERATE=1 cargo test -p weft-api-codegen");
    }
}
