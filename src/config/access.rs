//! `allow_from` and `client_certificate` of a source: who may deliver besides whoever can sign.

use ipnet::IpNet;

use super::{finding::Problem, section::Section, server::Edge, tls::Authorities, tree::Item, units::FromItem};

/// Who may deliver to a source.
#[derive(Debug, Default)]
pub struct Access {
    /// Networks of clients; empty: all.
    pub allow_from: Vec<IpNet>,
    /// The certificate that a client must show.
    pub certificate: Option<ClientCertificate>,
}

/// Which client certificates a source takes: one of the names under one of the authorities, or one of
/// the fingerprints.
#[derive(Debug)]
pub struct ClientCertificate {
    /// Who issues them: the source's own, else those of `edge.client_ca`.
    pub authorities: Authorities,
    /// Names, one of which the certificate must have; empty: any of the source's own authorities.
    pub names: Vec<String>,
    /// SHA-256 digests of whole certificates, whoever issued them.
    pub fingerprints: Vec<Fingerprint>,
}

/// The SHA-256 digest of a certificate in DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Access {
    pub(super) fn read(section: &mut Section<'_>, edge: &Edge) -> Self {
        let allow_from: Option<Vec<IpNet>> = section.list("allow_from");
        if allow_from.as_ref().is_some_and(Vec::is_empty) {
            section.error("allow_from", "is empty: nobody could deliver", "name networks, or leave it out for all");
        }
        let certificate = section.table("client_certificate").map(|table| ClientCertificate::read(table, edge));
        // What a provider keeps is not known offline.
        let can_arrive = edge.tls.is_some() || edge.client_certificate_header.is_some() || section.ctx.offline;
        if certificate.is_some() && !can_arrive {
            section.error(
                "client_certificate",
                "is asked for, but none can arrive: TLS does not end here, and no proxy is believed about it",
                "set `edge.tls`, or `edge.client_certificate_header` in sluice.toml",
            );
        }
        Self { allow_from: allow_from.unwrap_or_default(), certificate }
    }
}

impl ClientCertificate {
    fn read(mut section: Section<'_>, edge: &Edge) -> Self {
        let has = ["ca", "names", "fingerprints"].map(|key| section.has(key));
        let own = Authorities::read(&mut section, "ca");
        let names: Option<Vec<String>> = section.list("names");
        let fingerprints: Option<Vec<Fingerprint>> = section.list("fingerprints");
        for (key, is_empty) in [
            ("names", names.as_ref().is_some_and(Vec::is_empty)),
            ("fingerprints", fingerprints.as_ref().is_some_and(Vec::is_empty)),
        ] {
            if is_empty {
                section.error(key, "is empty", "name one at least, or leave it out");
            }
        }
        match has {
            [false, true, _] if edge.client_ca.is_none() && !section.ctx.offline => section.error(
                "names",
                "are of no authority: anybody could issue a certificate with them",
                "name the authority here as `ca`, or for all sources as `edge.client_ca`",
            ),
            [true, false, true] => section.error(
                "ca",
                "has no effect beside fingerprints alone: they are taken whoever issued them",
                "add `names`, or leave it out",
            ),
            [false, false, false] => {
                let here = section.here();
                let problem = Problem::new("names no certificate", "add `names`, `fingerprints`, or a `ca` of its own");
                section.ctx.error(&here.place, &here.key, problem);
            }
            _ => {}
        }
        section.finish();
        let [has_own, has_names, _] = has;
        let shared = || edge.client_ca.clone().filter(|_| has_names && !has_own);
        Self {
            authorities: own.or_else(shared).unwrap_or_default(),
            names: names.unwrap_or_default(),
            fingerprints: fingerprints.unwrap_or_default(),
        }
    }
}

impl FromItem for Fingerprint {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        let text = String::from_item(item)?;
        let digits: String = text.trim_start_matches("sha256:").chars().filter(|c| *c != ':').collect();
        let mut digest = [0; 32];
        match hex::decode_to_slice(&digits, &mut digest) {
            Ok(()) => Ok(Self(digest)),
            Err(_) => Err(Problem::new(
                "is not a SHA-256 fingerprint",
                "write the 64 hexadecimal digits of `openssl x509 -noout -fingerprint -sha256`",
            )),
        }
    }
}
