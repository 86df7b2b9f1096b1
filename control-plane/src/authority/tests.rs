use super::*;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    pki_types::{ServerName, UnixTime},
    server::WebPkiClientVerifier,
};
use std::sync::Arc;

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn at(hours: i64) -> UnixTime {
    let moment = now() + SignedDuration::from_hours(hours);
    UnixTime::since_unix_epoch(Duration::from_secs(moment.as_second().unsigned_abs()))
}

fn agent() -> AgentName {
    AgentName { pool: "main".parse().unwrap(), agent: "agent-1".parse().unwrap() }
}

/// A request that asks for more than it gets.
fn request() -> Vec<u8> {
    let mut params = CertificateParams::new(["attach-control-plane".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    Arc::new(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[test]
fn an_agent_gets_a_days_certificate_in_its_own_name_whatever_it_asks_for() {
    let (authority, key) = Authority::make(now()).unwrap();
    let restored = Authority::restore(authority.certificate().to_vec(), &key, authority.not_after()).unwrap();
    let issued = restored.for_agent(&request(), &agent(), now()).unwrap();
    let certificate = CertificateDer::from(issued.der);
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    let san = parsed.subject_alternative_name().unwrap().unwrap();
    assert_eq!(format!("{:?}", san.value.general_names), r#"[URI("attach://pool/main/agent/agent-1")]"#);
    assert!(!parsed.is_ca());

    let clients = WebPkiClientVerifier::builder_with_provider(roots(&authority), provider()).build().unwrap();
    clients.verify_client_cert(&certificate, &[], at(23)).unwrap();
    assert!(clients.verify_client_cert(&certificate, &[], at(25)).is_err(), "it has ended");
    let servers = WebPkiServerVerifier::builder_with_provider(roots(&authority), provider()).build().unwrap();
    let name = ServerName::try_from(CONTROL_PLANE_NAME).unwrap();
    let as_server = servers.verify_server_cert(&certificate, &[], &name, &[], at(1));
    assert!(as_server.is_err(), "an agent can't stand in for the control plane");

    let (other, _) = Authority::make(now()).unwrap();
    let elsewhere = WebPkiClientVerifier::builder_with_provider(roots(&other), provider()).build().unwrap();
    assert!(elsewhere.verify_client_cert(&certificate, &[], at(1)).is_err());
}

#[test]
fn the_control_planes_own_certificate_is_good_towards_agents_alone() {
    let (authority, _) = Authority::make(now()).unwrap();
    let (chain, _) = authority.for_control_plane(now()).unwrap();
    assert_eq!(chain.last(), Some(authority.certificate()));
    let servers = WebPkiServerVerifier::builder_with_provider(roots(&authority), provider()).build().unwrap();
    let name = ServerName::try_from(CONTROL_PLANE_NAME).unwrap();
    servers.verify_server_cert(&chain[0], &chain[1..], &name, &[], at(1)).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(roots(&authority), provider()).build().unwrap();
    assert!(clients.verify_client_cert(&chain[0], &[], at(1)).is_err());
}

#[test]
fn what_is_no_certificate_request_is_refused() {
    let (authority, _) = Authority::make(now()).unwrap();
    let mut broken = request();
    if let Some(last) = broken.last_mut() {
        *last ^= 1;
    }
    for request in [&[][..], b"-----BEGIN", &broken] {
        let refused = authority.for_agent(request, &agent(), now());
        assert!(matches!(refused, Err(IssueError::Request)), "{refused:?}");
    }
}
