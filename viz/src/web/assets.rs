//! The files of the dashboard, which build.rs compresses and puts into the program.

/// A file of viz/web/dist.
pub(super) struct Asset {
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));
