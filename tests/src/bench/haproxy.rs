//! A pair of haproxy processes that does what weft does: mTLS from node to node.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A port of the client's loopback that is forwarded to a port of the server's.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// What the client dials; on the server's side, the port on which haproxy accepts TLS.
    pub entry: u16,
    pub application: u16,
}

/// The two processes; they are killed on drop.
pub struct Pair {
    sides: [Child; 2],
    folder: PathBuf,
}

impl Pair {
    /// Writes certificates and configurations to `folder` and starts both sides. `inside` makes a command that runs in
    /// the pod of "client" or "server".
    pub fn start(
        folder: &Path,
        threads: Option<u8>,
        server: Ipv4Addr,
        forwards: &[Forward],
        inside: impl Fn(&str) -> Result<Command>,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        certificates(folder)?;
        let client = client_config(folder, threads, server, forwards);
        let server = server_config(folder, threads, forwards);
        let start = |side: &str, config: String| -> Result<Child> {
            let file = folder.join(format!("{side}.cfg"));
            fs::write(&file, config)?;
            let log = fs::File::create(folder.join(format!("{side}.log")))?;
            let mut command = inside(side)?;
            command.arg("-db").arg("-f").arg(&file);
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            command.spawn().context("haproxy")
        };
        let sides = [start("server", server)?, start("client", client)?];
        Ok(Self { sides, folder: folder.to_owned() })
    }

    pub fn pids(&self) -> Vec<u32> {
        self.sides.iter().map(Child::id).collect()
    }

    pub fn log(&self) -> String {
        let log = |side| fs::read_to_string(self.folder.join(format!("{side}.log"))).unwrap_or_default();
        format!("haproxy logged:\n{}{}", log("server"), log("client"))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for side in &mut self.sides {
            let _ = side.kill();
            let _ = side.wait();
        }
    }
}

fn client_config(folder: &Path, threads: Option<u8>, server: Ipv4Addr, forwards: &[Forward]) -> String {
    let folder = folder.display();
    let mut config = head(threads);
    for Forward { entry, .. } in forwards {
        let _ = write!(
            config,
            "listen forward-{entry}\n    bind 127.0.0.1:{entry}\n    server far {server}:{entry} ssl verify required \
             ca-file {folder}/ca.pem crt {folder}/client.pem sni str(server) verifyhost server\n"
        );
    }
    config
}

fn server_config(folder: &Path, threads: Option<u8>, forwards: &[Forward]) -> String {
    let folder = folder.display();
    let mut config = head(threads);
    for Forward { entry, application } in forwards {
        let _ = write!(
            config,
            "listen forward-{entry}\n    bind 0.0.0.0:{entry} ssl crt {folder}/server.pem ca-file {folder}/ca.pem \
             verify required\n    server application 127.0.0.1:{application}\n"
        );
    }
    config
}

/// haproxy's defaults, where it has some.
fn head(threads: Option<u8>) -> String {
    let threads = threads.map(|threads| format!("    nbthread {threads}\n")).unwrap_or_default();
    format!(
        "global\n    maxconn 4000\n{threads}    ssl-default-bind-options ssl-min-ver TLSv1.3\n    \
         ssl-default-server-options ssl-min-ver TLSv1.3\ndefaults\n    mode tcp\n    timeout connect 10s\n    \
         timeout client 1h\n    timeout server 1h\n"
    )
}

/// `ca.pem`, and `client.pem` and `server.pem` with their keys: P-256, as weft's.
fn certificates(folder: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // OpenSSL takes a certificate for self-signed if its subject equals its issuer: the names must differ.
    params.distinguished_name.push(DnType::CommonName, "bench CA");
    fs::write(folder.join("ca.pem"), params.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(params, key);
    for name in ["client", "server"] {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &issuer)?;
        fs::write(folder.join(format!("{name}.pem")), certificate.pem() + &key.serialize_pem())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARDS: [Forward; 1] = [Forward { entry: 7110, application: 7000 }];

    #[test]
    fn both_sides_require_certificates_and_tls_1_3() {
        let client = client_config(Path::new("/x"), Some(1), Ipv4Addr::new(10, 0, 0, 2), &FORWARDS);
        let server = server_config(Path::new("/x"), None, &FORWARDS);
        for config in [&client, &server] {
            assert!(config.contains("verify required"));
            assert!(config.contains("ssl-min-ver TLSv1.3"));
        }
        assert!(client.contains("bind 127.0.0.1:7110\n") && client.contains("server far 10.0.0.2:7110 ssl"));
        assert!(server.contains("server application 127.0.0.1:7000"));
        assert!(client.contains("nbthread 1\n") && !server.contains("nbthread"));
    }
}
