//! Both ends of `russh` with the layers of this module around them, over pipes.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::key::safe_rng;
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, client, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::terms::{client_config, server_config};
use super::{Link, SshChannel, Terms, USER, Wire};

/// Lets anybody in, and agrees to any forward.
struct Anybody;

impl server::Handler for Anybody {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: server::VerifiedPublicKey<'_>,
    ) -> Result<server::Auth, russh::Error> {
        Ok(server::Auth::Accept)
    }
}

/// Trusts any server, and takes the channels that it opens.
struct Anywhere(mpsc::Sender<Channel<client::Msg>>);

impl client::Handler for Anywhere {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        assert!(self.0.send(channel).await.is_ok());
        reply.accept().await;
        Ok(())
    }
}

fn key() -> PrivateKey {
    PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap()
}

type Ends = (
    (SshChannel<client::Msg>, client::Handle<Anywhere>),
    (SshChannel<server::Msg>, server::RunningSession<Anybody>),
);

async fn connect(terms: &Terms, (near, far): (DuplexStream, DuplexStream)) -> Ends {
    let (to_client, to_server) = (Link::new(), Link::new());
    let (sender, mut channels) = mpsc::channel(1);
    let server = server::run_stream(
        Arc::new(server_config(key(), terms)),
        Wire::of_server(far, to_client.clone()),
        Anybody,
    );
    let client = client::connect_stream(
        Arc::new(client_config(&[], terms)),
        Wire::of_client(near, to_server.clone()),
        Anywhere(sender),
    );
    let (server, client) = tokio::join!(server, client);
    let (server, mut client) = (server.unwrap(), client.unwrap());
    let key = PrivateKeyWithHashAlg::new(Arc::new(key()), None);
    assert!(client.authenticate_publickey(USER, key).await.unwrap().success());
    let opened = server.handle().channel_open_forwarded_tcpip("a", 1, "b", 2).await.unwrap();
    let never = CancellationToken::new();
    let (here, _) = SshChannel::new(channels.recv().await.unwrap(), to_server, never.clone());
    let (there, _) = SshChannel::new(opened, to_client, never);
    ((here, client), (there, server))
}

/// Both ends write all the time and read all the time, through pipes that hold next to nothing.
async fn exchange(terms: &Terms, capacity: usize) {
    const SIZE: usize = 8 << 20;
    let data: Arc<[u8]> = (0..SIZE).map(|index| (index % 251) as u8).collect();
    let ((here, _client), (there, _server)) = connect(terms, tokio::io::duplex(capacity)).await;
    let (mut here_in, mut here_out) = tokio::io::split(here);
    let (mut there_in, mut there_out) = tokio::io::split(there);
    let (mut up, mut down) = (vec![0; SIZE], vec![0; SIZE]);
    let all = async {
        tokio::try_join!(
            here_out.write_all(&data),
            there_out.write_all(&data),
            here_in.read_exact(&mut down),
            there_in.read_exact(&mut up),
        )
    };
    timeout(Duration::from_secs(60), all).await.expect("stuck").unwrap();
    assert!(up == *data && down == *data);
}

#[tokio::test]
async fn full_pipes_do_not_wait_for_each_other() {
    exchange(&Terms::default(), 4096).await;
}

#[tokio::test]
async fn keys_change_while_both_directions_are_full() {
    exchange(&Terms { rekey_bytes: 200_000 }, 64 * 1024).await;
}
