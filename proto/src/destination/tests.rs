use super::*;
use url::Host;

/// As whoever dials resolves a URL whose host is an address; `None` for a name.
fn addresses(url: &Url) -> Option<Vec<SocketAddr>> {
    let port = url.port_or_known_default()?;
    match url.host()? {
        Host::Ipv4(ip) => Some(vec![(ip, port).into()]),
        Host::Ipv6(ip) => Some(vec![(ip, port).into()]),
        Host::Domain(_) => None,
    }
}

/// `ok`, or a word of the reason; `no url` for what the parser refuses, `name` for what has to be resolved first.
fn verdict(text: &str, exceptions: &str) -> String {
    let Ok(url) = text.parse::<Url>() else { return "no url".to_owned() };
    let Some(addresses) = addresses(&url) else { return "name".to_owned() };
    match exceptions.parse::<Exceptions>().unwrap().check(&url, &addresses) {
        Ok(()) => "ok".to_owned(),
        Err(Forbidden::Scheme(_)) => "scheme".to_owned(),
        Err(Forbidden::UserInfo) => "user".to_owned(),
        Err(Forbidden::Port(_)) => "port".to_owned(),
        Err(Forbidden::Address { range, .. }) => range.to_owned(),
    }
}

#[test]
fn a_tenants_url_leads_to_public_addresses_over_tls_and_nowhere_else() {
    let table = [
        // Public, and the edges of what is not.
        ("https://1.1.1.1/", "ok"),
        ("https://1.1.1.1:443/x?y", "ok"),
        ("https://1.1.1.1:8443/", "ok"),
        ("https://9.255.255.255/", "ok"),
        ("https://11.0.0.0/", "ok"),
        ("https://100.63.255.255/", "ok"),
        ("https://100.128.0.0/", "ok"),
        ("https://126.255.255.255/", "ok"),
        ("https://128.0.0.0/", "ok"),
        ("https://169.253.255.255/", "ok"),
        ("https://172.15.255.255/", "ok"),
        ("https://172.32.0.0/", "ok"),
        ("https://192.167.255.255/", "ok"),
        ("https://192.169.0.0/", "ok"),
        ("https://198.17.255.255/", "ok"),
        ("https://198.20.0.0/", "ok"),
        ("https://223.255.255.255/", "ok"),
        ("https://[2606:4700:4700::1111]/", "ok"),
        ("https://[2a00::1]:8443/", "ok"),
        ("https://[2001:200::1]/", "ok"),
        // Other schemes and ports.
        ("http://1.1.1.1/", "scheme"),
        ("http://1.1.1.1:443/", "scheme"),
        ("ftp://1.1.1.1/", "scheme"),
        ("ws://1.1.1.1/", "scheme"),
        ("https://1.1.1.1:80/", "port"),
        ("https://1.1.1.1:22/", "port"),
        ("https://1.1.1.1:6379/", "port"),
        ("https://1.1.1.1:0/", "port"),
        ("https://1.1.1.1:444/", "port"),
        ("https://1.1.1.1:65535/", "port"),
        ("https://1.1.1.1:65536/", "no url"),
        ("https://u@1.1.1.1/", "user"),
        ("https://u:p@1.1.1.1/", "user"),
        ("https://:p@1.1.1.1/", "user"),
        ("https://1.1.1.1@127.0.0.1/", "user"),
        // IPv4 that is not public.
        ("https://0.0.0.0/", "unspecified"),
        ("https://0.1.2.3/", "unspecified"),
        ("https://10.0.0.1/", "private"),
        ("https://10.255.255.255/", "private"),
        ("https://100.64.0.0/", "carrier-grade NAT"),
        ("https://100.127.255.255/", "carrier-grade NAT"),
        ("https://100.100.100.200/", "the metadata service"),
        ("https://127.0.0.1/", "loopback"),
        ("https://127.255.255.254/", "loopback"),
        ("https://168.63.129.16/", "the metadata service"),
        ("https://169.254.0.1/", "link-local"),
        ("https://169.254.169.254/latest/meta-data/", "the metadata service"),
        ("https://172.16.0.0/", "private"),
        ("https://172.31.255.255/", "private"),
        ("https://192.0.0.192/", "for protocols"),
        ("https://192.0.2.1/", "for documentation"),
        ("https://192.88.99.1/", "a 6to4 relay"),
        ("https://192.168.0.1/", "private"),
        ("https://198.18.0.1/", "for benchmarks"),
        ("https://198.19.255.255/", "for benchmarks"),
        ("https://198.51.100.1/", "for documentation"),
        ("https://203.0.113.1/", "for documentation"),
        ("https://224.0.0.1/", "multicast"),
        ("https://239.255.255.255/", "multicast"),
        ("https://240.0.0.1/", "reserved"),
        ("https://255.255.255.255/", "reserved"),
        // The same in odd spellings, which the parser makes even.
        ("https://2130706433/", "loopback"),
        ("https://0x7f000001/", "loopback"),
        ("https://0X7F.1/", "loopback"),
        ("https://0177.0.0.1/", "loopback"),
        ("https://017700000001/", "loopback"),
        ("https://127.1/", "loopback"),
        ("https://127.0.1/", "loopback"),
        ("https://127.0.0.1./", "loopback"),
        ("https://0x7f.0x0.0x0.0x1/", "loopback"),
        ("https://0/", "unspecified"),
        ("https://0x0/", "unspecified"),
        ("https://%31%32%37.0.0.1/", "loopback"),
        ("https://１２７.０.０.１/", "loopback"),
        ("https://①②⑦.⓪.⓪.①/", "loopback"),
        ("https://127。0。0。1/", "loopback"),
        ("https://2852039166/", "the metadata service"),
        ("https://0xa9fea9fe/", "the metadata service"),
        ("https://0251.0376.0251.0376/", "the metadata service"),
        ("https:\\\\127.0.0.1\\", "loopback"),
        ("https:127.0.0.1", "loopback"),
        ("https:///127.0.0.1/", "loopback"),
        ("https://1.1.1.1\\@127.0.0.1/", "ok"),
        ("https://1.1.1.1#@127.0.0.1/", "ok"),
        ("https://256.0.0.1/", "no url"),
        ("https://127.0.0.1.1/", "no url"),
        ("https://0x1ffffffff/", "no url"),
        ("https://08.0.0.1/", "no url"),
        // IPv6 that is not public.
        ("https://[::]/", "unspecified"),
        ("https://[::1]/", "loopback"),
        ("https://[0:0:0:0:0:0:0:1]/", "loopback"),
        ("https://[::0001]/", "loopback"),
        ("https://[::ffff:127.0.0.1]/", "IPv4-mapped"),
        ("https://[::ffff:7f00:1]/", "IPv4-mapped"),
        ("https://[::ffff:1.1.1.1]/", "IPv4-mapped"),
        ("https://[::ffff:0:127.0.0.1]/", "IPv4-translated"),
        ("https://[::127.0.0.1]/", "IPv4-compatible"),
        ("https://[::2]/", "IPv4-compatible"),
        ("https://[64:ff9b::127.0.0.1]/", "NAT64"),
        ("https://[64:ff9b::101:101]/", "NAT64"),
        ("https://[64:ff9b:1::a00:1]/", "NAT64"),
        ("https://[2002:7f00:1::]/", "6to4"),
        ("https://[2001:0:7f00:1::]/", "Teredo"),
        ("https://[2001:2::1]/", "for protocols"),
        ("https://[2001:20::1]/", "for protocols"),
        ("https://[2001:db8::1]/", "for documentation"),
        ("https://[3fff::1]/", "for documentation"),
        ("https://[fc00::1]/", "private (unique local)"),
        ("https://[fdff::1]/", "private (unique local)"),
        ("https://[fd00:ec2::254]/", "the metadata service"),
        ("https://[fe80::1]/", "link-local"),
        ("https://[fec0::1]/", "site-local"),
        ("https://[ff02::1]/", "multicast"),
        ("https://[100::1]/", "reserved"),
        ("https://[200::1]/", "reserved"),
        ("https://[4000::1]/", "reserved"),
        ("https://[5f00::1]/", "reserved"),
        ("https://[fe80::1%25eth0]/", "no url"),
        ("https://[fe80::1%eth0]/", "no url"),
        ("https://[::1]x/", "no url"),
        ("https://[::1/", "no url"),
        ("https://::1/", "no url"),
        // Names say nothing until they are resolved.
        ("https://localhost/", "name"),
        ("https://localhost./", "name"),
        ("https://LOCALHOST/", "name"),
        ("https://metadata.google.internal/", "name"),
        ("https://127.0.0.1.nip.io/", "name"),
        ("https://1.1.1.1.example/", "name"),
        ("https:///", "no url"),
        ("https://", "no url"),
        ("//127.0.0.1/", "no url"),
    ];
    assert!(table.len() >= 75, "{}", table.len());
    for (url, expected) in table {
        assert_eq!(verdict(url, ""), expected, "{url}");
    }
}

