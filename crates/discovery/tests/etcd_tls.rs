//! An etcd that speaks TLS and asks for a client certificate.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use discovery::{Config, EtcdConfig, Tls, spawn};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use support::{primary, until};
use testbed::Port;

/// Ends with the test, also when it fails.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes an authority, and a certificate for both sides.
fn certificates(directory: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let ca = CertifiedIssuer::self_signed(params, key).expect("an authority");
    fs::write(directory.join("ca.crt"), ca.pem()).expect("written");

    let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).expect("params");
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &ca).expect("a certificate");
    fs::write(directory.join("own.crt"), certificate.pem()).expect("written");
    fs::write(directory.join("own.key"), key.serialize_pem()).expect("written");
}

fn start(directory: &Path, client: &Port, peer: &Port) -> Daemon {
    let url = format!("https://127.0.0.1:{}", client.number());
    let peer = format!("http://127.0.0.1:{}", peer.number());
    let etcd = testbed::programs::find("etcd").expect("etcd is installed");
    let child = Command::new(etcd)
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}"), "--client-cert-auth"])
        .arg("--trusted-ca-file")
        .arg(directory.join("ca.crt"))
        .arg("--cert-file")
        .arg(directory.join("own.crt"))
        .arg("--key-file")
        .arg(directory.join("own.key"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Daemon(child.expect("etcd starts"))
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_over_tls_with_a_client_certificate_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |file: &str| directory.path().join(file);
    certificates(directory.path());
    let (port, peer) = (Port::reserve().unwrap(), Port::reserve().unwrap());
    let url = format!("https://127.0.0.1:{}", port.number());

    let identity = Some((at("own.crt"), at("own.key")));
    let config = |identity| EtcdConfig {
        tls: Tls { ca: Some(at("ca.crt")), identity, server_name: None },
        refresh_interval: Duration::from_secs(600),
        ..EtcdConfig::new(vec![url.clone()], "demo")
    };
    let mut discovery =
        spawn(Config::Etcd(config(identity)), topology::Config::default(), None).unwrap();
    let _etcd = start(directory.path(), &port, &peer);

    let pem = |file| fs::read(at(file)).unwrap();
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(pem("ca.crt")))
        .identity(Identity::from_pem(pem("own.crt"), pem("own.key")));
    let options = ConnectOptions::new().with_tls(tls);
    let mut client = Client::connect([&url], Some(options)).await.unwrap();
    let member = r#"{"conn_url":"postgres://n1/postgres","role":"master","state":"running"}"#;
    let started = async {
        while client.put("/service/demo/members/n1", member, None).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), started).await.expect("etcd starts");
    client.put("/service/demo/leader", "n1", None).await.unwrap();
    until(&mut discovery, |s| primary(s) == "n1").await;

    // A certificate without its key is found out at start.
    let wrong = Some((at("own.crt"), at("ca.crt")));
    let error = spawn(Config::Etcd(config(wrong)), topology::Config::default(), None).unwrap_err();
    assert_eq!(error.to_string(), format!("no usable PEM in {}", at("ca.crt").display()));
}
