//! A control plane that can't serve says why, where and what to do, and does not serve.

use attach_tests::{ControlPlane, free_port};
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_can_t_serve_from_its_database_says_what_to_do() {
    let Some(plane) = ControlPlane::start().await else { return };
    let refused = |url: &str, expected: &[&str]| {
        let (code, said) = plane.another(&[("DATABASE_URL", url)]);
        assert_eq!(code, Some(1), "{said}");
        let line = said.lines().find(|line| line.starts_with("attach-control-plane: DATABASE_URL: "));
        let line = line.unwrap_or_else(|| panic!("no word of DATABASE_URL: {said}"));
        for expected in expected {
            assert!(line.contains(expected), "no {expected:?} in {line}");
        }
        assert!(!said.contains("gateways join"), "it serves: {said}");
    };
    let database = &plane.database;
    let nowhere = format!("127.0.0.1:{}", free_port());
    let place = format!("cannot connect to {nowhere}");
    refused(&format!("postgres://login:secret-word@{nowhere}/name"), &[&place, "is Postgres running there"]);
    refused("localhost", &["is no address of a database, such as postgres://login@host/name"]);
    refused(
        &database.serving_url.replace(&database.serving_login, "nobody"),
        &["role \"nobody\" does not exist"],
    );
    refused(database.superuser_url(), &["is a superuser, whom no policy holds", "serve as another"]);
    refused(&database.owner_url, &["owns", "serve as another"]);

    let version = |change: &str| {
        let statement = format!("update _sqlx_migrations set version = version {change}");
        database.as_superuser(&statement).expect("the superuser may");
    };
    version("+ 100");
    refused(
        &database.serving_url,
        &["the schema is newer than this program", "use the program that wrote it"],
    );
    version("- 101");
    refused(&database.serving_url, &["the schema is older", "run `attach-control-plane migrate`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_with_another_seal_key_a_taken_port_or_no_address_says_so() {
    let Some(plane) = ControlPlane::start().await else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let other = folder.path().join("keys").display().to_string();
    let (code, said) = plane.another(&[("ATTACH_SEAL_KEY_FILE", &other)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--seal-key-file") && said.contains("is not there, and this database"), "{said}");
    assert!(!Path::new(&other).exists(), "none is made");
    std::fs::write(&other, format!("other:{}\n", "A".repeat(43) + "=")).expect("our own folder");
    let (code, said) = plane.another(&[("ATTACH_SEAL_KEY_FILE", &other)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&other) && said.contains("which the key file does not have"), "{said}");

    // A join line, or a link, that leads nowhere would be found out much later.
    let everywhere = "0.0.0.0:0";
    for (setting, value, flag, expected) in [
        ("ATTACH_GRPC_LISTEN", everywhere, "--grpc-url:", "say where others reach it"),
        ("ATTACH_LISTEN", everywhere, "--public-url:", "say where others reach it"),
        ("ATTACH_GRPC_URL", "control.example:8443", "--grpc-url:", "is no https://host:port"),
    ] {
        let (code, said) = plane.another(&[(setting, value)]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(flag) && said.contains(expected), "{setting}: {said}");
    }

    let taken = format!("127.0.0.1:{}", plane.port);
    for (setting, flag) in [("ATTACH_LISTEN", "--listen:"), ("ATTACH_GRPC_LISTEN", "--listen-agents:")] {
        let (code, said) = plane.another(&[(setting, &taken)]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(flag) && said.contains(&taken), "{setting}: {said}");
    }
}