#[test]
fn what_the_operator_of_a_host_allows_may_be_reached_in_any_way_and_nothing_beside_it() {
    for (exceptions, url, expected) in [
        ("127.0.0.1", "http://127.0.0.1:5000/", "ok"),
        ("127.0.0.1/32", "https://127.0.0.1/", "ok"),
        ("127.0.0.1", "http://127.0.0.2:5000/", "loopback"),
        ("127.0.0.1", "http://[::1]:5000/", "loopback"),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]:5000/", "IPv4-mapped"),
        ("127.0.0.1", "http://u@127.0.0.1:5000/", "user"),
        ("10.1.0.0/16, fd00::/8", "http://10.1.2.3/", "ok"),
        ("10.1.0.0/16, fd00::/8", "http://10.2.2.3/", "private"),
        ("10.1.0.0/16,fd00::/8", "http://[fd00::5]:81/", "ok"),
        ("10.1.0.0/16", "http://1.1.1.1/", "scheme"),
        ("10.1.0.0/16", "https://1.1.1.1:81/", "port"),
        ("1.1.1.1", "http://1.1.1.1:81/", "ok"),
        (",", "https://127.0.0.1/", "loopback"),
    ] {
        assert_eq!(verdict(url, exceptions), expected, "{url} with {exceptions:?}");
    }
}

