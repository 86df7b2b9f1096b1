//! The least that a proxy on hyper can be: one thread, a pool of idle connections, bodies passed on.

use http::Uri;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{cell::RefCell, rc::Rc};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
};

type Idle = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

pub(crate) fn run(port: u16, upstream: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let idle = Idle::default();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let idle = Rc::clone(&idle);
            spawn_local(async move {
                let service = service_fn(|request| forward(request, Rc::clone(&idle), upstream));
                let _ =
                    server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

async fn forward(
    mut request: http::Request<Incoming>,
    idle: Idle,
    upstream: u16,
) -> Result<http::Response<Incoming>, hyper::Error> {
    let reused = idle.borrow_mut().pop();
    let mut sender = match reused {
        Some(sender) => sender,
        None => {
            let stream = TcpStream::connect(("127.0.0.1", upstream)).await.expect("the engine is there");
            let _ = stream.set_nodelay(true);
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            spawn_local(connection);
            sender
        }
    };
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = Uri::from(path.clone());
    }
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    idle.borrow_mut().push(sender);
    Ok(response)
}
