//! The tap API on a dev VM: the same routes on loopback, for whoever can read a token.

use std::{fs, io, io::Write, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    access::{Access, Secret},
    connections::{Security, serve},
    routes::{Api, router},
};
use crate::taps::Taps;

/// Makes a token and writes it to `path`, which only its owner can read.
///
/// # Errors
/// The file cannot be written.
pub fn make_token(path: &Path) -> io::Result<String> {
    let token: String = (0..32).map(|_| format!("{:02x}", rand::random::<u8>())).collect();
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(token.as_bytes())?;
    fs::rename(&draft, path)?;
    Ok(token)
}

/// The routes, for requests with `token`.
pub fn local_router(token: String, taps: Arc<dyn Taps>) -> Router {
    let missing = Arc::new(|| None);
    router(Api { access: Access::Token(Arc::new(Secret(token))), taps, missing })
}

/// Serves `router` until `stop`. For loopback only: there is no TLS.
pub async fn serve_local(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve(listener, Security::Plain, router, stop).await;
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_written_for_its_owner_only_and_is_new_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tap-token");
        let first = make_token(&path).unwrap();
        let second = make_token(&path).unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::read_to_string(&path).unwrap(), second);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(second.len(), 64);
    }
}
