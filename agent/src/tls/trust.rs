//! How callers learn to trust an authority that was just made.

use super::authority::Made;
use std::io::{self, Write as _};

/// Says it where the operator looks at a first start. Standard output is the access log's.
pub(super) fn explain(made: &Made) {
    let Made { file, fingerprint } = made;
    let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let file = file.display();
    // Nothing else can be done when standard error is closed.
    let _ = writeln!(
        io::stderr(),
        "An authority for certificates was made for this gateway. Callers have to trust it, once:
  {file}
  SHA-256 {fingerprint}
Copy that file to where they are (it is no secret; what lies beside it is), and then
  Debian, Ubuntu  sudo cp ca.crt /usr/local/share/ca-certificates/attach-gateway.crt && sudo update-ca-certificates
  macOS           sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ca.crt
or for one program
  curl            curl --cacert ca.crt https://…
  Python          SSL_CERT_FILE=ca.crt (the clients of OpenAI, Ollama and Anthropic; it replaces their list)
  Node.js         NODE_EXTRA_CA_CERTS=ca.crt"
    );
}
