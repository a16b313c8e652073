"""What is compared. Each peer leads two ports of its own to the two of the backend."""

import json
import os
import shutil
import subprocess

import loads
from processes import WORK, Process, cpu_seconds, resident_mib, wait_for

BIN = os.environ["ISTHMUS_BIN"]
BACKEND, SINK = 9000, 9001
GCM = "aes128-gcm@openssh.com"


class Peer:
    """Processes, in the order of their start, that forward `http` and `sink` to the backend."""

    def __init__(self, name, base, processes, about, missing=None):
        self.name, self.processes, self.about, self.missing = name, processes, about, missing
        self.http, self.sink = base + 1, base + 2

    def roots(self):
        return [process.child.pid for process in self.processes if process.child]

    def cpu(self):
        return cpu_seconds(self.roots())

    def memory(self):
        return resident_mib(self.roots())

    def start(self):
        for process in self.processes:
            process.start()
        wait_for(lambda: loads.works(self.http) and loads.works(self.sink), self.name, 20)

    def stop(self):
        for process in reversed(self.processes):
            process.stop()


def everyone():
    """All peers by name; the first is the backend without anything before it."""
    peers = [
        Peer("direct", BACKEND - 1, [], "the backend itself"),
        isthmus("isthmus-grpc", 7100, "grpc"),
        isthmus("isthmus-ssh", 7200, "ssh"),
        hyper2(),
        nginx2(),
        haproxy2(),
        nginx2_tls(),
        nginx_ssh(),
        ssh_forward("sshR-gcm", 7500, GCM),
        article("article", 7800, {}, "two Go reverse proxies joined by `ssh -R`, as published"),
        article("article-tuned", 7900, {"ARTICLE_TUNED": "1"},
                "the same with a pool of 512 connections and aes128-gcm"),
        rathole("noise", 7600),
        rathole("tls", 7700),
    ]
    return {peer.name: peer for peer in peers}


def backend():
    """nginx with one worker for GETs (100 bytes, 1 GiB), and a reader of uploads."""
    root = f"{WORK}/www"
    os.makedirs(root, exist_ok=True)
    with open(f"{root}/1g", "wb") as file:
        file.truncate(loads.GIB)
    with open(f"{root}/1g", "rb") as file:
        while file.read(1 << 20):
            pass
    body = "[" + '{"id":"1"},' * 7 + '{"id":"23"}'
    server = f"""server {{ listen 127.0.0.1:{BACKEND} backlog=4096; root {root};
      location = /small {{ return 200 '{body:<99}]'; }} }}"""
    sink = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sink.py")
    return [nginx("backend", BACKEND, "open_file_cache max=100;" + server),
            Process("sink", ["python3", "-B", sink, SINK], port=SINK)]


def isthmus(name, base, scheme, through=None):
    """Both ends of the bridge. `through` is a port that leads to the tunnel's, or itself."""
    about = {"grpc": "the bridge over gRPC with mutual TLS 1.3",
             "ssh": "the bridge over SSH, both ends embedded"}[scheme]
    tunnel = f"{scheme}://127.0.0.1:{base + 10}"
    dialled = f"{scheme}://127.0.0.1:{through or base + 10}"
    write_config(name, {base + 1: BACKEND, base + 2: SINK})
    return Peer(name, base, ends(name, tunnel, ["--tunnel", dialled]), about)


def ends(name, tunnel, receive, send=(), log="warn"):
    """Both ends of a bridge that listens for the tunnel, with further flags."""
    keys = f"{WORK}/keys"
    if not os.path.exists(keys):
        subprocess.run([f"{BIN}/tunnel-send", "keys", "--out", keys, "--name", "127.0.0.1"],
                       check=True, stdout=subprocess.DEVNULL)
    common = ["--config", f"{WORK}/{name}.json", "--log", log]
    send = [f"{BIN}/tunnel-send", *common, "--keys", f"{keys}/send", "--bind", "127.0.0.1",
            "--tunnel", tunnel, *send]
    receive = [f"{BIN}/tunnel-receive", *common, "--keys", f"{keys}/receive", *receive]
    return [Process(f"{name}-send", send, port=int(tunnel.rsplit(":", 1)[1])),
            Process(f"{name}-receive", receive)]


def write_config(name, targets):
    """The mappings of a bridge, from ports to ports, by a rename as editors do it."""
    path = f"{WORK}/{name}.json"
    write(f"{path}.new", json.dumps({"data": [
        {"port": str(port), "remoteIP": f"http://127.0.0.1:{target}"}
        for port, target in targets.items()]}))
    os.rename(f"{path}.new", path)


