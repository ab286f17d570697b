//! Reads certificates from files, to show when they expire.

use std::{fs, io, path::Path};

use weft_api::viz::CertificateInfo;
use x509_parser::pem::Pem;

const MAX_FILE: u64 = 1024 * 1024;

/// The certificates of a PEM file. Other blocks, such as keys, are not looked at.
pub(crate) fn read(path: &Path) -> io::Result<Vec<CertificateInfo>> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::Error::other("the file is too large for certificates"));
    }
    let text = fs::read(path)?;
    let blocks =
        Pem::iter_from_buffer(&text).filter_map(Result::ok).filter(|block| block.label == "CERTIFICATE");
    let info = |block: Pem| {
        let certificate = block.parse_x509().map_err(|error| io::Error::other(error.to_string()))?;
        Ok(CertificateInfo {
            subject: certificate.subject().to_string(),
            not_before: certificate.validity().not_before.timestamp() as f64,
            expires_at: certificate.validity().not_after.timestamp() as f64,
        })
    };
    blocks.map(info).collect()
}
