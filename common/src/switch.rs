//! What comes after 101: a connection that is plain bytes both ways.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Copies bytes both ways between a connection that switches protocols and `other`, until both
/// directions have ended or either side is gone.
pub async fn join(on_upgrade: OnUpgrade, mut other: impl AsyncRead + AsyncWrite + Unpin) {
    match on_upgrade.await {
        Ok(upgraded) => {
            let mut upgraded = TokioIo::new(upgraded);
            // How it ends is between the two; both are told by the end itself.
            let _ = tokio::io::copy_bidirectional(&mut upgraded, &mut other).await;
        }
        Err(error) => tracing::debug!(%error, "left before it switched protocols"),
    }
}
