//! K7: messages that wallets have signed (EIP-4361).

use super::{
    did_tokens::{policy, world},
    mint::b64,
    *,
};
use crate::identify::did::account::{address_of, checksummed};
use attach_proto::did::{Account, Did, DidPolicy};
use k256::ecdsa::SigningKey;
use sha3::{Digest as _, Keccak256};

/// An account with its key, as a wallet holds it.
struct Wallet {
    key: SigningKey,
    address: [u8; 20],
}

impl Wallet {
    fn new(number: u8) -> Self {
        let key = SigningKey::from_slice(&[number; 32]).unwrap();
        let address = address_of(key.verifying_key()).unwrap();
        Self { key, address }
    }

    fn did(&self) -> Did {
        Did::of_account(Account { chain: 1, address: self.address })
    }

    fn message(&self) -> String {
        format!(
            "app.test wants you to sign in with your Ethereum account:\n{}\n\nUse the models of Acme.\n\n\
             URI: {AUDIENCE}\nVersion: 1\nChain ID: 1\nNonce: 32891756abcd\nIssued At: 2027-01-15T08:00:00Z\n\
             Expiration Time: 2027-01-15T08:10:00.000Z",
            checksummed(self.address)
        )
    }

    /// r, s and v, as `personal_sign` gives them.
    fn sign(&self, message: &str) -> [u8; 65] {
        let mut hash = Keccak256::new();
        hash.update(format!("\x19Ethereum Signed Message:\n{}{message}", message.len()));
        let (signature, recovery) = self.key.sign_prehash_recoverable(&hash.finalize());
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = 27 + recovery.to_byte();
        bytes
    }

    fn credential(&self, message: &str) -> String {
        credential(message, &self.sign(message))
    }
}

fn credential(message: &str, signature: &[u8]) -> String {
    format!("caip122.{}.{}", b64(message), b64(signature))
}