def hyper2():
    hop, base = f"{BIN}/examples/plain-hop", 7000
    near = [hop, *(f"127.0.0.1:{base + i}=127.0.0.1:{base + 10 + i}" for i in (1, 2))]
    far = [hop, f"127.0.0.1:{base + 11}=127.0.0.1:{BACKEND}",
           f"127.0.0.1:{base + 12}=127.0.0.1:{SINK}"]
    return Peer("hyper2", base,
                [Process("hyper2-far", far, port=base + 12),
                 Process("hyper2-near", near, port=base + 2)],
                "two plain hyper HTTP/1.1 proxies: no tunnel, no encryption, no routing")


def nginx2_tls():
    base, entrance = 7300, 7310
    certificate()
    tls = f"ssl_certificate {WORK}/server.pem; ssl_certificate_key {WORK}/server.key;"
    return Peer("nginx2-tls", base,
                [nginx("nginx2-tls-far", entrance, tls + nginx_far(f"{entrance} ssl")),
                 nginx("nginx2-tls-near", base + 1, nginx_near(base, entrance, "https"))],
                "two nginx that route by the header, TLS between them, no tunnel")


def nginx2():
    base, entrance = 8000, 8010
    return Peer("nginx2", base,
                [nginx("nginx2-far", entrance, nginx_far(entrance)),
                 nginx("nginx2-near", base + 1, nginx_near(base, entrance, "http"))],
                "two nginx that route by the header: no tunnel, no encryption")


def haproxy2():
    base, entrance = 8100, 8110
    near = "".join(f"""
listen {condition}
  bind 127.0.0.1:{port} backlog 4096
  http-request set-header X-Proxy-Condition {condition}
  server far 127.0.0.1:{entrance}
""" for port, condition in ((base + 1, "http"), (base + 2, "sink")))
    far = f"""
frontend far
  bind 127.0.0.1:{entrance} backlog 4096
  use_backend %[req.hdr(X-Proxy-Condition)]
backend http
  server target 127.0.0.1:{BACKEND}
backend sink
  server target 127.0.0.1:{SINK}
"""
    return Peer("haproxy2", base,
                [haproxy("haproxy2-far", entrance, far), haproxy("haproxy2-near", base + 1, near)],
                "two haproxy that route by the header: no tunnel, no encryption")


def haproxy(name, port, body):
    write(f"{WORK}/{name}.cfg", f"""global
  nbthread 1
  maxconn 8192
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
{body}""")
    return Process(name, ["haproxy", "-db", "-f", f"{WORK}/{name}.cfg"], port=port)


def nginx_ssh():
    base, port, forwarded, entrance = 7400, 7410, 7411, 7412
    name = "nginx-ssh"
    return Peer(name, base,
                [nginx(f"{name}-far", entrance, nginx_far(entrance)),
                 sshd(name, port),
                 ssh(name, port, GCM, [(forwarded, entrance)]),
                 nginx(f"{name}-near", base + 1, nginx_near(base, forwarded, "http"))],
                "nginx, `ssh -R` with aes128-gcm, nginx: the bridge's function")


def ssh_forward(name, base, cipher, through=None):
    """Bare `ssh -R`. `through` is a port that leads to the sshd's, or itself."""
    port = base + 10
    return Peer(name, base,
                [sshd(name, port),
                 ssh(name, through or port, cipher, [(base + 1, BACKEND), (base + 2, SINK)])],
                f"`ssh -R` with {cipher.split('@')[0]}: forwards TCP only")


def article(name, base, env, about):
    program, port, forwarded, entrance = f"{WORK}/article", base + 10, base + 11, base + 12
    near = [program, "send", f"127.0.0.1:{base + 1}=http", f"127.0.0.1:{base + 2}=sink",
            f"127.0.0.1:{forwarded}"]
    far = [program, "receive", f"127.0.0.1:{entrance}", f"http=127.0.0.1:{BACKEND}",
           f"sink=127.0.0.1:{SINK}"]
    return Peer(name, base,
                [Process(f"{name}-far", far, port=entrance, env=env),
                 sshd(name, port),
                 ssh(name, port, GCM if env else None, [(forwarded, entrance)]),
                 Process(f"{name}-near", near, port=base + 1, env=env)],
                about, None if os.path.exists(program) else "Go is not installed (golang-go)")


