//! An authority of this gateway's own, for where no public one can vouch for its name.

use super::pair::{Pair, PairFault};
use crate::{validity::Validity, whole_file};
use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// Longer than any host is expected to run without being set up again: each caller has to be told of another one.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// Well below what the strictest clients take (825 days, Apple's since 2019), and renewed by itself.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Clocks of callers may be behind by this much.
const BACKDATED: SignedDuration = SignedDuration::from_mins(10);

/// A key and a certificate of P-256 are about a kilobyte.
const MAX_FILE_BYTES: u64 = 64 << 10;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// Where the authority is kept, and whom it vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelfSigned {
    /// In the state folder.
    pub(super) folder: PathBuf,
    /// Host names and addresses.
    pub(super) names: Vec<String>,
}

/// A certificate, and whether callers have to learn of another authority for it.
pub(super) struct Issued {
    pub(super) pair: Pair,
    pub(super) new_authority: Option<Made>,
}

/// An authority that nobody trusts yet.
pub(super) struct Made {
    /// The certificate, without the key.
    pub(super) file: PathBuf,
    /// Of the certificate, in the form in which trust stores show it.
    pub(super) fingerprint: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityFault {
    #[error("{}: {cause}", .path.display())]
    Disk { path: PathBuf, cause: io::Error },
    #[error(
        "{}: is no authority ({problem}); move it away, and a new one is made that callers have to be told of",
        .path.display()
    )]
    Damaged { path: PathBuf, problem: String },
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the certificate that was made {0}")]
    Pair(#[from] PairFault),
}

struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    validity: Validity,
}

impl SelfSigned {
    /// A certificate with a key of its own, which never touches the disk. Makes the authority where there is none, or
    /// where it would end before what it signs. Blocks: it is for a start, or a thread of its own.
    pub(super) fn issue(&self, now: Timestamp) -> Result<Issued, AuthorityFault> {
        let disk = |cause| AuthorityFault::Disk { path: self.folder.clone(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(disk)?;
        // Two gateways that begin in one folder at once must not make two authorities. Let go at the end.
        let lock = File::create(self.folder.join("lock")).map_err(disk)?;
        lock.lock().map_err(disk)?;
        let kept = self.load()?.filter(|authority| authority.validity.not_after >= now + LEAF_LIFE);
        let (authority, is_new) = match kept {
            Some(authority) => (authority, false),
            None => (self.make(now)?, true),
        };
        let file = self.folder.join("ca.crt");
        // Also for one from before: somebody may have moved it where callers are.
        if !whole_file::read(&file, MAX_FILE_BYTES)
            .is_ok_and(|there| there == Some(authority.pem.clone().into()))
        {
            write(&file, authority.pem.as_bytes())?;
        }
        let pair = authority.sign(&self.names, now)?;
        let made = Made { fingerprint: fingerprint(&authority.certificate), file };
        Ok(Issued { pair, new_authority: is_new.then_some(made) })
    }

    fn file(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    fn load(&self) -> Result<Option<Authority>, AuthorityFault> {
        let path = self.file();
        let bytes = whole_file::read(&path, MAX_FILE_BYTES)
            .map_err(|cause| AuthorityFault::Disk { path: path.clone(), cause })?;
        let Some(bytes) = bytes else { return Ok(None) };
        // The text of the file stays out of the message: it has the key.
        let damaged = |problem: String| AuthorityFault::Damaged { path: path.clone(), problem };
        let pair = Pair::from_pem(&bytes).map_err(|fault| damaged(fault.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| damaged("is no text".to_owned()))?;
        let key = KeyPair::from_pem(&text).map_err(|error| damaged(error.to_string()))?;
        let certificate = pair.certified.cert.first().cloned();
        let certificate = certificate.ok_or_else(|| damaged("has no certificate".to_owned()))?;
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(|error| damaged(error.to_string()))?;
        // The certificate stands behind the key.
        let pem = text.find(CERTIFICATE).and_then(|at| text.get(at..)).unwrap_or_default().to_owned();
        Ok(Some(Authority { certificate, pem, issuer, validity: pair.validity }))
    }

    fn make(&self, now: Timestamp) -> Result<Authority, AuthorityFault> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let host = self.names.first().map_or("this host", String::as_str);
        params.distinguished_name = name(&format!("Attach Gateway on {host}"));
        // It signs for this gateway, and for no other authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let validity = period(&mut params, now, AUTHORITY_LIFE);
        let certificate = params.self_signed(&key)?;
        // One file, so that there is never a certificate without its key.
        let text = format!("{}{}", key.serialize_pem(), certificate.pem());
        write(&self.file(), text.as_bytes())?;
        Ok(Authority {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            validity,
        })
    }
}

impl Authority {
    fn sign(&self, names: &[String], now: Timestamp) -> Result<Pair, AuthorityFault> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name("Attach Gateway");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        period(&mut params, now, LEAF_LIFE);
        let leaf = params.signed_by(&key, &self.issuer)?.der().clone();
        Ok(Pair::new(vec![leaf], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), AuthorityFault> {
    whole_file::replace(path, bytes).map_err(|cause| AuthorityFault::Disk { path: path.to_owned(), cause })
}

fn name(common_name: &str) -> DistinguishedName {
    /// X.520's upper bound of a common name; a host's name may be longer.
    const LONGEST: usize = 64;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name.chars().take(LONGEST).collect::<String>());
    name
}

fn period(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) -> Validity {
    let validity = Validity { not_before: now - BACKDATED, not_after: now + life };
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = |at: Timestamp| Duration::from_secs(at.as_second().unsigned_abs());
    params.not_before = epoch + since_epoch(validity.not_before);
    params.not_after = epoch + since_epoch(validity.not_after);
    validity
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hash = digest(&SHA256, certificate);
    hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        pki_types::{ServerName, UnixTime, pem::PemObject as _},
    };
    use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

    fn moment() -> Timestamp {
        "2026-11-22T00:00:00Z".parse().unwrap()
    }

    fn self_signed(folder: &Path) -> SelfSigned {
        let names = ["gpu-7", "gpu.example", "localhost", "127.0.0.1", "::1"].map(str::to_owned);
        SelfSigned { folder: folder.join("tls"), names: names.to_vec() }
    }

    fn verify(authority: &Path, pair: &Pair, name: &str, at: Timestamp) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().unsigned_abs()));
        let name = ServerName::try_from(name).unwrap();
        let verified = verifier.verify_server_cert(&pair.certified.cert[0], &[], &name, &[], at);
        verified.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn whoever_trusts_the_authority_knows_the_gateway_by_each_of_its_names_and_by_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let own = self_signed(folder.path());
        let issued = own.issue(moment()).unwrap();
        let authority = issued.new_authority.unwrap().file;
        for name in &own.names {
            verify(&authority, &issued.pair, name, moment()).unwrap();
        }
        assert!(verify(&authority, &issued.pair, "login.example.com", moment()).is_err());
        let late = moment() + LEAF_LIFE + SignedDuration::from_secs(1);
        assert!(verify(&authority, &issued.pair, "localhost", late).is_err());
    }

