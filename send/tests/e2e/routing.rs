//! A request reaches the target of its port and no other, whatever it says and whoever is beside it.

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;

use crate::harness::{Bridge, Http1, Http2, Origin, Transport, filled, full, run};

over_each_transport!({
    many_at_once_are_never_mixed_up
    no_caller_chooses_the_target
    no_caller_chooses_the_target_over_http_2
});

/// 200 requests at a time over 20 mappings, each with a megabyte: half of them bring it, half of
/// them fetch it.
fn many_at_once_are_never_mixed_up(transport: Transport) {
    const MAPPINGS: usize = 20;
    let names: Vec<_> = (0..MAPPINGS).map(|number| format!("m{number}")).collect();
    let origins: Vec<_> = names.iter().map(|name| megabytes(name.clone())).collect();
    let bridge = names
        .iter()
        .zip(&origins)
        .fold(Bridge::new(transport), |bridge, (name, origin)| bridge.route(name, origin))
        .start();
    run(async {
        let mut exchanges = tokio::task::JoinSet::new();
        for number in 0..200 {
            let name = names[number / 2 % MAPPINGS].clone();
            let address = bridge.at(&name);
            exchanges.spawn_local(async move {
                let request = Request::builder().uri(format!("/{number}"));
                let request = request.header(header::HOST, "caller");
                let (request, expected) = match number % 2 {
                    0 => (request.body(full("")), filled(&name, number)),
                    _ => {
                        let body = full(filled(&name, number));
                        (request.method("POST").body(body), format!("{name} {number}").into())
                    }
                };
                let mut caller = Http1::connect(address).await;
                let response = caller.send(request.unwrap()).await.unwrap();
                assert!(*response.body() == expected, "{name}: {}", start(response.body()));
            });
        }
        exchanges.join_all().await;
    });
}

/// Gives a megabyte that only `name` has for this number, and takes no other.
fn megabytes(name: String) -> Origin {
    Origin::http(async move |request| {
        let number = request.uri().path()[1..].parse().unwrap();
        let own = filled(&name, number);
        if request.method() == Method::GET {
            return Response::new(full(own));
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert!(body == own, "{name}: {}", start(&body));
        Response::new(full(format!("{name} {number}")))
    })
}

fn start(body: &Bytes) -> String {
    format!("{} bytes: {}", body.len(), body[..body.len().min(80)].escape_ascii())
}

/// Says its name and the condition that it sees, in any spelling.
fn named(name: &'static str) -> Origin {
    Origin::http(async move |request| {
        let is_condition = |name: &str| name.replace(['_', '.'], "-") == "x-proxy-condition";
        let headers = request.headers().iter();
        let seen: Vec<_> = headers.filter(|(name, _)| is_condition(name.as_str())).collect();
        Response::new(full(format!("{name} {seen:?}")))
    })
}

/// Fields that try to reach the mapping of `port`.
fn attempts(port: u16) -> Vec<String> {
    [
        "X-Proxy-Condition: PORT\r\n",
        "x-proxy-condition: PORT\r\n",
        "x_proxy_condition: PORT\r\n",
        "X.Proxy.Condition: PORT\r\n",
        "X-Proxy_Condition: PORT\r\nX-Proxy-Condition: PORT\r\n",
        "X-Proxy-Condition: PORT\r\nX-Proxy-Condition: PORT\r\n",
        "X-Proxy-Condition: PORT\r\nConnection: X-Proxy-Condition\r\n",
        "X-Proxy-Condition: PORT\r\nConnection: keep-alive, x-proxy-condition, close\r\n",
        "Connection: X-Proxy-Condition\r\n",
        "X-Proxy-Condition:\r\n",
        "X-Proxy-Condition: PORT, PORT\r\n",
        "Connection: upgrade, x-proxy-condition\r\nUpgrade: x\r\nX-Proxy-Condition: PORT\r\n",
    ]
    .map(|fields| fields.replace("PORT", &port.to_string()))
    .to_vec()
}

fn no_caller_chooses_the_target(transport: Transport) {
    let (mine, other) = (named("mine"), named("other"));
    let bridge = Bridge::new(transport).route("mine", &mine).route("other", &other).start();
    for fields in attempts(bridge.at("other").port()) {
        let mut caller = bridge.call("mine");
        caller.send_get("/", &fields);
        caller.reply().assert_ok("mine []");
    }
    bridge.get("other", "/").assert_ok("other []");
    assert_eq!(bridge.receives[0].metric("isthmus_errors_total"), 0);
}

fn no_caller_chooses_the_target_over_http_2(transport: Transport) {
    let (mine, other) = (named("mine"), named("other"));
    let bridge = Bridge::new(transport).route("mine", &mine).route("other", &other).start();
    let port = bridge.at("other").port();
    run(async {
        let mut caller = Http2::connect(bridge.at("mine")).await;
        for name in ["x-proxy-condition", "x_proxy_condition", "x.proxy.condition"] {
            let request = Request::get("http://caller/").header(name, port).header(name, port);
            let request = request.body(full("")).unwrap();
            let response = caller.0.send_request(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "mine []", "{name}");
        }
    });
}