#[test]
fn the_address_of_a_key_is_the_one_that_every_wallet_shows() {
    // The private key 1: known from its use as an example everywhere.
    let mut one = [0; 32];
    one[31] = 1;
    let key = SigningKey::from_slice(&one).unwrap();
    let address = address_of(key.verifying_key()).unwrap();
    assert_eq!(checksummed(address), "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
}

#[tokio::test]
async fn k7_an_account_that_signed_a_message_is_known_by_its_did() {
    let wallet = Wallet::new(7);
    let world = world(policy(&[&wallet.did()]), None);
    let principal = world.bearer(&wallet.credential(&wallet.message())).await.unwrap();
    assert_eq!(principal.tenant.as_str(), "acme");
    assert_eq!(principal.subject, wallet.did().as_str());
    // The same from a client that sends it as a key.
    let header = wallet.credential(&wallet.message());
    assert!(world.headers(&[("x-api-key", &header)]).await.is_ok());
}

#[tokio::test]
async fn k7_each_message_that_is_accepted_has_a_twin_that_differs_in_one_place_and_is_not() {
    let wallet = Wallet::new(7);
    let stranger = Wallet::new(9);
    let world = world(policy(&[&wallet.did()]), None);
    let address = checksummed(wallet.address);
    let with_more = |more: &str| format!("{}\n{more}", wallet.message());
    let two_domains = format!("https://{}", wallet.message());
    // A message that says otherwise, signed as it then is.
    for (name, from, to, expected) in [
        ("as it is", "", "", "ok"),
        ("another domain", "app.test wants", "evil.test wants", "message_domain"),
        ("a domain that begins alike", "app.test wants", "app.test.evil wants", "message_domain"),
        ("a domain with a port", "app.test wants", "app.test:8443 wants", "message_domain"),
        ("by http", "app.test wants", "http://app.test wants", "message_domain"),
        ("another first line", "to sign in with", "to sign up with", "bad_message"),
        ("another URI", AUDIENCE, "https://other.test", "did_audience"),
        ("no URI", "URI: https://gateway.test\n", "", "bad_message"),
        ("another version", "Version: 1", "Version: 2", "bad_message"),
        ("another chain, and so another account", "Chain ID: 1\n", "Chain ID: 137\n", "did_not_allowed"),
        ("a chain with a zero before", "Chain ID: 1\n", "Chain ID: 01\n", "bad_message"),
        ("a short nonce", "32891756abcd", "3289175", "bad_message"),
        ("a nonce of eight", "32891756abcd", "32891756", "ok"),
        ("a nonce with a dash", "32891756abcd", "32891756-abcd", "bad_message"),
        ("no statement", "\nUse the models of Acme.\n", "", "ok"),
        ("no statement, and the empty line of it", "Use the models of Acme.\n", "", "ok"),
        ("a statement of two lines", "models of Acme.", "models\nof Acme.", "bad_message"),
        ("signed long ago", "T08:00:00Z", "T07:09:59Z", "lifetime_too_long"),
        ("signed an hour before its end", "T08:00:00Z", "T07:10:00Z", "ok"),
        ("signed in the future", "T08:00:00Z", "T08:01:01Z", "issued_in_future"),
        ("ended", "T08:10:00.000Z", "T07:59:00Z", "expired"),
        ("just not ended", "T08:10:00.000Z", "T07:59:01Z", "ok"),
        ("too long", "T08:10:00.000Z", "T09:00:01Z", "lifetime_too_long"),
        ("no end", "\nExpiration Time: 2027-01-15T08:10:00.000Z", "", "bad_message"),
        ("no time of signing", "Issued At: 2027-01-15T08:00:00Z\n", "", "bad_message"),
        ("a time that is none", "2027-01-15T08:00:00Z", "yesterday", "bad_message"),
        ("another order", "Version: 1\nChain ID: 1", "Chain ID: 1\nVersion: 1", "bad_message"),
        ("a bell in the statement", "models of", "models\u{7} of", "bad_message"),
        ("a carriage return", "Version: 1\n", "Version: 1\r\n", "bad_message"),
        ("an address in small letters", &address, &address.to_lowercase(), "bad_message"),
    ] {
        let message = wallet.message();
        assert!(message.contains(from), "{name}");
        let message = message.replacen(from, to, 1);
        assert_eq!(world.verdict(&wallet.credential(&message)).await, expected, "{name}");
    }
    for (name, message, expected) in [
        ("by https", two_domains, "ok"),
        ("not before, within the skew", with_more("Not Before: 2027-01-15T08:01:00Z"), "ok"),
        ("not before, beyond", with_more("Not Before: 2027-01-15T08:01:01Z"), "not_yet_valid"),
        ("not before, no time", with_more("Not Before: soon"), "bad_message"),
        ("a request id", with_more("Request ID: 5"), "ok"),
        ("resources", with_more("Request ID: 5\nResources:\n- https://a.test\n- ipfs://b"), "ok"),
        ("a capability", with_more("Resources:\n- https://a.test\n- urn:recap:eyJ"), "bad_message"),
        ("a line more", with_more("Resources:\n- https://a.test\nAnd: more"), "bad_message"),
        ("an empty line more", with_more(""), "bad_message"),
        ("nothing", String::new(), "bad_message"),
    ] {
        assert_eq!(world.verdict(&wallet.credential(&message)).await, expected, "{name}");
    }

    // The message as it is, and a signature that is not the account's.
    let message = wallet.message();
    let good = wallet.sign(&message);
    let altered = |change: &dyn Fn(&mut [u8; 65])| {
        let mut signature = good;
        change(&mut signature);
        credential(&message, &signature)
    };
    for (name, credential, expected) in [
        ("v as 0 or 1", altered(&|it| it[64] -= 27), "ok"),
        ("the other v", altered(&|it| it[64] ^= 27 ^ 28), "bad_signature"),
        ("v of a chain (EIP-155)", altered(&|it| it[64] += 10), "bad_signature"),
        ("a bit of r", altered(&|it| it[5] ^= 1), "bad_signature"),
        ("a bit of s", altered(&|it| it[40] ^= 1), "bad_signature"),
        ("r of zero", altered(&|it| it[..32].fill(0)), "bad_signature"),
        ("s of zero", altered(&|it| it[32..64].fill(0)), "bad_signature"),
        ("s in the upper half", altered(&high), "bad_signature"),
        ("another's signature", credential(&message, &stranger.sign(&message)), "bad_signature"),
        ("a signature of another message", credential(&message, &wallet.sign("hello")), "bad_signature"),
        ("a byte short", credential(&message, &good[..64]), "malformed_token"),
        ("a byte more", credential(&message, &[&good[..], &[0]].concat()), "malformed_token"),
        ("no signature", format!("caip122.{}", b64(&message)), "malformed_token"),
        ("no message", format!("caip122..{}", b64(good)), "bad_message"),
        ("a message that is not UTF-8", format!("caip122.{}.{}", b64([0xff]), b64(good)), "bad_message"),
        ("with padding", format!("{}=", altered(&|_| {})), "malformed_token"),
    ] {
        assert_eq!(world.verdict(&credential).await, expected, "{name}");
    }
    assert_eq!(world.verdict(&stranger.credential(&stranger.message())).await, "did_not_allowed");
}

/// n - s is as good a signature in mathematics, with the other parity.
fn high(signature: &mut [u8; 65]) {
    let parsed = k256::ecdsa::Signature::from_slice(&signature[..64]).unwrap();
    let (r, s) = parsed.split_scalars();
    let negated = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    signature[..64].copy_from_slice(&negated.to_bytes());
    signature[64] ^= 27 ^ 28;
}

#[tokio::test]
async fn k7_an_account_does_not_prove_itself_by_a_token_whoever_signed_it() {
    let wallet = Wallet::new(7);
    let world = world(policy(&[&wallet.did()]), None);
    let key = mint::TestKey::ed25519("k");
    let claims = json!({"iss": wallet.did().as_str(), "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600});
    assert_eq!(world.verdict(&key.token(&claims)).await, "account_token");
}

#[tokio::test]
async fn k7_a_message_that_serves_once_is_used_up_by_its_nonce() {
    let wallet = Wallet::new(7);
    let world = world(DidPolicy { one_time: true, ..policy(&[&wallet.did()]) }, None);
    let credential = wallet.credential(&wallet.message());
    assert_eq!((world.verdict(&credential).await, world.verdict(&credential).await), ("ok", "replayed"));
    // The same signature in its other spelling is the same proof.
    let mut other = wallet.sign(&wallet.message());
    other[64] -= 27;
    assert_eq!(world.verdict(&self::credential(&wallet.message(), &other)).await, "replayed");
    let next = wallet.message().replace("32891756abcd", "32891756abce");
    assert_eq!(world.verdict(&wallet.credential(&next)).await, "ok");
}