#[test]
fn a_name_with_one_address_that_is_forbidden_is_refused_whole() {
    let url = "https://idp.example/".parse().unwrap();
    let public = "1.1.1.1:443".parse().unwrap();
    let private = "10.0.0.1:443".parse().unwrap();
    let check = |addresses: &[SocketAddr]| Exceptions::default().check(&url, addresses);
    assert_eq!(check(&[public]), Ok(()));
    for mixed in [[public, private], [private, public]] {
        assert!(matches!(check(&mixed), Err(Forbidden::Address { range: "private", .. })), "{mixed:?}");
    }
}

#[test]
fn a_list_of_exceptions_with_a_mistake_is_told_where() {
    for (text, expected) in [
        ("localhost", "\"localhost\" is neither"),
        ("10.0.0.0/33", "\"10.0.0.0/33\" is neither"),
        ("10.0.0.1/8", "10.0.0.1/8 has bits behind its prefix; write 10.0.0.0/8"),
        ("10.0.0.0/8 fd00::/8", "is neither"),
        ("0x7f.1", "is neither"),
    ] {
        let error = text.parse::<Exceptions>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!("127.0.0.1,".repeat(MAX_EXCEPTIONS).parse::<Exceptions>().is_ok());
    assert!("127.0.0.1,".repeat(MAX_EXCEPTIONS + 1).parse::<Exceptions>().is_err());
}
