//! `https` targets: ALPN, and whom to trust.

use std::io::Write;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A file with a new authority, and a server's set-up with a certificate for `name` signed by it.
pub(super) fn authority(name: &str) -> (NamedTempFile, ServerConfig) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(issuer.pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (file, config)
}

/// A TLS origin that speaks what ALPN says and tells its version and the request's URI.
async fn world(alpn: &[&[u8]]) -> (World, NamedTempFile) {
    let (file, mut config) = authority("127.0.0.1");
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut world = World::new(Scheme::Https, move |stream, _| {
        let accept = acceptor.accept(stream);
        async move {
            let Ok(stream) = accept.await else { return };
            let executor = hyper_util::rt::TokioExecutor::new();
            let server = hyper_util::server::conn::auto::Builder::new(executor);
            let _ = server.serve_connection(TokioIo::new(stream), service_fn(version)).await;
        }
    })
    .await;
    world.route.target.tls.ca = Some(file.path().to_owned());
    (world, file)
}

async fn version(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("{:?} {}", request.version(), request.uri());
    Ok(Response::new(Full::new(text.into())))
}

#[tokio::test(flavor = "local")]
async fn alpn_chooses_the_version() {
    let (world, _file) = world(&[b"h2", b"http/1.1"]).await;
    let (first, second) = tokio::join!(world.get(), world.get());
    assert_eq!(first.as_deref(), Ok("HTTP/2.0 https://caller/a?b"));
    assert_eq!(second.as_deref(), Ok("HTTP/2.0 https://caller/a?b"));
    assert_eq!(world.accepted.get(), 1);

    let mut upgrade = request(Method::GET);
    upgrade.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
    assert_eq!(text(world.send(upgrade).await.unwrap()).await, "HTTP/1.1 /a?b");
    assert_eq!(world.accepted.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn http1_is_spoken_where_that_is_all() {
    for alpn in [&[][..], &[b"http/1.1".as_slice()]] {
        let (world, _file) = world(alpn).await;
        for _ in 0..2 {
            assert_eq!(world.get().await.as_deref(), Ok("HTTP/1.1 /a?b"));
        }
        assert_eq!(world.accepted.get(), 1);
    }
}

#[tokio::test(flavor = "local")]
async fn only_the_authority_of_the_mapping_is_trusted() {
    let (mut world, _file) = world(&[]).await;
    let (other, _) = authority("127.0.0.1");
    world.route.target.tls.ca = Some(other.path().to_owned());
    assert!(matches!(world.get().await, Err(ProxyError::TlsCertificate { .. })));
}

#[tokio::test(flavor = "local")]
async fn the_name_is_checked() {
    let (mut world, _file) = world(&[]).await;
    world.route.target.tls.server_name = Some("other.example".try_into().unwrap());
    assert!(matches!(world.get().await, Err(ProxyError::TlsCertificate { .. })));
}

#[tokio::test(flavor = "local")]
async fn a_changed_authority_is_read_again() {
    let (mut world, right) = world(&[]).await;
    let (file, _) = authority("127.0.0.1");
    world.route.target.tls.ca = Some(file.path().to_owned());
    assert!(matches!(world.get().await, Err(ProxyError::TlsCertificate { .. })));
    let later = std::fs::metadata(file.path()).unwrap().modified().unwrap() + LIMIT;
    std::fs::copy(right.path(), file.path()).unwrap();
    file.as_file().set_modified(later).unwrap();
    assert_eq!(world.get().await.as_deref(), Ok("HTTP/1.1 /a?b"));
}

#[tokio::test(flavor = "local")]
async fn an_authority_that_cannot_be_read_is_a_configuration_error() {
    let (mut world, _file) = world(&[]).await;
    let empty = NamedTempFile::new().unwrap();
    for path in [empty.path().to_owned(), empty.path().join("missing")] {
        world.route.target.tls.ca = Some(path);
        let Err(ProxyError::Configuration(text)) = world.get().await else { panic!() };
        assert!(text.starts_with("tls.ca /"), "{text}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_target_without_tls_is_a_protocol_error() {
    let (file, _) = authority("127.0.0.1");
    let mut world = World::new(Scheme::Https, async |mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    world.route.target.tls.ca = Some(file.path().to_owned());
    assert!(matches!(world.get().await, Err(ProxyError::TlsProtocol { .. })));
}
