//! An nginx in front of a gateway, with its defaults: what an operator has who wrote `proxy_pass` and nothing else.

use crate::free_port;
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Ends when it is dropped.
pub struct Nginx {
    pub port: u16,
    child: Child,
    folder: tempfile::TempDir,
}

impl Nginx {
    /// `None`, said loudly, when this machine has none.
    pub fn start(gateway: u16) -> Option<Self> {
        Self::with(gateway, "", "")
    }

    /// Ends the callers' TLS, with a certificate and its key in PEM. `more` is what its operator wrote beside `proxy_pass`.
    pub fn start_https(gateway: u16, [certificate, key]: [&Path; 2], more: &str) -> Option<Self> {
        let (certificate, key) = (certificate.display(), key.display());
        Self::with(
            gateway,
            " ssl",
            &format!("ssl_certificate {certificate}; ssl_certificate_key {key}; {more}"),
        )
    }

    fn with(gateway: u16, listen: &str, more: &str) -> Option<Self> {
        let places = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
        let Some(program) = places.into_iter().find(|path| Path::new(path).exists()) else {
            assert!(!crate::needs_servers(), "nginx is not installed");
            eprintln!("SKIPPED: nginx is not installed; ./tests/run installs it");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        // Only where it may write is said, and where it listens.
        let configuration = format!(
            "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/nginx.log;
events {{}}
http {{
  access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
  server {{ listen 127.0.0.1:{port}{listen}; {more} location / {{ proxy_pass http://127.0.0.1:{gateway}; }} }}
}}\n",
            folder.path().display()
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).expect("our own folder");
        let mut command = Command::new(program);
        command.arg("-c").arg(file).arg("-p").arg(folder.path()).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let nginx = Self { port, child, folder };
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(nginx);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not listen: {}", nginx.log());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("nginx.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
