//! Pebble, the ACME server of Let's Encrypt's own tests, with a DNS server that says 127.0.0.1 to everything.

use attach_tests::{eventually, free_port};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The scripts' own word for that.
const IMPOSSIBLE: i32 = 3;

/// One that is not up after this will not come: it takes a fraction of a second.
const START: Duration = Duration::from_secs(20);

/// What a pebble is to be. It is started later than whoever is told of it.
pub(crate) struct Plan {
    parts: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    management_port: u16,
}

/// Ended when it is dropped, and all that it knew is gone.
pub(crate) struct Pebble(Vec<Child>);

/// The folder with the programs, made if need be; `None` where they cannot be had, which has been said.
pub(crate) fn parts() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("acme").join("parts");
    let output = Command::new(script).stderr(Stdio::inherit()).output().expect("the script runs");
    if output.status.code() == Some(IMPOSSIBLE) {
        return None;
    }
    assert!(output.status.success(), "tests/acme/parts failed: {}", output.status);
    Some(String::from_utf8(output.stdout).expect("a path").trim().into())
}

impl Plan {
    pub(crate) fn new(parts: PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        make_certificates(folder.path());
        Self { parts, folder, port: free_port(), management_port: free_port() }
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// Who vouches for the server itself. What it issues has another root, new at each start.
    pub(crate) fn server_root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    pub(crate) fn management_port(&self) -> u16 {
        self.management_port
    }

    /// `http_port` and `tls_port`: where it looks whether a name is whose it is said to be. Certificates are for a minute.
    pub(crate) async fn start(&self, http_port: u16, tls_port: u16, bad_nonces_percent: u8) -> Pebble {
        let path = |name: &str| self.folder.path().join(name);
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management_port),
            "certificate": path("server.pem"),
            "privateKey": path("server.key"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "externalAccountBindingRequired": false,
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
            // Of several it would take one at random.
            "profiles": {"default": {"description": "a minute", "validityPeriod": 60}},
        }});
        std::fs::write(path("config.json"), config.to_string()).expect("our own folder");
        let dns = free_port().to_string();
        let log = |name: &str| File::create(path(name)).expect("our own folder");
        let start = |program: &str, arguments: &[&str], output: File| {
            Command::new(self.parts.join(program))
                .args(arguments)
                .env_clear()
                .env("PEBBLE_VA_NOSLEEP", "1")
                // Each name is to be shown at each order, the renewal's too.
                .env("PEBBLE_AUTHZREUSE", "0")
                .env("PEBBLE_WFE_NONCEREJECT", bad_nonces_percent.to_string())
                .stdin(Stdio::null())
                .stdout(output.try_clone().expect("a file"))
                .stderr(output)
                .spawn()
                .expect("it was built")
        };
        let dns_address = format!("127.0.0.1:{dns}");
        let management = format!("127.0.0.1:{}", free_port());
        let names = ["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", &dns_address];
        let others =
            ["-management", &management, "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""];
        let resolver = start("pebble-challtestsrv", &[&names[..], &others].concat(), log("dns.log"));
        let config = path("config.json").display().to_string();
        let pebble = start("pebble", &["-config", &config, "-dnsserver", &dns_address], log("pebble.log"));
        let started = Pebble(vec![resolver, pebble]);
        eventually("pebble listens", START, async || {
            std::net::TcpStream::connect(("127.0.0.1", self.management_port)).ok()
        })
        .await;
        started
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn make_certificates(folder: &Path) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("our own folder");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "root of the directory");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let root = root.expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    write("root.pem", &root.pem());
    write("server.pem", &server.signed_by(&key, &root).expect("a certificate").pem());
    write("server.key", &key.serialize_pem());
}
