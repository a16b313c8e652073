//! What comes after 101: a connection that is plain bytes both ways.

use tokio::io::{AsyncRead, AsyncWrite};

/// Copies bytes both ways until both directions have ended or either side is gone.
pub async fn join(
    mut one: impl AsyncRead + AsyncWrite + Unpin,
    mut other: impl AsyncRead + AsyncWrite + Unpin,
) {
    // How it ends is between the two; both are told by the end itself.
    let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
}