    #[test]
    fn the_authority_is_made_once_kept_private_and_replaced_before_it_ends_too_early() {
        let folder = tempfile::tempdir().unwrap();
        let own = self_signed(folder.path());
        let first = own.issue(moment()).unwrap().new_authority.unwrap();
        let later = moment() + SignedDuration::from_hours(9 * 365 * 24);
        let again = own.issue(later).unwrap();
        assert!(again.new_authority.is_none());
        verify(&first.file, &again.pair, "localhost", later).unwrap();
        for name in ["authority.pem", "ca.crt"] {
            let mode = std::fs::metadata(own.folder.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(!std::fs::read_to_string(&first.file).unwrap().contains("PRIVATE"));
        let near_its_end = moment() + AUTHORITY_LIFE - SignedDuration::from_hours(24);
        let second = own.issue(near_its_end).unwrap();
        let made = second.new_authority.unwrap();
        assert_ne!(made.fingerprint, first.fingerprint);
        verify(&made.file, &second.pair, "localhost", near_its_end).unwrap();
    }

    #[test]
    fn two_gateways_that_begin_at_once_have_one_authority() {
        let folder = tempfile::tempdir().unwrap();
        let own = self_signed(folder.path());
        let issued: Vec<_> = std::thread::scope(|scope| {
            let begin = |_| scope.spawn(|| own.issue(moment()).unwrap());
            let both: Vec<_> = (0..4).map(begin).collect();
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(issued.iter().filter(|one| one.new_authority.is_some()).count(), 1);
        for one in &issued {
            verify(&own.folder.join("ca.crt"), &one.pair, "localhost", moment()).unwrap();
        }
    }

    #[test]
    fn a_damaged_authority_is_named_without_its_key_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let own = self_signed(folder.path());
        own.issue(moment()).unwrap();
        let kept = std::fs::read_to_string(own.file()).unwrap();
        let half = &kept[..kept.len() - 200];
        std::fs::write(own.file(), half).unwrap();
        let error = own.issue(moment()).err().unwrap().to_string();
        assert!(error.contains("authority.pem") && error.contains("move it away"), "{error}");
        assert!(!error.contains("PRIVATE") && !error.contains(&half[40..80]), "{error}");
        assert_eq!(std::fs::read_to_string(own.file()).unwrap(), half);
    }
}
