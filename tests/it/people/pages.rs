//! A browser, as far as it is needed: it opens an address, and whither it is sent.

use attach_tests::{Answer, Client, person::Running};

/// Opens the address that is shown, and goes where the provider sends it: the status of that.
pub(super) async fn sign_in(running: &mut Running) -> u16 {
    let address = running.address().await;
    open(&address).await
}

pub(super) async fn open(address: &str) -> u16 {
    let back = sent_back(address).await;
    get(&back).await.status.as_u16()
}

/// Where the provider sends the browser.
pub(super) async fn sent_back(address: &str) -> String {
    let answer = get(address).await;
    answer.header("location").unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

pub(super) async fn get(url: &str) -> Answer {
    let (port, path) =
        url.strip_prefix("http://127.0.0.1:").expect("loopback").split_once('/').expect("a path");
    Client::new(port.parse().expect("a port")).get(&format!("/{path}")).await
}
