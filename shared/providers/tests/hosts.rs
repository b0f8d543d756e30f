//! No request goes to a host outside of the allowed patterns, however it is written.

use providers::salesforce::hosts::{instance_url, login_host};

/// Texts that are no host of Salesforce's for us; each also as an instance URL.
const HOSTILE_HOSTS: [&str; 46] = [
    "",
    " ",
    ".",
    "salesforce.com",
    "my.salesforce.com",
    ".my.salesforce.com",
    "www.salesforce.com",
    "na139.salesforce.com",
    "evilmy.salesforce.com",
    "acme.evilmy.salesforce.com",
    "my.salesforce.com.evil.example",
    "acme.my.salesforce.com.evil.example",
    "login.salesforce.com.evil.example",
    "login.salesforce.com@evil.example",
    "evil.example@acme.my.salesforce.com",
    "evil.example/acme.my.salesforce.com",
    "evil.example?acme.my.salesforce.com",
    "evil.example#acme.my.salesforce.com",
    "evil.example\\acme.my.salesforce.com",
    "evil.example%2eacme.my.salesforce.com",
    "evil.example%00.my.salesforce.com",
    "evil.example\0.my.salesforce.com",
    "acme.my.salesforce.com:8443",
    "acme.my.salesforce.com:443",
    "login.salesforce.com:443",
    "acme.my.salesforce.com.",
    "login.salesforce.com.",
    "acme..my.salesforce.com",
    "a.b.my.salesforce.com",
    "-acme.my.salesforce.com",
    "acme-.my.salesforce.com",
    "ac_me.my.salesforce.com",
    "acme.lightning.force.com",
    "acme.my.salesforce-sites.com",
    "acme.mysalesforce.com",
    "acme.my.salesforce.co",
    "äcme.my.salesforce.com",
    "acme.my.sаlesforce.com",
    "xn--acme-abc.my.salesforce.com",
    "xn--abc.sandbox.my.salesforce.com",
    "acme.sandbox.my.salesforce.com",
    "--uat.sandbox.my.salesforce.com",
    "acme--.sandbox.my.salesforce.com",
    "127.0.0.1",
    "[::1]",
    "169.254.169.254",
];

#[test]
fn a_login_host_is_one_of_four_patterns() {
    for (text, expected) in [
        ("login.salesforce.com", "login.salesforce.com"),
        ("test.salesforce.com", "test.salesforce.com"),
        ("acme.my.salesforce.com", "acme.my.salesforce.com"),
        ("acme-2-dev-ed.my.salesforce.com", "acme-2-dev-ed.my.salesforce.com"),
        ("acme--uat.sandbox.my.salesforce.com", "acme--uat.sandbox.my.salesforce.com"),
        ("Acme.My.Salesforce.com", "acme.my.salesforce.com"),
    ] {
        assert_eq!(login_host(text).as_deref(), Some(expected), "{text}");
    }
    for text in HOSTILE_HOSTS {
        assert_eq!(login_host(text), None, "{text:?}");
    }
    for text in [
        "https://login.salesforce.com",
        "login.salesforce.com/",
        " login.salesforce.com",
        "login.salesforce.com\n",
        "login\t.salesforce.com",
        "ｌogin.salesforce.com",
        "user:pw@login.salesforce.com",
        "evil.example\r\nHost: login.salesforce.com",
    ] {
        assert_eq!(login_host(text), None, "{text:?}");
    }
    assert_eq!(login_host(&format!("{}.my.salesforce.com", "a".repeat(64))), None);
}

#[test]
fn an_instance_url_is_a_my_domain_origin_over_https() {
    for (text, expected) in [
        ("https://acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        ("https://acme.my.salesforce.com/", "https://acme.my.salesforce.com"),
        ("https://acme--uat.sandbox.my.salesforce.com", "https://acme--uat.sandbox.my.salesforce.com"),
        ("https://Acme.my.salesforce.com", "https://acme.my.salesforce.com"),
    ] {
        assert_eq!(instance_url(text).as_deref(), Some(expected), "{text}");
    }
    for host in HOSTILE_HOSTS {
        assert_eq!(instance_url(&format!("https://{host}")), None, "{host:?}");
    }
    for text in [
        "http://acme.my.salesforce.com",
        "ftp://acme.my.salesforce.com",
        "javascript:alert(1)//acme.my.salesforce.com",
        "acme.my.salesforce.com",
        "//acme.my.salesforce.com",
        "https:acme.my.salesforce.com",
        "https:/acme.my.salesforce.com",
        "https:///acme.my.salesforce.com",
        "https:\\\\acme.my.salesforce.com",
        "https://acme.my.salesforce.com//",
        "https://acme.my.salesforce.com/services",
        "https://acme.my.salesforce.com/?x=1",
        "https://acme.my.salesforce.com?x=1",
        "https://acme.my.salesforce.com#x",
        "https://acme.my.salesforce.com/..",
        "https://user@acme.my.salesforce.com",
        "https://user:pw@acme.my.salesforce.com/",
        "https://@acme.my.salesforce.com",
        "https://acme.my.salesforce.com:",
        " https://acme.my.salesforce.com",
        "https://acme.my.salesforce.com ",
        "https://ac\tme.my.salesforce.com",
        "https://ac\nme.my.salesforce.com",
        "https://%61cme.my.salesforce.com",
        "https://acme.my。salesforce.com",
        "https://login.salesforce.com",
    ] {
        assert_eq!(instance_url(text), None, "{text:?}");
    }
}