def rathole(transport, base):
    name, control = f"rathole-{transport}", base + 10
    about = f"rathole 0.5 over {transport}: forwards TCP only"
    program = shutil.which("rathole")
    if program is None:
        return Peer(name, base, [], about,
                    "not installed (cargo install rathole --version 0.5.0)")
    if transport == "noise":
        private, public = noise_keys(program)
        server = f'[server.transport.noise]\nlocal_private_key="{private}"\n'
        client = f'[client.transport.noise]\nremote_public_key="{public}"\n'
    else:
        certificate()
        server = f'[server.transport.tls]\npkcs12="{WORK}/server.pfx"\npkcs12_password="x"\n'
        client = f'[client.transport.tls]\ntrusted_root="{WORK}/server.pem"\nhostname="localhost"\n'
    write(f"{WORK}/{name}-server.toml", f"""[server]
bind_addr="127.0.0.1:{control}"
default_token="x"
[server.services.http]
bind_addr="127.0.0.1:{base + 1}"
[server.services.sink]
bind_addr="127.0.0.1:{base + 2}"
[server.transport]
type="{transport}"
{server}""")
    write(f"{WORK}/{name}-client.toml", f"""[client]
remote_addr="127.0.0.1:{control}"
default_token="x"
[client.services.http]
local_addr="127.0.0.1:{BACKEND}"
[client.services.sink]
local_addr="127.0.0.1:{SINK}"
[client.transport]
type="{transport}"
{client}""")
    quiet = {"RUST_LOG": "error"}
    return Peer(name, base,
                [Process(f"{name}-server", [program, "-s", f"{WORK}/{name}-server.toml"],
                         port=control, env=quiet),
                 Process(f"{name}-client", [program, "-c", f"{WORK}/{name}-client.toml"],
                         env=quiet)], about)


def long_path(port, target, milliseconds, megabit):
    """A relay that is a long path from `port` to `target`."""
    return Process(f"long-path-{port}",
                   [f"{BIN}/examples/long-path", f"127.0.0.1:{port}=127.0.0.1:{target}",
                    milliseconds, megabit], port=port)


def nginx(name, port, body):
    folder = f"{WORK}/{name}"
    os.makedirs(folder, exist_ok=True)
    paths = "".join(f"{kind}_temp_path {folder}/{kind}; "
                    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    write(f"{folder}/nginx.conf", f"""user root; worker_processes 1; daemon off;
error_log stderr error; pid {folder}/pid; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; client_max_body_size 0; {paths}
  keepalive_timeout 600s; keepalive_requests 100000000;
  {body}
}}
""")
    return Process(name, ["nginx", "-p", folder, "-e", "stderr", "-c", f"{folder}/nginx.conf"],
                   port=port)


NGINX_PROXY = """proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_request_buffering off; proxy_max_temp_file_size 0; proxy_read_timeout 600s;
  client_body_buffer_size 64k;
  proxy_buffer_size 16k; proxy_buffers 4 64k; proxy_busy_buffers_size 128k;"""


def nginx_pool(name, port):
    return (f"upstream {name} {{ server 127.0.0.1:{port}; keepalive 512; "
            "keepalive_requests 100000000; keepalive_timeout 600s; }")


def nginx_near(base, tunnel, scheme):
    """Stamps the header, and sends everything through `tunnel`."""
    servers = "".join(f"""
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
    proxy_set_header Connection ""; proxy_set_header X-Proxy-Condition {condition};
    proxy_pass {scheme}://tunnel; }} }}"""
                      for port, condition in ((base + 1, "http"), (base + 2, "sink")))
    return NGINX_PROXY + nginx_pool("tunnel", tunnel) + servers


def nginx_far(listen):
    """Chooses the target by the header."""
    return (NGINX_PROXY + nginx_pool("http", BACKEND) + nginx_pool("sink", SINK)
            + f"""map $http_x_proxy_condition $target {{ http http; sink sink; }}
  server {{ listen 127.0.0.1:{listen} backlog=4096; location / {{ proxy_pass http://$target; }} }}
""")


def sshd(name, port):
    folder = f"{WORK}/{name}-keys"
    os.makedirs(folder, exist_ok=True)
    for key in ("host", "user"):
        if not os.path.exists(f"{folder}/{key}"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{key}"],
                           check=True)
    write(f"{folder}/sshd_config", f"""Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
LogLevel ERROR
""")
    return Process(f"{name}-sshd", [shutil.which("sshd"), "-D", "-e", "-f", f"{folder}/sshd_config"],
                   port=port)


def ssh(name, port, cipher, forwards):
    folder = f"{WORK}/{name}-keys"
    command = ["ssh", "-F", "none", "-N", "-T", "-p", port, "-i", f"{folder}/user",
               "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
               "-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=ERROR"]
    if cipher:
        command += ["-c", cipher]
    for near, far in forwards:
        command += ["-R", f"127.0.0.1:{near}:127.0.0.1:{far}"]
    return Process(f"{name}-ssh", [*command, "root@127.0.0.1"], port=forwards[0][0])


def certificate():
    if not os.path.exists(f"{WORK}/server.pfx"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", f"{WORK}/server.key", "-out", f"{WORK}/server.pem", "-days", "3650",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        openssl("pkcs12", "-export", "-passout", "pass:x", "-inkey", f"{WORK}/server.key",
                "-in", f"{WORK}/server.pem", "-out", f"{WORK}/server.pfx")


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stderr=subprocess.DEVNULL)


def noise_keys(program):
    """Of the output "Private Key:", key, blank line, "Public Key:", key."""
    output = subprocess.run([program, "--genkey"], check=True, capture_output=True, text=True)
    lines = [line for line in output.stdout.splitlines() if line.strip()]
    return lines[1], lines[3]


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
