//! Writes a certificate as `openssl x509 -text` does, and Linkerd.

use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    oid_registry::{Oid, asn1_rs::oid},
    public_key::PublicKey,
    time::ASN1Time,
};

use super::Certificate;

/// The text of a certificate.
pub(crate) fn text(certificate: &Certificate) -> String {
    certificate.with(describe)
}

fn describe(parsed: &X509Certificate<'_>) -> String {
    let signature = algorithm(&parsed.signature_algorithm.algorithm);
    let mut out = String::from("Certificate:\n    Data:\n");
    let version = parsed.version().0;
    out += &format!("        Version: {} (0x{version:x})\n", version + 1);
    out += &format!("        Serial Number: {}\n", parsed.raw_serial_as_string());
    out += &format!("    Signature Algorithm: {signature}\n");
    out += &format!("        Issuer: {}\n", parsed.issuer());
    out += "        Validity\n";
    out += &format!("            Not Before: {}\n", time(&parsed.validity().not_before));
    out += &format!("            Not After : {}\n", time(&parsed.validity().not_after));
    out += &format!("        Subject: {}\n", parsed.subject());
    out += "        Subject Public Key Info:\n";
    out += &public_key(parsed);
    if parsed.extensions().iter().any(|extension| values(extension).is_some()) {
        out += "        X509v3 extensions:\n";
    }
    for extension in parsed.extensions() {
        if let Some((name, value)) = values(extension) {
            let critical = if extension.critical { " critical" } else { "" };
            out += &format!("            X509v3 {name}:{critical}\n                {value}\n");
        }
    }
    out += &format!("    Signature Algorithm: {signature}\n");
    out += &hex(&parsed.signature_value.data, "         ");
    out
}

fn public_key(parsed: &X509Certificate<'_>) -> String {
    let key = parsed.public_key();
    let kind = algorithm(&key.algorithm.algorithm);
    let mut out = format!("            Public Key Algorithm: {kind}\n");
    match key.parsed() {
        Ok(PublicKey::EC(point)) => {
            out += &format!("                Public-Key: ({} bit)\n                pub:\n", point.key_size());
            out += &hex(point.data(), "                    ");
            let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            if let Some(curve) = curve {
                out += &format!("                Curve: {}\n", algorithm(&curve));
            }
        }
        Ok(PublicKey::RSA(rsa)) => {
            out +=
                &format!("                Public-Key: ({} bit)\n                Modulus:\n", rsa.key_size());
            out += &hex(rsa.modulus, "                    ");
        }
        _ => out += &hex(&key.subject_public_key.data, "                    "),
    }
    out
}

/// The name and the value of an extension that people read.
fn values(extension: &X509Extension<'_>) -> Option<(&'static str, String)> {
    match extension.parsed_extension() {
        ParsedExtension::KeyUsage(usage) => Some(("Key Usage", usage.to_string())),
        ParsedExtension::ExtendedKeyUsage(usage) => {
            let known = [
                (usage.server_auth, "TLS Web Server Authentication"),
                (usage.client_auth, "TLS Web Client Authentication"),
                (usage.any, "Any Extended Key Usage"),
            ];
            let named = known.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).to_owned());
            let all: Vec<_> = named.chain(usage.other.iter().map(Oid::to_id_string)).collect();
            Some(("Extended Key Usage", all.join(", ")))
        }
        ParsedExtension::BasicConstraints(constraints) => {
            let length = constraints.path_len_constraint.map(|length| format!(", pathlen:{length}"));
            let ca = if constraints.ca { "TRUE" } else { "FALSE" };
            Some(("Basic Constraints", format!("CA:{ca}{}", length.unwrap_or_default())))
        }
        ParsedExtension::AuthorityKeyIdentifier(authority) => {
            let id = authority.key_identifier.as_ref()?;
            Some(("Authority Key Identifier", format!("keyid:{}", line(id.0).to_uppercase())))
        }
        ParsedExtension::SubjectKeyIdentifier(id) => {
            Some(("Subject Key Identifier", line(id.0).to_uppercase()))
        }
        ParsedExtension::SubjectAlternativeName(names) => {
            let names = names.general_names.iter().map(|name| match name {
                GeneralName::DNSName(name) => format!("DNS:{name}"),
                GeneralName::URI(name) => format!("URI:{name}"),
                other => other.to_string(),
            });
            Some(("Subject Alternative Name", names.collect::<Vec<_>>().join(", ")))
        }
        _ => None,
    }
}

const NAMES: &[(Oid<'static>, &str)] = &[
    (oid!(1.2.840.10045.4.3.2), "ECDSA-SHA256"),
    (oid!(1.2.840.10045.4.3.3), "ECDSA-SHA384"),
    (oid!(1.2.840.113549.1.1.11), "SHA256-RSA"),
    (oid!(1.2.840.113549.1.1.12), "SHA384-RSA"),
    (oid!(1.2.840.10045.2.1), "ECDSA"),
    (oid!(1.2.840.113549.1.1.1), "RSA"),
    (oid!(1.3.101.112), "Ed25519"),
    (oid!(1.2.840.10045.3.1.7), "P-256"),
    (oid!(1.3.132.0.34), "P-384"),
];

/// The name that Go, and so Linkerd, has for an algorithm; or its number.
fn algorithm(oid: &Oid<'_>) -> String {
    let known = NAMES.iter().find(|(known, _)| known == oid);
    known.map_or_else(|| oid.to_id_string(), |(_, name)| (*name).to_owned())
}

fn time(time: &ASN1Time) -> String {
    let time = time.to_datetime();
    let month: String = time.month().to_string().chars().take(3).collect();
    let (hour, minute, second) = time.to_hms();
    format!("{month} {:>2} {hour:02}:{minute:02}:{second:02} {} UTC", time.day(), time.year())
}

fn line(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Lines of 16 bytes.
fn hex(bytes: &[u8], indent: &str) -> String {
    let lines: Vec<_> = bytes.chunks(16).map(|chunk| format!("{indent}{}", line(chunk))).collect();
    format!("{}\n", lines.join(":\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{create, read};

    #[test]
    fn a_certificate_is_written_like_openssl_does() {
        let authority = create("weft", "cluster.local").unwrap();
        let issuer = text(&read(&authority.issuer).unwrap()[0]);
        for part in [
            "Certificate:\n    Data:\n        Version: 3 (0x2)\n        Serial Number: ",
            "    Signature Algorithm: ECDSA-SHA256\n        Issuer: CN=root.weft.cluster.local\n",
            "        Subject: CN=identity.weft.cluster.local\n",
            "            Public Key Algorithm: ECDSA\n                Public-Key: (256 bit)\n",
            "                Curve: P-256\n",
            "            X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0\n",
        ] {
            assert!(issuer.contains(part), "{part:?} is missing in\n{issuer}");
        }
        assert!(issuer.lines().all(|line| line.len() < 100), "{issuer}");
    }
}
