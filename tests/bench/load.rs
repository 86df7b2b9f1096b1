//! The load: callers that send the next request when the answer is there, or streams at a steady pace.

use crate::engine::TOKENS;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, task::LocalSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Small chats in one piece, 32 callers, as fast as they go.
    Requests,
    /// The same, 256 callers.
    ManyRequests,
    /// 32 streams of 64 tokens, as fast as they go.
    Chunks,
    /// 100 streams of 64 tokens, one each 5 ms.
    PacedChunks,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::Requests, Self::ManyRequests, Self::Chunks, Self::PacedChunks];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Requests => "Requests: small chats in one piece, 32 callers",
            Self::ManyRequests => "Requests: small chats in one piece, 256 callers",
            Self::Chunks => "Chunks at saturation: 32 streams of 64 tokens",
            Self::PacedChunks => "Chunks at a pace: 100 streams, one token each 5 ms",
        }
    }

    fn callers(self) -> usize {
        match self {
            Self::Requests | Self::Chunks => 32,
            Self::PacedChunks => 100,
            Self::ManyRequests => 256,
        }
    }

    fn body(self) -> &'static str {
        match self {
            Self::Requests | Self::ManyRequests => {
                r#"{"model":"tiny","max_tokens":100,"messages":[{"role":"user","content":"Tell me about the fox."}]}"#
            }
            Self::Chunks => {
                r#"{"model":"tiny","stream":true,"max_tokens":100,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Tell me."}]}"#
            }
            Self::PacedChunks => {
                r#"{"model":"tiny","stream":true,"max_tokens":100,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"paced"}]}"#
            }
        }
    }

    /// What is counted in one answer.
    fn units(self) -> u64 {
        match self {
            Self::Requests | Self::ManyRequests => 1,
            Self::Chunks | Self::PacedChunks => TOKENS as u64,
        }
    }
}

pub(crate) struct Load<'a> {
    pub(crate) port: u16,
    pub(crate) tokens: &'a [String],
    pub(crate) scenario: Scenario,
    pub(crate) length: Duration,
}

/// What was completed in which time.
pub(crate) struct Done {
    pub(crate) units: u64,
    pub(crate) time: Duration,
}

impl Load<'_> {
    pub(crate) async fn run(&self) -> Done {
        let units = Rc::new(Cell::new(0_u64));
        let started = Instant::now();
        let deadline = started + self.length;
        let local = LocalSet::new();
        for caller in 0..self.scenario.callers() {
            let token = self.tokens[caller % self.tokens.len()].clone();
            let units = Rc::clone(&units);
            let (port, scenario) = (self.port, self.scenario);
            local.spawn_local(async move {
                let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the target listens");
                let _ = stream.set_nodelay(true);
                let (mut sender, connection) =
                    http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
                tokio::task::spawn_local(connection);
                while Instant::now() < deadline {
                    let request = Request::post("/v1/chat/completions")
                        .header("host", "bench")
                        .header("content-type", "application/json")
                        .header("authorization", format!("Bearer {token}"))
                        .body(Full::new(Bytes::from_static(scenario.body().as_bytes())))
                        .expect("a valid request");
                    sender.ready().await.expect("the connection stays");
                    let response = sender.send_request(request).await.expect("an answer");
                    assert_eq!(response.status(), 200, "the target serves");
                    let mut body = response.into_body();
                    while let Some(frame) = body.frame().await {
                        frame.expect("a whole answer");
                    }
                    units.set(units.get() + scenario.units());
                }
            });
        }
        local.await;
        Done { units: units.get(), time: started.elapsed() }
    }
}
