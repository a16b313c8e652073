//! Gigabytes through one request: memory stays flat.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::ends::Ends;
use crate::harness::reply::Reply;
use crate::process::{Process, is_release};
use crate::target::target;

const GIB: u64 = 1 << 30;

/// What each process may hold at most, in MiB.
const MEMORY: usize = 64;

/// 10 GiB with the binaries of a release, 1 GiB with unoptimised ones.
#[test]
fn a_download_of_10_gib_or_1_keeps_memory_flat() {
    let size = if is_release() { 10 * GIB } else { GIB };
    let ends = Ends::new(target(move |stream| {
        let mut stream = stream.get_ref();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").unwrap();
        write(stream, size);
    }));
    let (send, receive) = ends.start();
    let begun = Instant::now();
    let mut caller = std::io::BufReader::new(request(ends.mapped(), "GET / HTTP/1.1\r\n"));
    assert_eq!(Reply::read_head(&mut caller).status, 200);
    assert_eq!(read(&mut caller, size), size);
    report("download", size, begun, &send, &receive);
}

/// 2 GiB with the binaries of a release, 1 GiB with unoptimised ones.
#[test]
fn an_upload_of_2_gib_or_1_keeps_memory_flat() {
    let size = if is_release() { 2 * GIB } else { GIB };
    let ends = Ends::new(target(move |stream| {
        assert_eq!(read(stream, size), size);
        stream.get_ref().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    }));
    let (send, receive) = ends.start();
    let begun = Instant::now();
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {size}\r\n");
    let caller = request(ends.mapped(), &head);
    write(&caller, size);
    let reply = Reply::read_head(&mut std::io::BufReader::new(&caller));
    assert_eq!((reply.status, reply.field("content-length")), (200, Some("2")));
    report("upload", size, begun, &send, &receive);
}

fn request(address: SocketAddr, head: &str) -> TcpStream {
    let mut caller = TcpStream::connect(address).unwrap();
    caller.write_all(format!("{head}Host: caller\r\n\r\n").as_bytes()).unwrap();
    caller
}

fn write(mut to: &TcpStream, size: u64) {
    let block = vec![b'x'; 1 << 20];
    (0..size / block.len() as u64).for_each(|_| to.write_all(&block).unwrap());
}

/// Reads `size` bytes, or up to the end if that comes first.
fn read(from: &mut impl Read, size: u64) -> u64 {
    let (mut block, mut done) = (vec![0; 1 << 20], 0);
    while done < size {
        let most = block.len().min((size - done) as usize);
        match from.read(&mut block[..most]).unwrap() {
            0 => break,
            length => done += length as u64,
        }
    }
    done
}

fn report(what: &str, size: u64, begun: Instant, send: &Process, receive: &Process) {
    let (send, receive) = (send.peak_memory(), receive.peak_memory());
    println!(
        "{what} of {} GiB in {:.1?}; most memory: send {send} MiB, receive {receive} MiB",
        size / GIB,
        begun.elapsed()
    );
    assert!(send < MEMORY && receive < MEMORY, "send {send} MiB, receive {receive} MiB");
}
