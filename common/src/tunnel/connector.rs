//! The `grpc` transport's dialling side: a gRPC call over mutual TLS.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use rustls::Error as TlsError;
use rustls::pki_types::ServerName;
use tokio::time::timeout;

use super::pipe::{self, CallError, Pipe};
use super::tls::{TlsClient, find_tls_error};
use super::transport::{ConnectError, Connector, Peer};
use super::url::HostPort;
use crate::dial::{DialError, dial};
use crate::drain::Drain;
use crate::keys::{KeysError, SEND_NAME, TlsKeys};

/// How long one try may take, from the name's lookup to the call's answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Why a connector could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The URL is not one of a server.
    #[error("the tunnel's URL {0} must name a host and a port, as in https://HOST:8443")]
    Url(Uri),
}

/// Dials a tunnel as a gRPC call over mutual TLS.
pub struct GrpcConnector {
    /// As the errors show it.
    url: String,
    authority: Authority,
    place: HostPort,
    name: ServerName<'static>,
    keys: PathBuf,
    tls: TlsClient,
    drain: Drain,
}

impl GrpcConnector {
    /// Will dial the host and port of `url`, with the keys in the folder `keys`; see
    /// [`TlsKeys::load`](crate::keys::TlsKeys::load). Changed keys are taken up by
    /// themselves. The URL's scheme is not looked at, and it has no path. All tasks run in
    /// `drain`, on the thread that connects.
    ///
    /// # Errors
    /// The URL lacks a host or port, or the keys cannot be used, as those of `tunnel-send`: it would
    /// take this end for its sibling.
    pub fn new(url: Uri, keys: &Path, drain: &Drain) -> Result<Self, GrpcError> {
        let Some((authority, name, port)) = parse(&url) else { return Err(GrpcError::Url(url)) };
        if TlsKeys::load(keys)?.is_for(SEND_NAME) {
            return Err(KeysError::OtherEnd(keys.to_owned()).into());
        }
        Ok(Self {
            url: url.to_string().trim_end_matches('/').to_owned(),
            authority,
            place: HostPort { host: name.to_str().into_owned(), port },
            name,
            keys: keys.to_owned(),
            tls: TlsClient::new(keys)?,
            drain: drain.clone(),
        })
    }

    /// Will dial the `tunnel-send` at `address`, wherever that is: what counts is that its
    /// certificate is for [`SEND_NAME`]. Otherwise as [`Self::new`].
    ///
    /// # Errors
    /// The keys cannot be used.
    pub fn to_sibling(address: SocketAddr, keys: &Path, drain: &Drain) -> Result<Self, GrpcError> {
        Ok(Self {
            url: format!("grpc://{address}"),
            authority: Authority::from_static(SEND_NAME),
            place: HostPort { host: address.ip().to_string(), port: address.port() },
            name: SEND_NAME.try_into().map_err(|_| KeysError::Name(SEND_NAME.to_owned()))?,
            keys: keys.to_owned(),
            tls: TlsClient::new(keys)?,
            drain: drain.clone(),
        })
    }

    async fn open(&self) -> Result<(Pipe, Peer), Failure> {
        let (tcp, address) = dial(&self.place).await?;
        let tls = self.tls.connect(self.name.clone(), tcp).await.map_err(Failure::Tls)?;
        let pipe = pipe::dial(tls, self.authority.clone(), &self.drain).await?;
        Ok((pipe, Peer { address: address.to_string(), names: vec![self.name.to_str().into()] }))
    }

    /// The one line for the log, with what to do where that is known.
    fn explain(&self, failure: &Failure) -> String {
        match failure {
            Failure::Dial(error) => error.to_string(),
            Failure::Tls(error) => self.explain_tls(error),
            Failure::Call(error @ CallError::Connection(source)) => {
                format!("{error}: {}", root_cause(source.as_ref()))
            }
            Failure::Call(error) => error.to_string(),
        }
    }

    fn explain_tls(&self, error: &io::Error) -> String {
        use rustls::{AlertDescription as Alert, CertificateError as Bad};

        let (host, keys) = (&self.place.host, self.keys.display());
        match find_tls_error(error) {
            Some(TlsError::InvalidCertificate(
                Bad::NotValidForName | Bad::NotValidForNameContext { .. },
            )) => format!(
                "the server's certificate is not for {host}: make the keys anew with --name {host}"
            ),
            Some(TlsError::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature)) => format!(
                "the server's certificate is not of the CA in {keys}/ca.crt: both ends need keys \
                 that were made together"
            ),
            // The library's own words hold the time of the try, so that each would be news.
            Some(TlsError::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
                "the server's certificate has expired: make the keys anew".to_owned()
            }
            Some(TlsError::InvalidCertificate(
                Bad::NotValidYet | Bad::NotValidYetContext { .. },
            )) => {
                "the server's certificate is not valid yet: set the clocks of both ends".to_owned()
            }
            Some(TlsError::InvalidCertificate(error)) => {
                format!("the server's certificate is not accepted: {error}")
            }
            Some(TlsError::AlertReceived(Alert::CertificateExpired)) => {
                format!("the server says that {keys}/tls.crt has expired: make the keys anew")
            }
            Some(TlsError::AlertReceived(
                alert @ (Alert::BadCertificate
                | Alert::CertificateRequired
                | Alert::CertificateUnknown
                | Alert::DecryptError
                | Alert::UnknownCA
                | Alert::UnsupportedCertificate),
            )) => format!(
                "the server refused the certificate {keys}/tls.crt ({alert:?}): both ends need \
                 keys that were made together"
            ),
            Some(TlsError::InvalidMessage(_)) => "the server does not speak TLS".to_owned(),
            Some(error) => format!("TLS failed: {error}"),
            None => format!("the connection failed during the TLS handshake: {error}"),
        }
    }
}

impl Connector for GrpcConnector {
    type Io = Pipe;

    async fn connect(&self) -> Result<(Pipe, Peer), ConnectError> {
        let explained = match timeout(CONNECT_LIMIT, self.open()).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(failure)) => self.explain(&failure),
            Err(_) => format!("no answer within {CONNECT_LIMIT:?}"),
        };
        Err(ConnectError(format!("{}: {explained}", self.url)))
    }
}

fn parse(url: &Uri) -> Option<(Authority, ServerName<'static>, u16)> {
    let authority = url.authority()?;
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let bare = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && !authority.as_str().contains('@');
    bare.then_some((authority.clone(), name, authority.port_u16()?))
}

/// Where a try failed.
enum Failure {
    Call(CallError),
    Dial(DialError),
    Tls(io::Error),
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// The innermost error, which says most: the layers above only say that they failed.
fn root_cause<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::CertificateError;
    use rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn an_expiry_is_told_alike_at_each_try() {
        let folder = tempfile::tempdir().unwrap();
        crate::keys::generate(folder.path(), &["a.example".to_owned()], "b").unwrap();
        let url = "https://a.example:1".parse().unwrap();
        let keys = folder.path().join("receive");
        let connector = GrpcConnector::new(url, &keys, &Drain::new()).unwrap();
        let told = |now: u64| {
            let [time, not_after] =
                [now, 1].map(|seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
            let expired = CertificateError::ExpiredContext { time, not_after };
            let error = TlsError::InvalidCertificate(expired);
            connector.explain_tls(&io::Error::other(error))
        };
        assert_eq!(told(100), "the server's certificate has expired: make the keys anew");
        assert_eq!(told(100), told(101));
    }
}
